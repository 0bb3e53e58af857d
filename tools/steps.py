"""The steps of a set-up, each under a line that tells how long it takes; needs nothing but Python itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEARTBEAT = 20.0  # seconds between lines when the output is not a terminal


class SetupError(Exception):
    """What stands in the way and what to do about it, in one line."""


class StepError(SetupError):
    """A command of a step failed; `cause` is what it said."""

    def __init__(self, title: str, command: list[str], cause: str) -> None:
        super().__init__(f"{title} failed: {cause} (command: {' '.join(command)})")
        self.cause = cause


class Steps:
    """Numbered steps with the time that each has taken so far."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.began = time.monotonic()

    def run(self, title: str, command: list[str]) -> str:
        """Run `command` under a progress line; returns its output. StepError carries what a failure said last."""
        self.done += 1
        head = f"[{self.done}/{self.total}] {title}"
        began = spoken = time.monotonic()
        if sys.stdout.isatty():
            self._write(head, began, end=False)
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
            try:
                while process.poll() is None:
                    time.sleep(0.2)
                    if sys.stdout.isatty() or time.monotonic() - spoken > HEARTBEAT:
                        spoken = time.monotonic()
                        self._write(head, began, end=False)
            except BaseException:
                process.terminate()
                process.wait()
                raise
            log.seek(0)
            output = log.read()
        self._write(head, began, end=True)
        if process.returncode != 0:
            raise StepError(title, command, last_error(output))
        return output

    def skip(self, title: str) -> None:
        """Count a step that has nothing to do."""
        self.done += 1
        self._write(f"[{self.done}/{self.total}] {title}", time.monotonic(), end=True)

    def _write(self, head: str, began: float, end: bool) -> None:
        elapsed = f"{time.monotonic() - began:4.0f} s"
        if sys.stdout.isatty():
            sys.stdout.write(f"\r{head} {elapsed}\033[K" + ("\n" if end else ""))
        else:
            sys.stdout.write(f"{head} {elapsed}{', done' if end else ' ...'}\n")
        sys.stdout.flush()


def last_error(output: str) -> str:
    """Find the line of a command's output that most likely says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "e:", "fatal"))]
    last = (errors or lines or ["no output"])[-1]
    broken = re.search(r"connection broken by '\w+\(.(.*).\)': ", output)
    if broken and re.search("No matching distribution|Could not find a version|ResolutionImpossible", last):
        return f"no connection: {broken[1]}"  # pip calls it a version that does not exist
    return last
