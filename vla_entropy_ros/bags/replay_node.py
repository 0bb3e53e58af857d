"""A recorded camera through the policy node: its messages as they were, its time as simulated time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, JointState
from trajectory_msgs.msg import JointTrajectory

from ..evaluation.bringup import brought_up
from ..evaluation.client import Client
from ..nodes.common.messages import is_stop
from .bag import COMPRESSED, Bag, JointStates, ToolPose
from .replay_engine import Replayed, Step

CLOCK_STEP = 0.02  # seconds of the bag between two messages on /clock
PATIENCE = 30.0  # seconds until the node listens
AFTER = 1.0  # seconds for the last answers


def replay_through_node(bag: Bag, folder: Path, domain: int, parameters: dict[str, Any], instruction: str) -> Replayed:
    """Start the policy node under simulated time and play the bag to it in real time; raises RunError."""
    given = {**parameters, "default_instruction": instruction, "use_sim_time": True}
    with brought_up({"policy": given}, folder, domain) as client:
        return _play(client, bag, instruction)


def _play(client: Client, bag: Bag, instruction: str) -> Replayed:
    """Publish clock and images at the pace they were recorded, and gather what is answered."""
    kind, topic = (CompressedImage, "image/compressed") if bag.kind == COMPRESSED else (Image, "image")
    images: Any = client.node.create_publisher(kind, topic, 1)
    states: dict[type, Any] = {
        JointStates: client.node.create_publisher(JointState, "joint_states", 10),
        ToolPose: client.node.create_publisher(PoseStamped, "current_pose", 10),
    }
    clock: Any = client.node.create_publisher(Clock, "/clock", 10)
    chunks: dict[tuple[int, int], JointTrajectory] = {}
    client.node.create_subscription(JointTrajectory, "action_chunk", lambda m: _keep(chunks, m), 100)
    client.wait(lambda: client.node.count_publishers("action_chunk") > 0, PATIENCE, "action_chunk")
    client.wait(lambda: images.get_subscription_count() > 0, PATIENCE, "a listener of the camera")
    client.wait(lambda: clock.get_subscription_count() > 0, PATIENCE, "a listener of the clock")
    count, steps = 0, []
    offset: int | None = None  # the bag's time minus ours [ns]

    def pass_time(until: int) -> None:
        assert offset is not None
        while (left := (until - offset - time.monotonic_ns()) * 1e-9) > 0:
            clock.publish(_clock(time.monotonic_ns() + offset))
            client.spin(min(left, CLOCK_STEP))
        clock.publish(_clock(until))

    for frame in bag.frames():
        if offset is None:
            offset = frame.recorded - time.monotonic_ns() - round(AFTER * 1e9)  # time for the clock to be heard
        pass_time(frame.recorded)
        for state in frame.measured:
            states[type(state)].publish(state.raw)
        images.publish(frame.raw)
        last, count = frame.recorded, count + 1
    if count:
        pass_time(last + round(AFTER * 1e9))
    names: tuple[str, ...] = ()
    for tick in client.take_ticks():
        stamp = round(tick.stamp * 1e9)
        chunk = next((c for (sec, nanosec), c in chunks.items() if abs(sec * 10**9 + nanosec - stamp) < 1000), None)
        if chunk is not None:
            names = tuple(chunk.joint_names)
            actions = [list(point.positions) for point in chunk.points]
            steps.append(Step(tick.stamp, actions, tick.latency, tick.fresh, tick.reused))
    return Replayed(bag.topic, instruction, count, steps, {}, names)


def _keep(chunks: dict[tuple[int, int], JointTrajectory], message: JointTrajectory) -> None:
    if not is_stop(message):
        chunks[message.header.stamp.sec, message.header.stamp.nanosec] = message


def _clock(nanoseconds: int) -> Clock:
    return Clock(clock=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9))
