"""The policy and its thread: newest image in, tick out; knows message types, but no node."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.impl.rcutils_logger import RcutilsLogger

from ...engine import ActionError, EngineError, Observation, ObservationError, Policy, Result, Tunables
from ...engine.pacing import Pacer, Verdict
from ...images import ImageError, decode
from ..common.diagnostics import RollingWindow
from ..common.messages import seconds
from ..common.process import one_line
from ..common.worker import PATIENCE, Mailbox, Worker
from .intake import ApproximateTimeSynchronizer, ImageMessage, View, oldest

LOG_PERIOD = 5.0  # seconds between two lines about the same fault
MISSED = 100  # images lost at once that a rate takes into account


@dataclass(frozen=True)
class Options:
    """What may change between two ticks: the engine's settings and the node's, times in seconds."""

    tunables: Tunables
    control_period: float
    max_observation_age: float
    default_instruction: str
    camera_slop: float = 0.0
    max_action_entropy: float = 1.0


@dataclass(frozen=True)
class Tick:
    """One answered observation: its stamp, its age when the tick began [s], the image [H, W, 3] of each camera, the
    result and the control period [s]; hold: why the action must not be done, empty when it may.
    """

    stamp: Time
    capture_age: float
    images: tuple[NDArray[np.uint8], ...]
    result: Result
    period: float
    hold: str = ""


@dataclass(frozen=True)
class _Orders:
    """What the thread works by; replaced as a whole. A result of another `epoch` is dropped, not published."""

    options: Options
    active: bool = False
    instruction: str | None = None  # None: the default one
    epoch: int = 0
    episode: int = 0

    @property
    def followed(self) -> str | None:
        """The instruction that is followed; None where there is none."""
        return (self.options.default_instruction if self.instruction is None else self.instruction) or None


class Counters:
    """Totals since configure; each is written by one thread."""

    def __init__(self) -> None:
        self.received = self.displaced = self.early = self.late = self.too_old = self.refused = 0
        self.lost = self.ticks = self.faults = self.dropped = self.resets = self.held = self.changes = 0


class Inference:
    """Runs the policy on one thread of its own, which loads it, too.

    `now` is the ROS clock [s]; `publish` gets a tick as soon as its action is known, `observe` after the policy has
    settled. A tick that fails publishes nothing and makes the next one start afresh.
    """

    def __init__(
        self,
        options: Options,
        now: Callable[[], float],
        publish: Callable[[Tick], None],
        observe: Callable[[Tick], None],
        logger: RcutilsLogger,
    ) -> None:
        self._orders = _Orders(options)
        self._now, self._publish, self._observe, self._logger = now, publish, observe, logger
        self._lock = threading.Lock()  # held while publishing: who changes the orders knows nothing stale follows
        self._slot: Mailbox[tuple[ImageMessage, ...]] = Mailbox()
        self._views: list[View] = []
        self._synchroniser = ApproximateTimeSynchronizer(1)
        self._pacer = Pacer()
        self._policy: Policy | None = None
        self._applied: Tunables | None = None
        self._episode = 0
        self._worker = Worker("inference", self._turn, self._die)
        self.counters = Counters()
        self.total, self.capture_age, self.received, self.lost = (
            RollingWindow(),
            RollingWindow(),
            RollingWindow(),
            RollingWindow(),
        )
        self.last_tick: Tick | None = None
        self.fault = ""  # why the last tick failed
        self.observation_fault = ""  # why the last image gave no tick
        self.observation_refused = False  # whether it could not be used at all
        self.last_received: float | None = None  # monotonic
        self.busy_since: float | None = None  # monotonic

    @property
    def orders(self) -> _Orders:
        """What holds now."""
        return self._orders

    @property
    def instruction(self) -> str | None:
        """The instruction that is followed now; None where there is none."""
        return self._orders.followed

    def load(self, make: Callable[[], Policy], given_up: Callable[[], bool] = lambda: False) -> Policy:
        """Load the policy on the thread that will run it, check that it looks at the image, and warm it up.

        WorkerError as soon as `given_up()`: the thread is then still loading.
        """

        def prepare() -> Policy:
            policy = make()
            policy.self_test()
            policy.warm_up()
            policy.reset()
            return policy

        policy = self._worker.call(prepare, given_up=given_up)
        self._views = [View() for _ in range(policy.info.cameras)]
        self._synchroniser = ApproximateTimeSynchronizer(policy.info.cameras)
        self._policy = policy
        return policy

    def close(self, patience: float = PATIENCE) -> bool:
        """End the thread and let go of the policy; False if it is still busy after `patience` [s]."""
        self.pause()
        ended = self._worker.stop(patience)
        self._policy = None
        return ended

    def set_options(self, options: Options) -> None:
        """Work with `options` from the next tick on."""
        with self._lock:
            self._orders = replace(self._orders, options=options)

    def start(self) -> None:
        """Begin a new episode and publish from now on."""
        self._new_epoch(active=True, episode=self._orders.episode + 1)

    def pause(self) -> None:
        """Publish nothing any more; the running tick, the cache and the instruction are forgotten."""
        self._new_epoch(active=False, episode=self._orders.episode + 1, instruction=None)
        self._slot.take()
        self.last_tick, self.fault, self.observation_fault = None, "", ""

    def reset(self) -> None:
        """Begin a new episode: everything fresh at the next tick."""
        self._new_epoch(episode=self._orders.episode + 1)

    def instruct(self, text: str) -> None:
        """Follow `text` from the next tick on; empty: follow nothing, not even the default instruction."""
        if (text or None) != self.instruction:
            self._new_epoch(instruction=text)

    def offer(self, message: ImageMessage, camera: int = 0) -> None:
        """Hand over the newest image of a camera; a set that nobody looked at yet is displaced by the next one.

        An image that does not continue what its camera showed drops the running tick and the cache.
        """
        if not self._orders.active or self._policy is None:
            return
        arrived = time.monotonic()
        view = self._views[camera]
        if not view.accepts(message, arrived):
            return
        self.last_received = arrived
        self.counters.received += 1
        self.received.add(1.0)
        if reason := view.change(message):
            self.counters.changes += 1
            self._say(f"{reason}: everything is fresh at the next tick")
            self._synchroniser.forget()
            self.reset()
        if (messages := self._synchroniser.offer(camera, message, self._orders.options.camera_slop)) is not None:
            self.counters.displaced += self._slot.put(messages)
            self._worker.wake()

    def miss(self, count: int) -> None:
        """Hear that `count` images were lost on the way."""
        self.counters.lost += count
        for _ in range(min(count, MISSED)):
            self.lost.add(1.0)

    @property
    def unmatched(self) -> int:
        """Images that fitted none of the other cameras'."""
        return self._synchroniser.unmatched

    def _say(self, line: str) -> None:
        self._logger.warning(line, throttle_duration_sec=LOG_PERIOD)

    def _new_epoch(self, **changes: object) -> None:
        with self._lock:
            self._orders = replace(self._orders, epoch=self._orders.epoch + 1, **changes)  # type: ignore[arg-type]

    def _turn(self) -> None:
        messages = self._slot.take()
        if messages is None or self._policy is None:
            return
        self.busy_since = time.monotonic()
        try:
            self._consider(messages, self._policy, self._orders)
        except (ImageError, ObservationError) as error:
            self._refuse(one_line(error))
        except Exception as error:  # noqa: BLE001  (whatever torch raises: no action, and the node lives on)
            self._fail(error, self._policy)
        self.busy_since = None

    def _consider(self, messages: tuple[ImageMessage, ...], policy: Policy, orders: _Orders) -> None:
        """Make a tick of the images if it is due, fresh enough and there is something to do."""
        if not orders.active or orders.followed is None:
            return
        if orders.episode != self._episode:
            self._episode = orders.episode
            self._begin_episode(policy)
        stamp = seconds(oldest(messages).header.stamp)
        age = self._now() - stamp
        if abs(age) > orders.options.max_observation_age:
            self.counters.too_old += 1
            self.observation_refused = False
            self.observation_fault = f"image is {age:.2f} s old, valid up to {orders.options.max_observation_age:g}"
            return
        verdict = self._pacer.judge(stamp, orders.options.control_period)
        if verdict is Verdict.EARLY:
            self.counters.early += 1
        elif verdict is Verdict.LATE:
            self.counters.late += 1
        else:
            if verdict is Verdict.JUMP:
                self._begin_episode(policy)
            self._tick(messages, policy, orders, orders.followed, age)

    def _begin_episode(self, policy: Policy) -> None:
        policy.reset()
        self._pacer.forget()
        self.counters.resets += 1

    def _tick(
        self, messages: tuple[ImageMessage, ...], policy: Policy, orders: _Orders, instruction: str, age: float
    ) -> None:
        """Images to action, published at once; the bookkeeping for the next tick comes after."""
        images = tuple(decode(message) for message in messages)
        stamp = oldest(messages).header.stamp
        self.observation_fault = ""
        if orders.options.tunables is not self._applied:
            policy.set_tunables(orders.options.tunables)
            self._applied = orders.options.tunables
        result = policy.infer(Observation(images, instruction, seconds(stamp)))
        if not np.isfinite(result.actions).all():
            raise ActionError("the policy's action is not a finite number")
        hold = _doubt(result, orders.options.max_action_entropy)
        tick = Tick(stamp, age, images, result, orders.options.control_period, hold)
        with self._lock:
            valid = orders.epoch == self._orders.epoch
            if valid:
                self._publish(tick)
        policy.settle()
        if not valid:
            self.counters.dropped += 1
            return
        self.fault = ""
        self.last_tick = tick
        self.counters.ticks += 1
        self.counters.held += bool(hold)
        self.total.add(result.timings.total)
        self.capture_age.add(age)
        self._observe(tick)

    def _die(self, error: Exception) -> None:
        self.fault = f"the inference thread has ended: {one_line(error)}"
        self._logger.fatal(self.fault)

    def _refuse(self, reason: str) -> None:
        """An image that can't be used: no action, and what is cached stays."""
        self.counters.refused += 1
        self.observation_fault, self.observation_refused = reason, True
        self._logger.error(reason, throttle_duration_sec=LOG_PERIOD)

    def _fail(self, error: Exception, policy: Policy) -> None:
        """A tick that failed: no action, and the next one computes everything afresh."""
        self.counters.faults += 1
        name = "" if isinstance(error, EngineError) else f"{type(error).__name__}: "
        self.fault = f"no action: {name}{one_line(error)}"
        self._logger.error(self.fault, throttle_duration_sec=LOG_PERIOD)
        self._logger.debug("".join(traceback.format_exception(error)))
        self._begin_episode(policy)


def _doubt(result: Result, bound: float) -> str:
    """Why an action is too uncertain to be done; empty when it is not. A bound of 1 is never exceeded."""
    entropy = float(result.token_entropy.max())
    return f"action entropy {entropy:.2f} is above max_action_entropy {bound:g}" if entropy > bound < 1.0 else ""
