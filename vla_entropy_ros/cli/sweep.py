"""`vla-entropy sweep`: a grid of parameter values in closed loop."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .evaluate import conduct

GRID = {"row_budget": ["64", "80", "112"], "max_age": ["10", "20"]}


@click.command()
@click.option("--vary", multiple=True, metavar="NAME=VALUE[,VALUE...]",
              help="Parameter and its values, such as k1=4,8 or T=50,100; may be repeated: every combination is run. "
              f"Default: {' '.join(f'{name}={chr(44).join(values)}' for name, values in GRID.items())}.")  # fmt: skip
@click.option("--episodes", type=click.IntRange(1, 100000), default=10, show_default=True,
              help="Episodes per family of tasks and combination.")  # fmt: skip
@options.suites
@options.tasks
@options.seed
@options.limit
@options.checkpoint
@options.spread
@options.output("sweep")
@options.as_json
def sweep(
    vary: tuple[str, ...], episodes: int, suites: tuple[str, ...], tasks: tuple[str, ...], seed: int,
    limit: float | None, checkpoint: Path | None, processes: int, cluster: str | None, output: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure every combination of parameter values in closed loop, beside full recomputation and the default.

    Writes evaluate.json, .md and .png (success against tick time) to the output folder; given a folder of a run that
    was stopped, goes on with it.
    """
    from ..evaluation.configurations import grid, named
    from ..evaluation.suite import Evaluation
    from ..resources import default_checkpoint
    from ..settings import SettingError

    values = {}
    for text in vary:
        name, equals, listed = text.partition("=")
        if not equals or not listed:
            raise click.BadParameter(f"'{text}': expected NAME=VALUE[,VALUE...]", param_hint="--vary")
        values[name] = listed.split(",")
    with options.one_line(SettingError, *options.engine_errors()):
        tokens = options.visual_tokens(checkpoint)
        configurations = [*named(["full"], "default", tokens), *grid(values or GRID, tokens)]
    plan = Evaluation(
        tuple(configurations), tuple(options.valid_tasks(tasks, suites)), episodes, seed,
        checkpoint or default_checkpoint(), limit,
    )  # fmt: skip
    conduct(plan, options.output_folder(output, "sweep"), as_json, processes, cluster)
