"""Everything a configured policy hears: its cameras, the robot's state, the instruction; and who speaks there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rclpy.node import Node
from std_msgs.msg import String

from ...engine import State
from ..common.listen import SafetyInput
from ..common.parameters import Values
from .camera import Camera, topics
from .graph import publishers
from .intake import Intake
from .robot_state import RobotState

if TYPE_CHECKING:
    from ...engine import Policy

INSTRUCTION = "instruction"
EXAMPLE = "pick up the red cube"


def typed(node: Node, empty: bool) -> str:
    """What is known of the instruction that is lacking, and what to type for one; empty: the last one was."""
    topic = node.resolve_topic_name(INSTRUCTION)
    command = f"ros2 topic pub --once {topic} std_msgs/msg/String \"{{data: '{EXAMPLE}'}}\""
    if empty:
        return f"an empty one was received, which stops the arm: publish one that is not, on '{topic}': {command}"
    there = publishers(node, topic, String, heard="has sent none since configure or deactivate")
    return f"publish one (std_msgs/String, not empty) on '{topic}': {command} ({there})"


class Inputs:
    """The subscriptions that last from configure to cleanup; call `match` now and then, as publishers come and go.

    sources: joint or field behind each name of the policy's state; instructed: gets every instruction.
    """

    def __init__(
        self,
        node: Node,
        policy: Policy,
        values: Values,
        sources: Sequence[str],
        intake: Intake,
        instructed: Callable[[String], None],
    ) -> None:
        info, asked = policy.info, values["observation.reliability"]
        self.cameras = [
            Camera(node, topic, asked, partial(intake.offer, camera=number), intake.miss)
            for number, topic in enumerate(topics(info.cameras))
        ]
        self.robot_state = RobotState(node, info.state_names, sources, values["action_frame"]) if sources else None
        self._instruction = SafetyInput(node, String, INSTRUCTION, instructed)

    def match(self) -> str | None:
        """Subscribe as the publishers offer by now; returns who gives instructions that can't be heard."""
        for camera in self.cameras:
            camera.match()
        return self._instruction.mismatch()

    def sense(self, stamp: float) -> State | None:
        """The robot's state at the time `stamp` [s] of an observation; None where the policy needs none."""
        return None if self.robot_state is None else self.robot_state.at(stamp)

    def silence(self, camera: int) -> str:
        """Why a camera, counted from 0, is not heard, and what to type."""
        return self.cameras[camera].silence({name for one in self.cameras for name in one.names})

    def several(self) -> str | None:
        """Who speaks where one publisher is expected; None where there is one."""
        for camera in self.cameras:
            if (said := camera.several) is not None:
                return said
        return None if self.robot_state is None else self.robot_state.several

    def close(self) -> None:
        """End the subscriptions."""
        for camera in self.cameras:
            camera.close()
        if self.robot_state is not None:
            self.robot_state.close()
        self._instruction.close()
