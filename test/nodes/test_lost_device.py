"""A GPU that fails, or that takes no graphs: said once or for ever, and no tick is tried that can only fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition

from vla_entropy_ros.engine import DeviceLostError, Policy
from vla_entropy_ros.engine.decoding import cuda_graphs
from vla_entropy_ros.nodes.policy.node import PolicyNode
from vla_entropy_ros.nodes.policy.reports import Bounds, inference_report

from .bench import NOW, PATIENCE, Bench
from .robot import Robot

ERROR = DiagnosticStatus.ERROR
LINE = "the device cuda:0 failed: CUDA error: an illegal memory access was encountered; only a new process helps"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh bench."""
    one = Bench()
    yield one
    assert one.inference.close()


def test_it_is_said_once_and_nothing_is_tried_again(bench: Bench) -> None:
    lines: list[str] = []
    bench.inference._logger = SimpleNamespace(fatal=lines.append, debug=lambda _: None)  # type: ignore[assignment]
    bench.run()
    bench.tick(NOW)
    bench.policy.fault = DeviceLostError(LINE)
    bench.see(NOW + 1)
    bench.inference._worker._thread.join(PATIENCE)
    calls = list(bench.policy.calls)
    assert calls[-1] == "infer"
    bench.policy.fault = None
    for number in range(2, 5):
        bench.see(NOW + number)
    bench.inference.pause()
    bench.run()
    bench.see(NOW + 5)
    time.sleep(0.05)
    assert bench.policy.calls == calls
    assert len(bench.published) == 1
    assert lines == [LINE]
    report = inference_report(bench.statistics, Bounds(silence=1.0, loss=0.1, tick=1.0))
    assert (report.level, report.message, report.values["faults"]) == (ERROR, LINE, 1)


def test_a_device_that_fails_after_an_action_ends_the_ticks_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DeviceLostError(LINE)

    bench.run()
    monkeypatch.setattr(bench.policy, "settle", fail)
    bench.see(NOW)
    bench.inference._worker._thread.join(PATIENCE)
    assert len(bench.published) == 1
    assert bench.statistics.fault == LINE
    assert bench.statistics.busy_since is None


def test_the_node_stays_in_error_and_configures_no_more(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def illegal(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")

    robot.tick()
    monkeypatch.setattr(robot.policy._runner, "embed_images", illegal)
    monkeypatch.setattr(robot.policy._cache, "clear", illegal)
    robot.see()
    said = LINE.replace("cuda:0", "cpu")
    robot.quiet(lambda: (robot.statistics.fault or "").startswith(said), "the fault")
    robot.see()
    robot.quiet(lambda: robot.statistics.displaced > 0 or robot.statistics.received > 2, "an image")
    robot.node._diagnostics.publish()
    robot.stage.diagnostic(
        "policy: inference", lambda status: status.level == ERROR and status.message.startswith(said)
    )
    told = [line for line in capfd.readouterr().err.splitlines() if said in line and "[FATAL]" in line]
    assert len(told) == 1

    def load(*_: Any) -> Policy:
        raise DeviceLostError(said)

    monkeypatch.setattr(PolicyNode, "_load", load)
    assert robot.change(Transition.TRANSITION_DEACTIVATE)
    assert robot.change(Transition.TRANSITION_CLEANUP)
    assert not robot.change(Transition.TRANSITION_CONFIGURE)
    assert robot.state == State.PRIMARY_STATE_UNCONFIGURED
    robot.stage.diagnostic("policy: inference", lambda status: status.message == f"configure failed: {said}")


@pytest.mark.parametrize(("captured", "passes"), [(True, "fixed shapes"), (False, "eager")])
def test_how_passes_run_is_told_as_long_as_they_do(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, captured: bool, passes: str
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(PolicyNode, "_load", lambda node, values: Policy.load(checkpoint, graphs=True))
    if not captured:
        monkeypatch.setattr(cuda_graphs, "Graph", refuse)
    robot = Robot(stage, checkpoint, taper_rows=0).activate()
    robot.tick()
    robot.node._diagnostics.publish()
    status = stage.diagnostic("policy: inference", lambda status: any(one.key == "passes" for one in status.values))
    assert {one.key: one.value for one in status.values}["passes"] == passes
