"""Node processes are never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vla_entropy_ros.evaluation import processes
from vla_entropy_ros.evaluation.errors import RunError
from vla_entropy_ros.evaluation.processes import Processes

STARTER = """
import os, sys
from pathlib import Path
from vla_entropy_ros.evaluation.processes import Processes
group = Processes(Path(sys.argv[1]), dict(os.environ))
print(group.start("command", {}).process.pid, flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that was not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Wait for `condition`."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_node_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path, dict(os.environ)) as group:
        running = group.start("command", {"rate": -3.0})
        wait(lambda: running.process.poll() is not None)
        with pytest.raises(RunError, match=r"the command node ended with status 1: .*rate"):
            group.check()
        assert "Traceback" not in running.log.read_text()


def test_leaving_ends_every_node_even_a_stubborn_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endings = ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 2.0))
    monkeypatch.setattr(processes, "ENDINGS", endings)
    with Processes(tmp_path, dict(os.environ)) as group:
        running = group.start("command", {})
        os.kill(running.process.pid, signal.SIGSTOP)  # deaf to everything but SIGKILL
    assert not alive(running.process.pid)


def test_a_killed_runner_takes_its_nodes_along(tmp_path: Path) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert runner.stdout is not None
    node = int(runner.stdout.readline())
    assert alive(node)
    runner.kill()
    runner.communicate()
    wait(lambda: not alive(node))


@pytest.mark.parametrize("node", ["command", "policy", "simulator"])
def test_repeated_signals_end_a_node_in_order(node: str, tmp_path: Path) -> None:
    with Processes(tmp_path, dict(os.environ)) as group:
        running = group.start(node, {})
        wait(lambda: catches(running.process.pid, signal.SIGTERM))
        time.sleep(1.0)
        for _ in range(200):
            running.signal(signal.SIGINT)
            time.sleep(0.01)
            if running.process.poll() is not None:
                break
        wait(lambda: running.process.poll() is not None)
        assert running.process.returncode == 0
        assert "Traceback" not in running.log.read_text()


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal; Python alone has none for SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)
