"""The action's package can be built, its server says so where it is not, and is a node like the others where it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node

from vla_entropy_ros import __version__
from vla_entropy_ros.client import action_node
from vla_entropy_ros.nodes.common.process import Stop

from ..living import living
from .definition import FOLDER, stand_in

ROOT = FOLDER.parent
SCRIPT = ROOT / "scripts" / "action_node"
try:
    from vla_entropy_interfaces.action import RunInstruction
except ImportError:
    RunInstruction = None


def test_what_cmake_builds_is_what_the_package_declares() -> None:
    package = ElementTree.parse(FOLDER / "package.xml").getroot()
    cmake = (FOLDER / "CMakeLists.txt").read_text(encoding="utf-8")
    assert package.findtext("name") == FOLDER.name == re.findall(r"project\((\w+)\)", cmake)[0]
    assert package.findtext("version") == __version__
    built = {element.text for element in package.iter("buildtool_depend")}
    assert set(re.findall(r"find_package\((\w+) REQUIRED\)", cmake)) == built
    assert set(re.findall(r"ament_export_dependencies\((\w+)\)", cmake)) == {
        element.text for element in package.iter("exec_depend")
    }
    assert [element.text for element in package.iter("depend")] == ["action_msgs"]
    assert package.findtext("member_of_group") == "rosidl_interface_packages"  # without it the type is not generated
    assert package.findtext("export/build_type") == "ament_cmake"
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.action")}
    assert set(re.findall(r'"(\S+\.action)"', cmake)) == files == {"action/RunInstruction.action"}
    assert cmake.rstrip().endswith("ament_package()")


def test_the_command_that_builds_it_finds_it() -> None:
    """colcon does not look inside a package, so both folders are named, and neither may be ignored."""
    folders = re.findall(r"src/\S+", action_node.BUILD)
    assert [path.partition("/")[2] for path in folders] == ["vla_entropy_ros", f"vla_entropy_ros/{FOLDER.name}"]
    assert not (FOLDER / "COLCON_IGNORE").exists()
    for page in ("docs/how-to/goals.md", "vla_entropy_ros/client/action_node.py"):
        assert action_node.BUILD in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", [ROOT, ROOT.parent], ids=["in the checkout", "elsewhere"])
def test_without_the_type_one_line_says_how_to_build_it(folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=60, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith("action can't start: ")
    assert action_node.BUILD in line


class Server:
    """Stands in for rclpy's action server, which runs generated types only."""

    def __init__(self, node: Node, kind: Any, name: str, execute: Any, **callbacks: Any) -> None:
        self.made, self.callbacks, self.destroyed = (node, kind, name, execute), callbacks, False

    def destroy(self) -> None:
        self.destroyed = True


def test_the_node_may_be_renamed_and_moved_into_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_node, "ActionServer", Server)
    if ours := not rclpy.ok():  # other tests of this process may have begun already
        rclpy.init()
    try:
        told = ["--ros-args", "-r", "__node:=run_server", "-r", "__ns:=/left"]
        node, kind = action_node.ActionNode(Any, Stop(), told), stand_in()
        server: Any = node._server
        assert server.made[:3] == (node, Any, "policy/run")
        assert (node.get_fully_qualified_name(), node.settled) == ("/left/run_server", True)
        assert node._client.node.get_fully_qualified_name() == "/left/run_server_client"
        assert node._client.link.path("policy") == "/left/policy"
        assert kind.Goal().timeout > 0.0, "a goal without a word of its time ends"
        node.close()
        assert server.destroyed
        node.destroy_node()
    finally:
        if ours:
            rclpy.try_shutdown()


@pytest.fixture
def actor() -> Iterator[Node]:
    """A node that a thread spins, in a context of its own."""
    with living("actor") as node:
        yield node


def awaited(future: Any) -> Any:
    due = time.monotonic() + 20.0
    while not future.done():
        assert time.monotonic() < due
        time.sleep(0.005)
    return future.result()


@pytest.mark.skipif(RunInstruction is None, reason="vla_entropy_interfaces is not built")
def test_a_client_of_the_action_is_answered_in_words(actor: Node) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([sys.executable, str(SCRIPT)], env=environment) as process:
        try:
            client: Any = ActionClient(actor, RunInstruction, "policy/run")
            assert client.wait_for_server(20.0)
            handle = awaited(client.send_goal_async(RunInstruction.Goal(instruction="push it")))
            assert handle.accepted
            result = awaited(handle.get_result_async()).result
            assert result.state == "refused"
            assert "no policy in namespace /" in result.why
            process.send_signal(signal.SIGTERM)
            assert process.wait(10.0) == 0
        finally:
            process.kill()
