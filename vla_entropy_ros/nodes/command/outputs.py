"""Command types: target poses, velocities, joint positions, or checked chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from trajectory_msgs.msg import JointTrajectory

from ...control import Command, Gate, Motion, Pose, Velocity
from ...control.chunk import ACTION_NAMES
from ...control.kinematics import Joints, Kinematics, slow_joints
from ...control.pose import AT_REST, velocity
from ..common.listen import publisher_name
from ..common.messages import chunk_message, joints_message, pose_message, twist_message
from .arm import Arm
from .joint_arm import JointArm

REACH = 2.0  # command periods that a joint controller has to reach a point: the next one comes before


class Output(ABC):
    """One kind of command on the wire, all of which passes the `gate` first. `muted`: nothing is sent."""

    kind: type = PoseStamped
    topic = "target_pose"

    def __init__(self, node: Node, frame: str, gate: Gate) -> None:
        self._node, self._frame, self._gate = node, frame, gate
        self.muted = False
        self._publisher: Publisher[Any] = node.create_publisher(self.kind, self.topic, 1)

    @abstractmethod
    def move(self, command: Command, arm: Arm, now: float) -> None:
        """Send the command of time `now` [s]; a command that is not tracking brings the arm to rest.

        Raises GateError for what must not be sent, and UnreachableError.
        """

    @abstractmethod
    def rest(self) -> None:
        """Bring the arm to rest without knowing where it is."""

    def forget(self) -> None:  # noqa: B027
        """Start from where the arm is measured: what was sent before does not count any more."""

    def forward(self, actions: NDArray[np.float64], period: float, stamp: Time) -> None:  # noqa: B027
        """Pass on the actions [H, 7], inside the limits, of a new chunk; most kinds have no use for them."""

    def trouble(self, moving: bool) -> str | None:
        """Who else sends commands here, or that nobody hears those of an arm that moves; asks the graph."""
        topic = self._publisher.topic_name
        if self.muted:
            return None
        names = [publisher_name(info) for info in self._node.get_publishers_info_by_topic(topic)]
        if len(names) > 1:
            return f"several send commands on {topic}: {', '.join(sorted(names))}; end all but one"
        if moving and not self._publisher.get_subscription_count():
            return f"nobody listens on {topic}: start the arm's controller, or remap {self.topic}"
        return None

    def flush(self, patience: float) -> None:
        """Wait until what was sent has arrived, at most `patience` seconds."""
        self._publisher.wait_for_all_acked(Duration(seconds=patience))

    def _send(self, message: Any) -> None:
        if not self.muted:
            self._publisher.publish(message)

    def _stamp(self) -> Time:
        return self._node.get_clock().now().to_msg()


class PoseOutput(Output):
    """Target poses, for Cartesian controllers."""

    _last: Pose | None = None

    def forget(self) -> None:
        """Hold no earlier target."""
        self._last = None

    def move(self, command: Command, arm: Arm, now: float) -> None:
        """Send the target; at rest it is where the arm was measured."""
        self._gate.pose(command.pose, command.state is Motion.TRACKING, arm.pose)
        self._last = command.pose
        self._send(pose_message(command.pose, self._stamp(), self._frame))

    def rest(self) -> None:
        """Repeat the last target: it asks for no motion that was not asked for already."""
        if self._last is not None:
            self._gate.pose(self._last, False, None)
            self._send(pose_message(self._last, self._stamp(), self._frame))


class TwistOutput(Output):
    """Velocities, for MoveIt Servo, which stops by itself 0.1 s after the last one."""

    kind, topic = TwistStamped, "twist_command"
    _last: tuple[Pose, float] | None = None

    def forget(self) -> None:
        """Begin at rest."""
        self._last = None

    def move(self, command: Command, arm: Arm, now: float) -> None:
        """Send the velocity of the target since the command before; zero at rest."""
        moving, speed = command.state is Motion.TRACKING, AT_REST
        if moving and self._last is not None and arm.pose is not None:
            before, then = self._last
            speed = velocity(before, command.pose, now - then, arm.pose, self._gate.limits)
        self._gate.velocity(speed, moving, arm.pose)
        self._last = (command.pose, now) if moving else None
        self._twist(speed)

    def rest(self) -> None:
        """Send a velocity of zero."""
        self._last = None
        self._gate.velocity(AT_REST, False, None)
        self._twist(AT_REST)

    def _twist(self, speed: Velocity) -> None:
        self._send(twist_message(speed, self._stamp(), self._frame))


class JointOutput(Output):
    """Joint positions through inverse kinematics, for joint_trajectory_controller."""

    kind, topic = JointTrajectory, "joint_trajectory"

    def __init__(self, node: Node, frame: str, gate: Gate, period: float) -> None:
        super().__init__(node, frame, gate)
        self._period = period
        self._last: tuple[Joints, float] | None = None  # the last positions on the way, and their time
        self._held: Joints | None = None  # where the joints are held
        self._names: tuple[str, ...] = ()
        self._kinematics: Kinematics | None = None

    def forget(self) -> None:
        """Hold no earlier positions: the joints may have been moved by others meanwhile."""
        self._last = self._held = None

    def move(self, command: Command, arm: Arm, now: float) -> None:
        """Send joint positions for the target; at rest those measured. Raises UnreachableError."""
        assert isinstance(arm, JointArm)
        assert arm.kinematics is not None
        assert arm.joints is not None
        self._names, self._kinematics = arm.kinematics.names, arm.kinematics
        if command.state is not Motion.TRACKING:
            if self._held is None:
                self._held = arm.joints
            self._last = None
            self._hold(arm.joints)
            return
        start, then = self._last or (arm.joints, now - self._period)
        wanted = arm.kinematics.solve(command.pose, start)
        speed = np.minimum(arm.kinematics.speed, self._gate.limits.max_joint_speed)
        joints = slow_joints(start, wanted, now - then, speed, self._period)
        self._gate.joints(self._names, joints, True, arm.joints, arm.kinematics)
        self._last, self._held = (joints, now), None
        self._send(joints_message(self._names, joints, REACH * self._period))

    def rest(self) -> None:
        """Hold the joints where they were measured when the arm came to rest, or at the last positions sent."""
        if self._held is None and self._last is not None:
            self._held = self._last[0]
        self._hold(None)

    def _hold(self, measured: Joints | None) -> None:
        if self._held is not None and self._kinematics is not None:
            self._gate.joints(self._names, self._held, False, measured, self._kinematics)
            self._send(joints_message(self._names, self._held, REACH * self._period))


class ChunkOutput(Output):
    """The chunk itself, checked, scaled and inside the limits, for a controller that interpolates on its own."""

    kind, topic = JointTrajectory, "command_chunk"
    _resting = True
    _opening = 1.0
    _period = 0.1  # seconds that the motionless action lasts; a chunk's own once there was one

    def move(self, command: Command, arm: Arm, now: float) -> None:
        """Nothing while chunks come; the motionless chunk once they cease."""
        if command.state is Motion.TRACKING:
            self._resting = False
        elif not self._resting:
            self.rest()

    def rest(self) -> None:
        """Send a chunk of one action without motion."""
        self._resting = True
        actions = np.array([[0.0] * 6 + [self._opening]])
        self._gate.actions(actions, False)
        self._send(chunk_message(actions, ACTION_NAMES, self._period, self._stamp(), self._frame))

    def forward(self, actions: NDArray[np.float64], period: float, stamp: Time) -> None:
        """Pass the chunk on."""
        self._gate.actions(actions, True)
        self._resting, self._period, self._opening = False, period, float(actions[-1, 6])
        self._send(chunk_message(actions, ACTION_NAMES, period, stamp, self._frame))


SIMPLE: dict[str, type[Output]] = {"pose_stamped": PoseOutput, "twist_stamped": TwistOutput, "chunk": ChunkOutput}


def make_output(command_type: str, node: Node, frame: str, gate: Gate, rate: float) -> Output:
    """The output of that type; `rate`: commands per second."""
    if command_type == "joint_trajectory":
        return JointOutput(node, frame, gate, 1.0 / rate)
    return SIMPLE[command_type](node, frame, gate)
