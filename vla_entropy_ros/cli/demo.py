"""`vla-entropy demo`: simulator, policy and command node for a few episodes, watched live, then a video."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import click

from . import beside, options

GIVEN = click.core.ParameterSource.COMMANDLINE
BESIDE_CLIENT = ("client", "show", "output", "domain_id", "checkpoint")  # what serves without episodes, too


@click.command()
@click.option("--episodes", type=click.IntRange(1, 1000), default=4, show_default=True, help="Episodes, tasks in turn.")
@click.option("--mode", default="default", help="A mode of the policy; default: as in config/policy.yaml.")
@options.tasks
@options.suites
@options.seed
@options.limit
@options.checkpoint
@options.output("demo")
@click.option("--domain-id", type=click.IntRange(0, 101), help="DDS domain. Default: one of its own.")
@click.option(
    "--client",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run this Python program beside the nodes instead of episodes (examples/pick_red.py).",
)
@click.option("--show", is_flag=True, help="Open the panel beside it; closing its window ends the demo as Ctrl-C does.")
@options.as_json
@click.pass_context
def demo(
    context: click.Context, episodes: int, mode: str, tasks: tuple[str, ...], suites: tuple[str, ...], seed: int,
    limit: float | None, checkpoint: Path | None, output: Path | None, domain_id: int | None, client: Path | None,
    show: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run a simulated arm under the policy node, over real DDS, and film it.

    Starts simulator, policy and command node as processes of their own, shows each tick live, and writes demo.mp4,
    demo.png, summary.json and the nodes' logs to the output folder. Ctrl-C ends it early and in order.
    """
    from ..resources import SMALL_POLICY
    from ..settings import default_settings

    modes, names = options.valid_modes([mode]), options.valid_tasks(tasks, suites)
    options.need_ros()
    if show:
        beside.need_panel()
    if client is not None:
        _check_alone(context)
        _check_program(client)
    from rich.console import Console

    from ..evaluation.bringup import free_domain
    from ..evaluation.configurations import named
    from ..evaluation.demo import command_line, run_client, run_demo, write_results
    from ..evaluation.episodes import Session
    from ..evaluation.errors import RunError
    from ..evaluation.interruption import interruptible
    from ..evaluation.plan import plan
    from ..evaluation.view import LiveView

    folder = options.output_folder(output, "demo")
    session = Session(
        folder / "logs",
        free_domain() if domain_id is None else domain_id,
        limit,
        {"policy": {"checkpoint": str(checkpoint.resolve()) if checkpoint else SMALL_POLICY}},
        keep_images=True,
    )
    window = beside.panel_beside(session.folder, session.domain) if show else contextlib.nullcontext(beside.Ending())
    if client is not None:
        with interruptible(), options.one_line(RunError, OSError), window as ending:
            status = run_client(session, client)
        ending.check()
        raise click.exceptions.Exit(status)
    with options.one_line(*options.engine_errors()):
        configurations = named(modes, "default", options.visual_tokens(checkpoint))
    trials = plan(configurations, names, episodes, seed)[:episodes]
    console = Console(stderr=as_json)
    with interruptible(), options.one_line(RunError, OSError):
        with window as ending:
            finished = run_demo(session, trials, LiveView(len(trials), console))
        period = float(default_settings("policy")["control_period"])
        console.print(f"writing to {folder} ...", highlight=False)
        written = write_results(folder, finished, len(trials), command_line(), period)
    if as_json:
        click.echo(json.dumps(json.loads(Path(written["summary"]).read_text()), indent=2))
    for kind, path in written.items():
        console.print(f"  {kind:8} {path}", highlight=False, soft_wrap=True)
    ending.check()


def _check_alone(context: click.Context) -> None:
    """click's error for an option that only episodes take."""
    for parameter in context.command.params:
        if parameter.name not in BESIDE_CLIENT and context.get_parameter_source(parameter.name or "") == GIVEN:
            raise click.BadParameter("does nothing with --client, which runs no episodes", param=parameter)


def _check_program(file: Path) -> None:
    """click's error where a file is no Python program, before nodes are started for it."""
    with options.one_line(OSError):
        source = file.read_bytes()
    try:
        compile(source, str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise click.BadParameter(f"{file} is no Python program: {error}", param_hint="--client") from None
