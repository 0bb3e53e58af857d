"""The policy and its thread: newest images in, answer out; knows message types, but no node."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger

from ...control.times import stamp_problem
from ...engine import ActionError, DeviceLostError, EngineError, Observation, ObservationError, State, Tunables
from ...engine.observation import FAILED, NEW_EPISODE, Pacer, Verdict
from ...images import Converter, ImageError, find_converter, to_rgb
from ..common.process import one_line
from ..common.realtime import Habits
from ..common.worker import PATIENCE, Worker
from .checks import DEVIATED, Checks
from .intake import Frames, Intake, oldest, picture, topic_of
from .orders import Answer, Options, Orders, doubt
from .refreshes import Tally
from .self_check import Rehearsal, collect, rehearse
from .statistics import Monitor, Statistics

if TYPE_CHECKING:
    from ...engine import Policy

LOG_PERIOD = 5.0  # seconds between two lines about the same fault


class Inference:
    """Runs the policy on one thread of its own, which loads it, too.

    `now` is the ROS clock [s]; `sense` gives the robot's state at a time [s], None where the policy needs none, or
    raises ObservationError; `publish` gets an answer as soon as its action is known, `observe` after the policy has
    settled. A tick that fails publishes nothing and makes the next one start afresh; a device that fails ends them.
    """

    def __init__(
        self,
        options: Options,
        now: Callable[[], float],
        sense: Callable[[float], State | None],
        publish: Callable[[Answer], None],
        observe: Callable[[Answer], None],
        logger: RcutilsLogger,
        checks: Checks | None = None,
    ) -> None:
        self._now, self._sense, self._publish, self._observe, self._logger = now, sense, publish, observe, logger
        self._checks = checks or Checks()
        self._lock = threading.Lock()  # held while publishing: who changes the orders knows nothing stale follows
        self._worker = Worker("inference", self._turn, self._die)
        self._monitor = Monitor()
        self.intake = Intake(self._monitor, self._interrupt, self._worker.wake)
        self._pacer = Pacer()
        self._policy: Policy | None = None
        self._convert: Converter = to_rgb
        self._doubt: str | None = None
        self._applied: Tunables | None = None
        self._end: str | None = None  # why no tick follows any more
        self._episode = 0
        self._orders = Orders(options)
        self.set_options(options)

    @property
    def active(self) -> bool:
        """Whether answers are published."""
        return self._orders.active

    @property
    def instruction(self) -> str | None:
        """The instruction that is followed now; None where there is none."""
        return self._orders.instruction

    @property
    def blocked(self) -> str | None:
        """Why no instruction is followed although there may be one; None when all is well."""
        return self._orders.blocked

    def statistics(self) -> Statistics:
        """What has happened since configure, and what holds now."""
        orders = self._orders
        return self._monitor.look().under(orders, self._end)

    def load(self, make: Callable[[], Policy], given_up: Callable[[], bool] = lambda: False) -> Policy:
        """Load the policy on the thread that will run it, check that it looks at the image, and warm it up.

        WorkerError as soon as `given_up()`: the thread is then still loading.
        """

        def prepare() -> Policy:
            self._convert = find_converter(self._logger.info, self._logger.warning)
            habits = Habits(self._orders.options.realtime, self._logger)
            habits.bind()
            policy = make()
            policy.self_test()
            policy.warm_up()
            policy.reset()
            habits.settle()
            return policy

        self._policy = policy = self._worker.call(prepare, given_up=given_up)
        self._monitor.note(passes=policy.runner.kind)
        return policy

    def rehearse(self, instruction: str, given_up: Callable[[], bool]) -> Rehearsal:
        """Answer what the cameras show now, and check it, on the thread; nothing is published. Errors as of a tick."""

        def run() -> Rehearsal:
            assert self._policy is not None
            sets = collect(self.intake, self._policy.info.cameras, given_up)
            return rehearse(self._policy, [self._observation(frames, instruction) for frames in sets], given_up)

        return self._worker.call(run, given_up=given_up)

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
        self.intake.slop = options.camera_slop

    def start(self) -> None:
        """Begin a new episode and publish from now on."""
        assert self._policy is not None
        self._checks.begin()
        self._new_epoch(active=True, episode=self._orders.episode + 1, begun=NEW_EPISODE, since=time.monotonic())
        self.intake.begin(self._policy.info.cameras)

    def pause(self) -> None:
        """Publish nothing any more; the running tick, the cache and the instruction are forgotten."""
        self.intake.end()
        self._new_epoch(active=False, episode=self._orders.episode + 1, given=None)
        self._monitor.note(answer=None, tallies=(), fault=None, observation_fault=None, doubt=None)

    def reset(self, reason: str = NEW_EPISODE) -> None:
        """Begin a new episode: everything fresh at the next tick, because of `reason`."""
        self._new_epoch(episode=self._orders.episode + 1, begun=reason)

    def instruct(self, text: str) -> None:
        """Follow `text` from the next tick on; empty: follow nothing, not even the default instruction."""
        if (text or None) != self._orders.asked:
            since = self._orders.since if self._orders.asked else time.monotonic()
            self._new_epoch(given=text, since=since)

    def block(self, reason: str | None) -> None:
        """Follow no instruction because of `reason`, until that is None again."""
        if reason != self._orders.blocked:
            self._new_epoch(blocked=reason, since=time.monotonic())

    def _interrupt(self, reason: str) -> None:
        """What is seen does not continue what was seen: drop the running tick and the cache."""
        line = f"{reason}: everything is fresh at the next tick"
        self._logger.warning(line, throttle_duration_sec=LOG_PERIOD)
        self.reset(reason)

    def _new_epoch(self, **changes: object) -> None:
        with self._lock:
            self._orders = replace(self._orders, epoch=self._orders.epoch + 1, **changes)  # type: ignore[arg-type]

    # From here on: the inference thread.

    def _turn(self) -> None:
        frames, policy = self.intake.take(), self._policy
        if frames is None or policy is None:
            return
        self._monitor.note(busy_since=time.monotonic())
        try:
            self._consider(frames, policy, self._orders)
        except (ImageError, ObservationError) as error:
            self._refuse(one_line(error))
        except DeviceLostError:
            raise  # ends the thread: each further tick would fail, too
        except Exception as error:  # noqa: BLE001  (whatever torch raises: no action, and the node lives on)
            self._fail(error, policy)
        finally:
            self._monitor.note(busy_since=None)

    def _consider(self, frames: Frames, policy: Policy, orders: Orders) -> None:
        """Answer the images if they are due and fresh enough, and if there is something to do."""
        if not orders.active or orders.instruction is None:
            return
        if orders.episode != self._episode:
            self._episode = orders.episode
            self._begin_episode(policy, orders.begun)
        now, valid = self._now(), orders.options.max_observation_age
        for number, frame in enumerate(frames):
            if (problem := stamp_problem(topic_of(number), frame.stamp, now, valid)) is not None:
                self._monitor.count("too_old")
                self._monitor.note(observation_fault=problem, observation_refused=False)
                return
        verdict = self._pacer.judge(oldest(frames).stamp, orders.options.control_period)
        if verdict is not Verdict.TICK:
            self._monitor.count(verdict.value)
            return
        answer = self._infer(frames, policy, orders, orders.instruction, now - oldest(frames).stamp)
        with self._lock:
            valid_still = orders.epoch == self._orders.epoch
            if valid_still:
                self._publish(answer)
        policy.settle()
        if valid_still:
            self._record(answer)
            if self._checks.consider(policy, answer, orders.options, self.intake.waiting):
                self._begin_episode(policy, DEVIATED)  # mode full would go on with the start token's keys and values
        else:
            self._monitor.count("dropped")

    def _infer(self, frames: Frames, policy: Policy, orders: Orders, instruction: str, age: float) -> Answer:
        """What the policy answers to `frames`, which are `age` [s] old."""
        options, observation = orders.options, self._observation(frames, instruction)
        tunables = self._checks.limit(options.tunables)
        if tunables is not self._applied:
            policy.set_tunables(tunables)
            self._applied = tunables
            self._monitor.note(tallies=())  # of other budgets
        result, state = policy.infer(observation), observation.state
        if not np.isfinite(result.actions).all():
            raise ActionError("the policy's action is not a finite number")
        if state is not None:
            self._monitor.add(state_age=abs(observation.stamp - state.stamp))
        hold = doubt(result, options.max_action_entropy)
        return Answer(
            oldest(frames).message.header.stamp, age, observation.images, result, options.control_period, hold,
            observation, orders.episode, tunables.mode,
        )  # fmt: skip

    def _observation(self, frames: Frames, instruction: str) -> Observation:
        """What `frames` show, with the robot's state of that time."""
        stamp = oldest(frames).stamp
        state = self._sense(stamp)
        pictures = [picture(frame, number, self._convert) for number, frame in enumerate(frames)]
        self._question(next((one.doubt for one in pictures if one.doubt is not None), None))
        return Observation(tuple(one.pixels for one in pictures), instruction, stamp, state)

    def _question(self, doubt: str | None) -> None:
        """Images that can be used, but perhaps not trusted: said once until there is another doubt."""
        if doubt is not None and doubt != self._doubt:
            self._logger.warning(doubt, throttle_duration_sec=LOG_PERIOD)
            self._doubt = doubt
        self._monitor.note(observation_fault=None, doubt=doubt)

    def _record(self, answer: Answer) -> None:
        """Count a published answer, and show it."""
        reuse = answer.result.reuse
        self._monitor.tick(Tally.of(reuse), fault=None, answer=answer)
        self._monitor.count("held", answer.hold is not None)
        self._monitor.add(tick_time=answer.result.timings.total, capture_age=answer.capture_age)
        self._monitor.add(fresh=reuse.fresh, reused=reuse.reused, oldest=float(reuse.age.max()))
        self._observe(answer)

    def _begin_episode(self, policy: Policy, reason: str) -> None:
        policy.reset(reason)
        self._pacer.forget()
        self._monitor.count("resets")

    def _die(self, error: Exception) -> None:
        lost = isinstance(error, DeviceLostError)  # a line that says all
        self._end = one_line(error) if lost else f"the inference thread has ended: {one_line(error)}"
        self._monitor.count("faults")
        self._logger.fatal(self._end)
        self._logger.debug("".join(traceback.format_exception(error)))

    def _refuse(self, reason: str) -> None:
        """An observation that can't be used: no action, and what is cached stays."""
        self._monitor.count("refused")
        self._monitor.note(observation_fault=reason, observation_refused=True)
        self._logger.error(reason, throttle_duration_sec=LOG_PERIOD)

    def _fail(self, error: Exception, policy: Policy) -> None:
        """A tick that failed: no action, and the next one computes everything afresh."""
        name = "" if isinstance(error, EngineError) else f"{type(error).__name__}: "
        fault = f"no action: {name}{one_line(error)}"
        self._monitor.count("faults")
        self._monitor.note(fault=fault)
        self._logger.error(fault, throttle_duration_sec=LOG_PERIOD)
        self._logger.debug("".join(traceback.format_exception(error)))
        self._begin_episode(policy, FAILED)
