"""The checks of the policy node over DDS: at configure, on topics, in the diagnostics, and the way to mode full."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

from vla_entropy_ros.engine import ActionError
from vla_entropy_ros.engine.actions.check import Agreement
from vla_entropy_ros.nodes.common.diagnostics import ERROR, OK, WARN
from vla_entropy_ros.nodes.policy import self_check
from vla_entropy_ros.nodes.policy.checks import WINDOW
from vla_entropy_ros.nodes.policy.node import PolicyNode

from .robot import INSTRUCTION, PERIOD, Robot

TOPICS = ("tokens", "translation", "rotation")
CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE


def still(robot: Robot) -> None:
    """A tick over the same picture as every other, to the end of its check."""
    robot.random = np.random.default_rng(0)
    robot.tick()
    robot.inference._worker.call(lambda: None)


@pytest.fixture
def robot(stage: Any, checkpoint: Path) -> Robot:
    """A robot that acts, and reuses what it sees again."""
    return Robot(stage, checkpoint, mode="info_entropy").activate()


def test_the_first_checks_arrive_on_topics_and_the_diagnostic_tells_them(robot: Robot) -> None:
    heard = {name: robot.stage.listen(Float64, f"/policy/self_check/{name}") for name in TOPICS}
    robot.node._diagnostics.publish()
    robot.stage.diagnostic(
        "policy: self check", lambda status: status.level == WARN and "not checked yet" in status.message
    )
    time.sleep(0.2)
    for _ in range(WINDOW + 3):
        still(robot)
    for name in TOPICS:
        robot.stage.until(lambda name=name: len(heard[name]) == WINDOW, name)
        assert {message.data for message in heard[name]} == {1.0 if name == "tokens" else 0.0}
    robot.node._diagnostics.publish()
    robot.stage.diagnostic("policy: self check", lambda status: status.level == OK and "100% of" in status.message)
    assert robot.stage.set_parameter("policy", "self_check.every", 2).successful
    for _ in range(4):
        still(robot)
    robot.stage.until(lambda: len(heard["tokens"]) == WINDOW + 2, "two more")


def test_a_planted_fault_leads_to_mode_full_until_somebody_sets_another(
    robot: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    assert robot.stage.set_parameter("policy", "self_check.translation", 0.0001).successful
    still(robot)
    still(robot)
    robot.policy._cache.values.mul_(-40.0)
    for _ in range(WINDOW):
        still(robot)
        if robot.node._self_check.checks.look().exceeded:
            break
    robot.stage.until(lambda: robot.node.get_parameter("mode").value == "full", "mode full")
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: self check", lambda status: status.level == ERROR)
    assert "valid is up to self_check.translation 0.0001 and self_check.rotation" in status.message
    said = [line for line in capfd.readouterr().err.splitlines() if "mode full from now on" in line]
    assert len([line for line in said if "self check: mode full" not in line]) == 1  # beside that of the diagnostics
    still(robot)
    assert robot.statistics.answer is not None
    assert robot.statistics.answer.result.reuse.reused == 0
    assert robot.stage.set_parameter("policy", "mode", "info_entropy").successful
    for _ in range(3):
        still(robot)
    robot.node._diagnostics.publish()
    robot.stage.diagnostic("policy: self check", lambda status: status.level == OK and "100% of" in status.message)
    assert robot.node.get_parameter("mode").value == "info_entropy"


def test_a_turn_is_judged_by_a_bound_of_its_own(stage: Any, checkpoint: Path) -> None:
    wide = {"self_check.translation": 1.0, "self_check.rotation": 3.2}
    robot = Robot(stage, checkpoint, mode="info_entropy", **wide).activate()
    still(robot)
    assert robot.stage.set_parameter("policy", "self_check.rotation", 0.001).successful
    robot.node._self_check.checks.note([Agreement(1.0, 0.0, 0.01, 0.0, True)], robot.inference._orders.options)
    robot.stage.until(lambda: robot.node.get_parameter("mode").value == "full", "mode full")


@contextmanager
def camera(robot: Robot) -> Iterator[None]:
    """Images of a resting scene, meanwhile."""
    publisher: Any = robot.stage.tester.create_publisher(Image, "image", 10)
    done = threading.Event()

    def show() -> None:
        while not done.wait(2 * PERIOD):
            robot.random = np.random.default_rng(0)
            publisher.publish(robot.image())

    thread = threading.Thread(target=show)
    thread.start()
    try:
        robot.stage.until(lambda: robot.node.count_publishers("image") == 1, "a camera")
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_configure_checks_the_robots_own_images(
    stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str], instruction: str
) -> None:
    robot = Robot(stage, checkpoint, default_instruction=instruction)
    heard = robot.stage.listen(Float64, "/policy/self_check/translation")
    with camera(robot):
        assert robot.change(CONFIGURE)
        found = robot.node._self_check.checks.look()
        assert "self check: over 4 images at most 0.0000 m, 0.0000 rad" in capfd.readouterr().err
        assert (found.total, len(found.window)) == (3, 3 if instruction else 0)  # a probe is not judged
        robot.stage.until(lambda: len(heard) == 3, "figures")
    assert not robot.chunks
    assert robot.change(ACTIVATE)


def test_configure_waits_a_second_for_images_and_not_at_all_for_nobody(
    stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_check, "PATIENCE", 0.3)
    robot = Robot(stage, checkpoint)
    assert robot.change(CONFIGURE)
    assert "nobody sends images yet: checked at the first ticks instead" in capfd.readouterr().err
    assert robot.change(Transition.TRANSITION_CLEANUP)
    robot.stage.tester.create_publisher(Image, "image", 10)
    robot.stage.until(lambda: robot.node.count_publishers("image") == 1, "a camera")
    assert robot.change(CONFIGURE)
    assert "no image within 0.3 s: checked at the first ticks instead" in capfd.readouterr().err


def test_a_rehearsal_that_fails_is_said_and_fails_no_configure(
    stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ActionError("no action")

    monkeypatch.setattr(self_check, "rehearse", fail)
    monkeypatch.setattr("vla_entropy_ros.nodes.policy.inference.rehearse", fail)
    robot = Robot(stage, checkpoint)
    with camera(robot):
        assert robot.change(CONFIGURE)
    assert "not checked at configure: no action: checked at the first ticks" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("self_check.every", -1, "valid are 0 to 100000"),
        ("self_check.translation", 0.0, "valid are 0.0001 to 1"),
        ("self_check.rotation", 0.0, "valid are 0.001 to 3.2"),
    ],
)
def test_bounds_that_are_none_are_refused(name: str, value: object, said: str) -> None:
    node = PolicyNode()
    answer = node.set_parameters_atomically([Parameter(name, value=value)])
    assert (answer.successful, said in answer.reason) == (False, True), answer.reason
    node.close()
    node.destroy_node()
