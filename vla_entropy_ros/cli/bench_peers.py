"""`vla-entropy bench --peers`: a tick beside what one would run instead."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..progress import bar
from .episodes import WARM_UP, measured_on

if TYPE_CHECKING:
    from rich.console import Console

    from ..bench.peers.kinds import Missing
    from ..bench.peers.replay import Row
    from ..bench.recording import Recording
    from ..engine import Policy

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def one_thread() -> None:
    """Let libraries that are loaded from now on compute on one thread."""
    os.environ.update(dict.fromkeys(THREADS, "1"))


def check(policy: Policy) -> None:
    """click's error where no peer can be set beside `policy`."""
    from ..bench.peers import kinds

    if refused := kinds.refusal(policy):
        raise click.UsageError(refused)


def measure(policy: Policy, folder: Path, recordings: list[Recording], console: Console) -> dict[str, Any]:
    """Everything that peers.json holds of the measurement; folder: the checkpoint's, `policy`: what is loaded of it."""
    from ..bench.peers import replay, report

    rows, missing = _prepared(policy, folder, recordings, console)
    for one in missing:
        console.print(f"left out: {one.name}: {one.why}", markup=False, soft_wrap=True)
    with bar(console, "replaying images", sum(map(len, recordings))) as (shown, task):
        replay.replay(rows, recordings, lambda: shown.advance(task))
    return {**measured_on(policy, recordings), **report.made_with(), **report.figures(rows, missing)}


def _prepared(
    policy: Policy, folder: Path, recordings: list[Recording], console: Console
) -> tuple[list[Row], list[Missing]]:
    """The engine's rows, then the peers that can be had here; and those that cannot."""
    from ..bench.peers import kinds
    from ..bench.peers.ours import ours
    from ..bench.peers.replay import Row

    told = list(dict.fromkeys(text for recorded in recordings for text in recorded.told))
    own, missing = ours(folder, WARM_UP)
    rows = [Row.of_ours(one) for one in own]
    with bar(console, "preparing peers", len(kinds.KINDS)) as (shown, task):
        for kind in kinds.KINDS:
            shown.update(task, description=f"preparing {kind.name}")
            made = kinds.prepare(kind, policy, told, WARM_UP)
            if isinstance(made, kinds.Missing):
                missing.append(made)
            else:
                rows.append(Row.of_peer(made, policy.model))
            shown.advance(task)
    return rows, missing


def report(content: dict[str, Any], folder: Path, as_json: bool) -> None:
    """Write peers.json, peers.md and peers.png into `folder`; print the headline and the table."""
    from rich.console import Console

    from ..bench import tables
    from ..bench.peers import picture
    from ..bench.peers import report as made

    console = Console(stderr=True)
    (folder / "peers.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "peers.md").write_text(made.markdown(content))
    picture.plot(content, folder / "peers.png")
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    shown = Console(width=None if console.is_terminal else tables.WIDTH)
    shown.print(made.table(content, shown.width))
    for line in (content["headline"], *made.missing_lines(content), f"written to {folder}"):
        click.echo(line)
