"""What is measured and who speaks is judged, not believed: jumps, second publishers, stops of any offer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vla_entropy_ros.control import Pose
from vla_entropy_ros.control.chunk import ACTION_NAMES
from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common.messages import chunk_message, pose_message

from .arm import FORWARD, HOME, PERIOD, Arm, farthest, last_away
from .test_command_safety import moving

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
ELSEWHERE = Pose(HOME.position + np.array([0.28, 0.0, 0.0]), HOME.quaternion)
BACKWARD = tuple(-value if number < 3 else value for number, value in enumerate(FORWARD))


def tracks_again(arm: Arm) -> Any:
    """A condition: the arm follows chunks that are offered while it is measured well."""

    def tracks() -> bool:
        arm.measure()
        arm.offer()
        time.sleep(0.02)
        return arm.said() == "tracking"

    return tracks


def test_a_measured_pose_that_jumps_holds_the_arm_and_is_named(stage: Any) -> None:
    arm = moving(stage)
    arm.measure(ELSEWHERE)
    stage.until(lambda: arm.said().startswith("holding: current_pose jumped 0.28 m"), "the jump")
    before = len(arm.targets)
    arm.measure(ELSEWHERE)
    time.sleep(0.2)
    assert all(abs(target.pose.position.x - HOME.position[0]) < 0.07 for target in arm.targets[before:])
    arm.safety(ERROR, "holding: current_pose jumped")
    stage.until(tracks_again(arm), "motion once it has come back")


def test_a_jump_that_stays_is_followed_only_after_enable(stage: Any) -> None:
    arm = moving(stage)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        arm.measure(ELSEWHERE)
        arm.offer()
        time.sleep(0.02)
    stage.until(lambda: "call ~/enable" in arm.said(), "the advice")
    arm.measure(ELSEWHERE)
    assert arm.enable().success
    arm.offer()
    stage.until(lambda: arm.said() == "tracking", "motion")
    assert arm.targets[-1].pose.position.x == pytest.approx(ELSEWHERE.position[0], abs=0.07)


def test_two_publishers_of_the_pose_that_agree_are_named(stage: Any) -> None:
    arm = moving(stage)
    second = stage.add(Node("second_driver")).create_publisher(PoseStamped, "current_pose", 1)
    stage.until(lambda: second.get_subscription_count() > 0, "a listener")

    def both_are_named() -> bool:
        arm.measure()
        second.publish(pose_message(HOME, arm.time(), "base_link"))
        time.sleep(0.02)
        return "/second_driver, /tester" in str(arm.node._arm.several())

    stage.until(both_are_named, "both names")
    arm.safety(WARN, "several publish /current_pose: /second_driver, /tester")


def test_two_command_nodes_of_one_arm_are_named(stage: Any) -> None:
    arm = moving(stage)
    stage.add(CommandNode(namespace="/other", cli_args=["--ros-args", "-r", "target_pose:=/target_pose"]))

    def named() -> bool:
        arm.measure()
        arm.offer()
        time.sleep(0.02)
        return "several send commands on /target_pose: /command, /other/command" in str(arm.node._output.trouble(True))

    stage.until(named, "both names")
    arm.safety(WARN, "several send commands on /target_pose: /command, /other/command; end all but one")


def test_commands_that_nobody_hears_are_told(stage: Any) -> None:
    unheard = CommandNode(cli_args=["--ros-args", "-r", "target_pose:=/nowhere"])
    output = stage.add(unheard)._output
    assert output.trouble(False) is None
    assert output.trouble(True) == "nobody listens on /nowhere: start the arm's controller, or remap target_pose"
    output.muted = True
    assert output.trouble(True) is None


def test_chunks_of_two_policies_hold_the_arm_and_name_both(stage: Any) -> None:
    arm = moving(stage)
    second = stage.add(Node("other_policy", namespace="/side")).create_publisher(JointTrajectory, "/action_chunk", 1)
    stage.until(lambda: second.get_subscription_count() > 0, "a listener")
    said = "holding: two publishers send action chunks on /action_chunk: /side/other_policy, /tester"

    def both() -> bool:
        arm.offer()
        second.publish(chunk_message(np.array([BACKWARD]), ACTION_NAMES, PERIOD, arm.time(), "base_link"))
        time.sleep(0.02)
        return said in arm.said()

    stage.until(both, "the hold")
    stage.until(lambda: both() and last_away(arm) < 1e-9, "the hold on the wire")
    before = len(arm.targets)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        both()
    assert farthest(arm.targets[before:]) < 1e-9
    arm.safety(ERROR, "two publishers send action chunks")
    stage.until(tracks_again(arm), "motion with one of them")


@pytest.mark.parametrize(
    ("reliability", "durability"),
    [
        (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
        (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
        (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.TRANSIENT_LOCAL),
    ],
)
def test_an_emergency_stop_of_any_offer_is_heard(stage: Any, reliability: Any, durability: Any) -> None:
    arm = moving(stage)
    profile = QoSProfile(depth=1, reliability=reliability, durability=durability)
    stop = stage.add(Node("button")).create_publisher(Bool, "emergency_stop", profile)
    stage.until(lambda: stop.get_subscription_count() > 0, "a listener")
    time.sleep(0.2)
    stop.publish(Bool(data=True))
    stage.until(lambda: "emergency stop" in arm.said(), "the stop")
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")


def test_a_stop_latched_before_the_node_began_is_heard_and_nothing_moves(stage: Any) -> None:
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    stage.tester.create_publisher(Bool, "emergency_stop", kept).publish(Bool(data=True))
    arm = Arm(stage, {"enabled": True, "chunk.stale_after": 50.0})
    stage.until(lambda: "emergency stop" in arm.said(), "the stop")
    assert not arm.enable().success
    assert stage.call(Trigger, "/command/release").success


def test_a_stop_of_another_type_is_an_error_and_a_hold(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = moving(stage)
    monkeypatch.setattr(arm.node._hazards._stops, "mismatch", lambda: "/emergency_stop: /panel publishes a String")
    stage.until(lambda: arm.said().startswith("holding: an emergency stop could not be heard: /emer"), "the hold")
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")
    arm.safety(ERROR, "an emergency stop could not be heard")
    assert not arm.enable().success


def test_every_chunk_refused_from_the_start_is_an_error(stage: Any) -> None:
    arm = Arm(stage).ready()
    arm.offer(frame="elsewhere")
    stage.until(lambda: "holding: chunk refused: frame 'elsewhere'" in arm.said(), "the refusal")
    arm.safety(ERROR, "chunk refused: frame 'elsewhere', expected 'base_link'")


def test_chunks_that_are_all_too_old_are_an_error(stage: Any) -> None:
    arm = Arm(stage).ready()
    stage.until(lambda: arm.said() == "waiting for a chunk", "the state")
    arm.offer(age=30.0)
    stage.until(lambda: arm.said().startswith("holding: chunk"), "the refusal")
    arm.safety(ERROR, "holding: chunk")


def test_waiting_for_a_chunk_in_vain_says_who_should_send_it(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_entropy_ros.nodes.command.situation.PATIENCE", 0.2)
    arm = Arm(stage).ready()
    arm.safety(WARN, "waiting for a chunk: /tester sends none on /action_chunk: is it active")


def test_a_disabled_arm_that_could_not_be_enabled_is_not_ok(stage: Any) -> None:
    arm = Arm(stage)
    assert arm.said() in ("", "disabled")
    arm.safety(WARN, "disabled, and can't be enabled: no current_pose yet: nothing has come on /current_pose")
    arm.measure()
    stage.until(lambda: arm.node._arm.pose is not None, "the pose")
    arm.safety(OK, "disabled")


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (-0.7, "no commands: current_pose is 0."),
        (None, "no commands: current_pose has no time, its stamp is zero"),
        (1e9, "no commands: current_pose is stamped by another clock"),
        (30.0, "no commands: current_pose is 30."),
    ],
)
def test_a_pose_of_the_wrong_time_is_told_in_its_own_words(stage: Any, age: float | None, said: str) -> None:
    arm = Arm(stage, {"enabled": True, "pose_timeout": 0.5})

    def told() -> bool:
        if age is None:
            arm.poses.publish(pose_message(HOME, type(arm.time())(), "base_link"))
        else:
            arm.measure(age=age)
        time.sleep(0.05)
        return arm.said().startswith(said)

    stage.until(told, said)
    assert ("ahead of this node's clock" in arm.said()) == (age is not None and age < 0.0)


def test_simulated_time_without_a_clock_says_so(stage: Any) -> None:
    from rclpy.parameter import Parameter

    parameters = [Parameter("use_sim_time", value=True), Parameter("enabled", value=True)]
    node = stage.add(CommandNode(parameter_overrides=parameters))
    states: list[String] = []
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    stage.tester.create_subscription(String, "/command/state", states.append, kept)
    poses = stage.publisher(PoseStamped, "current_pose")

    def told() -> bool:
        poses.publish(pose_message(HOME, stage.tester.get_clock().now().to_msg(), "base_link"))
        time.sleep(0.02)
        return bool(states) and "use_sim_time is true and nothing has come on /clock" in states[-1].data

    stage.until(told, "the reason")
    assert node._now() == 0.0


def test_an_exception_in_the_timer_holds_the_arm_and_the_node_goes_on(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = moving(stage)
    stage.until(lambda: last_away(arm) > 0.005, "motion")
    sound, failures = arm.node._grip, [0]

    def broken(command: Any) -> None:
        failures[0] += 1
        if failures[0] < 3:
            raise ZeroDivisionError("division by zero")
        sound(command)

    monkeypatch.setattr(arm.node, "_grip", broken)
    stage.until(lambda: "tick failed: ZeroDivisionError" in arm.said() or failures[0] > 3, "the failure")
    arm.safety(ERROR, "tick failed: ZeroDivisionError: division by zero")
    stage.until(lambda: last_away(arm) < 1e-9, "the hold on the wire")
    stage.until(tracks_again(arm), "motion")
