"""The demo: a few episodes over ROS topics, then a video, a picture and a summary in one folder."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..settings import default_settings
from . import episodes as ros
from .about import about
from .errors import RunError
from .outcomes import outcome, summary
from .plan import Trial
from .records import EpisodeRecord
from .view import LiveView

FAREWELL = 3.0  # seconds that a program may take to end
INTERRUPTED = 130  # the exit status of what Ctrl-C ends


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


def run_client(session: ros.Session, program: Path) -> int:
    """Bring the nodes up and run a Python program beside them, which finds them; its exit status, or Ctrl-C's.

    Raises RunError when a node ends before it does.
    """
    shipped = {name: default_settings("policy")[name] for name in ros.SIMULATED["policy"]}  # as on a robot
    given = {**session.parameters, "policy": {**session.parameters.get("policy", {}), **shipped}}
    session = replace(session, parameters=given)
    with (
        contextlib.suppress(KeyboardInterrupt),
        ros.connected(session) as witness,
        _running([sys.executable, str(program)]) as process,
    ):
        witness.client.link.wait(lambda: process.poll() is not None, math.inf)
        if process.returncode < 0:
            raise RunError(f"{program} was ended by {signal.Signals(-process.returncode).name}")
        return int(process.returncode)
    return INTERRUPTED


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is ended in order where it still runs; Ctrl-C comes from here alone."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(FAREWELL)
        process.kill()
        process.wait()


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
