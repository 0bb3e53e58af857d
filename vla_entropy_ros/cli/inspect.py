"""`vla-entropy inspect`: what a checkpoint is, and why each visual token of an episode was computed or reused."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import options


@click.group()
def inspect() -> None:
    """Look into a checkpoint or an episode."""


@inspect.command()
@click.argument("folder", type=options.Checkpoint(), required=False)
@click.option(
    "--load", is_flag=True, help="Load the weights, too: are all finite, and does the policy look at the image?"
)
@options.as_json
def checkpoint(folder: Path | None, load: bool, as_json: bool) -> None:
    """Show what the checkpoint in FOLDER holds, and what of it is refused; exit status 1 where anything is.

    FOLDER is a path, or org/name or org/name@revision in the hub's cache; without it, the small policy that comes with
    the package. Headers alone are read: no weights are loaded without --load.
    """
    from .. import checkpoints
    from ..resources import default_checkpoint

    told = checkpoints.describe(folder or default_checkpoint(), load)
    if told["family"] is None and not as_json:
        raise click.ClickException(told["refused"][0])
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(checkpoints.lines(told)))
    if told["refused"]:
        raise click.exceptions.Exit(1)


@inspect.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--mode",
    default="info_entropy",
    show_default=True,
    help="A mode of the policy, or `default`: as in config/policy.yaml.",
)
@options.checkpoint
@options.seed
@options.output("inspect")
@options.as_json
def episode(
    file: Path | None, mode: str, checkpoint: Path | None, seed: int, output: Path | None, as_json: bool
) -> None:
    """Draw every tick of the recorded episode in FILE: selection, image entropy, attention score, age.

    Without FILE: the policy acts in the simulator. Recordings come from `vla-entropy bench`. Writes inspect.png (some
    ticks) and inspect.mp4 (all) to the output folder.
    """
    from ..bench import inspection, recording
    from ..bench.measure import watch
    from ..engine import EngineError, Policy
    from ..evaluation.configurations import named
    from ..evaluation.plan import Silent, scenes
    from ..resources import default_checkpoint
    from ..sim import TASKS

    modes = options.valid_modes([mode])
    with options.one_line(EngineError, recording.RecordingError):
        policy = Policy.load(checkpoint or default_checkpoint())
        seen = (
            recording.load(file)
            if file
            else recording.record(policy, scenes(list(TASKS), 1, seed)[:1], None, Silent())[0]
        )
        chosen = named(modes, "default", policy.info.visual_tokens)
        seen, results = watch(policy, seen, chosen[0].tunables)
    folder = options.output_folder(output, "inspect")
    written = inspection.write_pictures(seen, results, policy.info.grid, chosen[0].tunables, folder)
    if as_json:
        content = {"instructions": seen.told, **written, "ticks": inspection.tick_figures(seen, results)}
        click.echo(json.dumps(content, indent=2))
        return
    for kind, path in written.items():
        click.echo(f"{kind:8} {path}")
