"""The fault suite in short: every fault once, a little nonsense on every topic, a few seconds of endurance."""

from __future__ import annotations

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

from ..domains import APART

LENIENT = 1.5  # seconds: a busy machine must not fail this; `make faults` measures
NAMED = 4.0  # seconds, likewise
SLOW: dict[str, Any] = {  # what a busy machine leaves out is never so long that a jump could be motion
    "pose_timeout": 1.0,
    "limits.max_speed": 0.2,
    "limits.max_joint_speed": 0.3,
}
KINDS = [pytest.param(stand, kind, id=kind.name) for stand in STANDS for kind in FAULTS if kind.stand == stand]


def on(stand: str) -> pytest.MarkDecorator:
    """A rig that stands so."""
    return pytest.mark.parametrize("rig", [stand], indirect=True)


@pytest.fixture(scope="module")
def rig(request: Any, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Both nodes as processes, in motion, apart from those of other tests: one rig ends before the next one stands."""
    settings, stand = environment(APART), STANDS[request.param]
    folder = tmp_path_factory.mktemp("rig")
    with under(settings), Rig(folder, settings, str(checkpoint), **SLOW, **stand) as one:
        yield one


@pytest.mark.parametrize(("rig", "kind"), KINDS, indirect=["rig"])
def test_the_arm_is_safe_and_recovers(rig: Rig, kind: type[Fault]) -> None:
    outcome = once(kind(), rig)
    assert outcome.safe < LENIENT
    assert outcome.named is None or outcome.named < NAMED
    assert outcome.recovery < 60.0
    assert rig.command.process.poll() is None


@on("poses")
def test_nonsense_moves_nothing(rig: Rig) -> None:
    figures = fuzz(rig, {**POLICY, **COMMAND}, count=25)
    assert (figures["moves"], figures["violations"]) == (0, [])


@on("poses")
def test_goals_are_answered(rig: Rig) -> None:
    figures = goal_answers(rig, 3)
    assert {name: times is not None for name, times in figures.items()} == dict.fromkeys(
        ("accepted", "refused", "cancelled"), True
    )


@on("poses")
def test_endurance_in_short(rig: Rig) -> None:
    assert parameter_times(rig, 10) is not None
    figures = soak(rig, 4.0)
    assert figures["ticks"] > 5
    assert figures["nodes"]["policy"]["thread_growth"] == figures["nodes"]["command"]["thread_growth"] == 0
    assert figures["violations"] == []


@on("joints")
def test_nonsense_does_not_move_an_arm_with_joints(rig: Rig) -> None:
    figures = fuzz(rig, JOINTED, count=25)
    assert (figures["moves"], figures["violations"]) == (0, [])
