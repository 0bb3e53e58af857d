"""The demo: a few episodes over ROS topics, then a video, a picture and a summary in one folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from . import episodes as ros
from .about import about
from .outcomes import outcome, summary
from .plan import Trial
from .records import EpisodeRecord
from .view import LiveView


def run_demo(session: ros.Session, trials: Sequence[Trial], view: LiveView) -> list[EpisodeRecord]:
    """Run the trials and return the finished episodes; Ctrl-C ends the run early and is no error."""
    done: list[EpisodeRecord] = []
    try:
        with view:
            view.note("starting simulator, policy and command node ...")
            with ros.connected(session) as witness:
                for episode in ros.run_on_nodes(witness, trials, session.limit, view):
                    done.append(episode)  # noqa: PERF402  (one by one: Ctrl-C may end the run, and what is done stays)
    except KeyboardInterrupt:
        view.console.print(f"interrupted after {len(done)} of {len(trials)} episodes")
    return done


def write_results(
    folder: Path, episodes: Sequence[EpisodeRecord], planned: int, command: Sequence[str], period: float
) -> dict[str, str]:
    """Write demo.mp4, demo.png and summary.json into `folder`; returns what was written, by kind.

    period: seconds between two ticks.
    """
    from . import video  # brings OpenCV and the encoder

    written = {}
    if video.write_video(episodes, folder / "demo.mp4"):
        written["video"] = str(folder / "demo.mp4")
    if video.write_sheet(episodes, folder / "demo.png"):
        written["picture"] = str(folder / "demo.png")
    figures = summary([outcome(episode, period) for episode in episodes])
    content = {"about": about(), "command": list(command), "planned_episodes": planned, **figures}
    (folder / "summary.json").write_text(json.dumps(content, indent=2) + "\n")
    return {**written, "summary": str(folder / "summary.json"), "logs": str(folder / "logs")}


def command_line() -> list[str]:
    """How this program was called."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
