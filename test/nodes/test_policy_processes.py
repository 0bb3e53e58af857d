"""The policy node as a process of its own: how it ends, and what a second one of its name does."""

from __future__ import annotations

import array
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.evaluation.processes import Processes, Running
from vla_entropy_ros.nodes.common.diagnostics import STALE
from vla_entropy_ros.nodes.common.messages import image_message, is_stop

from .robot import INSTRUCTION

STARTING = 60.0  # seconds that a busy machine may need to import torch


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Processes]:
    """Processes that end with the test."""
    with Processes(tmp_path / "first", dict(os.environ)) as one:
        yield one


def start(group: Processes, stage: Any, checkpoint: Path) -> Running:
    """A policy node that is ready to be configured."""
    values = {"checkpoint": str(checkpoint), "default_instruction": INSTRUCTION, "observation.max_age": 10.0}
    running = group.start("policy", {**values, "k1": 1, "k2": 2, "row_budget": 0, "taper_rows": 4})
    stage.until(lambda: "policy: inference" in stage.status, "the node", STARTING)
    return running


def publishing(stage: Any) -> set[bytes]:
    """Those who publish actions, by what DDS calls them: names come later than what a node says."""
    return {bytes(one.endpoint_gid) for one in stage.tester.get_publishers_info_by_topic("action_chunk")}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_after_a_signal_the_last_thing_on_the_wire_is_the_order_to_stop(
    stage: Any, group: Processes, checkpoint: Path, ending: int
) -> None:
    chunks: list[JointTrajectory] = stage.listen(JointTrajectory, "action_chunk")
    others = publishing(stage)  # tests before may have left theirs
    running = start(group, stage, checkpoint)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert stage.call(ChangeState, "/policy/change_state", request).success, running.last_words()
    images = stage.publisher(Image, "image")
    random = np.random.default_rng(0)

    def acting() -> bool:
        pixels = random.integers(0, 256, (56, 56, 3), np.uint8)
        images.publish(image_message(pixels, stage.tester.get_clock().now().to_msg(), "camera"))
        time.sleep(0.1)
        return len(chunks) > 2

    stage.until(acting, "actions", 20.0)
    assert not is_stop(chunks[-1])
    its = publishing(stage) - others
    assert its
    running.signal(ending)
    stage.until(lambda: running.process.poll() is not None, "the end", 20.0)
    stage.until(lambda: is_stop(chunks[-1]), "the order to stop", 2.0)
    assert running.process.returncode == 0
    stage.until(lambda: not its & publishing(stage), "its leave of the graph", 30.0)


def test_a_second_node_of_the_same_name_ends_with_a_reason_and_the_first_goes_on(
    stage: Any, group: Processes, tmp_path: Path, checkpoint: Path
) -> None:
    first = start(group, stage, checkpoint)
    stage.status.clear()
    with Processes(tmp_path / "second", dict(os.environ)) as another:
        second = start(another, stage, checkpoint)
        stage.until(lambda: second.process.poll() is not None, "the end of the second", STARTING)
        assert second.process.returncode == 1
        assert "two nodes are called /policy: end one" in second.last_words()
    assert first.process.poll() is None
    said = "unconfigured, nothing is loaded: ros2 lifecycle set /policy configure"
    stage.status.clear()
    stage.diagnostic("policy: inference", lambda status: status.level == STALE and status.message == said)


def test_a_webcam_of_yuv_drives_the_policy_in_its_own_colours(stage: Any, group: Processes, checkpoint: Path) -> None:
    chunks: list[JointTrajectory] = stage.listen(JointTrajectory, "action_chunk")
    overlays: list[Image] = stage.listen(Image, "/policy/overlay")
    running = start(group, stage, checkpoint)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert stage.call(ChangeState, "/policy/change_state", request).success, running.last_words()
    assert "raw images are decoded by c" in running.log.read_text()
    images = stage.publisher(Image, "image")
    red, blue = (bytes((y, u, y, v)) * 160 for y, u, v in ((81, 90, 240), (41, 240, 110)))  # Y, U, Y, V of ITU-R BT.601

    def acting() -> bool:
        message = Image(height=480, width=640, step=1280, encoding="yuv422_yuy2")
        message.data = array.array("B", (red + blue) * 480)
        message.header.stamp = stage.tester.get_clock().now().to_msg()
        images.publish(message)
        time.sleep(0.1)
        return len(chunks) > 2 and len(overlays) > 0

    stage.until(acting, "actions", 20.0)
    assert not is_stop(chunks[-1])
    drawn = np.frombuffer(overlays[0].data, np.uint8).reshape(overlays[0].height, overlays[0].width, 3).astype(int)
    middle = overlays[0].height // 8  # of a token: the checkpoint has 4 x 4 of them
    left, right = drawn[middle, middle], drawn[middle, -middle]
    assert left[0] > 2 * max(left[1], left[2])  # tinted, so its hue alone can be told
    assert right[2] > 2 * max(right[0], right[1])
