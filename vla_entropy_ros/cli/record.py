"""`vla-entropy record`: topics of a robot, or the simulated arm at work, into a bag."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import options

SECONDS = 10.0


@click.command()
@click.argument("bag", type=click.Path(path_type=Path))
@click.option("--topic", "topics", multiple=True, help="Topic to record; may be repeated.")
@click.option(
    "--run", is_flag=True, help="Record what `inspect bag` shows of a run, of all policies, as their topics come."
)
@click.option(
    "--seconds", type=options.Finite(0.1, 86400.0), help="How long. Default: 10; with --run a day, or until Ctrl-C."
)
@click.option("--simulate", is_flag=True, help="Record the simulated arm picking up a cube instead; needs no ROS.")
@click.option("--task", default="pick_red", show_default=True, help="Task of the simulated arm.")
@options.checkpoint
@options.seed
@options.as_json
def record(
    bag: Path,
    topics: tuple[str, ...],
    run: bool,
    seconds: float | None,
    simulate: bool,
    task: str,
    checkpoint: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Record topics into a new BAG (a rosbag2 folder, mcap) until the time is over or Ctrl-C.

    With --run begin whenever you like: it waits for the first policy, and takes in what comes later. The bag that comes
    with the package: `vla-entropy record bags/pick_red --simulate --seconds 4`.
    """
    from ..bags.bag import BagError
    from ..engine import EngineError

    if [simulate, bool(topics), run].count(True) != 1:
        raise click.UsageError("give one of --topic, --run and --simulate")
    with options.one_line(BagError, EngineError, ValueError, OSError):
        if run:
            options.need_ros()
            from ..bags.record_run import record_run

            counts = record_run(bag, seconds, lambda line: click.echo(line, err=True))
        elif simulate:
            from ..bags.record_simulation import IMAGES, POSES, STATES, record_simulated
            from ..engine import Policy
            from ..resources import default_checkpoint

            (task,) = options.valid_tasks([task])
            policy = Policy.load(checkpoint or default_checkpoint())
            counts = dict.fromkeys(
                (IMAGES, STATES, POSES), record_simulated(bag, policy, task, seed, seconds or SECONDS)
            )
        else:
            from ..bags.record_topics import record_live

            counts = record_live(bag, topics, seconds or SECONDS)
    if as_json:
        click.echo(json.dumps({"bag": str(bag), "messages": counts}, indent=2))
        return
    for topic, count in counts.items():
        click.echo(f"{topic}: {count} messages")
