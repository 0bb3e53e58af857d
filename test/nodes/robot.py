"""A robot for tests: the policy node with a camera and an operator."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.engine import Policy
from vla_entropy_ros.nodes.common.messages import image_message
from vla_entropy_ros.nodes.policy.inference import Inference
from vla_entropy_ros.nodes.policy.node import PolicyNode
from vla_entropy_ros.nodes.policy.statistics import Statistics

PERIOD = 0.01  # seconds between ticks
INSTRUCTION = "pick up the red cube"


class Robot:
    """The policy node on a stage, with a camera and an operator."""

    def __init__(self, stage: Any, checkpoint: Path | str, **overrides: Any) -> None:
        self.stage = stage
        # A slow machine must not fail these tests: how old an image, how slow a tick may be is what others are about.
        values = {"checkpoint": str(checkpoint), "observation.max_age": 10.0, "warn.tick": 10.0}
        values |= {"control_period": PERIOD}
        values |= {"k1": 2, "k2": 3, "row_budget": 0, "taper_rows": 4, **overrides}  # for 16 visual tokens
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        self.node: PolicyNode = stage.add(PolicyNode(parameter_overrides=parameters))
        self.chunks = stage.listen(JointTrajectory, "action_chunk")
        self.random = np.random.default_rng(0)

    @property
    def inference(self) -> Inference:
        """The configured node's inference."""
        assert self.node._inference is not None
        return self.node._inference

    @property
    def statistics(self) -> Statistics:
        """What the node says of itself."""
        return self.inference.statistics()

    @property
    def policy(self) -> Policy:
        """The configured node's policy."""
        assert self.node._policy is not None
        return self.node._policy

    def change(self, transition: int) -> bool:
        """Whether a lifecycle transition succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.stage.call(ChangeState, "/policy/change_state", request).success)

    @property
    def state(self) -> int:
        """Lifecycle state."""
        return int(self.stage.call(GetState, "/policy/get_state").current_state.id)

    def activate(self, instruction: str = INSTRUCTION) -> Robot:
        """Configure, activate and instruct."""
        assert self.change(Transition.TRANSITION_CONFIGURE)
        assert self.change(Transition.TRANSITION_ACTIVATE)
        self.images = self.stage.publisher(Image, "image")
        self.instructions = self.stage.publisher(String, "instruction")
        if instruction:
            self.instruct(instruction)
        return self

    def instruct(self, text: str) -> None:
        """Publish an instruction and wait until it has arrived."""
        self.instructions.publish(String(data=text))
        self.stage.until(lambda: self.inference.instruction == (text.strip() or None), f"instruction '{text}'")

    def image(self, size: int = 56) -> Image:
        """A random image of now."""
        pixels = self.random.integers(0, 256, (size, size, 3), np.uint8)
        return image_message(pixels, self.now(), "camera_link")

    def now(self) -> Time:
        """ROS time, one control period after any other stamp: an earlier image would be skipped."""
        time.sleep(1.5 * PERIOD)
        stamp: Time = self.node.get_clock().now().to_msg()
        return stamp

    def see(self, message: Image | None = None) -> Image:
        """Publish an image."""
        message = message or self.image()
        self.images.publish(message)
        return message

    def tick(self) -> JointTrajectory:
        """Publish an image and wait for its chunk."""
        stamp = self.see().header.stamp
        self.stage.until(lambda: any(chunk.header.stamp == stamp for chunk in self.chunks), "a chunk")
        return self.chunks[-1]

    def quiet(self, done: Callable[[], bool], what: str) -> None:
        """Wait until `done`, and a little longer; no chunk may come."""
        before = len(self.chunks)
        self.stage.until(done, what)
        time.sleep(0.1)
        assert len(self.chunks) == before


def until(condition: Callable[[], object], what: str, patience: float = 20.0) -> None:
    """Wait for `condition`; a busy machine must not fail this."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)
