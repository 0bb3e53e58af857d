"""Whether the actions of a data set fit into the limits of the command node beside the policy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from ...control import limits_of
from ...control.saturation import excess
from ...settings import default_settings

if TYPE_CHECKING:
    from ...engine import PolicyInfo

SERVICE = "command/get_parameters"
PATIENCE = 1.0  # seconds that a command node has to tell its limits
LIMITS = ("limits.", "workspace.")


class LimitsBeside:
    """The limits of the command node beside this one: asked for when a checkpoint begins to load, read at its end."""

    def __init__(self, node: Node) -> None:
        self._node, self._values = node, default_settings("command")
        self._names = [name for name in self._values if name.startswith(LIMITS)]
        self._client: Any = node.create_client(GetParameters, SERVICE)
        self._answered = threading.Event()
        self._future: Any = None
        self._ask()

    def read(self, wait: bool) -> tuple[dict[str, Any], str]:
        """All parameters of a command node, and whose limits they tell; `wait`: whether another thread spins the node.

        This package's defaults where none answers within PATIENCE.
        """
        self._ask()
        if self._future is not None:
            self._answered.wait(PATIENCE if wait else 0.0)
        answer = self._future.result() if self._answered.is_set() else None
        if answer is None or len(answer.values) != len(self._names):
            return self._values, "the defaults, as no command node answers"
        told = {
            name: parameter_value_to_python(value)
            for name, value in zip(self._names, answer.values, strict=True)
            if value.type != ParameterType.PARAMETER_NOT_SET
        }
        return {**self._values, **told}, self._node.resolve_service_name(SERVICE).rpartition("/")[0]

    def close(self) -> None:
        """Ask no more."""
        self._node.destroy_client(self._client)

    def _ask(self) -> None:
        if self._future is None and self._client.service_is_ready():
            self._future = self._client.call_async(GetParameters.Request(names=self._names))
            self._future.add_done_callback(lambda _: self._answered.set())


def too_wide(info: PolicyInfo, values: dict[str, Any], whose: str) -> str | None:
    """Which columns of a policy's actions go far beyond the limits among `values`, in one line; None where all fit.

    whose: limits those are.
    """
    if info.action_range is None:
        return None
    found = excess(*info.action_range, info.action_names, limits_of(values))
    if not found:
        return None
    wide = ", ".join(one.text for one in found)
    others = f" (valid are {', '.join(info.unnorm_keys)})" if len(info.unnorm_keys) > 1 else ""
    return (
        f"the action statistics of '{info.unnorm_key}' go far beyond the limits ({whose}): {wide}: much would be "
        f"clipped; is unnorm_key right{others}, and are the data in metres and radians? Then raise the limits, or keep "
        "action_scale small"
    )
