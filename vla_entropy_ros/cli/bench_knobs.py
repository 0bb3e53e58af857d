"""`vla-entropy bench --knobs`: one value turned at a time around the default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..progress import bar
from .episodes import measured_on

if TYPE_CHECKING:
    from rich.console import Console

    from ..bench.recording import Recording
    from ..engine import Policy


def measure(policy: Policy, recordings: list[Recording], console: Console) -> dict[str, Any]:
    """Everything that knobs.json holds of the measurement; the course is that of the longest episode."""
    from ..bench import knobs
    from ..engine.tunables import Tunables

    ours = Tunables.default(policy.info.visual_tokens)
    longest = max(range(len(recordings)), key=lambda number: len(recordings[number]))
    with bar(console, "replaying", len(recordings) * len(knobs.planned(policy.info.visual_tokens))) as (shown, task):
        measured = knobs.measure_knobs(policy, recordings, lambda: shown.advance(task))
    return {
        **measured_on(policy, recordings),
        "default": ours.parameters,
        **measured,
        "course": {"episode": longest, "runs": knobs.course(policy, recordings[longest])},
    }


def report(content: dict[str, Any], folder: Path, as_json: bool) -> None:
    """Write knobs.json, knobs.png and knobs-episode.png into `folder`; print the table."""
    from rich.console import Console

    from ..bench import knob_charts, tables

    console = Console(stderr=True)
    (folder / "knobs.json").write_text(json.dumps(content, indent=1) + "\n")
    seen = f"mode {content['default']['mode']}, {content['policy']['visual_tokens']} visual tokens"
    title = f"{seen}, {content['images']} images of {len(content['episodes'])} episodes"
    knob_charts.plot_knobs(content, folder / "knobs.png", title)
    course = content["course"]
    knob_charts.plot_course(course["runs"], folder / "knobs-episode.png", f"{seen}: episode {course['episode']}")
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    Console(width=None if console.is_terminal else tables.WIDTH).print(knob_charts.table(content, title))
    click.echo(f"written to {folder}")
