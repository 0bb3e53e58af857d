"""The slot keeps the newest, the worker runs calls in order, and both end when told."""

from __future__ import annotations

import threading
import time

import pytest

from vla_entropy_ros.nodes.common.worker import Mailbox, Worker, WorkerError

PATIENCE = 5.0


def test_the_newest_wins() -> None:
    slot: Mailbox[int] = Mailbox()
    assert slot.take() is None
    assert [slot.put(number) for number in range(3)] == [False, True, True]
    assert (slot.take(), slot.take()) == (2, None)


def test_calls_run_in_order_on_one_thread() -> None:
    worker = Worker("orderly", lambda: None)
    threads = [worker.call(threading.current_thread) for _ in range(3)]
    assert {thread.name for thread in threads} == {"orderly"}
    assert worker.stop()
    assert not threads[0].is_alive()


def test_a_call_that_raises_tells_its_caller_only() -> None:
    worker = Worker("patient", lambda: None)
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 / 0)
    assert worker.call(lambda: "still there") == "still there"
    assert worker.stop()


def test_wake_ups_while_busy_make_one_turn() -> None:
    turns, busy, go_on = [], threading.Event(), threading.Event()

    def turn() -> None:
        turns.append(time.monotonic())
        busy.set()
        go_on.wait(PATIENCE)

    worker = Worker("busy", turn)
    worker.wake()
    assert busy.wait(PATIENCE)
    for _ in range(5):
        worker.wake()
    go_on.set()
    worker.call(lambda: None)
    worker.call(lambda: None)
    assert worker.stop()
    assert len(turns) == 2


def test_a_turn_is_repeated_when_it_is_due() -> None:
    turns: list[float] = []
    enough = threading.Event()

    def turn() -> float:
        turns.append(time.monotonic())
        if len(turns) == 4:
            enough.set()
        return turns[0] + 0.02 * len(turns)

    worker = Worker("regular", turn)
    worker.wake()
    assert enough.wait(PATIENCE)
    assert worker.stop()
    assert all(moment >= turns[0] + 0.02 * number for number, moment in enumerate(turns))


def test_a_failing_turn_ends_the_thread_and_is_reported() -> None:
    failures: list[Exception] = []

    def turn() -> None:
        raise OSError("out of luck")

    worker = Worker("unlucky", turn, failures.append)
    worker.wake()
    deadline = time.monotonic() + PATIENCE
    while not failures and time.monotonic() < deadline:
        time.sleep(0.001)
    assert [str(failure) for failure in failures] == ["out of luck"]
    assert worker.stop()
    with pytest.raises(WorkerError, match="unlucky thread has stopped"):
        worker.call(lambda: None)


def test_waiting_is_bounded() -> None:
    go_on = threading.Event()
    worker = Worker("slow", lambda: None)
    with pytest.raises(WorkerError, match=r"did not answer within 0.05 s"):
        worker.call(lambda: go_on.wait(PATIENCE), timeout=0.05)
    assert not worker.stop(timeout=0.05)
    go_on.set()
    assert worker.stop()


def test_a_caller_may_give_up() -> None:
    go_on, wanted = threading.Event(), [True, True, False]
    worker = Worker("unwanted", lambda: None)
    with pytest.raises(WorkerError, match="unwanted thread is not wanted any more"):
        worker.call(lambda: go_on.wait(PATIENCE), given_up=lambda: not wanted.pop(0))
    go_on.set()
    assert worker.call(lambda: "free again") == "free again"
    assert worker.stop()


def test_stopping_tells_those_who_wait() -> None:
    go_on, started = threading.Event(), threading.Event()
    worker = Worker("leaving", lambda: None)
    answers: list[str] = []

    def occupy() -> None:
        started.set()
        go_on.wait(PATIENCE)

    def first() -> None:
        worker.call(occupy)

    def second() -> None:
        try:
            worker.call(lambda: None)
        except WorkerError as error:
            answers.append(str(error))

    waiting = [threading.Thread(target=target) for target in (first, second)]
    waiting[0].start()
    assert started.wait(PATIENCE)
    waiting[1].start()
    while len(worker._calls) < 1:
        time.sleep(0.001)
    assert not worker.stop(timeout=0.01)
    go_on.set()
    for thread in waiting:
        thread.join(PATIENCE)
    assert answers == ["the leaving thread has stopped"]
