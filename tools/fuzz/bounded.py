"""Runs work in a process of its own, with bounds on time and memory; what comes of it is a dictionary."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HANGS = 10.0  # seconds on the wall clock until a process is ended: other work on the machine may slow it down
ROOM = 2 * 2**30  # bytes of address space that it may take beyond what it begins with
KILLED = {
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGABRT: "abort",
    signal.SIGBUS: "bus error",
}


class Meter:
    """Processor time and greatest memory of this process since it was made."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._began, self._size = time.process_time(), _status("VmRSS")
        self.seconds = 0.0
        self.megabytes = 0.0

    def stop(self) -> None:
        """Read `seconds` of processor time, and `megabytes` that resident memory grew by at its peak."""
        self.seconds = time.process_time() - self._began
        self.megabytes = (_status("VmHWM") - self._size) / 2**20


def unbound() -> None:
    """Let this process take what address space it likes from now on."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _status(name: str) -> int:
    """Bytes that the kernel tells of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def bounded(work: Callable[[], dict[str, Any]], patience: float = HANGS, room: int = ROOM) -> dict[str, Any]:
    """What `work` returns in a fork of this process; {"ended": why} where it hung or died, with what it said last."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as said:
        if (child := os.fork()) == 0:
            os.close(reading)
            _live(work, writing, said.fileno(), room, patience)
        os.close(writing)
        answer, hung = _listen(reading, time.monotonic() + patience)
        if hung:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if answer and not hung:
            return dict(json.loads(answer))
        said.seek(0)
        words = " ".join(said.read()[-2000:].decode(errors="replace").split())
    if hung:
        return {"ended": f"hangs: nothing after {patience:g} s", "said": words}
    how = (
        KILLED.get(signal.Signals(os.WTERMSIG(status))) if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
    )
    return {"ended": f"the process died: {how}", "said": words}


def _live(work: Callable[[], dict[str, Any]], writing: int, said: int, room: int, patience: float) -> None:
    """Do the work and end this process; whatever it prints goes to `said`."""
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        faulthandler.dump_traceback_later(0.8 * patience, file=2)  # where it hangs
        size = _status("VmSize") + room
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(work()).encode())
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as the other one
        os.write(2, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


def _listen(reading: int, until: float) -> tuple[bytes, bool]:
    """All that comes through a pipe, and whether it was still open at the time `until` [s, monotonic]."""
    parts: list[bytes] = []
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return b"".join(parts), True
            if not (part := pipe.read(65536)):
                return b"".join(parts), False
            parts.append(part)
