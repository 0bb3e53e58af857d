"""Statistics of actions that go far beyond the limits are told at configure, by column and factor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter

from vla_entropy_ros.nodes.command.node import CommandNode

from .robot import Robot


def rescaled(checkpoint: Path, folder: Path, factors: dict[int, float]) -> Path:
    """The checkpoint with statistics that are so many times as wide in some columns."""
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for file in ("config.json", "dataset_statistics.json"):
        content = json.loads((folder / file).read_text())
        for statistics in (content.get("norm_stats", content) if file == "config.json" else content).values():
            for bound in ("q01", "q99"):
                for column, factor in factors.items():
                    statistics["action"][bound][column] *= factor
        (folder / file).write_text(json.dumps(content))
    return folder


@pytest.fixture
def wide(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint whose data set moves in x and turns in yaw much further than the limits allow."""
    return rescaled(checkpoint, tmp_path / "wide", {0: 100.0, 5: 100.0})


def configure(robot: Robot, capfd: pytest.CaptureFixture[str]) -> str:
    """What the log says at configure."""
    capfd.readouterr()
    assert robot.change(Transition.TRANSITION_CONFIGURE)
    return capfd.readouterr().err


def test_a_range_beyond_the_default_limits_is_told(stage: Any, wide: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = configure(Robot(stage, wide), capfd)
    assert "go far beyond the limits (the defaults, as no command node answers): x spans " in said
    assert "times limits.max_translation 0.05, yaw spans " in said
    assert "is unnorm_key right" in said
    assert "y spans" not in said


def test_the_limits_are_those_of_the_command_node_beside(
    stage: Any, wide: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.add(CommandNode(parameter_overrides=[Parameter("limits.max_translation", value=0.02)]))
    robot = Robot(stage, wide)
    stage.until(lambda: robot.node.count_services("/command/get_parameters") > 0, "the command node")
    said = configure(robot, capfd)
    assert "go far beyond the limits (/command): x spans" in said
    assert "times limits.max_translation 0.02" in said


def test_a_range_inside_the_limits_is_not_told(stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    robot = Robot(stage, checkpoint)
    assert "far beyond the limits" not in configure(robot, capfd)
    low, high = robot.policy.info.action_range or ((), ())
    assert len(low) == len(high) == 7
    assert all(least < most for least, most in zip(low[:6], high[:6], strict=True))
