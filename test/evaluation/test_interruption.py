"""A run ends when it is told to, wherever the signal arrives."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from vla_entropy_ros.evaluation.interruption import ENDED_BY, deferred, ignored, interruptible

PATIENCE = 5.0  # seconds


def outlast(patience: float) -> None:
    """Go on for a while, as a run does that did not hear."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        time.sleep(0.01)


def hit(number: int) -> None:
    """Send this process a signal and give its handler the time to run."""
    os.kill(os.getpid(), number)
    time.sleep(0.001)


class Finalised:
    """Does something while Python takes it apart, where an exception can't be raised."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def __del__(self) -> None:
        self._work()


def finaliser(number: int) -> None:
    """Be signalled in a finaliser."""
    Finalised(lambda: hit(number))


def callback(number: int) -> None:
    """Be signalled in a callback of the interpreter."""
    thing = Finalised(lambda: None)
    _watch = weakref.ref(thing, lambda _: hit(number))
    del thing


def two_finalisers(number: int) -> None:
    """Be signalled in a finaliser, and be in another when the interrupt comes again."""
    finaliser(number)
    Finalised(lambda: outlast(0.1))


def run(begin: Callable[[int], None], number: int) -> None:
    """Begin, and go on unless it is heard."""
    begin(number)
    outlast(PATIENCE)


@pytest.mark.parametrize("number", ENDED_BY)
@pytest.mark.parametrize("where", [hit, finaliser, callback, two_finalisers])
def test_a_signal_ends_a_run_wherever_it_arrives(
    where: Callable[[int], None], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interruptible():
        run(where, number)
    assert time.monotonic() - began < PATIENCE
    assert capsys.readouterr().err == ""


def test_another_error_in_a_finaliser_is_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: told.append(lost.exc_type))
    with interruptible():
        Finalised(lambda: [][0])
        outlast(0.1)
    assert told == [IndexError]


def test_everything_is_as_before_afterwards() -> None:
    hook, handlers = sys.unraisablehook, [signal.getsignal(number) for number in ENDED_BY]
    with interruptible():
        pass
    assert sys.unraisablehook is hook
    assert [signal.getsignal(number) for number in ENDED_BY] == handlers
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_ignored_signal_is_not_made_up_for() -> None:
    with interruptible():
        with ignored():
            for number in ENDED_BY:
                hit(number)
        outlast(0.1)


@pytest.mark.parametrize("number", ENDED_BY)
def test_a_deferred_signal_is_raised_once_where_it_is_asked_for(number: int) -> None:
    with interruptible(), deferred() as interruption:
        interruption.check()
        hit(number)
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
        hit(number)  # impatience changes nothing
        interruption.check()


def test_a_deferred_signal_that_nobody_heard_is_raised_at_the_end() -> None:
    went_on: list[bool] = []
    with pytest.raises(KeyboardInterrupt), interruptible():
        leave_unheard(went_on)
    assert went_on == [True]


def leave_unheard(went_on: list[bool]) -> None:
    """Be signalled, and go on to the end."""
    with deferred():
        hit(signal.SIGTERM)
        went_on.append(True)


def test_other_threads_get_no_signals_and_need_no_handlers() -> None:
    ran: list[bool] = []

    def work() -> None:
        with ignored(), deferred() as interruption:
            interruption.check()
            ran.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [True]
