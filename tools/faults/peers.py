"""What stands around the nodes: a camera, an arm that follows its targets, an operator; each fails on demand."""

from __future__ import annotations

import array
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.control import Kinematics, Limits, Pose, read_chain
from vla_entropy_ros.control.pose import step_toward
from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.common.messages import jpeg_message, pose_from, pose_message

from .judge import Bounds, Sending, Target, alike

HOME = Pose(np.array([0.45, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
FRAMES = 24  # pictures that the camera shows in turn
JOINTS = ("x", "y", "z", "turn_z", "turn_y", "turn_x")
BASE = "-0.1 0 0"  # metres: where the gantry begins
AT_HOME = (0.55, 0.0, 0.2, 0.0, 0.0, 0.0)  # metres and radians: its joints where HOME is
AXES = {"x": "1 0 0", "y": "0 1 0", "z": "0 0 1"}
RATE = 50.0  # hertz at which an arm tells where it is
TOLD = 50  # measured poses that a hold may go back to


def time_message(stamp: float) -> Time:
    """`stamp` seconds as a ROS time."""
    nanoseconds = max(0, round(stamp * 1e9))
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


class Repeater:
    """Calls `action` at a rate [Hz] on a thread of its own while `running`."""

    def __init__(self, rate: float, action: Callable[[], None]) -> None:
        self._period, self._action = 1.0 / rate, action
        self.running = threading.Event()
        self.running.set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._period, time.monotonic() - self._period)
            if self.running.is_set():
                self._action()


class FaultyCamera:
    """Publishes JPEG pictures that change all the time, as a DDS participant of its own."""

    def __init__(self, rate: float, now: Callable[[], float]) -> None:
        self._now = now
        self._random = np.random.default_rng(0)
        self.size = 112
        self._pictures = {size: [self._jpeg(size) for _ in range(FRAMES)] for size in (self.size, 96)}
        self.spoil: Callable[[bytes], bytes] | None = None  # what becomes of a picture on its way
        self.shown: list[float] = []  # when pictures were shown, in ROS time [s]
        self._lock = threading.Lock()
        self.join()
        self.repeater = Repeater(rate, self._show)

    def _jpeg(self, size: int) -> bytes:
        coarse = self._random.integers(0, 256, (8, 8, 3), np.uint8)
        pixels: NDArray[np.uint8] = np.kron(coarse, np.ones((size // 8, size // 8, 1), np.uint8))
        return bytes(jpeg_message(pixels, Time(), "").data)

    def join(self) -> None:
        """Enter the graph."""
        with self._lock:
            self._context = Context()
            self._context.init()
            self._node = Node("camera", context=self._context)
            self._publisher = self._node.create_publisher(CompressedImage, "image/compressed", 1)

    def leave(self) -> None:
        """Leave the graph."""
        with self._lock:
            self._node.destroy_node()
            self._context.try_shutdown()

    def close(self) -> None:
        """End."""
        self.repeater.close()
        self.leave()

    def _show(self) -> None:
        data = self._pictures[self.size][len(self.shown) % FRAMES]
        data = data if self.spoil is None else self.spoil(data)
        message = CompressedImage(format="jpeg", data=array.array("B", data))
        self.shown.append(self._now())
        message.header.stamp, message.header.frame_id = time_message(self.shown[-1]), f"camera_{self.size}"
        with self._lock:
            if self._context.ok():
                self._publisher.publish(message)


class FollowingArm:
    """Goes where it is told to be, tells its pose at 50 Hz, and checks every target against the limits.

    It is there at the next pose it tells, unless targets came late and together: no arm outruns its limits.
    """

    def __init__(self, node: Node, now: Callable[[], float], limits: Limits, period: float) -> None:
        self._now = now
        self.bounds = Bounds(limits, period)
        self.targets: list[Target] = []
        self.violations: list[str] = []
        self.lie: NDArray[np.float64] | None = None  # what it tells beside the truth: metres [3], or one per joint
        self.told: deque[Pose] = deque(maxlen=TOLD)  # where it truly was when it told
        self._lock = threading.Lock()
        self.home()
        self._connect(node)
        self._repeater = Repeater(RATE, self._tell)

    def _connect(self, node: Node) -> None:
        self._publisher: Any = node.create_publisher(PoseStamped, "current_pose", 1)
        node.create_subscription(PoseStamped, "target_pose", self._on_target, 50)

    def close(self) -> None:
        """End."""
        self._repeater.close()

    def home(self) -> None:
        """Be carried to where it began, and let nothing count that was told before."""
        with self._lock:
            self._carried = time.monotonic()
            self._place()
            self.told.clear()
            self.targets.clear()

    def _place(self) -> None:
        """Be at home."""
        self.pose = self._goal = HOME

    def moved(self, since: float) -> list[float]:
        """When, since the monotonic time `since` [s], a target was sent that differs from the one before."""
        pairs = list(zip(self.targets, self.targets[1:], strict=False))
        return [b.sent for a, b in pairs if b.sent >= since and b.differs(a)]

    def _go_on(self) -> Any:
        """Move towards the goal for one period; where it is then."""
        limits = self.bounds.limits
        with self._lock:
            self.pose = step_toward(self.pose, self._goal, limits.max_speed / RATE, limits.max_turn_speed / RATE)
            self.told.append(self.pose)
            return self.pose

    def _tell(self) -> None:
        pose = self._go_on()
        if self.lie is not None:
            pose = Pose(pose.position + self.lie, pose.quaternion)
        self._publisher.publish(pose_message(pose, time_message(self._now()), "base_link"))

    def _on_target(self, message: Any, info: Any) -> None:
        try:
            self._follow(pose_from(message), sending_of(info))
        except ValueError as error:
            self.violations.append(str(error))

    def _follow(self, pose: Pose, sending: Sending, joints: NDArray[np.float64] | None = None) -> bool:
        """Go where it is told; False for what was sent before it was carried home."""
        if sending.sent < self._carried:
            return False
        last = self.targets[-1] if self.targets else None
        still = any(alike(pose, told) for told in tuple(self.told)) or (last is not None and alike(pose, last.pose))
        target = Target(sending, pose, joints, still)
        self.violations += self.bounds.broken(last, target)
        self.targets.append(target)
        self._goal = pose
        return True


class JointedArm(FollowingArm):
    """The same with joints: a gantry with a wrist, described by a URDF, that follows joint trajectories.

    With all joints at zero, its tool is outside the workspace: a driver that reports zeros first is far from the truth.
    """

    description = (
        '<robot name="gantry"><link name="base_link"/><link name="tool"/>'
        + "".join(f'<link name="{name}_link"/>' for name in JOINTS[:-1])
        + "".join(
            f'<joint name="{name}" type="{"prismatic" if name in "xyz" else "revolute"}">'
            f'<origin xyz="{BASE if number == 0 else "0 0 0"}"/><axis xyz="{AXES[name[-1]]}"/>'
            f'<limit lower="-1.5" upper="1.5" velocity="2" effort="1"/>'
            f'<parent link="{JOINTS[number - 1] + "_link" if number else "base_link"}"/>'
            f'<child link="{"tool" if number == len(JOINTS) - 1 else name + "_link"}"/></joint>'
            for number, name in enumerate(JOINTS)
        )
        + "</robot>"
    )

    def _place(self) -> None:
        super()._place()
        self.positions = self._turned = np.array(AT_HOME)

    def describe(self, description: str) -> None:
        """Publish a description of the arm, true or not."""
        self._shape.publish(String(data=description))

    def _connect(self, node: Node) -> None:
        self._kinematics = Kinematics(read_chain(self.description, "base_link", "tool"))
        self.bounds = Bounds(self.bounds.limits, self.bounds.period, self._kinematics)
        self._shape = node.create_publisher(String, "robot_description", LATCHED)
        self.describe(self.description)
        self._publisher = node.create_publisher(JointState, "joint_states", 1)
        node.create_subscription(JointTrajectory, "joint_trajectory", self._on_trajectory, 50)

    def _go_on(self) -> Any:
        speeds = np.minimum(self._kinematics.speed, self.bounds.limits.max_joint_speed)
        with self._lock:
            self.positions = self.positions + np.clip(self._turned - self.positions, -speeds / RATE, speeds / RATE)
            self.pose = self._kinematics.forward(self.positions)
            self.told.append(self.pose)
            return self.positions

    def _tell(self) -> None:
        positions = self._go_on()
        positions = positions if self.lie is None else positions + self.lie
        self._publisher.publish(joint_state(positions, self._now()))

    def _on_trajectory(self, message: Any, info: Any) -> None:
        joints = np.array([list(point.positions) for point in message.points])
        if tuple(message.joint_names) != JOINTS or joints.shape != (1, len(JOINTS)) or not np.isfinite(joints).all():
            self.violations.append(f"positions {joints.tolist()} for joints {', '.join(message.joint_names)}")
            return
        if self._follow(self._kinematics.forward(joints[0]), sending_of(info), joints[0]):
            self._turned = joints[0]


def sending_of(info: Any) -> Sending:
    """How a message was sent, from rclpy's message info."""
    return Sending.of(info, time.time(), time.monotonic())


def joint_state(positions: NDArray[np.float64], now: float) -> JointState:
    """Positions [n] of JOINTS as they are told at ROS time `now` [s]."""
    message = JointState(name=list(JOINTS), position=positions.tolist())
    message.header.stamp = time_message(now)
    return message
