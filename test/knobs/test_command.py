"""Every parameter of the command node that shapes motion changes what is sent, for the command types that listen."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from vla_entropy_ros.control import ActionChunk, ChunkError, Commander, Gate, UnreachableError, limits_of, rules_of
from vla_entropy_ros.nodes.command.arm import Arm
from vla_entropy_ros.nodes.command.joint_arm import JointArm
from vla_entropy_ros.nodes.command.outputs import make_output
from vla_entropy_ros.nodes.command.settings import COMMAND_SETTINGS, COMMAND_TYPES
from vla_entropy_ros.settings import default_settings
from vla_entropy_ros.sim.arm import HOME

from ..control.test_kinematics import ARM, URDF

PERIOD = 0.1  # seconds an action lasts
BEGIN = 100.0  # seconds
AHEAD = [0.03, 0.02, 0.01, 0.1, 0.15, 0.05, 0.25]
START = ARM.forward(HOME).position
# Limits that do not bite; OTHER tightens one at a time.
FREE = {
    **default_settings("command"), "action_scale": 1.0, "limits.lead_translation": 0.5, "limits.lead_rotation": 1.5,
    "limits.max_speed": 5.0, "limits.max_turn_speed": 20.0, "limits.max_joint_speed": 20.0,
    **{f"workspace.{axis}.{side}": bound for axis in "xyz" for side, bound in (("low", -5.0), ("high", 5.0))},
}  # fmt: skip
OTHER: dict[str, Any] = {
    "rate": 20.0,
    "action_frame": "elsewhere",
    "tool_frame": "elsewhere",
    "action_space": "tool_delta",
    "action_scale": 0.5,
    "gripper.hold_time": 10.0,
    "chunk.stale_after": 1.0,
    "chunk.expired_after": 1.0,
    "chunk.blending": 0.5,
    "limits.max_translation": 0.01,
    "limits.max_rotation": 0.02,
    "limits.max_speed": 0.05,
    "limits.max_turn_speed": 0.2,
    "limits.max_joint_speed": 0.05,
    "limits.lead_translation": 0.005,
    "limits.lead_rotation": 0.01,
    **{f"workspace.{axis}.high": float(START[n]) + 0.004 for n, axis in enumerate("xyz")},
    **{f"workspace.{axis}.low": float(START[n]) + 0.05 for n, axis in enumerate("xyz")},
}


class Wire:
    """What an output needs of a node; keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.time = BEGIN

    def create_publisher(self, *_: Any) -> Any:
        return SimpleNamespace(publish=self.sent.append)

    def create_subscription(self, *_: Any, **__: Any) -> None:
        """Nothing comes in: the test hands over what it has."""

    def create_timer(self, *_: Any, **__: Any) -> None:
        """Nor is anybody looked for."""

    def resolve_topic_name(self, topic: str) -> str:
        return f"/{topic}"

    def get_logger(self) -> Any:
        return SimpleNamespace(error=lambda *_, **__: None)

    def get_clock(self) -> Any:
        stamp = Time(sec=int(self.time), nanosec=round(self.time % 1 * 1e9))
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=round(self.time * 1e9), to_msg=lambda: stamp))


def measured(wire: Wire, values: dict[str, Any]) -> Arm:
    """The arm at rest at HOME; through its joints for the type that needs them."""
    if values["command_type"] == "joint_trajectory":
        arm: Any = wire
        limits = limits_of(values)
        joints = JointArm(arm, values["action_frame"], values["tool_frame"], lambda: BEGIN, lambda: 1.0, lambda: limits)
        joints._on_description(String(data=URDF))
        message = JointState(name=list(ARM.names), position=list(map(float, HOME)))
        message.header.stamp = Time(sec=int(BEGIN))
        joints._on_joints(message, {"publisher_gid": {"data": b"driver"}})
        return joints
    pose: Any = SimpleNamespace(pose=ARM.forward(HOME))
    return pose


def sent(values: dict[str, Any]) -> list[Any]:
    """Messages and openings of one second: two chunks that overlap, silence, a chunk that comes late, silence."""
    wire = Wire()
    arm = measured(wire, values)
    if arm.pose is None:  # no such link: nothing can be commanded
        return []
    node: Any = wire
    frame, limits = values["action_frame"], limits_of(values)
    commander = Commander(limits, frame, rules_of(values))
    output = make_output(values["command_type"], node, frame, Gate(limits, 1.0 / values["rate"]), values["rate"])
    commander.anchor(arm.pose)
    back = [-value for value in AHEAD[:6]] + [0.75]
    chunks = [(0.0, 0.0, [AHEAD] * 3), (0.14, 0.14, [back, AHEAD, back]), (0.7, 0.3, [AHEAD])]
    for wire.time in np.arange(BEGIN, BEGIN + 1.0, 1.0 / values["rate"]).tolist():
        while chunks and wire.time >= BEGIN + chunks[0][0] - 1e-9:
            _, stamp, actions = chunks.pop(0)
            chunk = ActionChunk(BEGIN + stamp, PERIOD, np.array(actions), frame)
            try:
                commander.offer(chunk, wire.time)
            except ChunkError:
                continue
            output.forward(commander.limited(chunk, arm.pose), PERIOD, Time(sec=int(BEGIN), nanosec=round(stamp * 1e9)))
        command = commander.command(wire.time, arm.pose)
        try:
            output.move(command, arm, wire.time)
        except UnreachableError as error:
            commander.stop(str(error))
        wire.sent.append(command.opening)
    return wire.sent


@cache
def sent_freely(command_type: str) -> list[Any]:
    """What is sent while no limit bites."""
    messages = sent({**FREE, "command_type": command_type})
    assert len(messages) > 1
    return messages


@pytest.mark.parametrize("command_type", COMMAND_TYPES)
@pytest.mark.parametrize("name", OTHER)
def test_it_changes_what_is_sent_where_it_is_heard_and_nothing_elsewhere(name: str, command_type: str) -> None:
    (setting,) = (setting for setting in COMMAND_SETTINGS if setting.name == name)
    values = {**FREE, "command_type": command_type}
    usual, other = sent_freely(command_type), sent({**values, name: OTHER[name]})
    assert (other != usual) == (setting.silence(values) is None)


def test_the_command_types_send_different_things() -> None:
    kinds = {type(sent_freely(command_type)[0]) for command_type in COMMAND_TYPES}
    assert len(kinds) == len(COMMAND_TYPES) - 1  # joint positions and chunks are both trajectories
