"""What one tick of the command node costs while nothing is wrong; also of another commit, to compare.

`PYTHONPATH=/path/to/other/commit python tools/faults/cost.py` measures that one: it needs nothing but the package.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.control import Pose
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common.messages import chunk_message, pose_message
from vla_entropy_ros.nodes.common.process import make_executor

TICKS = 2000
WARM_UP = 200  # ticks
RATE = 200.0  # hertz of the ticks: four times the default, so that it takes not long
MEASURED, CHUNKS = 50.0, 10.0  # hertz of the arm's state and of the policy, as they are around a robot
PATIENCE = 60.0  # seconds for TICKS of them
NAMES = ("x", "y", "z", "turn_z", "turn_y", "turn_x")
AXES = ("1 0 0", "0 1 0", "0 0 1", "0 0 1", "0 1 0", "1 0 0")
AT = (0.45, 0.0, 0.2, 0.0, 0.0, 0.0)  # metres and radians
GANTRY = "".join(
    [
        '<robot name="gantry"><link name="base_link"/><link name="tool"/>',
        *(f'<link name="{name}_link"/>' for name in NAMES[:-1]),
        *(
            f'<joint name="{name}" type="{"prismatic" if number < 3 else "revolute"}"><axis xyz="{axis}"/>'
            f'<parent link="{"base_link" if number == 0 else NAMES[number - 1] + "_link"}"/>'
            f'<child link="{"tool" if number == 5 else name + "_link"}"/>'
            '<limit lower="-1.5" upper="1.5" velocity="2" effort="1"/></joint>'
            for number, (name, axis) in enumerate(zip(NAMES, AXES, strict=True))
        ),
        "</robot>",
    ]
)


class Timed(CommandNode):
    """The command node, with a watch at its tick."""

    def __init__(self, **node_options: Any) -> None:
        self.times: list[tuple[float, float]] = []  # seconds of each tick: on the wall, and of the processor
        super().__init__(**node_options)

    def _tick(self) -> None:
        wall, processor = time.perf_counter(), time.thread_time()
        super()._tick()
        self.times.append((time.perf_counter() - wall, time.thread_time() - processor))


class Surroundings(Node):
    """An arm that stays where it is, and a policy that asks for a small motion to and fro."""

    def __init__(self) -> None:
        super().__init__("surroundings")
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._poses = self.create_publisher(PoseStamped, "current_pose", 1)
        self._joints = self.create_publisher(JointState, "joint_states", 1)
        self._chunks = self.create_publisher(JointTrajectory, "action_chunk", 1)
        self._shape = self.create_publisher(String, "robot_description", kept)
        self._shape.publish(String(data=GANTRY))
        self._pose = Pose(np.array(AT[:3]), np.array([0.0, 0.0, 0.0, 1.0]))
        self._sign = 1.0
        self.create_timer(1 / MEASURED, self._measure)
        self.create_timer(1 / CHUNKS, self._act)
        self.said = ""  # of ~/state
        self.create_subscription(String, "command/state", self._hear, kept)
        self.enabling: Any = self.create_client(SetBool, "command/enable")

    def _hear(self, message: String) -> None:
        self.said = message.data

    def _stamp(self) -> Time:
        return self.get_clock().now().to_msg()

    def _measure(self) -> None:
        self._poses.publish(pose_message(self._pose, self._stamp(), "base_link"))
        message = JointState(name=list(NAMES), position=list(AT))
        message.header.stamp = self._stamp()
        self._joints.publish(message)

    def _act(self) -> None:
        self._sign = -self._sign
        actions = np.array([[0.01 * self._sign, 0.005 * self._sign, 0.0, 0.0, 0.0, 0.02 * self._sign, 1.0]])
        self._chunks.publish(chunk_message(actions, ACTION_NAMES, 1 / CHUNKS, self._stamp(), "base_link"))


def command_cost(command_type: str, ticks: int = TICKS) -> dict[str, float]:
    """Milliseconds of a tick while the arm follows chunks, and of everything the node does, per tick.

    tick_p50_ms, tick_p99_ms: the tick alone; processor_p50_ms: its processor time, which other processes disturb less;
    all_ms: the mean of the processor time of the node's thread, with what it hears between two ticks.
    """
    rclpy.init()
    settings = {"command_type": command_type, "rate": RATE, "chunk.stale_after": 20.0, "pose_timeout": 5.0}
    parameters = [Parameter(name, value=value) for name, value in settings.items()]
    node, around = Timed(parameter_overrides=parameters), Surroundings()
    own, others = make_executor(), SingleThreadedExecutor()
    own.add_node(node)
    others.add_node(around)
    ended = threading.Event()
    thread = threading.Thread(target=_spin, args=(others, ended))
    thread.start()
    try:
        _enable(own, around)
        _run(own, node, len(node.times) + WARM_UP)
        gc.collect()
        began, first = time.thread_time(), len(node.times)
        _run(own, node, first + ticks)
        spent = time.thread_time() - began
        times = np.array(node.times[first:])
        if around.said != "tracking":
            raise RuntimeError(f"the command node says '{around.said}': a tick without motion costs nothing")
    finally:
        ended.set()
        thread.join()
        node.close()
        node.destroy_node()
        around.destroy_node()
        rclpy.shutdown()
    (middle, processor), (high, _) = np.percentile(times, (50, 99), axis=0) * 1e3
    figures = {"tick_p50_ms": middle, "tick_p99_ms": high, "processor_p50_ms": processor}
    return {name: round(float(value), 4) for name, value in figures.items()} | {
        "all_ms": round(spent / len(times) * 1e3, 4)
    }


def _spin(executor: SingleThreadedExecutor, ended: threading.Event) -> None:
    while not ended.is_set():
        executor.spin_once(timeout_sec=0.05)


def _enable(own: Any, around: Surroundings) -> None:
    """Let the arm move as soon as the node consents."""
    deadline, answer = time.monotonic() + PATIENCE, None
    while answer is None or not answer.done() or not answer.result().success:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the command node is not enabled after {PATIENCE:.0f} s")
        if around.enabling.service_is_ready() and (answer is None or answer.done()):
            answer = around.enabling.call_async(SetBool.Request(data=True))
        own.spin_once(timeout_sec=0.05)


def _run(own: Any, node: Timed, until: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(node.times) < until:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(node.times)} of {until} ticks after {PATIENCE:.0f} s")
        own.spin_once(timeout_sec=0.05)


def costs(ticks: int = TICKS) -> dict[str, dict[str, float]]:
    """Cost of a tick by what is sent."""
    return {kind: command_cost(kind, ticks) for kind in ("pose_stamped", "joint_trajectory")}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(costs(), indent=2) + "\n")
