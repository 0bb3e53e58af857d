"""Messages full of nonsense for every subscription of both nodes: nothing may crash, nothing may move."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.common.messages import chunk_message, duration

from .peers import time_message
from .rig import Rig

NAN, HUGE = float("nan"), 1.7e308
TEXTS = ("", "base_link", "\u2603" * 9, "x" * 3000, "rgb8", "<robot/>", "%s%n{}", "\n")
LONGEST = 40  # elements of an array
PAUSE = 0.004  # seconds between two messages: queues of depth one must not hide most of them

POLICY: dict[str, type] = {"image": Image, "image/compressed": CompressedImage, "instruction": String}
COMMAND: dict[str, type] = {"action_chunk": JointTrajectory, "current_pose": PoseStamped, "emergency_stop": Bool}
JOINTED: dict[str, type] = {"joint_states": JointState, "robot_description": String}


def nonsense(kind: type) -> Any:
    """Make a message of that type with random fields."""
    message: Any = kind()
    for name, declared in message.get_fields_and_field_types().items():
        setattr(message, name, _value(getattr(message, name), declared))
    return message


def _value(example: Any, declared: str) -> Any:
    """Draw a random value of the declared type; `example` is the default one."""
    inner = declared.removeprefix("sequence<").removesuffix(">")
    if declared.startswith("sequence<"):
        if inner == "uint8":
            return random.randbytes(random.randrange(LONGEST**2))
        return [_scalar(inner) for _ in range(random.randrange(LONGEST))] if "/" not in inner else _points(inner)
    return nonsense(type(example)) if "/" in declared else _scalar(declared)


def _points(declared: str) -> list[Any]:
    from trajectory_msgs.msg import JointTrajectoryPoint

    assert declared == "trajectory_msgs/JointTrajectoryPoint"
    return [nonsense(JointTrajectoryPoint) for _ in range(random.randrange(5))]


def _scalar(declared: str) -> Any:
    if declared == "string":
        return random.choice(TEXTS)
    if declared == "boolean":
        return random.random() < 0.5
    if declared.startswith(("float", "double")):
        return random.choice((0.0, -1.0, NAN, HUGE, -HUGE, float("inf"), random.gauss(0, 1)))
    bits = int(declared.lstrip("uint"))
    low, high = (0, 2**bits) if declared.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return random.choice((0, low, high - 1, random.randrange(low, high)))


def broken_chunk(now: float) -> JointTrajectory:
    """Make a good chunk with one thing wrong with it."""
    actions = [[random.uniform(-0.03, 0.03) for _ in range(6)] + [1.0] for _ in range(random.randrange(1, 4))]
    import numpy as np

    message = chunk_message(np.array(actions), ACTION_NAMES, 0.1, time_message(now), "base_link")
    spoils: tuple[Callable[[], Any], ...] = (
        lambda: setattr(message.header, "frame_id", random.choice(("", "map", "base_link "))),
        lambda: setattr(message, "joint_names", random.sample(ACTION_NAMES, 6)),
        lambda: setattr(message, "joint_names", [*ACTION_NAMES[:6], "yaw"]),
        lambda: setattr(message, "points", []),
        lambda: setattr(message.points[0], "positions", message.points[0].positions[:5]),
        lambda: setattr(message.points[-1], "positions", [random.choice((NAN, HUGE * 10))] * 7),
        lambda: setattr(message.points[0], "time_from_start", duration(random.choice((-1.0, 0.0)))),
        lambda: setattr(message.header, "stamp", random.choice((Time(), time_message(now + 1e6)))),
    )
    random.choice(spoils)()
    return message


def fuzz(rig: Rig, topics: dict[str, type], count: int) -> dict[str, Any]:
    """Send `count` messages to each topic while the arm is enabled and nobody else acts; what came of it."""
    rig.moving()
    rig.camera.repeater.running.clear()
    rig.until(lambda: rig.said.startswith("holding"), "the hold")
    time.sleep(0.3)
    began = time.monotonic()
    sent = {}
    for topic, kind in topics.items():
        publisher: Any = rig.node.create_publisher(kind, topic, LATCHED if topic == "robot_description" else 10)
        rig.until(publisher.get_subscription_count, f"a listener of {topic}")
        for number in range(count):
            broken = kind is JointTrajectory and number % 2
            publisher.publish(broken_chunk(rig.now()) if broken else nonsense(kind))
            time.sleep(PAUSE)
        sent[topic] = count
        rig.until(lambda: rig.policy.process.poll() is None, "the policy's life", 0.1)
        rig.node.destroy_publisher(publisher)
    moves = len(rig.arm.moved(began))
    rig.call(Trigger, "command/release", Trigger.Request())
    rig.camera.repeater.running.set()
    rig.bring_up()
    rig.enable()
    rig.instructions.publish(String(data="pick up the red cube"))
    recovery = rig.moving()
    return {"sent": sent, "moves": moves, "recovery_s": round(recovery, 2), "violations": rig.arm.violations}
