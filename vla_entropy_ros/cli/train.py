"""`vla-entropy train`: demonstrations, training, export of the small policy."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.option(
    "--recipe", type=click.Path(dir_okay=False, path_type=Path), help="Recipe file. Default: config/train.yaml."
)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default="output/train", show_default=True,
              help="Folder of the run; a run that was interrupted goes on from its last checkpoint.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:<index>, or auto.")
@click.option("--processes", type=click.IntRange(min=1),
              help="Processes that record demonstrations and, on a CPU, train. Default: 2 on a CPU; beside a GPU one "
              "per core, 16 at most.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the run. Default: the recipe's.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(
    recipe: Path | None, output: Path, device: str, processes: int | None, seed: int | None, as_json: bool
) -> None:
    """Train the small policy and export it to OUTPUT/checkpoint.

    Demonstrations come from the scripted expert in the simulator, then from the policy itself, corrected by the
    expert (DAgger). The same recipe serves CPU and GPU.
    """
    from ..engine import EngineError
    from ..engine.device import find_device
    from ..resources import share_path
    from ..train.export import export
    from ..train.network import SmallPolicy
    from ..train.recipe import Recipe
    from ..train.trainer import train as run

    try:
        where = find_device(device)
    except EngineError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error
    changes = {} if seed is None else {"seed": seed}
    try:
        plan = Recipe.load(recipe or share_path("config/train.yaml"), **changes)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    run(plan, output, where, processes)
    folder = export(SmallPolicy.restore(output / "policy.pt"), output / "checkpoint", plan.images)
    result = {"checkpoint": str(folder), "images": plan.images, "steps": plan.total_steps}
    click.echo(json.dumps(result) if as_json else f"checkpoint written to {folder}")
