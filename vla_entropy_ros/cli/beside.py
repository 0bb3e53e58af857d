"""The panel in a window beside what a sub-command runs: a process of its own, so that neither waits for the other."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..evaluation.processes import Running

PACKAGES = ("pyqtgraph", "PyQt5")
BY = "pip install 'vla_entropy_ros[panel]', or sudo apt-get install python3-pyqtgraph python3-pyqt5"
NO_WINDOW = "no Qt platform plugin could be initialized"
WINDOW = "import sys; from vla_entropy_ros.panel.window import main; sys.exit(main())"


def need_panel() -> None:
    """click's error, in one line, unless a window with the panel can be opened as far as can be told before."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(f"--show needs {' and '.join(missing)}: {BY}")
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")):
        raise click.ClickException(
            "--show needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set: log in on a desktop or by ssh -X, "
            "or leave --show out"
        )


class Ending:
    """Why the window ended where nobody closed it, in one line; None where all went well."""

    problem: str | None = None

    def check(self) -> None:
        """click's error where there was a problem."""
        if self.problem is not None:
            raise click.ClickException(self.problem)


@contextlib.contextmanager
def panel_beside(logs: Path, domain: int) -> Iterator[Ending]:
    """Show the panel while the body runs; closing its window ends the body as Ctrl-C does.

    logs: folder for what the window says; domain: of DDS.
    """
    from ..evaluation.bringup import environment
    from ..evaluation.processes import Processes

    over, ending = threading.Event(), Ending()
    with Processes(logs, environment(domain)) as processes:
        window = processes.run("panel", [sys.executable, "-c", WINDOW])

        def wait() -> None:
            window.process.wait()
            if not over.is_set():
                if status := window.process.returncode:
                    ending.problem = f"the panel ended with status {status}: {why(window)} (all it said: {window.log})"
                os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=wait, name="panel", daemon=True).start()
        try:
            yield ending
        finally:
            over.set()


def why(window: Running) -> str:
    """What a window said of its end; where it never opened, Qt said so first and much else after it."""
    lines = [line for line in window.log.read_text(errors="replace").splitlines() if line.startswith("qt.qpa.")]
    if NO_WINDOW not in window.log.read_text(errors="replace") or not lines:
        return window.last_words()
    return f"{lines[0]}; where the display is right, make setup as root installs the libraries that Qt needs"
