"""Real-time habits: what is asked for holds on the inference thread alone, what is not allowed is said in a line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter

from vla_entropy_ros.nodes.common import realtime
from vla_entropy_ros.nodes.common.process import StartError
from vla_entropy_ros.nodes.common.realtime import Habits, Realtime, RefusedError, parse_cores
from vla_entropy_ros.nodes.policy.node import PolicyNode
from vla_entropy_ros.settings import SettingError

from .robot import Robot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="affinity and SCHED_FIFO are Linux's")

CORE = max(os.sched_getaffinity(0))
NOWHERE = realtime.HIGHEST_CORE
LOCKED = """
from vla_entropy_ros.nodes.common.realtime import RefusedError, lock_memory
try:
    print(lock_memory())
except RefusedError as error:
    print(error)
print(open("/proc/self/status").read())
"""


class Log:
    """What is said, by level."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.info, self.warning = self.infos.append, self.warnings.append


class System:
    """A system that takes down what it is asked for, and denies it if told so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scheduled: list[tuple[int, int, int]] = []  # policy, priority, thread
        self.locked: list[int] = []  # flags
        self.denied = False
        monkeypatch.setattr(os, "sched_setscheduler", self.schedule)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        monkeypatch.setattr(realtime.ctypes, "CDLL", lambda *_, **__: self)
        monkeypatch.setattr(realtime, "_limit", lambda name: {"RTPRIO": "0", "MEMLOCK": "8192"}[name])
        monkeypatch.setattr(realtime, "_may_lock", lambda: not self.denied)

    def schedule(self, thread: int, policy: int, parameters: os.sched_param) -> None:
        """As os.sched_setscheduler."""
        if self.denied:
            raise PermissionError(1, "Operation not permitted")
        assert thread == 0
        self.scheduled.append((policy, parameters.sched_priority, threading.get_native_id()))

    def mlockall(self, flags: int) -> int:
        """As libc's."""
        self.locked.append(flags)
        return 0


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """A system that allows everything until it is told otherwise."""
    return System(monkeypatch)


def thread_of(robot: Robot) -> int:
    """The kernel's number of the inference thread."""
    number = robot.inference._worker._thread.native_id
    assert number is not None
    return number


@pytest.mark.parametrize(
    ("text", "cores"),
    [("", set()), (" ", set()), ("2", {2}), ("2,3", {2, 3}), ("2-4", {2, 3, 4}), ("0, 2 - 3,2", {0, 2, 3})],
)
def test_cores_are_read_as_lists_and_ranges(text: str, cores: set[int]) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize("text", ["a-b", "2,", "3-2", "-1", "1.5", "0x1", "8192", "0-99999999", "2-3-4", "²", "1 2"])
def test_what_names_no_cores_is_refused_in_a_line_that_says_what_does(text: str) -> None:
    with pytest.raises(SettingError) as refused:
        parse_cores(text)
    assert str(refused.value) == f"realtime.cores: {text!r} names no cores; {realtime.CORES_VALID}"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("realtime.cores", "a-b", "realtime.cores: 'a-b' names no cores; valid are a core (2)"),
        ("realtime.priority", 100, "realtime.priority: 100 is out of range; valid are 0 to 99"),
        ("realtime.lock_memory", 2, "realtime.lock_memory: 2 is not of type bool; valid are true, false"),
    ],
)
def test_a_node_does_not_start_with_a_value_that_means_nothing(name: str, value: object, said: str) -> None:
    with pytest.raises((StartError, SettingError)) as refused:
        PolicyNode(parameter_overrides=[Parameter(name, value=value)])
    assert said in str(refused.value)


def test_a_number_alone_is_a_core_although_yaml_takes_it_for_a_number() -> None:
    node = PolicyNode(parameter_overrides=[Parameter("realtime.cores", value=CORE)])
    assert node._settings.values["realtime.cores"] == str(CORE)
    node.close()
    node.destroy_node()


def test_the_inference_thread_alone_is_bound(stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = os.sched_getaffinity(0)
    robot = Robot(stage, checkpoint, **{"realtime.cores": str(CORE)}).activate()
    robot.tick()
    assert os.sched_getaffinity(thread_of(robot)) == {CORE}
    assert os.sched_getaffinity(os.getpid()) == before
    assert capfd.readouterr().err.count(f"real time: inference thread bound to core {CORE}\n") == 1


def test_what_the_inference_thread_starts_is_bound_too(
    stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of torch are made while a checkpoint loads."""
    seen: list[set[int]] = []
    load: Callable[..., Any] = PolicyNode._load

    def look(node: PolicyNode, values: Any) -> Any:
        seen.append(os.sched_getaffinity(0))
        return load(node, values)

    monkeypatch.setattr(PolicyNode, "_load", look)
    Robot(stage, checkpoint, **{"realtime.cores": str(CORE)}).activate()
    assert seen == [{CORE}]


def test_priority_and_memory_are_asked_for_on_the_inference_thread(
    system: System, stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = Robot(stage, checkpoint, **{"realtime.priority": 50, "realtime.lock_memory": True}).activate()
    robot.tick()
    assert system.scheduled == [(os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 50, thread_of(robot))]
    assert system.locked == [realtime.CURRENT | realtime.FUTURE | realtime.ONFAULT]
    said = "real time: the process's memory locked, inference thread under SCHED_FIFO with priority 50\n"
    assert capfd.readouterr().err.count(said) == 1


def test_what_is_not_allowed_is_one_line_and_the_node_goes_on(
    system: System, stage: Any, checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    system.denied = True
    robot = Robot(stage, checkpoint, **{"realtime.priority": 50, "realtime.lock_memory": True}).activate()
    robot.tick()
    lines = [line for line in capfd.readouterr().err.splitlines() if "realtime" in line or "real time" in line]
    assert len(lines) == 1
    assert "[WARN]" in lines[0]
    assert "not allowed, the node goes on without: realtime.lock_memory (ulimit -l is 8192, later" in lines[0]
    assert "allow it by `<user> - memlock unlimited` in /etc/security/limits.conf" in lines[0]
    assert "; realtime.priority 50 (Operation not permitted, ulimit -r is 0): allow it by `<user> - rtprio" in lines[0]
    assert system.locked == []


@pytest.mark.parametrize("cores", [{NOWHERE}, {CORE, NOWHERE}], ids=["none is there", "one is there"])
def test_cores_that_are_not_there_leave_the_thread_as_it_was(cores: set[int]) -> None:
    before, log = os.sched_getaffinity(0), Log()
    habits = Habits(Realtime(frozenset(cores)), log)  # type: ignore[arg-type]
    habits.bind()
    habits.settle()
    assert os.sched_getaffinity(0) == before
    assert log.infos == []
    (line,) = log.warnings
    assert f"without: realtime.cores {','.join(map(str, sorted(cores)))} (" in line
    assert f"the cores here are {realtime._online()}): name some of those" in line


def test_a_priority_never_takes_the_only_core_of_the_executor(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {0} if thread else {0, 1})
    with pytest.raises(RefusedError, match=r"other threads have core 0 alone .* start the node on two cores"):
        realtime.prioritise(50)
    assert system.scheduled == []
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {0} if thread else {1})
    realtime.prioritise(50)
    assert len(system.scheduled) == 1


def test_elsewhere_than_on_linux_a_line_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "LINUX", False)
    log = Log()
    habits = Habits(Realtime(frozenset({0}), 50, lock_memory=True), log)  # type: ignore[arg-type]
    habits.bind()
    habits.settle()
    (line,) = log.warnings
    assert line.count("realtime.* is for Linux") == 1


def test_more_threads_than_cores_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert realtime.crowded(frozenset()) is None
    assert realtime.crowded(frozenset({2, 3})) is None
    line = realtime.crowded(frozenset({2}))
    assert line is not None
    assert line.startswith("OMP_NUM_THREADS=2 is more than the cores of realtime.cores (2): ")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert realtime.crowded(frozenset({2})) is None


def test_memory_is_locked_where_the_system_allows_it() -> None:
    said = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=60, check=True).stdout
    if "memory locked" not in said:
        assert "realtime.lock_memory (" in said
        pytest.skip("not allowed here")
    assert int(said.partition("VmLck:")[2].split()[0]) > 0


def test_without_any_habit_the_system_is_not_asked(
    system: System, stage: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bound: list[Any] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *asked: bound.append(asked))
    Robot(stage, checkpoint).activate().tick()
    assert (bound, system.scheduled, system.locked) == ([], [], [])
    said = capfd.readouterr().err
    assert "real time" not in said
    assert "not allowed" not in said
