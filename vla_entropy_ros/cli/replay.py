"""`vla-entropy replay`: a recorded camera through the engine or the node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from . import options


@click.command()
@click.argument("bag", type=click.Path(path_type=Path), required=False)
@click.option("--topic", help="Image topic, raw or compressed. Default: the only one of the bag.")
@click.option("--state-topic", help="Topic of joint states. Default: the only one of the bag, or joint_states.")
@click.option("--instruction", help="What to do. Default: what the bag says, and what it says later on.")
@click.option("--node", is_flag=True, help="Through the policy node, over DDS and in real time, under the bag's time.")
@options.checkpoint
@options.as_json
def replay(
    bag: Path | None, topic: str | None, state_topic: str | None, instruction: str | None, node: bool,
    checkpoint: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run the recorded camera in BAG (an .mcap or .db3 file, or a folder with some) through the policy.

    Reports latencies, actions, and what became of every image. Exit status 1 where no image became a tick, and where
    the bag is damaged: what comes before the damage is replayed. Without BAG: a few seconds of the simulated arm that
    come with the package.
    """
    from ..bags.bag import Bag, BagError
    from ..engine import EngineError
    from ..evaluation.errors import RunError
    from ..resources import share_path

    path = bag or share_path("bags/pick_red")
    with options.one_line(BagError, EngineError, RunError), Bag(path, topic, state_topic) as opened:
        if not instruction and not opened.instruction:
            raise BagError("the bag has no instruction: give one with --instruction")
        through = _through_node if node else _through_engine
        done = through(opened, checkpoint, instruction or None)
    if as_json:
        click.echo(json.dumps(done.as_dict(), indent=2))
    else:
        _show(done)
    if done.failure is not None:
        raise click.ClickException(done.failure)


def _through_engine(bag: Any, checkpoint: Path | None, instruction: str | None) -> Any:
    import torch

    from ..bags.replay_engine import replay_bag
    from ..engine import Policy
    from ..resources import default_checkpoint
    from ..settings import default_settings

    torch.set_num_threads(1)  # as the nodes run
    policy = Policy.load(checkpoint or default_checkpoint())
    return replay_bag(bag, policy, instruction, float(default_settings("policy")["control_period"]))


def _through_node(bag: Any, checkpoint: Path | None, instruction: str | None) -> Any:
    from ..bags.replay_node import replay_through_node
    from ..evaluation.bringup import free_domain
    from ..resources import SMALL_POLICY

    parameters = {"checkpoint": str(checkpoint) if checkpoint else SMALL_POLICY}
    return replay_through_node(bag, options.output_folder(None, "replay"), free_domain(), parameters, instruction)


def _show(done: Any) -> None:
    """Print a line per tick, then the latencies, and why images gave no action."""
    from ..bags.replay_engine import stage_percentiles

    others = {"early": done.early, "late": done.late, "refused": sum(done.refused.values())}
    counts = [f"{done.images} images", f"{len(done.steps)} ticks", *(f"{n} {what}" for what, n in others.items() if n)]
    click.echo(f"{done.topic}: {', '.join(counts)}, {', then '.join(repr(text) for text in done.instructions)}")
    if done.steps:
        _show_steps(done)
    for stage, values in stage_percentiles(done.steps).items():
        if values is not None:
            click.echo(f"{stage:12} p50 {values['p50']:7.2f}  p95 {values['p95']:7.2f}  max {values['max']:7.2f} ms")
    for reason, count in done.refused.items():
        click.echo(f"no action {count} times: {reason}")
    for note in done.notes:
        click.echo(note)


def _show_steps(done: Any) -> None:
    longest = max(len(step.actions) for step in done.steps)
    if longest > 1:
        click.echo(f"of each tick's actions the first of {longest}")
    widths = [max(7, len(name)) for name in done.action_names]
    named = (f"{name:>{width}}" for name, width in zip(done.action_names, widths, strict=True))
    click.echo("  ".join(["time [s]", *named, "fresh", "total [ms]"]))
    for step in done.steps:
        action = "  ".join(f"{value:{width}.3f}" for value, width in zip(step.actions[0], widths, strict=True))
        click.echo(f"{step.stamp:8.2f}  {action}  {step.fresh:5d}  {step.latency['total']:10.1f}")
