"""Lifecycle transitions that take long: they run beside the executor, so that the node answers meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import Executor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.service import Service

from ..common.process import one_line
from ..common.worker import LOOK, WorkerError, answer_into

T = TypeVar("T")

CONFIGURE = (Transition.TRANSITION_CONFIGURE, "configure")
PATIENCE = 2.0  # seconds that a transition which has been given up, or is through, has to end


class Transitions:
    """Lets rclpy's own handler of `change_state` configure on a thread, and answers when that is done.

    One transition runs at a time: what is asked for meanwhile is refused at once, with a line that says what runs.
    `busy` tells what the running one does. All methods but `on_executor` belong to the executor's thread.
    """

    def __init__(self, service: Service[Any, Any], logger: RcutilsLogger, busy: Callable[[], str]) -> None:
        self._handle, self._send = service.callback, service.send_response
        self._logger, self._busy = logger, busy
        self._thread: threading.Thread | None = None
        self._waiting: tuple[ChangeState.Request, ChangeState.Response] | None = None  # until its header is known
        self._through = threading.Event()  # the running transition has nothing left to do but to report
        self._ending = threading.Event()
        service.callback = self._on_request
        service.send_response = self._on_response  # type: ignore[method-assign]  # an answer's time is ours

    @property
    def ending(self) -> bool:
        """Whether the node ends, so that nothing is worth waiting for."""
        return self._ending.is_set()

    @property
    def beside(self) -> bool:
        """Whether this is the thread of the running transition, beside the executor's."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Give up the running transition."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def on_executor(self, executor: Executor | None, work: Callable[[], T], given_up: Callable[[], bool]) -> T:
        """Run `work` where the callbacks run, which then see all of it or nothing; at once where that is here.

        WorkerError as soon as `given_up()`: nobody spins any more.
        """
        if not self.beside or executor is None:
            return work()
        answer: Future[T] = Future()
        answered = threading.Event()
        answer.add_done_callback(lambda _: answered.set())
        executor.create_task(answer_into, work, answer)  # its own future would let the executor raise what work raises
        while not answered.wait(LOOK):
            if given_up():
                raise WorkerError("the node ends")
        return answer.result()

    def finish(self) -> None:
        """Called by the transition itself: it is through, whoever asks for the next one may wait for its report."""
        self._through.set()

    def _on_request(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        if self._thread is not None and self._through.is_set():
            self._thread.join(PATIENCE)  # rclpy tells the new state before it has answered
        asked = request.transition
        if self._thread is not None and self._thread.is_alive():
            line = f"transition {asked.label or asked.id} refused: {self._busy()}; ask again when that is done"
            self._logger.warning(line)
            return response
        if asked.label == CONFIGURE[1] or (not asked.label and asked.id == CONFIGURE[0]):
            self._waiting = request, response
            return response
        return self._handle(request, response)

    def _on_response(self, response: ChangeState.Response, header: Any) -> None:
        """The executor hands over the answer: that of a transition which begins now follows when it is done."""
        if self._waiting is None or self._waiting[1] is not response:
            self._send(response, header)
            return
        request, self._waiting = self._waiting[0], None
        self._through.clear()
        self._thread = threading.Thread(
            target=self._run, args=(request, response, header), name="transition", daemon=True
        )
        self._thread.start()

    def _run(self, request: ChangeState.Request, response: ChangeState.Response, header: Any) -> None:
        try:
            self._send(self._handle(request, response), header)
        except Exception as error:  # noqa: BLE001  (the node may have ended meanwhile)
            if not self.ending:
                line = f"configure has ended without an answer: {one_line(error)}; see ros2 lifecycle get"
                self._logger.error(line)
        finally:
            self._through.set()
