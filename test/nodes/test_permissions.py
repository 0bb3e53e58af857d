"""The permissions for SROS 2 allow each node what it does, and nobody what would move the arm past the others."""

from __future__ import annotations

import gc
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_entropy_ros.client import action_node
from vla_entropy_ros.nodes.command.node import CommandNode
from vla_entropy_ros.nodes.common.process import Stop
from vla_entropy_ros.nodes.simulator.node import SimulatorNode
from vla_entropy_ros.panel.feed import Feed

from .robot import Robot, until

ROOT = Path(__file__).parents[2]
COMMAND_TYPES = ("pose_stamped", "twist_stamped", "joint_trajectory", "chunk")
LEASE = 30.0  # seconds: a process of that name that a test before has killed stays in the graph for 20 s
KINDS = {  # what a node has of each kind in the graph: where it is allowed
    "publisher": ("topics", "publish"),
    "subscriber": ("topics", "subscribe"),
    "service": ("services", "reply"),
    "client": ("services", "request"),
}


def allowed(enclave: str, rule: tuple[str, str]) -> list[str]:
    """Absolute names, with * for any text, that an enclave is allowed: `rule` is topics or services, and the verb."""
    profile = _profile(enclave)
    names = [item.text or "" for group in profile.findall(rule[0]) if group.get(rule[1]) == "ALLOW" for item in group]
    own, beside = f"/{profile.get('node')}", "/"
    return [
        own + name[1:] if name.startswith("~") else name if name.startswith("/") else beside + name for name in names
    ]


def _profile(enclave: str) -> ElementTree.Element:
    root = ElementTree.parse(ROOT / "config" / "sros2_policy.xml").getroot()
    (profile,) = root.findall(f"enclaves/enclave[@path='{enclave}']/profiles/profile")
    return profile


def denied(node: Node, enclave: str = "", kinds: tuple[str, ...] = ("publisher", "subscriber", "service")) -> list[str]:
    """What a node has in the graph and its enclave is not allowed; kinds: of which it has some."""
    gc.collect()  # a lifecycle node of a test before holds itself, and the graph looks a name up once
    spoken, heard = ({one.topic_name for one in some} for some in (node.publishers, node.subscriptions))
    until(lambda: spoken <= _found(node, "publisher") and heard <= _found(node, "subscriber"), "its graph", LEASE)
    found = {kind: _found(node, kind) for kind in KINDS}
    assert all(found[kind] for kind in kinds)
    return [
        f"{' '.join(rule)} {topic}"
        for kind, rule in KINDS.items()
        for topic in sorted(found[kind])
        if not any(fnmatchcase(topic, pattern) for pattern in allowed(enclave or f"/robot/{node.get_name()}", rule))
    ]


def _found(node: Node, kind: str) -> set[str]:
    """Names that the graph has under the node's name."""
    return {name for name, _ in getattr(node, f"get_{kind}_names_and_types_by_node")(node.get_name(), "/")}


def parameters(**values: Any) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]


@pytest.mark.parametrize("command_type", COMMAND_TYPES)
def test_the_command_node_is_allowed_what_it_does(stage: Any, command_type: str) -> None:
    assert denied(stage.add(CommandNode(parameter_overrides=parameters(command_type=command_type)))) == []


def test_the_policy_node_is_allowed_what_it_does(robot: Robot) -> None:
    assert denied(robot.node) == []


def test_the_simulator_node_is_allowed_what_it_does(stage: Any) -> None:
    assert denied(stage.add(SimulatorNode(parameter_overrides=parameters(use_sim_time=True)))) == []


def test_who_drives_a_policy_needs_no_more_than_the_terminal_is_allowed(
    acting: Robot, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_node, "ActionServer", MagicMock())  # which runs generated types only
    node = stage.add(action_node.ActionNode(Any, Stop()))
    assert denied(node, "/", ("publisher", "service")) == []
    assert denied(node._client.node, "/", ("publisher", "subscriber", "client")) == []
    node.close()
    feed = Feed()
    try:
        feed.show()
        until(lambda: feed.look().namespace == "/", "the policy that the panel hears")
        until(lambda: _found(feed.node, "subscriber"), "what it hears of it")
        assert denied(feed.node, "/", ("publisher", "subscriber")) == []
    finally:
        feed.close()


def test_what_is_not_allowed_is_found(stage: Any) -> None:
    node = stage.add(CommandNode())
    node.create_publisher(PoseStamped, "current_pose", 1)
    assert denied(node) == ["topics publish /current_pose"]


@pytest.mark.parametrize(
    ("topic", "enclaves"),
    [
        ("/action_chunk", {"/robot/policy"}),
        *((f"/{topic}", {"/robot/command"}) for topic in ("target_pose", "twist_command", "joint_trajectory")),
        ("/command_chunk", {"/robot/command"}),
        ("/gripper_command", {"/robot/command"}),
        ("/current_pose", {"/robot/simulator"}),
        ("/joint_states", {"/robot/simulator"}),
        ("/image", {"/robot/simulator"}),
        ("/emergency_stop", {"/"}),
        ("/instruction", {"/"}),
    ],
)
def test_only_who_is_meant_may_publish_what_moves_the_arm(topic: str, enclaves: set[str]) -> None:
    root = ElementTree.parse(ROOT / "config" / "sros2_policy.xml").getroot()
    everybody = [enclave.get("path", "") for enclave in root.iter("enclave")]
    assert len(everybody) == 4
    speakers = {e for e in everybody if any(fnmatchcase(topic, name) for name in allowed(e, ("topics", "publish")))}
    assert speakers == enclaves


@pytest.mark.parametrize("node", ["policy", "command", "simulator"])
def test_nothing_is_allowed_that_is_not_described(node: str) -> None:
    page = (ROOT / "docs" / "reference" / "topics.md").read_text(encoding="utf-8")
    section = page.partition(f"## {node.capitalize()} node")[2].partition("\n## ")[0]
    names = [name.text or "" for name in _profile(f"/robot/{node}").iter("topic")]
    listed = [name for name in names if not name.startswith(("/", "~")) and "*" not in name]  # one by one, on the page
    assert listed
    assert [name for name in listed if f"`{name}`" not in section] == []
