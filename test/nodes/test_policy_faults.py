"""The policy node over DDS under bad input: one clear line, a diagnostic, and never an action."""

from __future__ import annotations

import array
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from rclpy.parameter import Parameter
from rclpy.utilities import get_rmw_implementation_identifier
from std_msgs.msg import Int32

from vla_entropy_ros.engine import Policy, Result
from vla_entropy_ros.nodes.common.messages import is_stop
from vla_entropy_ros.nodes.policy.node import PolicyNode

from .robot import INSTRUCTION, Robot

ERROR, OK, STALE, WARN = DiagnosticStatus.ERROR, DiagnosticStatus.OK, DiagnosticStatus.STALE, DiagnosticStatus.WARN


@pytest.mark.parametrize("fault", ["missing folder", "truncated file", "unknown device", "unknown key", "budget"])
def test_configure_fails_in_one_line(
    stage: Any, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    folder = checkpoint
    overrides: dict[str, Any] = {}
    if fault == "missing folder":
        folder = tmp_path / "nowhere"
    elif fault == "truncated file":
        folder = tmp_path
        for path in checkpoint.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    elif fault == "unknown device":
        overrides = {"device": "abacus"}
    elif fault == "budget":
        overrides = {"row_budget": 17}
    else:
        overrides = {"unnorm_key": "elsewhere"}
    robot = Robot(stage, folder, **overrides)
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.state == State.PRIMARY_STATE_UNCONFIGURED  # FAILURE, not ERROR: it may be tried again
    said = capfd.readouterr().err
    (line,) = [line for line in said.splitlines() if "]: configure failed" in line]  # the diagnostics may say it, too
    assert line.startswith("[ERROR]")
    assert "Traceback" not in said
    assert threading.active_count() < 20
    stage.diagnostic("policy: inference", lambda status: status.level == ERROR and status.message in line)


def test_a_blind_policy_is_not_configured(
    stage: Any, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(checkpoint / "model.safetensors")
    blind = {name: t * 0 if name.startswith("projector.") else t for name, t in tensors.items()}
    save_file(blind, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert not Robot(stage, tmp_path).change(Transition.TRANSITION_CONFIGURE)
    assert "a black and a white image give the same outputs" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mode", "sometimes", "valid are full, place_entropy, info_entropy, vla_cache, visual_only, attention_only"),
        ("k1", -1, "valid are 0 to 2048"),
        ("T", 0, "valid are 1 to 1000"),
        ("checkpoint", "elsewhere", "read-only"),
        ("device", "cuda", "read-only"),
        ("static.similarity", 1.5, "valid are 0 to 1"),
    ],
)
def test_a_wrong_value_is_refused_with_the_valid_ones(stage: Any, name: str, value: object, said: str) -> None:
    node = PolicyNode()
    answer = node.set_parameters_atomically([Parameter(name, value=value)])
    assert (answer.successful, said in answer.reason) == (False, True), answer.reason
    node.close()
    node.destroy_node()


@pytest.mark.parametrize(("name", "value", "said"), [("row_budget", 17, "row_budget 17"), ("k2", 16, "k1 + k2 18")])
def test_a_budget_above_the_policys_tokens_is_refused_live(robot: Robot, name: str, value: int, said: str) -> None:
    answer = robot.stage.set_parameter("policy", name, value)
    assert (answer.successful, answer.reason) == (
        False, f"{said} is above the visual tokens of this policy: valid are 0 to 16"
    )  # fmt: skip


def test_an_unusable_image_gives_a_diagnostic_and_no_action(robot: Robot) -> None:
    def refused(said: str) -> bool:
        return said in (robot.statistics.observation_fault or "")

    def error(said: str, status: DiagnosticStatus) -> bool:
        return status.level == ERROR and said in status.message

    robot.tick()
    unknown, empty = robot.image(), robot.image()
    unknown.encoding = "yuv9"
    empty.width = empty.height = empty.step = 0
    empty.data = array.array("B")
    for message, said in ((unknown, "unknown encoding 'yuv9': valid are rgb8"), (empty, "zero size")):
        message.header.stamp = robot.now()
        robot.see(message)
        robot.quiet(partial(refused, said), said)
        robot.node._diagnostics.publish()
        robot.stage.diagnostic("policy: observation", partial(error, said))
    robot.tick()
    robot.node._diagnostics.publish()
    robot.stage.diagnostic("policy: observation", lambda status: status.level == OK)


def test_an_empty_instruction_stops_the_action(robot: Robot, capfd: pytest.CaptureFixture[str]) -> None:
    robot.tick()
    robot.instruct("  ")
    assert "empty instruction refused" in capfd.readouterr().err
    received = robot.statistics.received
    robot.see()
    robot.quiet(lambda: robot.statistics.received > received, "an image")
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: inference", lambda status: status.level == WARN)
    assert "no instruction" in status.message
    robot.instruct(INSTRUCTION)
    robot.tick()


def test_an_action_that_is_no_number_is_not_published(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    robot.tick()
    infer = Policy.infer

    def broken(policy: Policy, observation: Any) -> Result:
        result = infer(policy, observation)
        return replace(result, actions=result.actions * np.nan)

    with monkeypatch.context() as patch:
        patch.setattr(Policy, "infer", broken)
        robot.see()
        robot.quiet(lambda: robot.statistics.fault is not None, "a fault")
        robot.node._diagnostics.publish()
        status = robot.stage.diagnostic("policy: inference", lambda status: status.level == ERROR)
        assert "not a finite number" in status.message
    fresh = robot.stage.listen(Int32, "/policy/tokens/fresh")
    time.sleep(0.2)
    robot.tick()
    robot.stage.until(lambda: len(fresh) == 1, "a count")
    assert fresh[0].data == robot.policy.info.visual_tokens


def test_an_old_image_gives_a_warning(robot: Robot) -> None:
    assert robot.stage.set_parameter("policy", "observation.max_age", 0.5).successful
    old = robot.image()
    old.header.stamp.sec -= 3
    robot.see(old)
    robot.quiet(lambda: robot.statistics.too_old == 1, "an old image")
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: observation", lambda status: status.level == WARN)
    assert "s old, valid is up to 0.5" in status.message


def stops(robot: Robot) -> list[Any]:
    """The orders to stop among the chunks."""
    return [chunk for chunk in robot.chunks if is_stop(chunk)]


def test_the_last_chunk_before_silence_is_the_order_to_stop(robot: Robot) -> None:
    robot.tick()
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    robot.stage.until(lambda: bool(stops(robot)), "the order")
    assert (robot.chunks[-1], robot.chunks[-1].header.frame_id) == (stops(robot)[0], "base_link")
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    robot.instruct(INSTRUCTION)
    robot.tick()
    assert robot.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    robot.stage.until(lambda: len(stops(robot)) == 2, "the order")
    assert is_stop(robot.chunks[-1])


def test_a_process_that_ends_orders_a_stop(robot: Robot) -> None:
    robot.tick()
    robot.node.close()
    robot.stage.until(lambda: is_stop(robot.chunks[-1]), "the order")


def test_an_uncertain_policy_orders_a_stop(robot: Robot) -> None:
    robot.tick()
    assert robot.stage.set_parameter("policy", "max_action_entropy", 0.0).successful
    robot.see()
    robot.stage.until(lambda: is_stop(robot.chunks[-1]), "the order")
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: inference", lambda status: status.level == WARN)
    assert "above max_action_entropy 0" in status.message
    assert robot.stage.set_parameter("policy", "max_action_entropy", 1.0).successful
    robot.tick()


def after_losses(robot: Robot) -> DiagnosticStatus:
    """What is reported when three of four images were lost."""
    assert robot.stage.set_parameter("policy", "warn.silence", 60.0).successful
    robot.tick()
    robot.inference.intake.miss(3)
    robot.node._diagnostics.publish()
    return robot.stage.diagnostic("policy: observation", lambda status: status.level == WARN)


@pytest.mark.parametrize(
    ("profile", "said"), [("", "set FASTDDS_DEFAULT_PROFILES_FILE"), ("mine.xml", "is FASTDDS_DEF")]
)
@pytest.mark.skipif("fastrtps" not in get_rmw_implementation_identifier(), reason="Fast DDS")
def test_lost_images_are_counted_and_the_profile_is_named(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, profile: str, said: str
) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", profile)
    status = after_losses(robot)
    assert "75% of the images lost in transport" in status.message
    assert said in status.message
    assert robot.stage.set_parameter("policy", "warn.loss", 0.9).successful
    robot.node._diagnostics.publish()
    robot.stage.diagnostic("policy: observation", lambda status: status.level == OK)


def test_without_fast_dds_its_profile_is_no_advice(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "vla_entropy_ros.nodes.policy.reports.get_rmw_implementation_identifier"
    monkeypatch.setattr(other, lambda: "rmw_cyclonedds_cpp")
    status = after_losses(robot)
    assert "rmw_cyclonedds_cpp may need larger buffers" in status.message
    assert "FASTDDS" not in status.message


def test_what_counts_as_slow_is_a_parameter(robot: Robot) -> None:
    assert robot.stage.set_parameter("policy", "warn.tick", 1e-6).successful
    robot.tick()
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: inference", lambda status: status.level == WARN)
    assert "slow: p95" in status.message
    assert robot.stage.set_parameter("policy", "warn.tick", 10.0).successful
    robot.node._diagnostics.publish()
    robot.stage.diagnostic("policy: inference", lambda status: status.level == OK)
