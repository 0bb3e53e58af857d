"""The command node over DDS: emergency stop, stop order, dry run, and the last thing on the wire."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path as PathMessage
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_entropy_ros.control import Motion
from vla_entropy_ros.evaluation.processes import Processes
from vla_entropy_ros.nodes.common.messages import stop_message

from .arm import FORWARD, HOME, PAUSE, Arm, Wires, farthest, last_away

ERROR, WARN = DiagnosticStatus.ERROR, DiagnosticStatus.WARN


def moving(stage: Any, **overrides: Any) -> Arm:
    """An arm in motion, on a chunk that would go on for long."""
    arm = Arm(stage, {"chunk.stale_after": 50.0, **overrides}).ready()
    arm.offer()
    stage.until(lambda: arm.state() is Motion.TRACKING, "motion")
    return arm


def test_an_emergency_stop_holds_and_latches_until_released(stage: Any) -> None:
    arm = moving(stage)
    stop = stage.publisher(Bool, "emergency_stop")
    stop.publish(Bool(data=True))
    stage.until(lambda: "emergency stop" in arm.said(), "the stop")
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")
    arm.safety(ERROR, "emergency stop")
    stop.publish(Bool(data=False))  # asks for nothing
    answer = arm.enable()
    assert (answer.success, "call ~/release first" in answer.message) == (False, True)
    before = len(arm.targets)
    for _ in range(5):
        arm.offer()
        time.sleep(0.05)
    assert farthest(arm.targets[before:]) < 1e-9
    assert len(arm.targets) > before  # the arm is told to stay
    assert stage.call(Trigger, "/command/release").success
    stage.until(lambda: arm.said() == "disabled", "the release")
    arm.offer()
    assert arm.silent()
    assert arm.enable().success
    arm.offer()
    stage.until(lambda: last_away(arm) > 0.01, "motion")


def test_an_emergency_stop_before_the_arm_is_enabled_sends_nothing_but_latches(stage: Any) -> None:
    arm = Arm(stage)
    arm.measure()
    assert "no emergency stop" in stage.call(Trigger, "/command/release").message
    stage.publisher(Bool, "emergency_stop").publish(Bool(data=True))
    stage.until(lambda: "emergency stop" in arm.said(), "the stop")
    assert not arm.enable().success
    assert arm.silent()
    assert arm.targets == []


def test_the_policys_stop_order_holds_the_arm_at_once(stage: Any) -> None:
    arm = moving(stage)
    arm.chunks.publish(stop_message(arm.time(), "base_link"))
    stage.until(lambda: arm.state() is Motion.HOLDING, "a hold")
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")
    arm.safety(WARN, "the policy says stop")


def test_a_dry_run_sends_nothing_but_a_preview(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0, "dry_run": True})
    preview: list[PoseStamped] = stage.listen(PoseStamped, "/command/preview")
    arm.ready()
    arm.offer()
    stage.until(lambda: bool(preview) and farthest(preview[-1:]) > 0.01, "a preview of the motion")
    assert (arm.targets, arm.openings) == ([], [])
    assert arm.said() == "tracking"


def test_a_chunk_is_shown_as_the_path_that_it_leads_to(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 50.0, "dry_run": True})
    paths: list[PathMessage] = stage.listen(PathMessage, "/command/path")
    arm.ready()
    stage.until(lambda: arm.node.count_subscribers("/command/path") > 0, "somebody who looks")
    arm.offer([FORWARD, (0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)])
    stage.until(lambda: bool(paths), "a path")
    places = [one.pose.position.x for one in paths[0].poses]
    assert places == pytest.approx([0.45, 0.47, 0.52])  # the second step is cut at limits.max_translation
    assert paths[0].header.frame_id == paths[0].poses[2].header.frame_id == "base_link"


def test_a_dry_run_that_begins_in_motion_leaves_the_arm_at_rest(stage: Any) -> None:
    arm = moving(stage)
    stage.until(lambda: last_away(arm) > 0.005, "motion")
    assert stage.set_parameter("command", "dry_run", True).successful
    arm.offer()
    assert arm.silent()
    assert farthest(arm.targets[-1:]) < 1e-9


def test_a_small_action_scale_makes_small_steps(stage: Any) -> None:
    arm = moving(stage, action_scale=0.2)
    time.sleep(PAUSE)
    assert farthest(arm.targets) == pytest.approx(0.2 * FORWARD[0], abs=1e-6)


def test_the_state_says_why(stage: Any) -> None:
    arm = Arm(stage, {"chunk.stale_after": 1.0})
    stage.until(lambda: arm.said() == "disabled", "the state")
    arm.ready()
    stage.until(lambda: arm.said() == "waiting for a chunk", "the state")
    arm.offer()
    stage.until(lambda: "holding: chunks are stale" in arm.said(), "the hold")
    assert [state.data for state in arm.states].count("tracking") == 1


def test_time_that_jumps_ahead_stops_the_arm_and_is_named(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = moving(stage, pose_timeout=5.0)
    now = arm.node._now
    monkeypatch.setattr(arm.node, "_now", lambda: now() + 3.0)
    stage.until(
        lambda: any(state.data.startswith("holding: time jumped ahead by 3.0 s") for state in arm.states), "why"
    )
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")
    arm.offer(age=-3.0)
    stage.until(lambda: arm.said() == "tracking", "motion")


def test_time_that_jumps_back_stops_the_arm_and_locks_nothing_out(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = moving(stage)
    now = arm.node._now
    monkeypatch.setattr(arm.node, "_now", lambda: now() - 100.0)  # the pose is from the future now
    stage.until(lambda: "ahead of this node's clock" in arm.said(), "the hold")
    arm.measure(age=100.0)
    stage.until(lambda: arm.said() == "waiting for a chunk", "the new beginning")
    arm.offer(age=100.0)
    stage.until(lambda: arm.said() == "tracking", "motion")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_after_a_signal_the_last_thing_on_the_wire_is_the_hold(stage: Any, tmp_path: Path, ending: int) -> None:
    """The node as a process of its own, ended in motion."""
    with Processes(tmp_path, dict(os.environ)) as group:
        parameters = {"enabled": True, "chunk.stale_after": 50.0, "pose_timeout": 5.0, "action_scale": 1.0}
        running = group.start("command", parameters)
        stage.until(lambda: stage.tester.count_publishers("target_pose") > 0, "the node", 60.0)
        arm = Wires(stage)

        def measured() -> bool:
            arm.measure()  # again: a best-effort pose may come before the node listens
            return len(arm.targets) > 2

        stage.until(measured, "targets")

        def moves() -> bool:
            arm.offer()  # again: at first the node listens for an emergency stop from before
            time.sleep(0.05)
            return last_away(arm) > 0.01

        stage.until(moves, "motion", 20.0)
        arm.measure()
        running.signal(ending)
        stage.until(lambda: running.process.poll() is not None, "the end", 20.0)
        time.sleep(0.1)
    assert running.process.returncode == 0
    assert farthest(arm.targets[-1:]) < 1e-9
    assert HOME.position[0] == pytest.approx(arm.targets[-1].pose.position.x)
