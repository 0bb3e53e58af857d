"""Real-time habits of a thread: cores it is bound to, a scheduling priority, memory that stays where it is."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from ...settings import SettingError
from .process import one_line

LINUX = sys.platform == "linux"
CORES, PRIORITY, MEMORY = "realtime.cores", "realtime.priority", "realtime.lock_memory"
HIGHEST_CORE = 8191  # that a kernel can be built for
CORES_VALID = "valid are a core (2), several (2,3), a range (2-3), or nothing for all of them"
THREADS = "OMP_NUM_THREADS"
STATUS, ONLINE = Path("/proc/self/status"), Path("/sys/devices/system/cpu/online")
CAP_IPC_LOCK = 1 << 14
# What is there now and what comes, each page from its first use on: without ONFAULT, whatever is mapped is read in at
CURRENT, FUTURE, ONFAULT = 1, 2, 4  # once, libraries and stacks of threads too (925 MB for 339 with the shipped policy)


class RefusedError(Exception):
    """A habit that the system does not allow; the message is one line that says why, and what to do."""


@dataclass(frozen=True)
class Realtime:
    """Habits asked for. cores: numbers of those to run on, none for all; priority: of SCHED_FIFO, 0 for none."""

    cores: frozenset[int] = frozenset()
    priority: int = 0
    lock_memory: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Realtime:
        """What parameters ask for, by name; SettingError for cores that can't be read."""
        return cls(parse_cores(values[CORES]), values[PRIORITY], values[MEMORY])


OFF = Realtime()


class Habits:
    """Gives the thread that calls it what is asked for, as far as the system allows it, and says so in the log.

    `bind` comes before the thread starts others, which inherit its cores; `settle` after all that takes long, since a
    priority is for what is due soon. What is refused is a warning of one line; the thread goes on without.
    """

    def __init__(self, asked: Realtime, logger: RcutilsLogger) -> None:
        self._asked, self._logger = asked, logger
        self._taken: list[str] = []
        self._refused: list[str] = []

    def bind(self) -> None:
        """Run on the cores asked for, and the threads that this one starts from now on."""
        if self._asked.cores:
            self._try(bind, self._asked.cores)

    def settle(self) -> None:
        """Take memory and priority, and say in a line each what holds and what does not."""
        if self._asked.lock_memory:
            self._try(lock_memory)
        if self._asked.priority:
            self._try(prioritise, self._asked.priority)
        if self._taken:
            line = f"real time: {', '.join(self._taken)}"
            self._logger.info(line)
        if self._refused:
            line = f"not allowed, the node goes on without: {'; '.join(self._refused)}"
            self._logger.warning(line)
        if (crowd := crowded(self._asked.cores)) is not None:
            self._logger.warning(crowd)

    def _try(self, habit: Callable[..., str], *asked: Any) -> None:
        try:
            if not LINUX:
                raise RefusedError(f"realtime.* is for Linux, this is {sys.platform}: leave it out")
            self._taken.append(habit(*asked))
        except RefusedError as error:
            if (reason := one_line(error)) not in self._refused:
                self._refused.append(reason)


def parse_cores(text: str) -> frozenset[int]:
    """Numbers of cores in `text` ("2", "2,3", "2-3"); none where it is empty. SettingError in one line."""
    cores: set[int] = set()
    for part in text.split(",") if text.strip() else ():
        found = re.fullmatch(r"\s*([0-9]{1,5})\s*(?:-\s*([0-9]{1,5})\s*)?", part)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not low <= high <= HIGHEST_CORE:
            raise SettingError(f"{CORES}: {text!r} names no cores; {CORES_VALID}")
        cores.update(range(low, high + 1))
    return frozenset(cores)


def bind(cores: frozenset[int]) -> str:
    """Run the calling thread on `cores`, all of them or as before; returns what holds, in words."""
    before, why = os.sched_getaffinity(0), ""
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        why = f"{error.strerror}, "
    got = os.sched_getaffinity(0)
    if got == cores:
        return f"inference thread bound to {_told(cores)}"
    os.sched_setaffinity(0, before)  # the kernel leaves out of a set what is not there, and takes the rest
    raise RefusedError(f"{CORES} {_listed(cores)} ({why}the cores here are {_online()}): name some of those")


def prioritise(priority: int) -> str:
    """Run the calling thread under SCHED_FIFO, alone, not what it starts; returns what holds, in words.

    Refused where the executor, on the process's first thread, would have no core that this one leaves to it.
    """
    executor, own = os.sched_getaffinity(os.getpid()), os.sched_getaffinity(0)
    if len(executor) == 1 and executor <= own:
        raise RefusedError(
            f"{PRIORITY} {priority} (the node's other threads have {_told(executor)} alone and would wait for every "
            f"tick): start the node on two cores, or give {CORES} another one"
        )
    try:
        # A thread that waits in a loop for its next part of a product must not do so under a priority
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        raise RefusedError(
            f"{PRIORITY} {priority} ({error.strerror}, ulimit -r is {_limit('RTPRIO')}): allow it by `<user> - rtprio "
            f"{priority}` in /etc/security/limits.conf and a new login, or give the process CAP_SYS_NICE"
        ) from error
    return f"inference thread under SCHED_FIFO with priority {priority}"


def lock_memory() -> str:
    """Keep the process's memory from being paged out, from its first use on; returns what holds, in words.

    Refused where a limit would let a later allocation fail.
    """
    limit = _limit("MEMLOCK")
    do = "allow it by `<user> - memlock unlimited` in /etc/security/limits.conf and a new login, or give CAP_IPC_LOCK"
    if limit != "unlimited" and not _may_lock():
        raise RefusedError(f"{MEMORY} (ulimit -l is {limit}, later allocations would fail): {do}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(CURRENT | FUTURE | ONFAULT) != 0:
        raise RefusedError(f"{MEMORY} ({os.strerror(ctypes.get_errno())}): {do}")
    return "the process's memory locked"


def crowded(cores: frozenset[int]) -> str | None:
    """Why a product's threads would wait for each other on `cores`; None where there is no more of them than cores."""
    threads = os.environ.get(THREADS, "")
    if not cores or not threads.isdecimal() or int(threads) <= len(cores):
        return None
    return (
        f"{THREADS}={threads} is more than the cores of {CORES} ({_listed(cores)}): threads take turns there; set it "
        f"to {len(cores)}, or leave it out"
    )


def _may_lock() -> bool:
    """Whether the process may lock memory beyond its limit."""
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return effective is not None and bool(int(effective[1], 16) & CAP_IPC_LOCK)


def _limit(name: str) -> str:
    """A limit of the process as ulimit tells it; of memory in KiB."""
    import resource  # not where there is no such limit: Windows

    limit = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
    if limit == resource.RLIM_INFINITY:
        return "unlimited"
    return f"{limit // 1024 if name == 'MEMLOCK' else limit}"


def _online() -> str:
    """The machine's cores, as the kernel lists them."""
    try:
        return ONLINE.read_text(encoding="ascii").strip()
    except OSError:
        return f"0-{(os.cpu_count() or 1) - 1}"


def _listed(cores: Iterable[int]) -> str:
    return ",".join(map(str, sorted(cores)))


def _told(cores: frozenset[int] | set[int]) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {_listed(cores)}"
