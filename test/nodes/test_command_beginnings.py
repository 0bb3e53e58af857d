"""How motion begins, and begins again: from where the arm is credibly measured, and after a stop could be heard."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from vla_entropy_ros.control import Pose
from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common.messages import pose_from

from .arm import HOME, Arm, farthest, last_away
from .test_command_safety import moving
from .test_command_trust import tracks_again


@pytest.mark.parametrize("at", [(0.0, 0.0, 0.0), (5.0, 0.0, 0.2)])
def test_an_arm_measured_far_outside_the_workspace_is_not_enabled_and_nothing_is_sent(
    stage: Any, at: tuple[float, float, float]
) -> None:
    """A driver that reports zeros before it has read anything, or another unit."""
    arm = Arm(stage, {"enabled": True})
    zeros = Pose(np.array(at), HOME.quaternion)

    def named() -> bool:
        arm.measure(zeros)
        time.sleep(0.02)
        return arm.said().startswith("no commands: the tool is measured far off by current_pose: x is ")

    stage.until(named, "the reason", 20.0)
    answer = arm.enable()
    assert not answer.success
    assert "outside the workspace (0.2 to 0.75)" in answer.message
    assert arm.targets == []


def test_a_driver_that_begins_anew_elsewhere_is_not_followed(stage: Any) -> None:
    arm = moving(stage, pose_timeout=0.5)
    time.sleep(1.0)  # silent
    before = len(arm.targets)
    lower = Pose(HOME.position - np.array([0.1, 0.0, 0.1]), HOME.quaternion)
    for _ in range(60):
        arm.measure(lower)
        arm.offer()
        time.sleep(0.02)
    assert "current_pose jumped 0.14 m" in arm.said()
    assert all(target.pose.position.z > HOME.position[2] - 0.01 for target in arm.targets[before:])


def test_before_a_stop_from_before_could_be_heard_an_enabled_arm_is_sent_nothing(stage: Any) -> None:
    arm = Arm(stage, {"enabled": True, "chunk.stale_after": 50.0})
    begun = time.monotonic()

    def listens() -> bool:
        arm.measure()
        arm.offer()
        time.sleep(0.02)
        return arm.said().startswith("no commands: listening for an emergency stop")

    stage.until(listens, "the reason")
    assert arm.targets == []
    stage.until(tracks_again(arm), "motion", 20.0)
    assert time.monotonic() - begun > 1.0


def test_what_a_best_effort_publisher_latched_is_lost_which_holds_the_arm_until_it_speaks(stage: Any) -> None:
    profile = QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL
    )
    button = stage.add(Node("button")).create_publisher(Bool, "emergency_stop", profile)
    button.publish(Bool(data=True))
    arm = Arm(stage, {"enabled": True})
    arm.measure()

    def held() -> bool:
        arm.measure()
        time.sleep(0.02)
        return "/button offers best effort and transient local" in arm.said()

    stage.until(held, "the hold", 20.0)
    button.publish(Bool(data=False))
    stage.until(tracks_again(arm), "motion", 20.0)


def test_simulated_time_that_stands_still_is_named(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator is paused, or gone: poses of the right time come no more, but that is not the cause."""
    arm = moving(stage)
    stopped = arm.node._now()
    monkeypatch.setattr(arm.node, "_now", lambda: stopped)
    stage.until(lambda: "/clock stands still at" in arm.said(), "the cause", 20.0)
    arm.safety(DiagnosticStatus.STALE, "/clock stands still at")


ORDERS: dict[str, Callable[[CommandNode], Any]] = {
    "its end": CommandNode.close,
    "the emergency stop": lambda node: node._on_stop(Bool(data=True)),
    "disabling": lambda node: node._on_enable(SetBool.Request(data=False), SetBool.Response()),
    "a fault of its own": lambda node: node.rest("something failed"),
}


def between_commands(stage: Any, arm: Arm, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen to the command node while no timer comes, as the last thing it lives through."""
    monkeypatch.setattr(arm.node, "close", happens)
    stage.remove(arm.node, close=True)
    time.sleep(0.1)  # what was sent is on its way


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_to_hold_before_the_first_command_of_a_new_beginning_holds_where_the_arm_is(
    stage: Any, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Time stood still, so the arm rests at its last target; it goes on, and the order comes before a command does."""
    arm = moving(stage)
    stage.until(lambda: last_away(arm) > 0.002, "motion")
    going_on, stopped = arm.node._now, arm.node._now()
    monkeypatch.setattr(arm.node, "_now", lambda: stopped)
    stage.until(lambda: "/clock stands still at" in arm.said(), "the cause", 20.0)
    assert last_away(arm) > 0.002

    def at_once() -> None:
        monkeypatch.setattr(arm.node, "_now", going_on)
        ORDERS[order](arm.node)

    between_commands(stage, arm, monkeypatch, at_once)
    assert last_away(arm) < 1e-9


@pytest.mark.parametrize("order", [*ORDERS, "a lost pose"])
def test_the_end_of_a_dry_run_sends_nothing_of_where_it_had_led(
    stage: Any, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0, "dry_run": True})
    preview: list[PoseStamped] = stage.listen(PoseStamped, "/command/preview")
    arm.ready()
    arm.offer()
    stage.until(lambda: bool(preview) and farthest(preview[-1:]) > 0.005, "a preview of the motion")

    def at_once() -> None:
        arm.node.set_parameters([Parameter("dry_run", value=False)])
        if order in ORDERS:
            ORDERS[order](arm.node)
        else:
            monkeypatch.setattr(arm.node._arm, "problem", lambda _: order)
            arm.node._tick()

    between_commands(stage, arm, monkeypatch, at_once)
    assert [farthest([target]) < 1e-9 for target in arm.targets] == [True] * (order in ORDERS)
    assert not arm.openings


@pytest.mark.parametrize("then", ["_tick", *ORDERS])
def test_an_arm_that_moved_before_the_first_command_is_commanded_from_where_it_is(
    stage: Any, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """It is enabled on a pose of a moment ago, and then seen to be further away than a hold may lie."""
    arm = Arm(stage)
    arm.measure()
    stage.until(lambda: arm.node._arm.pose is not None, "the pose")
    elsewhere = Pose(HOME.position + np.array([0.0, 0.1, 0.05]), HOME.quaternion)

    def at_once() -> None:
        node = arm.node
        response = node._on_enable(SetBool.Request(data=True), SetBool.Response())
        assert response.success, response.message
        monkeypatch.setattr(type(node._arm), "pose", property(lambda _: elsewhere))
        monkeypatch.setattr(node._arm, "problem", lambda _: None)
        ORDERS.get(then, CommandNode._tick)(node)

    between_commands(stage, arm, monkeypatch, at_once)
    assert arm.targets
    assert all(np.allclose(pose_from(target).position, elsewhere.position) for target in arm.targets)
    assert "not sent" not in arm.said()
