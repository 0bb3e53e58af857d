"""The fault suite in short: every fault once, a little nonsense on every topic, a few seconds of endurance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.faults.fuzz import COMMAND, JOINTED, POLICY, fuzz
from tools.faults.rig import Rig
from tools.faults.scenarios import FAULTS, Fault
from tools.faults.soak import parameter_times, soak
from tools.faults.suite import once
from vla_entropy_ros.runner.episodes import environment, under

LENIENT = 1.5  # seconds: a busy machine must not fail this; `make faults` measures


@pytest.fixture(scope="module")
def rig(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Both nodes as processes, in motion; the parameter says whether under simulated time."""
    settings = environment(int(os.environ["ROS_DOMAIN_ID"]) + 1)  # apart from the nodes of other tests
    folder = tmp_path_factory.mktemp("rig")
    with under(settings), Rig(folder, settings, str(checkpoint), sim_time=request.param, pose_timeout=2.0) as one:
        yield one


CASES = [pytest.param(kind.sim_time, kind, id=kind.name) for kind in FAULTS]


@pytest.mark.parametrize(("rig", "kind"), CASES, indirect=["rig"])
def test_the_arm_is_safe_and_recovers(rig: Rig, kind: type[Fault]) -> None:
    safe, recovery = once(kind(), rig)
    assert safe < LENIENT
    assert recovery < 30.0
    assert rig.command.process.poll() is None


@pytest.mark.parametrize("rig", [False], indirect=True)
def test_nonsense_moves_nothing(rig: Rig) -> None:
    figures: dict[str, Any] = fuzz(rig, {**POLICY, **COMMAND}, count=25)
    assert (figures["moves"], figures["violations"]) == (0, [])


@pytest.mark.parametrize("rig", [False], indirect=True)
def test_endurance_in_short(rig: Rig) -> None:
    assert parameter_times(rig, 10) is not None
    figures = soak(rig, 4.0)
    assert figures["ticks"] > 5
    assert figures["nodes"]["policy"]["thread_growth"] == figures["nodes"]["command"]["thread_growth"] == 0
    assert figures["violations"] == []


def test_nonsense_does_not_move_an_arm_with_joints(checkpoint: Path, tmp_path: Path) -> None:
    settings = environment(int(os.environ["ROS_DOMAIN_ID"]) + 1)
    values: dict[str, Any] = {"command_type": "joint_trajectory", "pose_timeout": 2.0}
    with under(settings), Rig(tmp_path, settings, str(checkpoint), **values) as rig:
        figures = fuzz(rig, JOINTED, count=25)
    assert (figures["moves"], figures["violations"]) == (0, [])
