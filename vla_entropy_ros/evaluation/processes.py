"""The nodes as separate processes: started together, logged to files, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from .errors import RunError
from .interruption import ignored

# how to end a process, and how long it may take [s]; together they bound the end of a run
ENDINGS = ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
POLL = 0.05  # seconds
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOG_TAIL = 65536  # bytes


@dataclass(frozen=True)
class Running:
    """One started node: its process, which leads a group of its own, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def signal(self, number: int) -> None:
        """Send a signal to the whole group; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def last_words(self) -> str:
        """Find the last line of the log that tells of an error, or the last line."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - LOG_TAIL))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "[ERROR]" in line or "[FATAL]" in line]
        return (errors or lines or ["it said nothing"])[-1]


class Processes:
    """Starts nodes; leaving the context ends them all, whatever happened.

    Their parameters go to a file beside their logs, so that a run can be looked at later.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._running: list[Running] = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, node: str, parameters: Mapping[str, Any]) -> Running:
        """Start the node of that name (module nodes/<name>/node.py)."""
        file = self._folder / f"{node}.yaml"
        file.write_text(yaml.safe_dump({node: {"ros__parameters": dict(parameters)}}))
        code = f"from vla_entropy_ros.nodes.{node}.node import main; raise SystemExit(main())"
        return self.run(node, [sys.executable, "-c", code, "--ros-args", "--params-file", str(file)])

    def run(self, name: str, command: Sequence[str]) -> Running:
        """Start a command; its output goes to a log of that name."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the others in order
                preexec_fn=_die_with_parent,
            )
        running = Running(name, process, log)
        self._running.append(running)
        return running

    def check(self) -> None:
        """Raise RunError with the last words of a node that has ended."""
        for running in self._running:
            if (status := running.process.poll()) is not None:
                raise RunError(f"the {running.name} node ended with status {status}: {running.last_words()}")

    def stop(self) -> None:
        """End all nodes; takes no longer than the sum of ENDINGS. Ctrl-C in the meantime changes nothing."""
        with ignored():
            left = self._running
            for number, patience in ENDINGS:
                for running in left:
                    running.signal(number)
                deadline = time.monotonic() + patience
                while time.monotonic() < deadline and any(r.process.poll() is None for r in left):
                    time.sleep(POLL)
                left = [running for running in left if running.process.poll() is None]
            for running in self._running:
                running.signal(signal.SIGKILL)  # children of its own that outlived it
        self._running = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


_LIBC = ctypes.CDLL(None)


def _die_with_parent() -> None:
    """Have the kernel end a node whose parent was killed; runs in the child before the node's code."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
