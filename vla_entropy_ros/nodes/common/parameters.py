"""A table of settings as ROS parameters: declared in a loop, validated when set, applied afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ...settings import Setting
from .process import StartError, one_line

Values = dict[str, Any]
ACTION_FRAME = Setting("action_frame", "str", "frame in which actions and poses are expressed", read_only=True)
NUMBERS = ("int", "float")
LOG_PERIOD = 1.0  # seconds between two lines about refused parameters


class Parameters:
    """The node's settings; `values` is replaced as a whole, never changed in place, so any thread may read it.

    `check` sees all values as they would become and raises ValueError with one line to refuse them; `apply` sees them
    once they hold. Raises StartError when a start-up value is refused.
    """

    def __init__(
        self,
        node: Node,
        settings: Sequence[Setting],
        defaults: Mapping[str, Any],
        check: Callable[[Values], object] = lambda values: None,
        apply: Callable[[Values], object] = lambda values: None,
    ) -> None:
        self._settings = {setting.name: setting for setting in settings}
        self._node = node
        self._check = check
        self._apply = apply
        self.values: Values = {setting.name: _declare(node, setting, defaults) for setting in settings}
        if reason := self._refusal(self.values):
            raise StartError(reason)
        node.add_pre_set_parameters_callback(self._convert)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._adopt)

    def refusal(self, parameters: Sequence[Parameter[Any]]) -> str:
        """Why `parameters` can't be set now, in one line with what is valid; empty when they can."""
        for parameter in parameters:
            if not self._node.has_parameter(parameter.name):
                return f"there is no parameter {parameter.name}; valid are {', '.join(self._settings)}"
            if self._node.describe_parameter(parameter.name).read_only:
                return f"{parameter.name} is read-only: it can only be given at start-up"
        return self._refusal(self._changed(self._convert(parameters)))

    def _convert(self, parameters: Sequence[Parameter[Any]]) -> list[Parameter[Any]]:
        """Numbers of the declared type."""
        return [_as_declared(self._settings.get(parameter.name), parameter) for parameter in parameters]

    def _changed(self, parameters: Iterable[Parameter[Any]]) -> Values:
        """All values after `parameters` are set; names of other owners (use_sim_time) are left out."""
        return {**self.values, **{p.name: p.value for p in parameters if p.name in self._settings}}

    def _validate(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        reason = self._refusal(self._changed(parameters))
        return SetParametersResult(successful=not reason, reason=reason)

    def _refusal(self, values: Values) -> str:
        """Why `values` can't be taken, in one line; empty when they can."""
        try:
            for name, setting in self._settings.items():
                setting.check(values[name])
            self._check(values)
        except ValueError as error:
            return one_line(error)
        return ""

    def _adopt(self, parameters: list[Parameter[Any]]) -> None:
        values = self._changed(parameters)
        if values != self.values:
            self.values = values
            self._apply(values)


class TunableNode(Node):
    """A node that answers for its parameters: rclpy's own refusals do not say what is valid, or even what is wrong."""

    _settings: Parameters  # made by the node itself, after rclpy's own parameters

    def set_parameters_atomically(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """As rclpy's, but a read-only parameter may be set to what it is, so that a dump of all can be loaded."""
        changes = [parameter for parameter in parameter_list if not self._stays(parameter)]
        reason = self._settings.refusal(changes) if hasattr(self, "_settings") else ""
        if reason:  # rqt_reconfigure goes on showing the value that was refused, and not the reason
            self.get_logger().warning(f"parameter refused: {reason}", throttle_duration_sec=LOG_PERIOD)
        if reason or not changes:
            return SetParametersResult(successful=not reason, reason=reason)
        return super().set_parameters_atomically(changes)

    def _stays(self, parameter: Parameter[Any]) -> bool:
        name = parameter.name
        if not self.has_parameter(name) or not self.describe_parameter(name).read_only:
            return False
        return bool(self.get_parameter(name).value == parameter.value)


def _declare(node: Node, setting: Setting, defaults: Mapping[str, Any]) -> Any:
    """Declare one parameter and return its value; StartError in one line when a start-up override is refused."""
    if setting.name not in defaults:
        raise StartError(f"config/policy.yaml: no default for {setting.name} of node {node.get_name()}")
    default = setting.check(defaults[setting.name])
    descriptor = _describe(setting)
    try:
        return node.declare_parameter(setting.name, default, descriptor).value
    except InvalidParameterTypeException:  # at start-up no callback converts an integer to a float
        value = setting.check(_as_declared(setting, _override(node, setting.name)).value)
    except ParameterException:
        setting.check(_override(node, setting.name).value)  # says it better: in one line, with the valid values
        raise
    return node.declare_parameter(setting.name, value, descriptor, ignore_override=True).value


def _override(node: Node, name: str) -> Parameter[Any]:
    """The start-up value of a parameter, whatever its type."""
    parameter = node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True))
    node.undeclare_parameter(name)
    return parameter


def _describe(setting: Setting) -> ParameterDescriptor:
    """The descriptor that tools show; a range makes rqt draw a slider."""
    descriptor = ParameterDescriptor(description=setting.description, read_only=setting.read_only)
    if setting.choices:
        descriptor.additional_constraints = f"one of {', '.join(map(str, setting.choices))}"
    if setting.low is not None and setting.high is not None:
        if setting.kind == "int":
            descriptor.integer_range = [IntegerRange(from_value=int(setting.low), to_value=int(setting.high), step=1)]
        else:
            bounds = FloatingPointRange(from_value=float(setting.low), to_value=float(setting.high), step=0.0)
            descriptor.floating_point_range = [bounds]
    return descriptor


def _as_declared(setting: Setting | None, parameter: Parameter[Any]) -> Parameter[Any]:
    """Turn what tools take for another type, `2`, `1e-3`, `1e2` or `off`, into the number or the choice that is due."""
    value = parameter.value
    if setting is not None and isinstance(value, bool):  # YAML reads `off` as false
        meant = [choice for choice in setting.choices if yaml.safe_load(str(choice)) is value]
        return Parameter(parameter.name, Parameter.Type.STRING, meant[0]) if len(meant) == 1 else parameter
    if setting is None or setting.kind not in NUMBERS:
        return parameter
    try:
        number = float(value)
        if setting.kind == "float":
            return Parameter(parameter.name, Parameter.Type.DOUBLE, number)
        return Parameter(parameter.name, Parameter.Type.INTEGER, int(number)) if number.is_integer() else parameter
    except (TypeError, ValueError):
        return parameter  # refused by its type
