"""The fault suite in short: every fault once, a little nonsense on every topic, a few seconds of endurance."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.faults.answers import goal_answers
from tools.faults.fuzz import COMMAND, JOINTED, POLICY, fuzz
from tools.faults.rig import STANDS, Rig
from tools.faults.scenarios import FAULTS, Fault
from tools.faults.soak import parameter_times, soak
from tools.faults.suite import once
from vla_entropy_ros.evaluation.bringup import environment, under

LENIENT = 1.5  # seconds: a busy machine must not fail this; `make faults` measures
NAMED = 4.0  # seconds, likewise
SLOW: dict[str, Any] = {  # what a busy machine leaves out is never so long that a jump could be motion
    "pose_timeout": 1.0,
    "limits.max_speed": 0.2,
    "limits.max_joint_speed": 0.3,
}


def on(stand: str) -> pytest.MarkDecorator:
    """Every fault that is tried on that stand."""
    kinds = [kind for kind in FAULTS if kind.stand == stand]
    return pytest.mark.parametrize("kind", kinds, ids=[kind.name for kind in kinds])


@contextlib.contextmanager
def running(folder: Path, checkpoint: Path, **options: Any) -> Iterator[Rig]:
    """Both nodes as processes, in motion, apart from the nodes of other tests."""
    settings = environment(int(os.environ["ROS_DOMAIN_ID"]) + 1)
    with under(settings), Rig(folder, settings, str(checkpoint), **SLOW, **options) as rig:
        yield rig


@pytest.fixture(scope="module")
def rig(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The nodes that most faults are tried on, one after the other, without a restart."""
    with running(tmp_path_factory.mktemp("rig"), checkpoint, **STANDS["poses"]) as one:
        yield one


@pytest.fixture(scope="module")
def jointed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The same with an arm of joints."""
    with running(tmp_path_factory.mktemp("jointed"), checkpoint, **STANDS["joints"]) as one:
        yield one


def survives(kind: type[Fault], rig: Rig) -> None:
    """The arm is safe soon, and moves again afterwards."""
    outcome = once(kind(), rig)
    assert outcome.safe < LENIENT
    assert outcome.named is None or outcome.named < NAMED
    assert outcome.recovery < 60.0
    assert rig.command.process.poll() is None


@on("poses")
def test_the_arm_is_safe_and_recovers(rig: Rig, kind: type[Fault]) -> None:
    survives(kind, rig)


def test_nonsense_moves_nothing(rig: Rig) -> None:
    figures = fuzz(rig, {**POLICY, **COMMAND}, count=25)
    assert (figures["moves"], figures["violations"]) == (0, [])


def test_goals_are_answered(rig: Rig) -> None:
    figures = goal_answers(rig, 3)
    assert {name: times is not None for name, times in figures.items()} == dict.fromkeys(
        ("accepted", "refused", "cancelled"), True
    )


def test_endurance_in_short(rig: Rig) -> None:
    assert parameter_times(rig, 10) is not None
    figures = soak(rig, 4.0)
    assert figures["ticks"] > 5
    assert figures["nodes"]["policy"]["thread_growth"] == figures["nodes"]["command"]["thread_growth"] == 0
    assert figures["violations"] == []


@on("joints")
def test_an_arm_with_joints_is_safe_and_recovers(jointed: Rig, kind: type[Fault]) -> None:
    survives(kind, jointed)


def test_nonsense_does_not_move_an_arm_with_joints(jointed: Rig) -> None:
    figures = fuzz(jointed, JOINTED, count=25)
    assert (figures["moves"], figures["violations"]) == (0, [])


def test_time_that_jumps_is_survived(checkpoint: Path, tmp_path: Path) -> None:
    with running(tmp_path, checkpoint, **STANDS["simulated time"]) as rig:
        for kind in FAULTS:
            if kind.stand == "simulated time":
                survives(kind, rig)
