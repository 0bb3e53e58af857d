"""The policy as a lifecycle node: images and an instruction in, action chunks out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.subscription import Subscription
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ...engine import EngineError, Policy, State
from ...engine.observation import JUMPED
from ...engine.tunables import BUDGETS, TOKENS, Tunables
from ...settings import SettingError, default_settings
from ..common.diagnostics import ERROR, OK, Diagnostics, Report
from ..common.parameters import Parameters, TunableNode, Values
from ..common.process import Stop, one_line, run
from .camera import Camera, topics
from .chunks import ActionPublisher
from .inference import LOG_PERIOD, Inference
from .orders import Answer, options_of
from .reports import Bounds, cache_report, inference_report, observation_report
from .robot_state import RobotState, sources_of
from .settings import CAMERAS, POLICY_SETTINGS, STATES, resolve_checkpoint
from .statistics import Statistics
from .telemetry import Telemetry

MATCH_PERIOD = 0.5  # seconds between two looks at what the cameras' publishers offer
FAREWELL = 0.3  # seconds the stop order has to arrive


class PolicyNode(TunableNode, LifecycleNode):
    """configure loads and tests the checkpoint, activate publishes, deactivate forgets, cleanup frees."""

    def __init__(self, stop: Stop | None = None, **node_options: Any) -> None:
        super().__init__("policy", **node_options)
        self._stop = stop or Stop()
        self._inference: Inference | None = None
        self._policy: Policy | None = None
        self._failure: str | None = None  # why the last configure failed
        self._cameras: list[Camera] = []
        self._robot_state: RobotState | None = None  # of a policy that needs one
        self._settings = Parameters(self, POLICY_SETTINGS, default_settings("policy"), self._check, self._apply)
        values = self._settings.values
        self._actions = ActionPublisher(self, values["action_frame"])
        self._instructions: Subscription[String] | None = None
        self.create_timer(MATCH_PERIOD, self._match_cameras, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._telemetry = Telemetry(self)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._on_time_jump,
        )
        reports = {"inference": inference_report, "observation": observation_report, "cache": cache_report}
        tasks = {name: partial(self._report, report) for name, report in reports.items()}
        self._diagnostics = Diagnostics(self, values["checkpoint"] or "no checkpoint", tasks)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the checkpoint, see that it looks at the image, warm up; FAILURE with one line if any of it fails."""
        values = self._settings.values
        began = time.monotonic()
        inference = Inference(
            options_of(values), self._now, self._sense, self._publish, self._observe, self.get_logger()
        )
        try:
            policy = inference.load(lambda: self._load(values), lambda: self._stop.requested)
            sources = sources_of(values["state.names"], policy.info.state_names)
        except Exception as error:  # noqa: BLE001  (FAILURE, not ERROR: the next configure may succeed)
            if self._stop.requested:  # nothing was sent yet, so nothing keeps the process from ending now
                inference.close(patience=0.0)
                self.get_logger().info("the node ends before the checkpoint is loaded")
                return TransitionCallbackReturn.FAILURE
            inference.close()
            name = "" if isinstance(error, (EngineError, SettingError)) else f"{type(error).__name__}: "
            self._failure = f"configure failed: {name}{one_line(error)}"
            self.get_logger().error(self._failure)
            self.get_logger().debug(traceback.format_exc())
            return TransitionCallbackReturn.FAILURE
        self._failure = None
        self._inference, self._policy = inference, policy
        self._adopt(policy)
        self._subscribe(inference, policy, sources)
        info = policy.info
        self.get_logger().info(
            f"{info.vision_backbone_id}: {info.parameters / 1e6:.1f} M parameters, {info.visual_tokens} visual tokens, "
            f"on {values['device']} in {values['dtype']}, ready after {time.monotonic() - began:.1f} s"
        )
        return super().on_configure(state)

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
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End the inference thread."""
        self._release()

    def _load(self, values: Values) -> Policy:
        policy = Policy.load(
            resolve_checkpoint(values["checkpoint"]),
            device=values["device"],
            dtype=values["dtype"],
            quantisation=values["quantisation"],
            unnorm_key=values["unnorm_key"] or None,
            preprocess=values["preprocess"],
        )
        policy.set_tunables(policy.fitting(options_of(values).tunables))
        return policy

    def _adopt(self, policy: Policy) -> None:
        """Let the parameters tell what this policy runs, and how far they go with it."""
        wanted = Tunables.of(self._settings.values)
        try:
            policy.check(wanted)
        except SettingError as error:
            fitting = policy.fitting(wanted).parameters.items()
            runs = {name: value for name, value in fitting if value != wanted.parameters[name]}
            told = ", ".join(f"{name} {value}" for name, value in runs.items())
            self.get_logger().warning(f"{one_line(error)}; this policy runs with {told}")
            self._settings.adopt(runs)
        info = policy.info
        facts = {CAMERAS: info.cameras, STATES: len(info.state_names), TOKENS: info.tokens}
        highs = dict.fromkeys(BUDGETS, info.visual_tokens) | ({"taper_rows": 0} if policy.fixed_shapes else {})
        self._settings.narrow(highs, facts)

    def _subscribe(self, inference: Inference, policy: Policy, sources: Sequence[str]) -> None:
        """Subscribe to the cameras, the instruction, and the robot's state where the policy needs it."""
        values, intake = self._settings.values, inference.intake
        self._cameras = [
            Camera(self, topic, values["observation.reliability"], partial(intake.offer, camera=number), intake.miss)
            for number, topic in enumerate(topics(policy.info.cameras))
        ]
        if sources:
            self._robot_state = RobotState(self, policy.info.state_names, sources, values["action_frame"])
        self._instructions = self.create_subscription(String, "instruction", self._on_instruction, 1)

    def _match_cameras(self) -> None:
        for camera in self._cameras:
            camera.match()

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
        for camera in self._cameras:
            camera.close()
        self._cameras = []
        if self._instructions is not None:
            self.destroy_subscription(self._instructions)
            self._instructions = None
        self._fall_silent()
        if self._inference is not None and not self._inference.close():
            self.get_logger().error("the inference thread is still busy; its result will not be published")
        self._inference = self._policy = None
        self._settings.widen()
        if self._robot_state is not None:
            self._robot_state.close()
            self._robot_state = None

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _check(self, values: Values) -> None:
        options = options_of(values)
        if self._policy is not None:
            self._policy.check(options.tunables)

    def _apply(self, values: Values) -> None:
        if self._inference is not None:
            self._inference.set_options(options_of(values))

    def _sense(self, stamp: float) -> State | None:
        """Called on the inference thread, for the state at the time `stamp` [s] of an observation."""
        state = self._robot_state
        return None if state is None else state.at(stamp)

    def _publish(self, answer: Answer) -> None:
        """Called on the inference thread, as soon as the action is known."""
        assert self._policy is not None
        self._actions.publish(answer, self._policy.info.action_names)

    def _observe(self, answer: Answer) -> None:
        """Called on the inference thread, off the critical path."""
        assert self._policy is not None
        self._telemetry.publish(answer, columns=self._policy.info.grid[1])

    def _on_instruction(self, message: String) -> None:
        assert self._inference is not None
        text, before = message.data.strip(), self._inference.instruction
        self._inference.instruct(text)
        if not text:
            self.get_logger().warning(
                "empty instruction refused: no action until a valid one arrives", throttle_duration_sec=LOG_PERIOD
            )
            if before is not None and self._inference.active:
                self._actions.stop()
        elif text != before:
            self.get_logger().info(f"instruction: {text}", throttle_duration_sec=LOG_PERIOD)

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

    def _report(self, report: Callable[[Statistics, Bounds], Report]) -> Report:
        if self._inference is None:
            return Report(OK, "unconfigured") if self._failure is None else Report(ERROR, self._failure)
        values = self._settings.values
        bounds = Bounds(values["warn.silence"], values["warn.loss"], values["warn.tick"] or values["control_period"])
        return report(self._inference.statistics(), bounds)


def main(args: Sequence[str] | None = None) -> int:
    """Run the policy node; returns the exit status."""
    return run("policy", PolicyNode, PolicyNode.close, args)
