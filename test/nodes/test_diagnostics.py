"""Rolling windows look back a few seconds; levels are bytes on the wire and logged when they change."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from vla_entropy_ros.nodes.common import diagnostics
from vla_entropy_ros.nodes.common.diagnostics import ERROR, OK, STALE, WARN, Diagnostics, Report, RollingWindow
from vla_entropy_ros.nodes.common.guarded import GuardedNode
from vla_entropy_ros.nodes.common.process import Stop
from vla_entropy_ros.nodes.common.twins import STARTED


def test_samples_forget_what_is_older_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "WINDOW", 0.05)
    samples = RollingWindow()
    samples.add(1.0)
    time.sleep(0.06)
    samples.add(2.0)
    samples.add(3.0)
    assert samples.look().numbers.tolist() == [2.0, 3.0]
    assert samples.look().rate == pytest.approx(2 / 0.05)


def test_a_summary_shows_median_tail_and_maximum() -> None:
    samples = RollingWindow()
    assert samples.look().summary("tick", "ms") == {"tick p50 / p95 / max [ms]": "-"}
    for value in np.linspace(0.0, 0.1, 101):
        samples.add(value)
    assert samples.look().summary("tick", "ms", 1e3) == {"tick p50 / p95 / max [ms]": "50.0 / 95.0 / 100.0"}


class Patient(GuardedNode):
    """A node whose only task says what the test tells it to, and which remembers what was logged."""

    def __init__(self) -> None:
        super().__init__("patient", namespace="/ward")
        self.report = Report(OK, "fine", {"pulse": 60})
        self.stop = Stop()
        self.diagnostics = Diagnostics(self, "bed 7", {"health": lambda: self.report}, self.stop)


def test_the_state_is_published_every_second(stage: Any) -> None:
    patient = stage.add(Patient())
    status = stage.diagnostic("ward/patient: health", lambda status: True)
    assert (status.level, status.message, status.hardware_id) == (OK, "fine", "bed 7")
    assert [(value.key, value.value) for value in status.values][:-1] == [("pulse", "60")]
    assert status.values[-1].key == STARTED
    for level in (WARN, ERROR, STALE):
        patient.report = Report(level, "worse")
        patient.diagnostics.publish()
        stage.diagnostic("ward/patient: health", lambda status, level=level: status.level == level)


def test_a_change_of_level_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = Patient()
    lines: list[str] = []
    monkeypatch.setattr(patient.diagnostics, "_log", lambda level, line: lines.append(line))
    for report in (Report(OK, "a"), Report(WARN, "b"), Report(WARN, "c"), Report(ERROR, "d"), Report(OK, "e")):
        patient.report = report
        patient.diagnostics.publish()
    assert lines == ["health: b", "health: d", "health: e"]
    patient.destroy_node()


def test_the_younger_of_two_nodes_of_one_name_gives_way_and_the_older_says_so(stage: Any) -> None:
    older = stage.add(Patient())
    stage.diagnostic("ward/patient: health", lambda status: status.level == OK)
    younger = stage.add(Patient())
    stage.until(lambda: younger.stop.requested, "the end of the younger")
    assert younger.stop.status == 1
    stage.diagnostic(
        "ward/patient: health", lambda s: s.level == WARN and "two nodes are called /ward/patient" in s.message
    )
    assert not older.stop.requested
    stage.remove(younger)
    stage.diagnostic("ward/patient: health", lambda status: status.level == OK)


def test_a_node_of_the_same_name_that_says_nothing_is_no_twin(stage: Any) -> None:
    """What is left of a killed node in the graph, for example."""
    patient, silent = stage.add(Patient()), stage.add(GuardedNode("patient", namespace="/ward"))
    time.sleep(1.5)
    assert silent.get_fully_qualified_name() == patient.get_fully_qualified_name()
    assert patient.diagnostics.twins.problem is None
