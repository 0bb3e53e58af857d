"""rqt is opened when the names of its docks are known, on a copy that is gone afterwards; a stand-in plays rqt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.node import Node
from std_msgs.msg import Float64

from vla_entropy_ros.nodes.policy.telemetry import COUNTS
from vla_entropy_ros.perspective import SHIPPED, Sought, fit, read, wait

from ..living import living

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds until something counts as never happening
RQT = """
import json, rclpy, signal, sys, time
from rclpy.utilities import get_default_context
class Main:
    def main(self, argv):
        node = rclpy.create_node("rqt_gui_py_node")  # rqt's own: it looks at once
        names = [name for name, _ in node.get_topic_names_and_types()]
        node.destroy_node()
        signal.signal(signal.SIGINT, lambda *_: sys.exit(3))
        with open(argv[-1]) as file:
            print(json.dumps({"argv": argv, "topics": names, "perspective": json.load(file)}), flush=True)
        while STAY: time.sleep(0.05)
        return 7
"""


@contextmanager
def policy(namespace: str) -> Iterator[None]:
    """A node as the policy, as far as rqt looks at it."""
    with living("policy", namespace) as node:
        for topic in (*COUNTS, "latency/total", "latency/prefill"):
            node.create_publisher(Float64, f"~/{topic}", 1)
        yield


class Opened:
    """`rqt_policy` in a process of its own, with a stand-in for rqt."""

    def __init__(self, folder: Path, *arguments: str, stay: bool = False, rqt: str = RQT) -> None:
        packages = folder / "prefix" / "share" / "ament_index" / "resource_index" / "packages"
        packages.mkdir(parents=True)
        for name in ("rqt_plot", "rqt_reconfigure", "vla_entropy_ros"):
            (packages / name).touch()
        (folder / "rqt_gui").mkdir()
        (folder / "rqt_gui" / "__init__.py").touch()
        (folder / "rqt_gui" / "main.py").write_text(f"STAY = {stay}\n{rqt}")
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        inherited = os.environ.get("AMENT_PREFIX_PATH", "")
        paths = {"PYTHONPATH": f"{folder}:{ROOT}", "AMENT_PREFIX_PATH": f"{folder / 'prefix'}:{inherited}".rstrip(":")}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "rqt_policy"), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **paths, "DISPLAY": ":0", "TMPDIR": str(self.temporary), "ROS_DISTRO": "jazzy"},
        )  # fmt: skip

    def line(self) -> dict[str, Any]:
        """What the stand-in has seen."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def end(self) -> tuple[int, str]:
        """Exit status and what was said."""
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


def test_rqt_knows_the_names_of_its_docks_when_it_is_opened(tmp_path: Path) -> None:
    with policy("/left"):
        opened = Opened(tmp_path, "--namespace", "left")
        seen = opened.line()
        assert opened.end()[0] == 7
    program, *options, file = seen["argv"]
    assert (program, options) == ("rqt", ["--force-discover", "--perspective-file"])
    assert Path(file).name == "left_policy.perspective"
    assert {"/left/policy/tokens/fresh", "/left/policy/latency/total"} <= set(seen["topics"])
    sought = Sought(seen["perspective"])
    assert sought.nodes == ["/left/policy"]
    assert sought.fields[0] == "/left/policy/latency/total/data"
    assert list(opened.temporary.iterdir()) == []


def test_rqt_is_opened_without_what_is_not_there_or_not_installed_and_says_so(tmp_path: Path) -> None:
    opened = Opened(tmp_path, "--namespace", "/nowhere")
    perspective = opened.line()["perspective"]
    assert "rqt_runtime_monitor" not in json.dumps(perspective["groups"]["pluginmanager"]["keys"])
    status, said = opened.end()
    assert status == 7
    left_out, absent = said.splitlines()
    assert left_out.endswith("rqt_runtime_monitor not being installed: sudo apt install ros-jazzy-rqt-runtime-monitor")
    assert absent.startswith("not there after 6 s, so not shown: /nowhere/policy, /nowhere/policy/latency/total/data, ")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 3), (signal.SIGTERM, 0)])
def test_a_signal_ends_rqt_and_leaves_no_file(tmp_path: Path, number: int, status: int) -> None:
    with policy("/"):
        opened = Opened(tmp_path, stay=True)
        opened.line()
        opened.process.send_signal(number)
        assert opened.end()[0] == status
    assert list(opened.temporary.iterdir()) == []


def test_an_rqt_that_can_not_be_imported_is_told_in_one_line(tmp_path: Path) -> None:
    status, said = Opened(tmp_path, rqt="import no_such_qt").end()
    assert status == 1
    *_, line = said.splitlines()
    assert line == (
        "Error: rqt can't start (No module named 'no_such_qt'): sudo apt install ros-jazzy-rqt-common-plugins"
    )
    assert "Traceback" not in said


def test_waiting_ends_with_what_is_missing() -> None:
    perspective = read(ROOT / SHIPPED)
    fit(perspective, "/right")
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = Node("asks", context=context)
    with policy("/right"):
        assert wait(Sought(perspective), node, PATIENCE) == []
        sought = Sought(perspective)
        sought.fields.append("/right/policy/tokens/freshest/data")
        assert wait(sought, node, 0.1) == ["/right/policy/tokens/freshest/data"]
    node.destroy_node()
    rclpy.shutdown(context=context)
