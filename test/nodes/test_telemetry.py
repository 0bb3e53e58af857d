"""The numbers of a tick and the line on little reuse as topics, over DDS, with a checkpoint of random weights."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from std_msgs.msg import Float64, Int32, String

from vla_entropy_ros.engine import Policy, Result, Timings
from vla_entropy_ros.nodes.common.facts import facts
from vla_entropy_ros.nodes.common.listen import LATCHED
from vla_entropy_ros.nodes.policy.refreshes import FEW
from vla_entropy_ros.nodes.policy.telemetry import COUNTS, SCENE
from vla_entropy_ros.stages import TIMED

from .robot import INSTRUCTION, Robot

TICKS = 4


def test_the_stages_that_are_told_are_those_that_are_timed() -> None:
    assert tuple(field.name for field in fields(Timings)) == TIMED


def test_the_schedule_and_the_reasons_are_told_with_every_tick(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, records = Policy.infer, []

    def watched(policy: Policy, observation: Any) -> Result:
        result = infer(policy, observation)
        records.append(result.reuse)
        return result

    counts = {topic: stage.listen(Int32, f"/policy/{topic}") for topic in COUNTS}
    oldest = stage.listen(Int32, "/policy/tokens/oldest")
    robot = Robot(stage, checkpoint, k1=2, k2=5, T=2, row_budget=9, mode="info_entropy").activate()
    monkeypatch.setattr(Policy, "infer", watched)
    image = robot.image()
    for number in range(1, TICKS + 1):
        image.header.stamp = robot.now()
        robot.see(image)
        stage.until(lambda number=number: len(robot.chunks) == number, "a chunk")
    stage.until(lambda: all(len(one) == TICKS for one in (*counts.values(), oldest)), "all numbers")
    for topic, name in COUNTS.items():
        assert [message.data for message in counts[topic]] == [getattr(record, name) for record in records]
    assert [message.data for message in oldest] == [int(record.age.max()) for record in records]
    told = {topic: [message.data for message in messages] for topic, messages in counts.items()}
    assert told["schedule/t"] == [0, 1, 2, 3]
    assert (told["schedule/k_vis"][1:], told["schedule/k_attn"][1:]) == ([4, 2, 2], [3, 5, 5])
    visual = robot.policy.info.visual_tokens
    assert (told["tokens/changed"][0], told["tokens/changed"][2]) == (visual, 0)
    assert told["tokens/filled"][2] > 0


def test_noise_and_exposure_are_told_where_they_are_known(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    infer, known = Policy.infer, [(None, None), (2.5, None), (1.5, 1.25)]

    def found(policy: Policy, observation: Any) -> Result:
        result, (noise, exposure) = infer(policy, observation), known[len(robot.chunks)]
        return replace(result, reuse=replace(result.reuse, noise=noise, exposure=exposure))

    monkeypatch.setattr(Policy, "infer", found)
    scene = {name: robot.stage.listen(Float64, f"/policy/scene/{name}") for name in SCENE}
    fresh = robot.stage.listen(Int32, "/policy/tokens/fresh")
    for number in range(1, len(known) + 1):
        robot.tick()
        robot.stage.until(lambda number=number: len(fresh) == number, "a tick's numbers")
    robot.stage.until(lambda: len(scene["exposure"]) == 1, "the exposure")
    assert [message.data for message in scene["noise"]] == [2.5, 1.5]
    assert [message.data for message in scene["exposure"]] == [1.25]


def test_why_little_is_reused_is_heard_late_and_ends_when_the_cause_does(stage: Any, checkpoint: Path) -> None:
    heard: list[str] = []
    robot = Robot(stage, checkpoint, mode="vla_cache", scene_cut=0.2).activate()

    def ask() -> None:
        robot.node._diagnostics.publish()

    for number in range(FEW + 2):  # each image is another noise
        robot.tick()
        stage.until(lambda number=number: robot.statistics.ticks == number + 1, "a tick")
    ask()
    stage.tester.create_subscription(String, "/policy/tokens/why", lambda m: heard.append(m.data), LATCHED)
    stage.until(lambda: bool(heard), "the last line")
    assert heard[-1].startswith(
        f"nothing reused: scene cut in {FEW + 1} of the last {FEW + 2} ticks"
    )  # one is the first
    warned = stage.diagnostic("policy: cache", lambda status: "scene cut" in status.message)
    assert warned.message == heard[-1]
    robot.inference.pause()
    ask()
    ask()
    stage.until(lambda: heard[-1] == "", "an empty line")
    assert [line for line in heard if not line] == [""]  # once, though it was asked twice


def test_new_budgets_are_judged_by_their_own_ticks(robot: Robot) -> None:
    for number in range(3):
        robot.tick()
        robot.stage.until(lambda number=number: robot.statistics.ticks == number + 1, "a tick")
    assert len(robot.statistics.tallies) == 3
    assert robot.node.set_parameters([Parameter("row_budget", value=9)])[0].successful
    robot.tick()
    robot.stage.until(lambda: robot.statistics.ticks == 4, "a tick")
    assert len(robot.statistics.tallies) == 1
    assert robot.inference.instruction == INSTRUCTION


def test_every_tick_is_told_in_one_message_with_the_stamp_of_its_image(stage: Any, checkpoint: Path) -> None:
    robot = Robot(stage, checkpoint, k1=2, k2=5, T=2, row_budget=9, mode="info_entropy").activate()
    told = stage.listen(DiagnosticArray, "/policy/status")
    totals = stage.listen(Float64, "/policy/latency/total")
    stamps = [robot.tick().header.stamp for _ in range(3)]
    stage.until(lambda: len(told) == len(totals) == 3, "the status")
    assert [message.header.stamp for message in told] == stamps
    values = [facts(message) for message in told]
    assert [(one["episode"], one["tick"], one["schedule/t"]) for one in values] == [
        ("1", "0", "0"), ("1", "1", "1"), ("1", "2", "2")
    ]  # fmt: skip
    assert [float(one["latency/total"]) for one in values] == pytest.approx([one.data for one in totals], rel=1e-4)
    assert (values[0]["instruction"], values[0]["mode"]) == (INSTRUCTION, "info_entropy")
    assert (values[0]["tokens/fresh"], values[0]["reason"], told[0].status[0].name) == (
        "16",
        "new episode",
        "/policy: tick",
    )
    assert int(values[2]["tokens/fresh"]) + int(values[2]["tokens/reused"]) == 16
    assert (values[2]["hold"], told[2].status[0].message) == ("", values[2]["reason"])
