"""The whole pipeline as a user starts it: three processes, real DDS, the shipped policy, a moving arm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from vla_entropy_ros.evaluation.bringup import brought_up, environment
from vla_entropy_ros.evaluation.errors import RunError
from vla_entropy_ros.evaluation.processes import Processes
from vla_entropy_ros.evaluation.witness import Witness

from ..domains import APART

DEMO = [sys.executable, "-c", "from vla_entropy_ros.cli import main; main()", "demo"]
ROOT = Path(__file__).parents[2]
MARK = "VLA_ENTROPY_TEST_RUN"


def start(output: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo as a program of its own, marked in its environment."""
    return subprocess.Popen(
        [*DEMO, "--output", str(output), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: str(output)},
        start_new_session=True,
    )


def survivors(output: Path) -> list[str]:
    """Command lines of processes that the run of `output` started and that still live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={output}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_the_demo_moves_the_arm_and_tells_what_happened(tmp_path: Path) -> None:
    run = start(tmp_path, "--episodes", "2", "--mode", "info_entropy", "--json")
    said, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    figures = json.loads(said)
    assert figures == json.loads((tmp_path / "summary.json").read_text())
    record = figures["configurations"]["info_entropy"]
    assert record["successes"] >= 1, errors
    assert 0.0 < record["fresh_share"] < 1.0
    assert record["ticks"] >= 10
    assert set(record["latency_ms"]) >= {"capture_age", "vision", "prefill", "decode", "total"}
    assert len({episode["task"] for episode in figures["episodes"]}) == 2
    for name in ("demo.mp4", "demo.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert survivors(tmp_path) == []


def test_the_example_of_the_guide_has_the_arm_pick_up_the_cube(tmp_path: Path) -> None:
    example = ROOT / "examples" / "pick_red.py"
    program = example.read_text(encoding="utf-8").partition("\n\n")[2]
    guide = (ROOT / "docs" / "how-to" / "goals.md").read_text(encoding="utf-8")
    assert f"```python\n{program}```" in guide
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 15
    run = start(tmp_path, "--client", str(example))
    said, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert "Result(state='done', why='simulator/success is true'" in said
    assert survivors(tmp_path) == []


def test_a_program_that_fails_or_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys, time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    run = start(tmp_path, "--client", str(program))
    assert run.stdout is not None
    assert "begun" in run.stdout.readline()
    os.kill(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert (run.returncode, "Aborted" in errors) == (130, False)
    assert survivors(tmp_path) == []
    program.write_text("raise SystemExit(3)")
    assert start(tmp_path, "--client", str(program)).wait(120) == 3


def test_a_demo_beside_another_one_in_its_domain_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program.py"
    program.write_text("import time\nprint('begun', flush=True)\ntime.sleep(120)\n")
    domain = str(APART)
    first = start(tmp_path / "first", "--client", str(program), "--domain-id", domain)
    assert first.stdout is not None
    assert "begun" in first.stdout.readline()
    second = start(tmp_path / "second", "--episodes", "1", "--domain-id", domain)
    _, errors = second.communicate(timeout=60)
    monkeypatch.setattr(Witness, "wait_for_graph", lambda witness, _: witness.wait(lambda: False, 60, "the graph"))
    with (  # where its own nodes hear the other ones first
        pytest.raises(RunError, match=f"domain {domain} has a /policy already"),
        brought_up({"policy": {}, "command": {}}, tmp_path / "third", APART),
    ):
        pass
    first.terminate()
    first.communicate(timeout=30)
    assert second.returncode == 1
    assert errors.strip() == (f"Error: DDS domain {domain} has a /policy already: end it, or take another domain")


def test_a_demo_beside_another_arm_s_node_says_so_too(tmp_path: Path) -> None:
    domain = str(APART)
    with Processes(tmp_path / "elder", environment(APART)) as others:
        elder = others.start("command", {})
        time.sleep(3.0)  # it is the elder once it has said a word; the demo's nodes take longer than this to start
        run = start(tmp_path / "demo", "--episodes", "5", "--domain-id", domain)
        _, errors = run.communicate(timeout=120)
        assert elder.process.poll() is None
    assert run.returncode == 1
    assert errors.strip() == f"Error: DDS domain {domain} has a /command already: end it, or take another domain"
    assert survivors(tmp_path / "demo") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_ended_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    run = start(tmp_path, "--episodes", "50")
    log = tmp_path / "logs" / "policy.log"
    deadline = time.monotonic() + 120
    while not (log.exists() and "instruction:" in log.read_text()):
        assert run.poll() is None, "the demo ended before the first episode"
        assert time.monotonic() < deadline, "the first episode did not begin"
        time.sleep(0.1)
    time.sleep(float(np.random.default_rng().uniform(0, 2)))
    os.kill(run.pid, number)
    said, errors = run.communicate(timeout=30)
    assert run.returncode == 0, errors
    assert "interrupted after" in said
    assert survivors(tmp_path) == []
    assert json.loads((tmp_path / "summary.json").read_text())["planned_episodes"] == 50
