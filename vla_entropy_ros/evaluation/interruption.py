"""What ends a run from outside: signals as KeyboardInterrupt, heard wherever they arrive, or ignored for a while."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

ENDED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)  # the last: a lost one, once more
AGAIN_AFTER = 0.02  # seconds until an interrupt that was lost is raised once more


@contextlib.contextmanager
def ignored(*numbers: int) -> Iterator[None]:
    """Ignore signals for a while; only the main thread can, elsewhere they don't arrive anyway."""
    try:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a run the way Ctrl-C does, and Ctrl-C itself where a shell had it ignored.

    A signal may arrive inside a finaliser or a callback of the interpreter, which can't raise: Python prints the
    exception and goes on. Such an interrupt is raised again from the alarm clock until it has been heard.
    """
    hook = sys.unraisablehook

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def raise_again(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)
            return
        signal.setitimer(signal.ITIMER_REAL, AGAIN_AFTER)

    before = {number: signal.signal(number, interrupt) for number in ENDED_BY}
    sys.unraisablehook = raise_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
