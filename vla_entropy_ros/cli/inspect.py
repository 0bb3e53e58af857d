"""`vla-entropy inspect`: what a checkpoint is, why each visual token of an episode was computed, how a run went."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..progress import bar
from . import options


@click.group()
def inspect() -> None:
    """Look into a checkpoint, an episode or the bag of a run."""


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


@inspect.command()
@click.argument("bag", type=click.Path(path_type=Path))
@click.option("--policy", help="Full name of the policy node, such as /left/policy, where the bag has several.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for report.html, or a file that ends in .html. Default: output/inspect-<time>.",
)
@options.as_json
def bag(bag: Path, policy: str | None, output: Path | None, as_json: bool) -> None:
    """Show a recorded run as one page: ticks, tokens, holds, goals, parameters, pictures.

    BAG is what `vla-entropy record BAG --run` or `ros2 bag record` wrote; what it lacks is named. The page is one file
    that any browser opens, without a network. Needs no ROS.
    """
    from rich.console import Console

    from ..bags.errors import BagError
    from ..bags.report.report import write_page

    is_file = output is not None and output.suffix.lower() in (".html", ".htm")
    page = output.resolve() if output and is_file else options.output_folder(output, "inspect") / "report.html"
    with options.one_line(BagError), bar(Console(stderr=True), "reading [MB]", 0) as (shown, task):
        figures = write_page(bag, page, policy, lambda done, due: shown.update(task, completed=done, total=due))
    if as_json:
        click.echo(json.dumps({"page": str(page), **figures}, indent=2))
        return
    for line in (*figures["notes"], *figures["missing"]):
        click.echo(line)
    click.echo(f"page     {page}")
