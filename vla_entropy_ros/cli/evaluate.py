"""`vla-entropy evaluate`: success rate, tick times and share of fresh tokens, per mode."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..runner.plan import Silent
from . import options

if TYPE_CHECKING:
    from rich.console import Console

    from ..runner.plan import Observer, Trial
    from ..runner.records import Episode


@click.command()
@click.option(
    "--mode",
    "modes",
    multiple=True,
    help="Mode of the policy; may be repeated, or `all`. Default: as in config/policy.yaml.",
)
@click.option("--episodes", type=click.IntRange(1, 100000), default=20, show_default=True, help="Episodes per mode.")
@click.option("--ros", is_flag=True, help="Through the nodes and ROS topics, in real time; otherwise in one process.")
@options.tasks
@options.seed
@options.limit
@options.checkpoint
@click.option("--domain-id", type=click.IntRange(0, 101), help="DDS domain with --ros. Default: one of its own.")
@options.as_json
def evaluate(
    modes: tuple[str, ...],
    episodes: int,
    ros: bool,
    tasks: tuple[str, ...],
    seed: int,
    limit: float,
    checkpoint: Path | None,
    domain_id: int | None,
    as_json: bool,
) -> None:
    """Measure the policy in closed loop: the same episodes for every mode.

    Success rates come with their 95 % Wilson interval; a tick is from image in to action out.
    """
    from rich.console import Console

    from ..runner.plan import plan
    from ..runner.processes import interruptible
    from ..settings import SettingError, default_settings

    with options.one_line(SettingError):
        chosen = options.valid_modes(modes or [str(default_settings("policy")["mode"])])
    trials = plan(chosen, options.valid_tasks(tasks), episodes, seed)
    console = Console(stderr=True)
    with interruptible(), progress(len(trials), console) as observer:
        if ros:
            done = _through_ros(trials, limit, checkpoint, domain_id, observer)
        else:
            done = _in_process(trials, limit, checkpoint, observer)
    _report(done, "ros" if ros else "in process", seed, limit, as_json)


def _through_ros(
    trials: Sequence[Trial], limit: float, checkpoint: Path | None, domain: int | None, observer: Observer
) -> list[Episode]:
    try:
        from ..runner import episodes as runner
    except ImportError as error:
        raise click.ClickException(f"no ROS 2 here ({error}): source an install, or `make setup`") from error
    from ..runner.plan import RunError

    parameters = {"policy": {"checkpoint": str(checkpoint.resolve()) if checkpoint else ""}}
    with tempfile.TemporaryDirectory(prefix="vla-entropy-") as folder, options.one_line(RunError, OSError):
        session = runner.Session(Path(folder), runner.free_domain() if domain is None else domain, limit, parameters)
        with runner.connected(session) as client:
            return list(runner.run(client, trials, limit, observer))


def _in_process(trials: Sequence[Trial], limit: float, checkpoint: Path | None, observer: Observer) -> list[Episode]:
    from ..engine import EngineError, Policy, Tunables
    from ..resources import default_checkpoint
    from ..runner import inprocess
    from ..sim import RenderError

    with options.one_line(EngineError, RenderError):
        policy = Policy.load(checkpoint or default_checkpoint())
        policy.self_test()
        policy.warm_up()
        return list(inprocess.run(policy, Tunables.default(policy.info.visual_tokens), trials, limit, observer))


@contextmanager
def progress(total: int, console: Console) -> Iterator[Observer]:
    """An observer that moves a progress bar; a line per episode where the output is no terminal."""
    with options.bar(console, "starting ...", total) as (bar, task):
        yield _BarObserver(bar, task, total, console)


class _BarObserver(Silent):
    """Keeps the tally while episodes end."""

    def __init__(self, bar: Any, task: Any, total: int, console: Console) -> None:
        self._bar, self._task, self._total, self._console = bar, task, total, console
        self._number = self._successes = 0

    def begin(self, episode: Episode) -> None:
        """Name the mode."""
        self._bar.update(self._task, description=f"{episode.mode}: {self._successes} of {self._number} done")

    def end(self, episode: Episode) -> None:
        """Count the episode."""
        self._number += 1
        self._successes += episode.success
        self._bar.advance(self._task)
        if not self._console.is_terminal:
            outcome = "done" if episode.success else "not done"
            line = f"{self._number}/{self._total} {episode.mode} {episode.task} seed {episode.seed}: {outcome}"
            self._console.print(f"{line}, {episode.duration:.1f} s", highlight=False, soft_wrap=True)


def _report(episodes: Sequence[Episode], how: str, seed: int, limit: float, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..runner.about import about
    from ..runner.records import summary

    figures = summary(episodes)
    if as_json:
        content = {"about": about(), "how": how, "seed": seed, "limit_s": limit, **figures}
        click.echo(json.dumps(content, indent=2))
        return
    table = Table(title=f"{how}, seeds from {seed}")
    for name in ("mode", "success", "95 %", "tick p50", "p95", "max [ms]", "fresh tokens"):
        table.add_column(name, justify="left" if name == "mode" else "right")
    for mode, record in figures["modes"].items():
        low, high = record["interval95"]
        tick = record["latency_ms"].get("total") or dict.fromkeys(("p50", "p95", "max"), float("nan"))
        share = record["fresh_share"]
        table.add_row(
            mode,
            f"{record['successes']} / {record['episodes']}",
            f"{low:.0%}-{high:.0%}",
            *(f"{tick[name]:.1f}" for name in ("p50", "p95", "max")),
            "-" if share is None else f"{share:.0%}",
        )
    Console().print(table)
