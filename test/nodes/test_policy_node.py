"""The policy node over DDS, with a real checkpoint of random weights: what it does when all is well."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64, Int32, String
from std_srvs.srv import Trigger

from vla_entropy_ros.draw import overlay
from vla_entropy_ros.engine import Policy, Result
from vla_entropy_ros.nodes.common.messages import chunk_from, jpeg_message, seconds
from vla_entropy_ros.nodes.policy.telemetry import STAGES

from .robot import INSTRUCTION, PERIOD, Robot

ERROR, OK, STALE, WARN = DiagnosticStatus.ERROR, DiagnosticStatus.OK, DiagnosticStatus.STALE, DiagnosticStatus.WARN


def test_the_lifecycle_goes_round_and_only_an_active_node_acts(stage: Any, checkpoint: Path) -> None:
    robot = Robot(stage, checkpoint)
    assert robot.state == State.PRIMARY_STATE_UNCONFIGURED
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.state == State.PRIMARY_STATE_INACTIVE
    began = time.monotonic()
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    assert time.monotonic() - began < 1.0
    robot.images = stage.publisher(Image, "image")
    robot.instructions = stage.publisher(String, "instruction")
    robot.instruct(INSTRUCTION)
    robot.tick()
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    robot.see()
    robot.quiet(lambda: robot.state == State.PRIMARY_STATE_INACTIVE, "the inactive state")
    assert robot.change(Transition.TRANSITION_ACTIVATE)
    robot.see()
    robot.quiet(lambda: robot.statistics.received == 2, "an image")
    robot.instruct(INSTRUCTION)  # the one before was forgotten
    robot.tick()
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    assert robot.change(Transition.TRANSITION_CLEANUP)
    assert robot.node._inference is None
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) is False  # not from here
    assert robot.change(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    assert robot.state == State.PRIMARY_STATE_FINALIZED


def test_a_chunk_answers_the_image_of_its_stamp(robot: Robot) -> None:
    stamps = []
    for _ in range(3):
        stamps.append(robot.see().header.stamp)
        robot.stage.until(lambda: len(robot.chunks) == len(stamps), "a chunk")
    assert [chunk.header.stamp for chunk in robot.chunks] == stamps
    chunk = chunk_from(robot.chunks[0])
    assert (chunk.frame, chunk.actions.shape) == ("base_link", (1, 7))
    assert chunk.period == pytest.approx(PERIOD)
    assert np.isfinite(chunk.actions).all()
    assert seconds(stamps[0]) == chunk.stamp


def test_compressed_images_do_as_well(robot: Robot) -> None:
    publisher = robot.stage.publisher(CompressedImage, "image/compressed")
    pixels = robot.random.integers(0, 256, (56, 56, 3), np.uint8)
    message = jpeg_message(pixels, robot.now(), "camera_link")
    publisher.publish(message)
    robot.stage.until(lambda: len(robot.chunks) == 1, "a chunk")
    assert robot.chunks[0].header.stamp == message.header.stamp


def test_every_tick_is_told_in_numbers(stage: Any, checkpoint: Path) -> None:
    latencies = {stage_name: stage.listen(Float64, f"/policy/latency/{stage_name}") for stage_name in STAGES}
    fresh, reused = (stage.listen(Int32, f"/policy/tokens/{name}") for name in ("fresh", "reused"))
    selections = stage.listen(Image, "/policy/selection")
    robot = Robot(stage, checkpoint, k1=2, k2=3, row_budget=0, mode="info_entropy").activate()
    image = robot.image()
    for _ in range(3):
        image.header.stamp = robot.now()
        robot.see(image)
        count = len(robot.chunks) + 1
        stage.until(lambda count=count: len(robot.chunks) == count, "a chunk")
    stage.until(lambda: all(len(m) == 3 for m in (*latencies.values(), fresh, reused, selections)), "all numbers")
    visual = robot.policy.info.visual_tokens
    assert [f.data + r.data for f, r in zip(fresh, reused, strict=True)] == [visual] * 3
    assert (fresh[0].data, reused[2].data > 0) == (visual, True)
    for number in range(3):
        stages = {name: latencies[name][number].data for name in STAGES}
        parts = sum(stages[name] for name in ("preprocess", "vision", "select", "prefill", "decode"))
        assert 0 < parts <= stages["total"] * 1.001
        assert 0 <= stages["capture_age"] < 10e3
    codes = np.frombuffer(selections[2].data, np.uint8)
    assert (selections[2].height, selections[2].width) == robot.policy.info.grid
    assert selections[2].header.stamp == robot.chunks[2].header.stamp
    assert np.count_nonzero(codes) == fresh[2].data
    assert set(codes) <= {0, 2, 3, 4}  # nothing changed: what is fresh is so because it matters
    assert set(np.frombuffer(selections[0].data, np.uint8)) == {1}


def test_the_overlay_is_drawn_only_while_somebody_looks(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[None] = []

    def counted(*arguments: Any) -> Any:
        drawn.append(None)
        return overlay(*arguments)

    monkeypatch.setattr("vla_entropy_ros.nodes.policy.telemetry.overlay", counted)
    robot.tick()
    time.sleep(0.1)
    assert drawn == []
    overlays = robot.stage.listen(Image, "/policy/overlay")
    robot.stage.until(lambda: robot.node.count_subscribers("/policy/overlay") > 0, "a listener")

    def seen() -> bool:
        robot.tick()
        return len(overlays) > 0

    robot.stage.until(seen, "an overlay")
    assert (overlays[0].height, overlays[0].width, overlays[0].encoding) == (448, 448, "rgb8")


def test_a_changed_parameter_shows_in_the_next_tick(robot: Robot) -> None:
    fresh = robot.stage.listen(Int32, "/policy/tokens/fresh")
    image = robot.image()

    def again() -> int:
        count = len(fresh)
        image.header.stamp = robot.now()
        robot.see(image)
        robot.stage.until(lambda: len(fresh) == count + 1, "a tick")
        return int(fresh[-1].data)

    visual = again()
    assert again() < visual
    assert robot.stage.set_parameter("policy", "mode", "full").successful
    assert again() == visual
    assert robot.stage.set_parameter("policy", "mode", "info_entropy").successful
    assert again() == visual  # each mode begins anew
    assert again() <= 2 + 3
    assert robot.stage.set_parameter("policy", "row_budget", 9).successful
    assert again() == 9
    assert robot.stage.set_parameter("policy", "control_period", 1).successful
    time.sleep(0.8)
    again()
    assert robot.chunks[-1].points[0].time_from_start.sec == 1


def test_parameters_answer_while_a_tick_runs(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()
    infer = Policy.infer

    def held(policy: Policy, observation: Any) -> Result:
        inside.set()
        assert go_on.wait(10.0)
        return infer(policy, observation)

    monkeypatch.setattr(Policy, "infer", held)
    robot.see()
    assert inside.wait(10.0)
    assert robot.stage.set_parameter("policy", "T", 7).successful
    assert robot.chunks == []
    said = ("a tick has been running for", "no tick")
    status = robot.stage.diagnostic("policy: inference", lambda status: any(one in status.message for one in said))
    assert status.level == STALE
    go_on.set()
    robot.stage.until(lambda: len(robot.chunks) == 1, "a chunk")


def test_a_head_without_tokens_may_answer_several_actions(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    infer = Policy.infer

    def regressed(policy: Policy, observation: Any) -> Result:
        result = infer(policy, observation)
        actions = np.concatenate([result.actions * factor for factor in (1.0, 0.5, 0.0)])
        return replace(result, actions=actions, tokens=result.tokens[:0], token_entropy=result.token_entropy[:0])

    monkeypatch.setattr(Policy, "infer", regressed)
    chunk = chunk_from(robot.tick())
    assert chunk.actions.shape == (3, 7)
    assert chunk.end - chunk.stamp == pytest.approx(3 * PERIOD)
    robot.node._diagnostics.publish()
    status = robot.stage.diagnostic("policy: inference", lambda status: status.level == OK and "Hz" in status.message)
    assert not {"certified tokens", "drafts accepted"} & {value.key for value in status.values}


def test_reset_makes_everything_fresh(robot: Robot) -> None:
    image = robot.image()
    fresh = robot.stage.listen(Int32, "/policy/tokens/fresh")
    counts = []
    for number in range(3):
        if number == 2:
            assert robot.stage.call(Trigger, "/policy/reset").success
        image.header.stamp = robot.now()
        robot.see(image)
        robot.stage.until(lambda number=number: len(fresh) == number + 1, "a tick")
        counts.append(fresh[-1].data)
    assert counts[1] < counts[0] == counts[2]
