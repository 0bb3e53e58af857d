"""The nodes under test as processes, their peers, and what is heard of them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool, Float64, String
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.client import Answer, ClientError, VlaClient
from vla_entropy_ros.control import limits_of
from vla_entropy_ros.evaluation.processes import Processes, Running
from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.common.messages import is_stop, seconds
from vla_entropy_ros.resources import SMALL_POLICY
from vla_entropy_ros.settings import default_settings

from .peers import FaultyCamera, FollowingArm, JointedArm, Repeater, time_message
from .words import Words

INSTRUCTION = "pick up the red cube"
PATIENCE = 30.0  # seconds: a process that starts on a busy machine imports for long
LOADING = 20.0  # seconds that a policy may take to load
POLL = 0.005  # seconds
SETTLED = 0.06  # seconds until the last target has come
AT_HOME = 15  # measured poses by which the arm is known to be there
SOON = 0.1  # seconds until a node is asked once more
CAMERA_RATE = 30.0  # hertz
STATE = "command/state"
STANDS: dict[str, dict[str, Any]] = {  # what faults are tried on: options of a Rig
    "poses": {},
    "joints": {
        "command_type": "joint_trajectory",
        "action_scale": 0.1,
    },  # its wrist must not reach the end of its range
    "simulated time": {"sim_time": True},
}


class FaultError(AssertionError):
    """Something that must hold does not; the message is one line."""


def need(answer: Answer) -> None:
    """Raise FaultError with its words unless the answer is yes."""
    if not answer:
        raise FaultError(answer.words)


class Rig:
    """Starts everything and brings it to motion; leaving the context ends it."""

    def __init__(
        self, folder: Path, environment: dict[str, str], checkpoint: str, *, sim_time: bool = False, **command: Any
    ) -> None:
        self._processes = Processes(folder, environment)
        self._offset = 0.0
        common = {"use_sim_time": sim_time}
        self._policy_values = {**common, "checkpoint": checkpoint, "default_instruction": INSTRUCTION}
        few = {"k1": 1, "k2": 2, "row_budget": 8, "taper_rows": 4}  # for the random one's 16 visual tokens
        self.budgets = {} if checkpoint == SMALL_POLICY else few
        self._policy_values |= self.budgets | {"goal.patience": 60.0}  # a busy machine must not end a goal
        self._command_values = {**common, "enabled": False, "action_scale": 1.0, **command}
        self._context = Context()
        self._context.init()
        self.client = VlaClient(context=self._context, check=self._check, patience=PATIENCE, name="rig")
        self.node = self.client.node
        self.chunks: list[tuple[float, JointTrajectory]] = []  # when it was heard [s]
        self.totals: list[float] = []  # seconds a tick took
        self.said = ""  # what the command node said last about itself
        self.words = Words()
        self._listen()
        kind = JointedArm if command.get("command_type") == "joint_trajectory" else FollowingArm
        defaults = default_settings("command")
        self.arm = kind(self.node, self.now, limits_of({**defaults, **command}), 1.0 / defaults["rate"])
        self.camera = FaultyCamera(CAMERA_RATE, self.now)
        self._clock = Repeater(100.0, self._tell_time) if sim_time else None

    def __enter__(self) -> Rig:
        try:
            self.start_command()
            self.start_policy()
            self.enable()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop()
        self.camera.close()
        self.arm.close()
        if self._clock is not None:
            self._clock.close()
        self.client.close()
        self._context.try_shutdown()

    def now(self) -> float:
        """ROS time [s]."""
        return time.time() + self._offset

    def jump(self, by: float) -> None:
        """Let ROS time jump."""
        self._offset += by

    def start_command(self, **changes: Any) -> None:
        """Start the command node's process."""
        self.command: Running = self._processes.start("command", {**self._command_values, **changes})

    def stop_command(self) -> None:
        """End the command node in order."""
        self.command.signal(signal.SIGINT)
        self.ended(self.command)

    def ended(self, node: Running) -> None:
        """Wait until a node has ended."""
        try:
            node.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise FaultError(f"the {node.name} node has not ended after {PATIENCE:.0f} s") from None

    def start_policy(self) -> None:
        """Start the policy's process and bring it up."""
        self.policy: Running = self._processes.start("policy", self._policy_values)
        self.bring_up()

    def bring_up(self) -> None:
        """Configure and activate the policy, from whatever state it is in."""
        due = time.monotonic() + PATIENCE + LOADING
        while not (answer := self.client.bring_up(due - time.monotonic())):  # refused: one that was asked twice
            if time.monotonic() > due:
                raise FaultError(f"{answer.words}; the policy can't be activated: {self.policy.last_words()}")
            time.sleep(SOON)

    def policy_state(self) -> int:
        """Lifecycle state of the policy."""
        return int(self.call(GetState, "policy/get_state", GetState.Request()).current_state.id)

    def change(self, transition: int) -> bool:
        """Whether a lifecycle transition succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, "policy/change_state", request, attempt=LOADING).success)

    def enable(self) -> None:
        """Let the arm move as soon as the command node consents; FaultError with its reason when it never does."""
        need(self.client.enable())

    def release(self) -> None:
        """Release the emergency stop, and let the arm move again."""
        self.client.release()
        self.enable()

    def start_over(self) -> None:
        """Carry the arm to where it began while it is switched off; it may move again from there."""
        need(self.client.disable())
        time.sleep(SETTLED)
        self.arm.home()
        self.until(lambda: len(self.arm.told) >= AT_HOME, "the arm at home")
        self.enable()
        self.until(self._goes_on, "motion from home")

    def _goes_on(self) -> bool:
        """Whether the arm follows chunks; where it was enabled before it was seen to be elsewhere, it is once more."""
        if "~/enable" in self.said and self.said.startswith("holding"):
            self.enable()
        return self.said == "tracking"

    def set_parameters(self, node: str, values: dict[str, Any]) -> None:
        """Set parameters at once, as some values are valid only beside others; FaultError when they are refused."""
        need(self.client.set(values, node=node))

    def call(self, kind: Any, service: str, request: Any, attempt: float = 1.0) -> Any:
        """Answer of a service, asked again every `attempt` seconds: a killed server seems alive for a while."""
        try:
            return self.client.link.call(kind, service, request, PATIENCE, attempt)
        except ClientError as error:
            raise FaultError(f"{error}; the command node says '{self.said}'") from error

    def until(self, condition: Callable[[], object], what: str, patience: float = PATIENCE) -> float:
        """Wait for `condition`; the seconds it took. FaultError when a process has ended or it never comes."""
        began = time.monotonic()
        while not condition():
            self._check()
            if time.monotonic() - began > patience:
                raise FaultError(f"{what}: nothing after {patience:.0f} s; the command node says '{self.said}'")
            time.sleep(POLL)
        return time.monotonic() - began

    def _check(self) -> None:
        """FaultError when the command node has ended."""
        if self.command.process.poll() is not None:
            raise FaultError(f"the command node has ended: {self.command.last_words()}")

    def moving(self, patience: float = PATIENCE) -> float:
        """Wait until the arm follows chunks; the seconds it took."""
        began = time.monotonic()
        return self.until(lambda: self.said == "tracking" and len(self.arm.moved(began)) > 3, "motion", patience)

    def _listen(self) -> None:
        self.instructions = self.node.create_publisher(String, "instruction", 10)
        self.done = self.node.create_publisher(Bool, "done", 10)
        self._time = self.node.create_publisher(Clock, "/clock", 10)
        self.node.create_subscription(
            JointTrajectory, "action_chunk", lambda m: self.chunks.append((time.monotonic(), m)), 10
        )
        self.node.create_subscription(Float64, "policy/latency/total", lambda m: self.totals.append(m.data / 1e3), 50)
        self.node.create_subscription(String, STATE, self._on_state, LATCHED)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def say_done(self, true: bool) -> None:
        """Say whether what a goal may wait for is true."""
        self.done.publish(Bool(data=true))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            line = "" if status.level == DiagnosticStatus.OK else status.message
            self.words.add(time.monotonic(), status.name, line)

    def _on_state(self, message: String) -> None:
        self.words.add(time.monotonic(), STATE, message.data)
        self.said = message.data

    def _tell_time(self) -> None:
        self._time.publish(Clock(clock=time_message(self.now())))

    def answered(self, since: float, observed: float) -> list[float]:
        """When, since the monotonic time `since` [s], chunks came that answer observations of after `observed` [s]."""
        return [
            heard
            for heard, chunk in self.chunks
            if heard >= since and not is_stop(chunk) and abs(seconds(chunk.header.stamp) - observed) < PATIENCE
            and seconds(chunk.header.stamp) >= observed
        ]  # fmt: skip
