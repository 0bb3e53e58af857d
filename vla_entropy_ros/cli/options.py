"""Options and habits that sub-commands share."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..progress import bar

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

# far above every seed the training uses, so that these episodes are fresh
FRESH_SEED = 1_000_000_000


class Checkpoint(click.ParamType):
    """The folder of a checkpoint, given by its path, or by its name on the hub where the local cache has it."""

    name = "checkpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ARG002
        """The folder; click's error where there is none."""
        from ..engine import EngineError
        from ..engine.files import folder_errors
        from ..engine.hub import find_folder

        with one_line(EngineError), folder_errors(value):
            folder = find_folder(value)
            if folder.is_file():
                raise EngineError(f"{folder} is a file: name the folder that it is in")
            if not folder.is_dir():
                raise EngineError(
                    f"no checkpoint folder {value} here: expected its path, or org/name as the hub has it "
                    "(hf download org/name brings it)"
                )
        return folder


class Finite(click.FloatRange):
    """A number in a range; not a number is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; click's error where it is none."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


def checkpoint(function: F) -> F:
    """Add --checkpoint."""
    text = "Folder of the policy, or org/name in the hub's cache. Default: the small policy shipped."
    return click.option("--checkpoint", type=Checkpoint(), help=text)(function)


def tasks(function: F) -> F:
    """Add --task."""
    return click.option(
        "--task", "tasks", multiple=True, help="Task, such as pick_red; may be repeated. Default: all."
    )(function)


def suites(function: F) -> F:
    """Add --suite."""
    return click.option(
        "--suite",
        "suites",
        multiple=True,
        help="Family of tasks: pick, put, push, long, or all (these four); long3, long4; may be repeated.",
    )(function)


def seed(function: F) -> F:
    """Add --seed."""
    kind = click.IntRange(0, 2**31 - 1)
    text = "Seed of the first episode; the default lies outside the training's range."
    return click.option("--seed", type=kind, default=FRESH_SEED, show_default=True, help=text)(function)


def limit(function: F) -> F:
    """Add --limit."""
    kind = Finite(0.1, 600.0)
    return click.option("--limit", type=kind, help="Seconds an episode may take. Default: by family of tasks.")(
        function
    )


def output(command: str) -> Callable[[F], F]:
    """Add --output, of a sub-command that writes files."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--output", type=kind, help=f"Folder. Default: output/{command}-<time>.")


def output_folder(chosen: Path | None, command: str) -> Path:
    """Resolve the folder meant by --output."""
    return (chosen or Path("output") / time.strftime(f"{command}-%Y%m%d-%H%M%S")).resolve()


def as_json(function: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")(function)


def valid_modes(names: Sequence[str]) -> list[str]:
    """Return the modes meant by `names`, `all` being every one; click's error lists the valid ones."""
    from ..evaluation.configurations import NAMES

    if "all" in names:
        return list(NAMES)
    for name in names:
        if name not in NAMES:
            raise click.BadParameter(f"'{name}': valid are {', '.join(NAMES)}, all", param_hint="--mode")
    return list(dict.fromkeys(names))


def valid_tasks(names: Sequence[str], suites: Sequence[str] = ()) -> list[str]:
    """Return the tasks meant by `names` and those of the families `suites`, all where there are none of both."""
    from ..sim import EVERY_TASK, FAMILIES, LONGER, TASKS, family_tasks

    for name in names:
        if name not in EVERY_TASK:
            raise click.BadParameter(f"'{name}': valid are {', '.join(EVERY_TASK)}", param_hint="--task")
    for suite in suites:
        if suite not in (valid := (*FAMILIES, "all", *LONGER)):
            raise click.BadParameter(f"'{suite}': valid are {', '.join(valid)}", param_hint="--suite")
    families = [*(FAMILIES if "all" in suites else ()), *(suite for suite in suites if suite != "all")]
    chosen = [*names, *(task for family in families for task in family_tasks(family))]
    return list(dict.fromkeys(chosen)) or list(TASKS)


def spread(function: F) -> F:
    """Add --processes and --cluster."""
    processes = click.option(
        "--processes", type=click.IntRange(1, 1024), default=os.cpu_count() or 1, show_default="one per core",
        help="Processes that episodes are spread over, without --cluster.",
    )  # fmt: skip
    cluster = click.option(
        "--cluster", metavar="ADDRESS", help="Spread over the Dask scheduler there, tcp://host:port."
    )
    return processes(cluster(function))


def visual_tokens(checkpoint: Path | None) -> int:
    """Visual tokens of the policy, without loading its weights."""
    from ..engine.families import find_family
    from ..resources import default_checkpoint

    folder = checkpoint or default_checkpoint()
    return find_family(folder).visual_tokens(folder)


def engine_errors() -> tuple[type[Exception], ...]:
    """Return what the engine raises, and says in one line."""
    from ..engine import EngineError

    return (EngineError,)


def need_ros() -> None:
    """click's error unless ROS 2 can be imported."""
    try:
        importlib.import_module("rclpy")
    except ImportError as error:
        raise click.ClickException(f"no ROS 2 here ({error}): source an install, or `make setup`") from error


@contextlib.contextmanager
def loading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar of bytes, for `Policy.load`: yields what it tells bytes done and due."""
    with bar(console, "loading [MB]", 0) as (shown, task):
        yield lambda done, due: shown.update(task, completed=done // 10**6, total=due // 10**6)


@contextlib.contextmanager
def one_line(*kinds: type[Exception]) -> Iterator[None]:
    """Turn these errors into click's one-line message and exit status 1."""
    try:
        yield
    except kinds as error:
        raise click.ClickException(" ".join(str(error).split())) from error
