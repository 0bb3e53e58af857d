"""A node that starts keeps off the shared-memory ports of one that was killed."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from vla_entropy_ros.evaluation.bringup import environment
from vla_entropy_ros.evaluation.processes import Processes, Running
from vla_entropy_ros.nodes.common.fastdds_ports import SHARED_MEMORY, fresh_ports

DOMAIN = 101  # no other test gets it: free_domain() ends at 100
FIRST = 7400 + 250 * DOMAIN


def left_behind(folder: Path, *numbers: int) -> None:
    for number in numbers:
        (folder / f"fastdds_port{FIRST + 11 + 2 * number}_el").touch()


def free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def test_ports_of_the_dead_are_held_and_given_back(tmp_path: Path) -> None:
    left_behind(tmp_path, 1, 4)
    with fresh_ports(DOMAIN, tmp_path, lowest=0) as held:
        assert held == [FIRST + 12, FIRST + 18]
        assert [free(FIRST + 10 + 2 * number) for number in range(5)] == [True, False, True, True, False]
    assert free(FIRST + 12)


def test_ports_of_the_living_and_of_other_domains_are_left_alone(tmp_path: Path) -> None:
    left_behind(tmp_path, 0, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as living:
        living.bind(("", FIRST + 10))
        with fresh_ports(DOMAIN, tmp_path, lowest=0) as held:
            assert held == [FIRST + 12]
    with fresh_ports(DOMAIN - 1, tmp_path, lowest=0) as held:
        assert held == []


def test_there_is_an_end_to_it(tmp_path: Path) -> None:
    left_behind(tmp_path, *range(40))
    with fresh_ports(DOMAIN, tmp_path, lowest=0) as held:
        assert held == [FIRST + 10 + 2 * number for number in range(16)]


def test_numbers_below_the_lowest_are_held(tmp_path: Path) -> None:
    with fresh_ports(DOMAIN, tmp_path, lowest=2) as held:
        assert held == [FIRST + 10, FIRST + 12]
    lowest = set()
    for _ in range(30):
        with fresh_ports(DOMAIN, tmp_path) as held:
            lowest.add(len(held))
    assert len(lowest) > 3
    assert max(lowest) < 16


def participant(node: Running) -> int:
    """Number of a node's DDS participant, from the names of its threads."""
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        names = [task.read_text().strip() for task in Path(f"/proc/{node.process.pid}/task").glob("*/comm")]
        ports = [int(name.rpartition(".")[2]) for name in names if name.startswith("dds.udp.")]
        if found := [port for port in ports if FIRST <= port < FIRST + 250]:
            return (min(found) - FIRST - 10) // 2
        time.sleep(0.05)
    raise TimeoutError("no participant after 30 s")


@pytest.mark.skipif(os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp", reason="Fast DDS")
def test_who_follows_a_killed_node_is_another_participant(tmp_path: Path) -> None:
    with Processes(tmp_path, environment(DOMAIN)) as processes:
        first = processes.start("command", {})
        before = participant(first)
        time.sleep(0.5)  # its shared memory comes after its threads
        first.process.kill()
        first.process.wait()
        try:
            second = processes.start("command", {})
            assert participant(second) != before
            second.signal(signal.SIGINT)
            assert second.process.wait(20.0) == 0
        finally:
            for left in SHARED_MEMORY.glob(f"fastdds_port{FIRST + 11 + 2 * before}*"):
                left.unlink()
