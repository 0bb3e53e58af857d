"""`vla-entropy evaluate`: success rates, tick times and reuse of several configurations on the same episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..evaluation.plan import Silent
from ..progress import bar
from . import options

if TYPE_CHECKING:
    from ..evaluation.configurations import Configuration
    from ..evaluation.disturbances import Disturbance
    from ..evaluation.outcomes import Outcome
    from ..evaluation.plan import Observer
    from ..evaluation.records import EpisodeRecord

QUICK_EPISODES = 8


@click.command()
@click.option("--mode", "modes", multiple=True,
              help="Mode of the policy, `plain` (everything, one token a pass), `default` (config/policy.yaml), "
              "`former` or `fast` (files of config/), or `all`; may be repeated. Default: plain, default.")  # fmt: skip
@click.option("--base", default="default", show_default=True,
              help="Where the modes' other values come from: default (config/policy.yaml) or paper (config/paper.yaml, "
              "with exact drafts).")  # fmt: skip
@click.option("--episodes", type=click.IntRange(1, 100000), default=20, show_default=True,
              help="Episodes per family of tasks and configuration.")  # fmt: skip
@click.option("--quick", is_flag=True, help=f"{QUICK_EPISODES} episodes per family: a first table within 3 minutes.")
@click.option("--disturbance", "asked", multiple=True, metavar="KIND[=STRENGTH]",
              help="Once more with it, under every configuration: noise=GREY LEVELS, exposure=SHARE, flicker=SHARE, "
              "jpeg=QUALITY, moved=METRES or bump=PIXELS; may be repeated.")  # fmt: skip
@click.option("--ros", is_flag=True, help="Through the nodes and ROS topics, in real time; otherwise in processes.")
@options.suites
@options.tasks
@options.seed
@options.limit
@options.checkpoint
@options.spread
@click.option("--domain-id", type=click.IntRange(0, 101), help="DDS domain with --ros. Default: one of its own.")
@options.output("evaluate")
@options.as_json
def evaluate(
    modes: tuple[str, ...], base: str, episodes: int, quick: bool, asked: tuple[str, ...], ros: bool,
    suites: tuple[str, ...], tasks: tuple[str, ...], seed: int, limit: float | None, checkpoint: Path | None,
    processes: int, cluster: str | None, domain_id: int | None, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure the policy in closed loop: the same episodes for every configuration.

    Success rates come with their 95 % Wilson interval and, beside `full`, the p of McNemar's test; a tick is from image
    in to action out. Writes evaluate.json, .md and .png to the output folder; given a folder of a run that was stopped,
    goes on with it.
    """
    from ..evaluation.configurations import named
    from ..evaluation.disturbances import disturbances
    from ..settings import SettingError

    if ros and asked:
        raise click.BadParameter("only in processes: leave --ros away, or this", param_hint="--disturbance")
    chosen = options.valid_modes(modes or ["plain", "default"])
    with options.one_line(SettingError, *options.engine_errors()):
        suffered = disturbances(asked)
        configurations = named(chosen, base, options.visual_tokens(checkpoint))
    if ros:
        options.need_ros()
    conduct(
        configurations, options.valid_tasks(tasks, suites), QUICK_EPISODES if quick else episodes, seed, limit,
        checkpoint, ros, processes, cluster, domain_id, options.output_folder(output, "evaluate"), as_json,
        suffered,
    )  # fmt: skip


def conduct(
    configurations: Sequence[Configuration], tasks: Sequence[str], episodes: int, seed: int, limit: float | None,
    checkpoint: Path | None, ros: bool, processes: int, cluster: str | None, domain: int | None, folder: Path,
    as_json: bool, disturbances: Sequence[Disturbance] = (),
) -> None:  # fmt: skip
    """Run an evaluation under a progress bar and report it."""
    from rich.console import Console

    from ..evaluation import report
    from ..evaluation import suite as evaluation
    from ..evaluation.demo import command_line
    from ..evaluation.errors import RunError
    from ..evaluation.interruption import interruptible
    from ..resources import default_checkpoint
    from ..settings import default_settings
    from ..sim import RenderError

    plan = evaluation.Evaluation(
        tuple(configurations), tuple(tasks), episodes, seed, checkpoint or default_checkpoint(), limit, ros,
        tuple(disturbances),
    )  # fmt: skip
    console = Console(stderr=True)
    errors: tuple[type[Exception], ...] = (RunError, RenderError, OSError, *options.engine_errors())
    with interruptible(), options.one_line(*errors), bar(console, "starting ...", plan.total) as (shown, task):
        tally = _Tally(shown, task, plan.total, console)
        outcomes = evaluation.run_evaluation(plan, folder, processes, cluster, domain, tally.add)
    figures = evaluation.write_evaluation(plan, outcomes, folder, command_line())
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    title = f"{figures['how']}, {episodes} episodes per family, seeds from {seed}"
    period = float(default_settings("policy")["control_period"])
    Console(width=None if console.is_terminal else 260).print(report.table(figures, title, period))
    click.echo(f"written to {folder}")


class _Tally:
    """Counts outcomes on a progress bar; a line now and then where the output is no terminal."""

    def __init__(self, bar: Any, task: Any, total: int, console: Any) -> None:
        self._bar, self._task, self._total, self._console = bar, task, total, console
        self._number = self._successes = self._said = 0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count some more."""
        self.count(len(outcomes), sum(o.success for o in outcomes))

    def count(self, episodes: int, successes: int) -> None:
        """Count episodes and those of them that succeeded."""
        self._number += episodes
        self._successes += successes
        said = f"{self._successes} of {self._number} done"
        self._bar.update(self._task, completed=self._number, description=said)
        if not self._console.is_terminal and self._number - self._said >= max(1, self._total // 20):
            self._said = self._number
            self._console.print(f"{said}, {self._total} in all", highlight=False)


@contextmanager
def progress(total: int, console: Any) -> Iterator[Observer]:
    """Yield an observer that moves a progress bar with every episode."""
    with bar(console, "starting ...", total) as (shown, task):
        yield _Watch(_Tally(shown, task, total, console))


class _Watch(Silent):
    """Counts episodes as they end."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally

    def end(self, episode: EpisodeRecord) -> None:
        """Count it."""
        self._tally.count(1, int(episode.success))
