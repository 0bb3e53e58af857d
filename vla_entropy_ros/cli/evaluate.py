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
    from ..evaluation.outcomes import Outcome
    from ..evaluation.plan import Observer
    from ..evaluation.records import EpisodeRecord
    from ..evaluation.suite import Evaluation
    from ..evaluation.timing import Timing

EPISODES = 20
QUICK_EPISODES, QUICK_DISTURBANCES, QUICK_PROFILES = 5, ("moved",), ("rtx4090",)


@click.command()
@click.option("--mode", "modes", multiple=True,
              help="Mode of the policy, `plain` (everything, one token a pass), `default` (config/policy.yaml), "
              "`former` or `fast` (files of config/), or `all`; may be repeated. Default: plain, default.")  # fmt: skip
@click.option("--base", default="default", show_default=True,
              help="Where the modes' other values come from: default (config/policy.yaml) or paper (config/paper.yaml, "
              "with exact drafts).")  # fmt: skip
@click.option("--episodes", type=click.IntRange(1, 100000), help="Episodes per family of tasks and configuration. "
              f"Default: {EPISODES}, {QUICK_EPISODES} with --quick.")  # fmt: skip
@click.option("--quick", is_flag=True,
              help=f"{QUICK_EPISODES} episodes per family in lock-step, with a {QUICK_DISTURBANCES[0]} target and live "
              f"on an {QUICK_PROFILES[0]} (unless others are asked for): a first table within 3 minutes.")  # fmt: skip
@click.option("--disturbance", "asked", multiple=True, metavar="KIND[=STRENGTH]",
              help="Once more with it, under every configuration: noise, exposure, flicker, jpeg, blur, bump, tilt, "
              "light, moved, hidden, distractor, cover, instruction, dropped, late, all; may be repeated.")  # fmt: skip
@click.option("--live", is_flag=True, help="Once more in a world that goes on while the policy thinks.")
@click.option("--latency", "profiles", multiple=True, metavar="PROFILE",
              help="How long it thinks then: own (as this machine), rtx4090, h100, milliseconds such as 250 or 67+175 "
              "(prefill, decoding), or a file of milliseconds; may be repeated. Default: own.")  # fmt: skip
@click.option("--camera-rate", type=options.Finite(1.0, 50.0), help="Of the camera then [Hz]. Default: "
              "camera.rate of config/policy.yaml.")  # fmt: skip
@click.option("--transport", type=options.Finite(0.0, 1000.0), default=0.0, show_default=True,
              help="Of a picture to the policy then [ms].")  # fmt: skip
@click.option("--period", "periods", multiple=True, type=options.Finite(0.02, 5.0),
              help="How long an action lasts then [s]; may be repeated. Default: "
              "control_period of config/policy.yaml.")  # fmt: skip
@click.option("--video", is_flag=True, help="Film the first scene under the last mode, once a round "
              "(lock-step only where there is no other): evaluate.mp4, film.png.")  # fmt: skip
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
    modes: tuple[str, ...], base: str, episodes: int | None, quick: bool, asked: tuple[str, ...], live: bool,
    profiles: tuple[str, ...], camera_rate: float | None, transport: float, periods: tuple[float, ...], video: bool,
    ros: bool,
    suites: tuple[str, ...], tasks: tuple[str, ...], seed: int, limit: float | None, checkpoint: Path | None,
    processes: int, cluster: str | None, domain_id: int | None, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure the policy in closed loop: the same episodes for every configuration.

    Success rates come with their 95 % Wilson interval and, beside `full`, the p of McNemar's test; a tick is from image
    in to action out. Writes evaluate.json, .md, .png and outcomes.md (without what a clock measured) to the output
    folder; given a folder of a run that was stopped, goes on with it.
    """
    from ..evaluation.configurations import named
    from ..evaluation.disturbances import disturbances
    from ..evaluation.suite import Evaluation
    from ..resources import default_checkpoint
    from ..settings import SettingError

    how = bool(profiles or camera_rate or transport or periods)
    if quick and not ros:
        asked, live = (asked, live or how) if asked or live else (QUICK_DISTURBANCES, True)
        profiles = profiles or QUICK_PROFILES
    _check_ways(ros, {"--disturbance": asked, "--live": live, "--video": video, "--cluster": cluster}, domain_id)
    if how and not live:
        raise click.UsageError(
            "--latency, --camera-rate, --transport and --period say how the world goes on: add --live"
        )
    chosen, wanted = options.valid_modes(modes or ["plain", "default"]), options.valid_tasks(tasks, suites)
    with options.one_line(SettingError, *options.engine_errors()):
        plan = Evaluation(
            tuple(named(chosen, base, options.visual_tokens(checkpoint))), tuple(wanted),
            episodes or (QUICK_EPISODES if quick else EPISODES), seed, checkpoint or default_checkpoint(), limit, ros,
            disturbances(asked), _timings(profiles, camera_rate, transport, periods, wanted, limit) if live else (),
        )  # fmt: skip
    if ros:
        options.need_ros()
    conduct(plan, options.output_folder(output, "evaluate"), as_json, processes, cluster, domain_id, video)


def _check_ways(ros: bool, in_processes: dict[str, object], domain: int | None) -> None:
    """click's error for options that belong to the other way of running."""
    for name, given in in_processes.items():
        if ros and given:
            raise click.BadParameter("only in processes: leave --ros away, or this", param_hint=name)
    if domain is not None and not ros:
        raise click.BadParameter("only with --ros", param_hint="--domain-id")


def _timings(
    profiles: Sequence[str], rate: float | None, transport: float, periods: Sequence[float], tasks: Sequence[str],
    limit: float | None,
) -> tuple[Timing, ...]:  # fmt: skip
    """How the world goes on in each live round."""
    from ..evaluation.latency import OWN, latencies
    from ..evaluation.timing import Timing
    from ..settings import default_settings
    from ..sim import find_task

    shortest = (limit or min(find_task(task).seconds for task in tasks)) - transport / 1e3
    if shortest <= 0.0:
        raise click.BadParameter(f"{transport:g} ms is longer than an episode", param_hint="--transport")
    rate = rate or float(default_settings("simulator")["camera.rate"])
    lasting = periods or (float(default_settings("policy")["control_period"]),)
    thinking = latencies(profiles or (OWN,), shortest)
    made = (Timing(each, rate, transport / 1e3, period) for period in lasting for each in thinking)
    return tuple({timing.label: timing for timing in made}.values())


def conduct(
    plan: Evaluation, folder: Path, as_json: bool, processes: int, cluster: str | None, domain: int | None = None,
    video: bool = False,
) -> None:  # fmt: skip
    """Run an evaluation under a progress bar and report it."""
    from rich.console import Console

    from ..evaluation import report
    from ..evaluation import suite as evaluation
    from ..evaluation.demo import command_line
    from ..evaluation.errors import RunError
    from ..evaluation.interruption import interruptible
    from ..settings import default_settings
    from ..sim import RenderError

    console = Console(stderr=True)
    errors: tuple[type[Exception], ...] = (RunError, RenderError, OSError, *options.engine_errors())
    with interruptible(), options.one_line(*errors), bar(console, "starting ...", plan.total) as (shown, task):
        tally = _Tally(shown, task, plan.total, console)
        outcomes = evaluation.run_evaluation(plan, folder, processes, cluster, domain, tally.add)
        if video:
            evaluation.film(plan, folder)
    figures = evaluation.write_evaluation(plan, outcomes, folder, command_line())
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    title = f"{figures['how']}, {plan.episodes} episodes per family, seeds from {plan.seed}"
    period = float(default_settings("policy")["control_period"])
    out = Console(width=None if console.is_terminal else 260)
    for table in report.tables(figures, title, period):
        out.print(table)
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
