"""The way to the nodes: one node, its thread, and calls of services that always come to an end."""

from __future__ import annotations

import atexit
import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidNamespaceException, InvalidNodeNameException, InvalidServiceNameException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message

from ..nodes.common import goals
from ..nodes.common.goals import STATUS
from ..nodes.common.listen import Speakers, type_name
from ..nodes.common.process import one_line

POLL = 0.005  # seconds
WAKE = 0.1  # seconds after which the spinning thread looks whether it shall end
CLOSED = "this client is closed: make another one"
FACTS = "diagnostic_msgs/msg/DiagnosticArray"


class ClientError(RuntimeError):
    """A node did not answer in time, or refused; the message is one line."""


def find_policies(node: Node) -> dict[str, int]:
    """The namespaces in which policies are, and how many share each; as the graph tells by now."""
    end = f"/policy/{STATUS}"
    there = [name for name, kinds in node.get_topic_names_and_types() if name.endswith(end) and FACTS in kinds]
    counts = {name.removesuffix(end) or "/": node.count_publishers(name) for name in there}
    return {name: count for name, count in sorted(counts.items()) if count}


def namesakes(speakers: Speakers, policy: str) -> str | None:
    """That more than one policy of that name speaks, in words; None where it is one."""
    names = speakers.several
    return None if names is None else f"{names.count(',') + 1} policies are named {policy}: end all but one"


def parameter_messages(values: Mapping[str, Any], more: Mapping[str, Any]) -> list[Any]:
    """Parameters as messages; ClientError where a value is of no type that a parameter has."""
    if not isinstance(values, Mapping):
        raise ClientError(f"expected values by name, such as {{'k1': 8}}, not {values!r}")
    messages = []
    for name, value in {**values, **more}.items():
        if not isinstance(name, str):
            raise ClientError(f"{name!r} is no name of a parameter")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ClientError(f"{name}: {goals.short(repr(value))} is no value of a parameter: it takes over 64 bits")
        try:
            message = Parameter(name, value=value).to_parameter_msg()
            serialize_message(message)  # numbers that are too large show only there
            messages.append(message)
        except Exception as error:  # noqa: BLE001  (rclpy raises several kinds)
            raise ClientError(f"{name}: {value!r} is no value of a parameter: {one_line(error)}") from None
    return messages


def shared_context(domain: int | None = None) -> Context:
    """The context that all clients of this process share; domain: of DDS, None as the environment says.

    Of two participants of DDS that follow each other in a process the second gets the id of the first, and then may
    never find the others: in one of five cases, with Fast DDS 3.2.
    """
    default = rclpy.get_default_context()
    if default.ok() and domain in (None, default.get_domain_id()):
        return default
    return _own_context(domain)


@functools.cache
def _own_context(domain: int | None) -> Context:
    context = Context()
    context.init(domain_id=domain)
    atexit.register(context.try_shutdown)
    return context


def _make_node(name: str, namespace: str, context: Context | None) -> Node:
    if not isinstance(namespace, str):
        raise ClientError(f"the namespace is text, not {namespace!r}")
    try:
        if context is None:
            return Node(name, namespace=namespace, context=shared_context(), start_parameter_services=False)
        # What a given context was told names a node that is there already.
        return Node(
            name, namespace=namespace, context=context, use_global_arguments=False, start_parameter_services=False
        )
    except (InvalidNamespaceException, InvalidNodeNameException) as error:
        raise ClientError(one_line(error)) from None


class Link:
    """Reaches the nodes of a namespace, through a node of its own, which a thread spins, or through a given one.

    check: asked while something is waited for; what it raises ends the wait.
    """

    def __init__(
        self, name: str, namespace: str, node: Node | None, context: Context | None, check: Callable[[], None]
    ) -> None:
        self._check = check
        self._clients: dict[tuple[type, str], Any] = {}
        self.closed = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.owned = node is None
        self.node = node if node is not None else _make_node(name, namespace, context)
        below = namespace if node is not None and namespace else self.node.get_namespace()
        self.namespace = "/" + below.strip("/")
        if node is None:
            self._executor = SingleThreadedExecutor(context=self.node.context)
            self._executor.add_node(self.node)
            self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
            self._thread.start()
            atexit.register(self.close)  # a thread in rclpy aborts an interpreter that ends

    def close(self) -> None:
        """End the thread and leave the graph; a node that was given stays, without what was made for this."""
        self.closed = True
        atexit.unregister(self.close)
        for client in self._clients.values():
            self.node.destroy_client(client)
        self._clients.clear()
        if self._thread is None:
            return
        self._ending.set()
        self._thread.join()
        self._thread = None
        self._executor.shutdown()
        self.node.destroy_node()

    def check_open(self) -> None:
        """ClientError once this was closed."""
        if self.closed:
            raise ClientError(CLOSED)

    def path(self, name: str) -> str:
        """The full name of a topic or service of the namespace; one that begins with a slash stays as it is."""
        return name if name.startswith("/") else f"{self.namespace.rstrip('/')}/{name}"

    def pause(self, seconds: float) -> None:
        """Let time pass; what `check` raises ends it."""
        self.wait(lambda: False, seconds)

    def wait(self, condition: Callable[[], object], patience: float) -> bool:
        """Whether `condition` came to hold within `patience` [s]."""
        due = time.monotonic() + patience
        while not condition():
            self._check()
            left = due - time.monotonic()
            if left <= 0.0:
                return False
            time.sleep(min(POLL, left))
        return True

    def prepare(self, kind: type, service: str) -> Any:
        """A client of a service, found by the time it is needed; ClientError where the service is of another type."""
        if not isinstance(service, str):
            raise ClientError(f"{service!r} is no name of a service")
        key, expected = (kind, self.path(service)), type_name(kind)
        if key not in self._clients:
            types = dict(self.node.get_service_names_and_types()).get(key[1], [expected])
            if expected not in types:
                raise ClientError(f"{key[1]} is of {types[0]}, which can't be asked as {expected}")
            waiting = [one for one, client in self._clients.items() if not client.service_is_ready()]
            for other in (one for one in waiting if one[1] == key[1]):
                self.node.destroy_client(self._clients.pop(other))  # rcl takes one type for a name
            try:
                self._clients[key] = self.node.create_client(*key)
            except (InvalidServiceNameException, RuntimeError) as error:  # RCLError is one
                raise ClientError(one_line(error)) from None
        return self._clients[key]

    def call(
        self, kind: type, service: str, request: Any, patience: float, again: float = float("inf"),
        other: Callable[[], Any] = lambda: None,
    ) -> Any:  # fmt: skip
        """The answer of a service; ClientError where none comes within `patience` [s].

        again: seconds after which it is asked once more, as a server that was killed seems to be there for a while;
        other: the answer, where it is known otherwise.
        """
        self.check_open()
        client, answers = self.prepare(kind, service), []
        asked: float | None = None

        def answered() -> bool:
            nonlocal asked
            if client.service_is_ready() and (asked is None or time.monotonic() - asked > again):
                asked = time.monotonic()
                client.call_async(request).add_done_callback(lambda future: answers.append(future.result()))
            if asked is not None and (known := other()) is not None:
                answers.append(known)
            return bool(answers)

        if not self.wait(answered, patience):
            there = "it is not there" if asked is None else "no answer"
            raise ClientError(f"{self.path(service)}: {there} after {patience:g} s{self.others()}")
        return answers[0]

    def others(self) -> str:
        """Which policies there are, where one is not found."""
        found = find_policies(self.node)
        if self.namespace in found:
            return ""
        there = ", ".join(found) or "none"
        return f"; no policy in namespace {self.namespace}; namespaces with one: {there}"

    def _spin(self) -> None:
        while not self._ending.is_set():
            try:
                self._executor.spin_once(timeout_sec=WAKE)
            except ExternalShutdownException:
                return
