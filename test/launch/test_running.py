"""The launch looks whether a living node has the name of one it would start; real nodes play both sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

from ..living import living
from .described import ROOT, demo_actions, load, policy_actions
from .standins import standins

PATIENCE = 20.0  # seconds until something counts as never happening


@contextmanager
def silent(name: str, namespace: str) -> Iterator[Node]:
    """A node that answers nothing, as one that was killed seems to be there."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = Node(name, namespace=namespace, context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture(scope="module")
def launch() -> Iterator[tuple[ModuleType, Node]]:
    """The launch file, and the node that a launch speaks through."""
    with living("launch_ros_1") as node, standins(str(ROOT)):
        module = load("policy")
        vars(module)["get_ros_node"] = lambda context: node
        yield module, node


def meet(node: Node, name: str) -> None:
    """Wait until the services of the node called `name` are known: how soon is not what is tested."""
    client: Any = node.create_client(GetParameters, f"{name}/get_parameters")
    assert client.wait_for_service(PATIENCE), f"no service of {name}"
    node.destroy_client(client)


def started_in(namespace: str, **around: str) -> SimpleNamespace:
    return SimpleNamespace(launch_configurations={"namespace": namespace, **around})


@pytest.mark.parametrize("name", ["policy", "command"])
def test_a_launch_of_names_that_living_nodes_have_is_refused(launch: tuple[ModuleType, Node], name: str) -> None:
    module, node = launch
    with living(name, "/rs"):
        meet(node, f"/rs/{name}")
        with pytest.raises(RuntimeError) as refusal:
            module.refuse_running(started_in("rs"))
        assert str(refusal.value) == (
            f"a node /rs/{name} is running already: end it, or give this one another namespace (namespace:=...)"
        )


def test_a_node_that_does_not_answer_and_one_of_another_namespace_are_no_hindrance(
    launch: tuple[ModuleType, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, node = launch
    monkeypatch.setattr(module, "LOOK", 0.5)
    with silent("policy", "/dead"), living("policy", "/left"):
        meet(node, "/dead/policy")
        meet(node, "/left/policy")
        begun = time.monotonic()
        module.refuse_running(started_in("dead"))
        assert time.monotonic() - begun >= module.ANSWER
        module.refuse_running(started_in("right"))
        module.refuse_running(started_in(""))


@pytest.mark.parametrize(
    ("context", "policy"),
    [
        (started_in(""), "/policy"),
        (started_in("left"), "/left/policy"),
        (started_in("/left/"), "/left/policy"),
        (started_in("left", ros_namespace="/cell"), "/cell/left/policy"),
        (started_in("/left", ros_namespace="/cell"), "/left/policy"),
        (started_in("", ros_namespace="/cell"), "/cell/policy"),
    ],
)
def test_the_names_are_those_that_launch_gives(
    launch: tuple[ModuleType, Node], context: SimpleNamespace, policy: str
) -> None:
    module, _ = launch
    assert module.full_names(context.launch_configurations) == [policy, policy.replace("policy", "command")]


@pytest.mark.parametrize("actions", [policy_actions, lambda monkeypatch: demo_actions()])
def test_the_launch_looks_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, actions: Callable[[pytest.MonkeyPatch], list[Any]]
) -> None:
    """The demo through the file of the policy, which it includes first."""
    kinds = [type(action).__name__ for action in actions(monkeypatch)]
    looks = [place for place, kind in enumerate(kinds) if kind in ("OpaqueFunction", "IncludeLaunchDescription")]
    starts = [place for place, kind in enumerate(kinds) if kind in ("Node", "LifecycleNode")]
    assert max(looks) < min(starts)
