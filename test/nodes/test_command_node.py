"""The command node over DDS: it tracks valid chunks, and holds in every other case."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped

from vla_entropy_ros.control import Motion, Pose
from vla_entropy_ros.nodes.common.messages import pose_from, seconds

from .arm import FORWARD, HOME, PAUSE, PERIOD, Arm, farthest, last_away

ERROR, OK, STALE, WARN = DiagnosticStatus.ERROR, DiagnosticStatus.OK, DiagnosticStatus.STALE, DiagnosticStatus.WARN


def test_nothing_is_sent_before_it_is_enabled(stage: Any) -> None:
    arm = Arm(stage)
    arm.measure()
    arm.offer()
    assert arm.silent()
    arm.safety(OK, "disabled")


def test_it_can_not_be_enabled_blindly(stage: Any) -> None:
    arm = Arm(stage)
    answer = arm.enable()
    assert not answer.success
    assert answer.message.startswith("not enabled: no current_pose yet: nothing has come on /current_pose")
    arm.measure(frame="elsewhere")
    stage.until(lambda: "frame" in arm.enable().message, "a refusal")
    assert arm.silent()
    arm.measure()
    stage.until(lambda: bool(arm.enable().success), "the service's consent")


def test_enabled_it_holds_the_pose_at_the_rate(stage: Any) -> None:
    arm = Arm(stage, {"rate": 50.0}).ready()
    stage.until(lambda: len(arm.targets) > 20, "targets")
    stamps = [seconds(target.header.stamp) for target in arm.targets]
    assert np.median(np.diff(stamps)) == pytest.approx(0.02, abs=0.005)
    assert farthest(arm.targets) < 1e-9
    assert {target.header.frame_id for target in arm.targets} == {"base_link"}
    assert arm.openings == []  # no action has said anything about the gripper
    arm.safety(OK, "waiting for a chunk")


def test_a_chunk_moves_the_target_by_its_action_and_then_it_holds(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 10.0}).ready()
    arm.offer()
    stage.until(lambda: last_away(arm) > 0.0199, "motion")
    assert pose_from(arm.targets[-1]).position == pytest.approx([0.47, 0.0, 0.2], abs=1e-6)
    assert arm.openings[-1].data == pytest.approx(0.25)
    arm.safety(OK, "tracking")
    stage.until(lambda: arm.state() is Motion.HOLDING, "a hold")
    arm.safety(WARN, "chunks are stale")
    assert pose_from(arm.targets[-1]).position == pytest.approx(HOME.position)  # where the arm is


def test_a_stale_chunk_is_held_within_two_periods(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 1.0}).ready()
    began = seconds(arm.time())
    arm.offer()
    stage.until(lambda: arm.state() is Motion.TRACKING, "motion")
    stage.until(lambda: arm.state() is Motion.HOLDING, "a hold")
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")
    moving = [seconds(t.header.stamp) for t in arm.targets if farthest([t]) > 1e-9]
    assert moving[-1] - began < 2 * PERIOD + 0.25  # 0.25: the chunk's way on a busy machine


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        ({"actions": [(np.nan, *FORWARD[1:])]}, "not a finite number in x"),
        ({"frame": "elsewhere"}, "frame 'elsewhere', expected 'base_link'"),
        ({"joint_names": ["j1"]}, "expected x, y, z, roll, pitch, yaw, gripper"),
    ],
)
def test_a_malformed_chunk_stops_the_arm(stage: Any, chunk: dict[str, Any], said: str) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0}).ready()
    arm.offer()
    stage.until(lambda: arm.state() is Motion.TRACKING, "motion")
    time.sleep(0.01)
    arm.offer(**chunk)
    stage.until(lambda: arm.state() is Motion.HOLDING, "a hold")
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")
    arm.safety(ERROR, said)
    arm.offer()
    stage.until(lambda: arm.state() is Motion.TRACKING, "motion")
    arm.safety(OK, "tracking")


def test_a_chunk_from_before_it_was_enabled_is_refused(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0}).ready()
    arm.offer(age=2.0)
    stage.until(lambda: arm.node._tally.refused == 1, "a refusal")
    stage.until(lambda: len(arm.targets) > 3, "targets")
    assert farthest(arm.targets) < 1e-9
    assert arm.state() is Motion.IDLE


def test_steps_and_workspace_are_limited_live(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0, "limits.max_translation": 0.01}).ready()
    arm.offer([(0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)])
    stage.until(lambda: last_away(arm) > 0.0099, "motion")
    time.sleep(PAUSE)
    assert farthest(arm.targets) == pytest.approx(0.01)
    for name, value in (("workspace.x.high", 0.465), ("limits.max_translation", 0.04)):
        assert stage.set_parameter("command", name, value).successful
    answer = stage.set_parameter("command", "workspace.x.low", 0.5)
    assert not answer.successful
    assert "must lie below" in answer.reason
    arm.offer([(0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)])
    stage.until(lambda: last_away(arm) > 0.0149, "motion")
    time.sleep(PAUSE)
    assert max(target.pose.position.x for target in arm.targets) == pytest.approx(0.465)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda arm: arm.measure(age=30.0), "current_pose is 30."),
        (lambda arm: arm.measure(frame="elsewhere"), "is in frame 'elsewhere', expected 'base_link'"),
        (lambda arm: arm.measure(Pose(HOME.position * np.nan, HOME.quaternion)), "pose refused"),
    ],
    ids=["old", "frame", "nan"],
)
def test_without_a_good_pose_nothing_is_sent(stage: Any, spoil: Callable[[Arm], None], said: str) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0}).ready()
    stage.until(lambda: len(arm.targets) > 0, "a target")
    spoil(arm)
    stage.until(lambda: arm.node._command is None, "the silence")
    assert arm.silent()
    arm.safety(STALE, said)
    arm.measure()
    stage.until(lambda: arm.node._command is not None, "the commands")
    assert farthest(arm.targets) < 1e-9


def test_disabled_it_holds_once_and_falls_silent(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0}).ready()
    arm.offer()
    stage.until(lambda: last_away(arm) > 0.01, "motion")
    assert arm.enable(False).success
    assert arm.silent()
    assert farthest(arm.targets[-1:]) < 1e-9
    arm.safety(OK, "disabled")


def test_the_last_word_is_a_hold(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0, "rate": 1.0}).ready()  # a rate too low to hide what is said at the end
    arm.offer()
    arm.measure()
    stage.until(lambda: arm.node._tally.accepted == 1, "a chunk")
    said: list[PoseStamped] = []
    arm.node._output._publisher.publish = said.append  # type: ignore[assignment,method-assign]
    arm.node.close()
    assert farthest(said[-1:]) < 1e-9
    assert said[-1].header.frame_id == "base_link"
