"""One thread that owns something other threads must not touch, and the mailbox that feeds it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")

PATIENCE = 5.0  # seconds that the thread has to end what it is doing
LOOK = 0.1  # seconds between two looks at whether a caller still wants an answer


class WorkerError(RuntimeError):
    """A call that the thread did not answer; the message is one line."""


class Mailbox(Generic[T]):
    """Holds at most one item; a newer one replaces an older one that nobody took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: T | None = None

    def put(self, item: T) -> bool:
        """Store `item`; True when it displaced one."""
        with self._lock:
            displaced = self._item is not None
            self._item = item
        return displaced

    @property
    def full(self) -> bool:
        """Whether there is an item."""
        return self._item is not None

    def take(self) -> T | None:
        """Empty the mailbox and return what was in it."""
        with self._lock:
            item, self._item = self._item, None
        return item


class Worker:
    """A thread that runs calls in the order they come and, between them, `turn` whenever it is woken or due.

    `turn` returns the monotonic time [s] at which it wants to run again, or None to wait for `wake()`. A `turn` that
    raises ends the thread; `on_failure` hears of it. Calls report to their caller only.
    """

    def __init__(
        self, name: str, turn: Callable[[], float | None], on_failure: Callable[[Exception], None] = lambda _: None
    ) -> None:
        self._turn = turn
        self._on_failure = on_failure
        self._condition = threading.Condition()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._woken = False
        self._stopping = False
        self._due: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(
        self, function: Callable[[], T], timeout: float = math.inf, given_up: Callable[[], bool] = lambda: False
    ) -> T:
        """Run `function` on the thread and return its result or raise its error.

        WorkerError after `timeout` [s], or as soon as `given_up()`; the thread goes on with `function` all the same.
        """
        due, answered = time.monotonic() + timeout, threading.Event()
        future: Future[T] = Future()
        future.add_done_callback(lambda _: answered.set())
        with self._condition:
            if self._stopping:
                raise WorkerError(f"the {self._thread.name} thread has stopped")
            self._calls.append((function, future))
            self._condition.notify()
        while not answered.wait(min(LOOK, max(due - time.monotonic(), 0.0))):
            if given_up():
                raise WorkerError(f"the answer of the {self._thread.name} thread is not wanted any more")
            if time.monotonic() >= due:
                raise WorkerError(f"the {self._thread.name} thread did not answer within {timeout} s")
        try:
            return future.result()
        except CancelledError:
            raise WorkerError(f"the {self._thread.name} thread has stopped") from None

    def wake(self) -> None:
        """Ask for a turn as soon as the thread is free; asking twice gives one."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def stop(self, timeout: float = PATIENCE) -> bool:
        """End the thread after what it is doing; False when it is still busy after `timeout` [s]."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                job()
        except Exception as error:  # noqa: BLE001  (handed on)
            self._on_failure(error)
        finally:
            with self._condition:
                self._stopping = True
                left = list(self._calls)
                self._calls.clear()
            for _, future in left:
                future.cancel()

    def _next(self) -> Callable[[], None] | None:
        """Wait for a call, a wake-up or the due time; None when the thread shall end."""
        with self._condition:
            while not self._stopping:
                if self._calls:
                    function, future = self._calls.popleft()
                    return lambda: answer_into(function, future)
                rest = None if self._due is None else self._due - time.monotonic()
                if self._woken or (rest is not None and rest <= 0):
                    self._woken = False
                    return self._take_turn
                self._condition.wait(rest)
        return None

    def _take_turn(self) -> None:
        self._due = self._turn()


def answer_into(function: Callable[[], Any], future: Future[Any]) -> None:
    """Run `function`, its result or exception into `future`."""
    try:
        result = function()
    except Exception as error:  # noqa: BLE001  (handed on)
        future.set_exception(error)
    else:
        future.set_result(result)
