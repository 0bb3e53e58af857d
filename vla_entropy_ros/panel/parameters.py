"""The policy's parameters as they are now: read with their ranges, and followed when anybody sets one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, ParameterEvent, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from .snapshot import KNOBS, Knob

PATIENCE = 3.0  # seconds that an answer may take before it is asked for again


class Parameters:
    """KNOBS of one policy; `changed` is called with all of them, on the thread that spins the node.

    What is asked of the node is never waited for: `look`, called now and then, asks again what was not answered.
    """

    def __init__(self, node: Node, policy: str, changed: Callable[[Mapping[str, Knob]], None]) -> None:
        self._node, self._policy, self._changed = node, policy, changed
        self._describe: Any = node.create_client(DescribeParameters, f"{policy}/describe_parameters")
        self._get: Any = node.create_client(GetParameters, f"{policy}/get_parameters")
        self._asked: dict[Any, Any] = {}  # client by the future of its answer
        self._since = 0.0
        self._wanted = True
        self._ranges: dict[str, tuple[int, int]] = {}
        self._values: dict[str, Any] = {}

    def read(self) -> None:
        """Read values and ranges, soon."""
        self._wanted = True
        self.look()

    def look(self) -> None:
        """Ask for what is wanted, once the node is there; again where no answer came."""
        now = time.monotonic()
        if self._asked and now - self._since > PATIENCE:
            self._forget()
            self._wanted = True
        if not self._wanted or self._asked or not (self._describe.service_is_ready() and self._get.service_is_ready()):
            return
        self._wanted, self._since = False, now
        names = list(KNOBS)
        self._ask(self._describe, DescribeParameters.Request(names=names), self._described)
        self._ask(self._get, GetParameters.Request(names=names), self._got)

    def heard(self, event: ParameterEvent) -> None:
        """Take over what a node says that it was set to."""
        if event.node == self._policy:
            told = {p.name: p.value for p in (*event.new_parameters, *event.changed_parameters) if p.name in KNOBS}
            self._take(list(told), list(told.values()))

    def close(self) -> None:
        """Ask nothing any more."""
        self._forget()
        self._node.destroy_client(self._describe)
        self._node.destroy_client(self._get)

    def _ask(self, client: Any, request: Any, take: Callable[[Any], None]) -> None:
        future = client.call_async(request)
        self._asked[future] = client
        future.add_done_callback(partial(self._answered, take))

    def _answered(self, take: Callable[[Any], None], future: Any) -> None:
        if self._asked.pop(future, None) is not None and not future.cancelled() and future.exception() is None:
            take(future.result())

    def _forget(self) -> None:
        for future, client in list(self._asked.items()):
            client.remove_pending_request(future)
        self._asked = {}

    def _described(self, answer: DescribeParameters.Response) -> None:
        self._ranges = {one.name: _range(one) for one in answer.descriptors if one.name in KNOBS}
        self._tell()

    def _got(self, answer: GetParameters.Response) -> None:
        self._take(KNOBS, answer.values)

    def _take(self, names: Sequence[str], values: Sequence[ParameterValue]) -> None:
        told = {name: parameter_value_to_python(value) for name, value in zip(names, values, strict=False)}
        self._values.update({name: value for name, value in told.items() if value is not None})
        self._tell()

    def _tell(self) -> None:
        both = [name for name in KNOBS if name in self._values and name in self._ranges]
        self._changed({name: Knob(name, self._values[name], *self._ranges[name]) for name in both})


def _range(descriptor: ParameterDescriptor) -> tuple[int, int]:
    """Smallest and largest whole number that a parameter takes; 0, 0 where it has no range."""
    for one in descriptor.integer_range:
        return int(one.from_value), int(one.to_value)
    return 0, 0
