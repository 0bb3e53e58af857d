"""What ends a run from outside: signals as KeyboardInterrupt, raised where the run can hear it, or ignored."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

ENDED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)  # the last: a lost one, once more
AGAIN_AFTER = 0.02  # seconds until an interrupt that was lost is raised once more


class Interruption:
    """Whether a signal came, for code that asks between two steps."""

    def __init__(self) -> None:
        self.number: int | None = None  # the signal that nobody has heard yet
        self._heard = False

    def note(self, number: int, _frame: object) -> None:
        """Remember the first signal; once it was heard, others change nothing."""
        if not self._heard:
            self.number = self.number or number

    def check(self) -> None:
        """Raise KeyboardInterrupt, once, if a signal came."""
        if self.number is not None:
            self.number, self._heard = None, True
            raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[Interruption]:
    """Note signals instead of raising them: whoever runs inside calls `check` often.

    For code that lets C++ call Python, as rclpy does for every message: an exception out of a handler comes back from
    there as another one ("Unable to convert call argument") or not at all. A signal that nobody heard is raised at
    the end.
    """
    interruption = Interruption()
    with _handled(interruption.note):
        yield interruption
    if interruption.number is not None:
        signal.raise_signal(interruption.number)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Ignore signals for a while."""
    with _handled(signal.SIG_IGN):
        yield


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

    with _handled(interrupt):
        sys.unraisablehook = raise_again
        try:
            yield
        finally:
            sys.unraisablehook = hook
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _handled(handler: signal.Handlers | Callable[[int, Any], None]) -> Iterator[None]:
    """Handle the signals that end a run; only the main thread can, elsewhere they don't arrive anyway."""
    try:
        before = {number: signal.signal(number, handler) for number in ENDED_BY}
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
