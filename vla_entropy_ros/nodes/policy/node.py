"""The policy as a lifecycle node: images and an instruction in, action chunks out."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from ...engine import ObservationError, State
from ...engine.observation import JUMPED
from ...settings import default_settings
from ..common.diagnostics import Diagnostics, Report
from ..common.parameters import Parameters, TunableNode, Values
from ..common.process import Stop, one_line, run
from ..common.sim_clock import Standstill
from .chunks import ActionPublisher
from .goal_server import GoalServer, Powers
from .inference import Inference
from .inputs import Inputs
from .loading import adopt, announce, load, refusal
from .orders import Answer, options_of
from .ranges import LimitsBeside, too_wide
from .reports import REPORTS, Bounds, Scene, idle_report
from .robot_state import sources_of
from .self_check import SelfCheck
from .settings import POLICY_SETTINGS
from .statistics import Statistics
from .telemetry import Telemetry
from .transitions import Transitions

if TYPE_CHECKING:
    from ...engine import Policy

MATCH_PERIOD = 0.5  # seconds between two looks at what the cameras' publishers offer
FAREWELL = 0.3  # seconds the stop order has to arrive
# Seconds for which a busy thread keeps the interpreter from one that has waited for the device: with Python's 5 ms a
SWITCH = 0.0005  # wait of 2 ms ends 5.4 ms late beside one (median; 95 %: 7.6), with this 0.9 (1.9)


class PolicyNode(TunableNode, LifecycleNode):
    """configure loads and tests the checkpoint, activate publishes, deactivate forgets, cleanup frees."""

    def __init__(self, stop: Stop | None = None, **node_options: Any) -> None:
        super().__init__("policy", **node_options)
        self._stop = stop or Stop()
        self._inference: Inference | None = None
        self._policy: Policy | None = None
        self._failure: str | None = None  # why the last configure failed
        self._loading: float | None = None  # monotonic time at which a checkpoint began to load
        self._final = False  # shut down for good
        self._standstill = Standstill(self._now)
        self._transitions = Transitions(self._service_change_state, self.get_logger(), self._loading_since)
        self._inputs: Inputs | None = None
        self._settings = Parameters(self, POLICY_SETTINGS, default_settings("policy"), self._check, self._apply)
        values = self._settings.values
        self._actions = ActionPublisher(self, values["action_frame"])
        self.create_timer(MATCH_PERIOD, self._match, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._telemetry = Telemetry(self)
        lent = (lambda: self._inference, self._actions.stop, self._refuses, lambda: self._settings.values)
        self._goals = GoalServer(self, Powers(*lent, hurry=lambda: self._diagnostics.hurry()))
        self._self_check = SelfCheck(self, self._settings)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._on_time_jump,
        )
        reports = REPORTS | {"self check": self._self_check.report}
        tasks = self._telemetry.telling({name: partial(self._report, report) for name, report in reports.items()})
        self._diagnostics = Diagnostics(self, values["checkpoint"] or "no checkpoint", tasks, self._stop)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the checkpoint, see that it looks at the image, warm up; FAILURE with one line if any of it fails."""
        self._loading = time.monotonic()
        try:
            done = self._configure()
            return super().on_configure(state) if done == TransitionCallbackReturn.SUCCESS else done
        finally:
            self._loading = None
            self._transitions.finish()

    def _configure(self) -> TransitionCallbackReturn:
        began, beside = time.monotonic(), LimitsBeside(self)
        values = self._settings.values
        inference = Inference(
            options_of(values),
            self._now,
            self._sense,
            self._publish,
            self._observe,
            self.get_logger(),
            self._self_check.checks,
        )
        try:
            policy = inference.load(lambda: self._load(values), self._given_up)
            self._on_executor(partial(self._equip, inference, policy))
            info, limits = policy.info, beside.read(wait=self._transitions.beside)
            self._self_check.rehearse(inference, self._inputs, self._transitions.beside, self._given_up)
        except Exception as error:  # noqa: BLE001  (FAILURE, not ERROR: the next configure may succeed)
            self._abandon(inference, error)
            return TransitionCallbackReturn.FAILURE
        finally:
            beside.close()
        announce(info, time.monotonic() - began, self.get_logger())
        if (wide := too_wide(info, *limits)) is not None:
            self.get_logger().warning(wide)
        return TransitionCallbackReturn.SUCCESS

    def _abandon(self, inference: Inference, error: Exception) -> None:
        """No policy for now, because of `error`."""
        if self._given_up():  # nothing was sent yet, so nothing keeps the process from ending now
            inference.close(patience=0.0)
            self.get_logger().info("the node ends before the checkpoint is loaded")
            return
        inference.close()
        self._on_executor(self._release)
        self._failure = refusal(error, self.get_fully_qualified_name())
        self.get_logger().error(self._failure)
        self.get_logger().debug("".join(traceback.format_exception(error)))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish from the next image on."""
        done = super().on_activate(state)
        if self._inference is not None:
            self._inference.start()
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish nothing any more but the order to stop; drop the running tick, the cache and the instruction."""
        self._fall_silent()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the policy."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        self._release()
        self._final = True
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        self._on_executor(self._release)
        return TransitionCallbackReturn.SUCCESS

    def rest(self, reason: str) -> None:
        """A callback failed because of `reason`: order the arm to stop, and begin afresh."""
        if self._inference is not None and self._inference.active:
            self._inference.reset(reason)
            self._actions.stop()

    def close(self) -> None:
        """End the inference thread, and the loading of a checkpoint."""
        self._transitions.close()
        self._release()

    def _load(self, values: Values) -> Policy:
        return load(values)

    def _given_up(self) -> bool:
        """Whether nobody waits for the checkpoint any more."""
        return self._stop.requested or self._transitions.ending

    def _on_executor(self, work: Callable[[], None]) -> None:
        """Run `work` between two callbacks, never beside one."""
        self._transitions.on_executor(self.executor, work, self._given_up)

    def _loading_since(self) -> str:
        """What the running transition does."""
        since = 0.0 if self._loading is None else time.monotonic() - self._loading
        return f"loading {self._settings.values['checkpoint'] or 'no checkpoint'} for {since:.0f} s"

    def _equip(self, inference: Inference, policy: Policy) -> None:
        """Work with `policy`; SettingError when the parameters, as they are by now, do not fit it."""
        values = self._settings.values
        options = options_of(values)
        sources = sources_of(values["state.names"], policy.info.state_names)
        policy.check(policy.fitting(options.tunables))
        inference.set_options(options)
        self._failure = None
        self._inference, self._policy = inference, policy
        adopt(self._settings, policy, self.get_logger())
        self._inputs = Inputs(
            self, policy, self._settings.values, sources, inference.intake, self._goals.on_instruction
        )
        self._match()

    def _match(self) -> None:
        """Look at who publishes what the policy hears, and whether time goes on."""
        self._standstill.look()
        if self._inputs is None or self._inference is None:
            return
        deaf = self._inputs.match()
        if deaf != self._inference.blocked:
            self._inference.block(deaf)
            if deaf is not None and self._inference.active:
                self._actions.stop()

    def _fall_silent(self) -> None:
        """Nothing stale follows; where there was an action before, the last chunk on the wire is the order to stop."""
        if self._inference is None:
            return
        active = self._inference.active
        self._inference.pause()
        if active:
            self._actions.stop()
            self._actions.flush(FAREWELL)

    def _release(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
        self._fall_silent()
        if self._inference is not None and not self._inference.close():
            self.get_logger().error("the inference thread is still busy; its result will not be published")
        self._inference = self._policy = self._inputs = None
        self._settings.widen()

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _check(self, values: Values) -> None:
        options = options_of(values)
        if self._policy is not None:
            self._policy.check(options.tunables)

    def _apply(self, values: Values) -> None:
        if self._inference is not None:
            self._inference.set_options(options_of(values))
        self._self_check.follow()

    def _sense(self, stamp: float) -> State | None:
        """Called on the inference thread, for the state at the time `stamp` [s] of an observation."""
        return None if self._inputs is None else self._inputs.sense(stamp)

    def _publish(self, answer: Answer) -> None:
        """Called on the inference thread, as soon as the action is known."""
        assert self._policy is not None
        self._actions.publish(answer, self._policy.info.action_names)

    def _observe(self, answer: Answer) -> None:
        """Called on the inference thread, off the critical path."""
        assert self._policy is not None
        self._telemetry.publish(answer, columns=self._policy.info.grid[1])

    def _refuses(self, instruction: str) -> str | None:
        """Why the policy can't follow an instruction; None where it can."""
        try:
            if self._policy is not None:
                self._policy.model.prompt(instruction)
        except ObservationError as error:
            return one_line(error)
        return None

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._inference is not None
        response.message = "everything is fresh at the next tick" if response.success else "not configured"
        if self._inference is not None:
            self._inference.reset()
        return response

    def _on_time_jump(self, jump: TimeJump) -> None:
        if self._inference is not None:
            self.get_logger().warning(f"{JUMPED}: everything is fresh at the next tick")
            self._inference.reset(JUMPED)

    def _report(self, report: Callable[[Statistics, Bounds, Scene], Report]) -> Report:
        inputs = self._inputs
        if self._inference is None or inputs is None:
            loading = None if self._loading is None else self._loading_since()
            return idle_report(self.get_fully_qualified_name(), loading, self._final, self._failure)
        values = self._settings.values
        bounds = Bounds(values["warn.silence"], values["warn.loss"], values["warn.tick"] or values["control_period"])
        scene = Scene(
            self.get_fully_qualified_name(),
            inputs.silence,
            inputs.several,
            self._goals.lacking,
            self._actions.listeners,
            self._now,
            self._standstill.problem(),
        )
        return report(self._inference.statistics(), bounds, scene)


def main(args: Sequence[str] | None = None) -> int:
    """Run the policy node; returns the exit status."""
    sys.setswitchinterval(SWITCH)
    return run("policy", PolicyNode, PolicyNode.close, args)
