"""A table of settings as ROS parameters: declared in a loop, validated when set, applied afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ...settings import Setting, all_default_settings, everyone
from .given import Given
from .guarded import GuardedNode
from .process import StartError, one_line

Values = dict[str, Any]
ACTION_FRAME = Setting("action_frame", "str", "frame in which actions and poses are expressed", read_only=True)
NUMBERS = ("int", "float")
LOG_PERIOD = 1.0  # seconds between two lines about refused parameters


class Parameters:
    """The node's settings; `values` is replaced as a whole, never changed in place, so any thread may read it.

    `check` sees all values as they would become and raises ValueError with one line to refuse them; `apply` sees them
    once they hold. What was chosen at start-up and has no effect is said in the log. Raises StartError when a start-up
    value is refused.
    """

    def __init__(
        self,
        node: Node,
        settings: Sequence[Setting],
        defaults: Mapping[str, Any],
        check: Callable[[Values], object] = lambda _: None,
        apply: Callable[[Values], object] = lambda _: None,
    ) -> None:
        self._settings = {setting.name: setting for setting in settings}
        self._narrowed: dict[str, Setting] = {}
        self._everyone = everyone(settings)
        self._node, self._defaults = node, defaults
        self._check, self._apply = check, apply
        self._facts: Values = {}
        self._said: set[str] = set()
        self.values: Values = {
            setting.name: _declare(node, setting, _describe(setting, self._everyone), defaults) for setting in settings
        }
        if (reason := self._refusal(self.values)) is not None:
            raise StartError(reason)
        if isinstance(node, TunableNode):  # now that it starts: a refusal stands alone in the log
            node.say_what_was_given()
        self._say_unheard()
        node.add_pre_set_parameters_callback(self._convert)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._take)

    def refusal(self, parameters: Sequence[Parameter[Any]]) -> str | None:
        """Why `parameters` can't be set now, in one line with what is valid; None when they can."""
        for parameter in parameters:
            if not self._node.has_parameter(parameter.name):
                return f"there is no parameter {parameter.name}; valid are {', '.join(self._settings)}"
            if self._node.describe_parameter(parameter.name).read_only:
                return f"{parameter.name} is read-only: it can only be given at start-up"
        return self._refusal(self._changed(self._convert(parameters)))

    def unheard(self, names: Iterable[str]) -> list[str]:
        """Which of `names` have no effect now, and why, a line for each cause; each line is in the log once."""
        now = {**self.values, **self._facts}
        causes: dict[str, list[str]] = {}
        for name in names:
            if name in self._settings and (cause := self._settings[name].silence(now)) is not None:
                causes.setdefault(cause, []).append(name)
        lines = [f"{', '.join(n)} {'have' if len(n) > 1 else 'has'} no effect {cause}" for cause, n in causes.items()]
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                self._node.get_logger().warning(line)
        return lines

    def narrow(self, highs: Mapping[str, int], facts: Mapping[str, Any]) -> None:
        """Let integers go up to `highs` by name, for tools to show; `facts`: what conditions ask beside the values."""
        self._narrowed = {name: replace(self._settings[name], high=high) for name, high in highs.items()}
        self._show(self._narrowed)
        self._facts = dict(facts)
        self._say_unheard()

    def widen(self) -> None:
        """Undo `narrow`."""
        self._show({name: self._settings[name] for name in self._narrowed})
        self._narrowed, self._facts = {}, {}

    def adopt(self, values: Mapping[str, Any]) -> None:
        """Make the parameters tell `values`, which hold already."""
        Node.set_parameters_atomically(self._node, [Parameter(name, value=value) for name, value in values.items()])

    def _show(self, settings: Mapping[str, Setting]) -> None:
        """Let tools see other ranges."""
        for name, setting in settings.items():
            descriptor = _describe(setting, self._everyone)
            descriptor.type = self._node.describe_parameter(name).type
            self._node.set_descriptor(name, descriptor)

    def _say_unheard(self) -> None:
        """Name in the log what differs from its default without effect."""
        self.unheard(name for name, value in self.values.items() if value != self._defaults[name])

    def _convert(self, parameters: Sequence[Parameter[Any]]) -> list[Parameter[Any]]:
        """Numbers of the declared type."""
        return [_as_declared(self._settings.get(parameter.name), parameter) for parameter in parameters]

    def _changed(self, parameters: Iterable[Parameter[Any]]) -> Values:
        """All values after `parameters` are set; names of other owners (use_sim_time) are left out."""
        return {**self.values, **{p.name: p.value for p in parameters if p.name in self._settings}}

    def _validate(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        return _answer(self._refusal(self._changed(parameters)))

    def _refusal(self, values: Values) -> str | None:
        """Why `values` can't be taken, in one line; None when they can."""
        try:
            _check_each(self._settings, values)
            self._check(values)  # before the narrowed ranges: it knows what they come from
            _check_each(self._narrowed, values)
        except ValueError as error:
            return one_line(error)
        return None

    def _take(self, parameters: list[Parameter[Any]]) -> None:
        values = self._changed(parameters)
        if values != self.values:
            self.values = values
            self._apply(values)


class TunableNode(GuardedNode):
    """A node that answers for its parameters: rclpy's own refusals do not say what is valid, or even what is wrong."""

    _settings: Parameters  # made by the node itself, after rclpy's own parameters

    def __init__(
        self,
        kind: str,
        *,
        cli_args: Sequence[str] | None = None,
        namespace: str | None = None,
        parameter_overrides: Sequence[Parameter[Any]] | None = None,
        **options: Any,
    ) -> None:
        """As rclpy's, but sections of parameter files with the node's `kind` or name reach it in any namespace.

        What applies is in the log, and what nobody takes; raises StartError in one line where that is dangerous.
        """
        overrides = parameter_overrides or ()
        given = Given.to(kind, namespace, cli_args or (), [parameter.name for parameter in overrides])
        verdict = given.verdict(all_default_settings())
        if verdict.refusals:
            raise StartError("; ".join(verdict.refusals))
        with given.for_rcl() as arguments:
            try:
                super().__init__(
                    kind, cli_args=arguments, namespace=namespace, parameter_overrides=list(overrides), **options
                )
            except InvalidParameterTypeException as error:  # of rclpy's own: use_sim_time and the like
                raise StartError(f"{one_line(error)}; valid are true and false") from error
        if cli_args and self.get_fully_qualified_name() != given.node:
            raise StartError(
                f"the node is {self.get_fully_qualified_name()}, its parameters were read for {given.node}; name it "
                "by -r __node:=<name> and -r __ns:=/<namespace>"
            )
        self._verdict = verdict

    def say_what_was_given(self) -> None:
        """Tell in the log what was given at start-up and applies, and what nobody takes."""
        for line in self._verdict.facts:
            self.get_logger().info(line)
        for line in self._verdict.warnings:
            self.get_logger().warning(line)

    def set_parameters_atomically(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """As rclpy's, but a read-only parameter may be set to what it is, so that a dump of all can be loaded.

        Where a value is taken and has no effect, the answer's reason says why.
        """
        changes = [parameter for parameter in parameter_list if not self._stays(parameter)]
        if not hasattr(self, "_settings"):
            return super().set_parameters_atomically(changes)
        if (reason := self._settings.refusal(changes)) is not None:
            # rqt_reconfigure goes on showing the value that was refused, and not the reason
            self.get_logger().warning(f"parameter refused: {reason}", throttle_duration_sec=LOG_PERIOD)
        if reason is not None or not changes:
            return _answer(reason)
        answer = super().set_parameters_atomically(changes)
        if answer.successful:  # rclpy drops what a callback says of a success
            answer.reason = "; ".join(self._settings.unheard(parameter.name for parameter in changes))
        return answer

    def _stays(self, parameter: Parameter[Any]) -> bool:
        name = parameter.name
        if not self.has_parameter(name) or not self.describe_parameter(name).read_only:
            return False
        return bool(self.get_parameter(name).value == parameter.value)


def _check_each(settings: Mapping[str, Setting], values: Values) -> None:
    for name, setting in settings.items():
        setting.check(values[name])


def _answer(refusal: str | None) -> SetParametersResult:
    return SetParametersResult(successful=refusal is None, reason=refusal or "")


def _declare(node: Node, setting: Setting, descriptor: ParameterDescriptor, defaults: Mapping[str, Any]) -> Any:
    """Declare one parameter and return its value; StartError in one line when a start-up override is refused."""
    if setting.name not in defaults:
        raise StartError(f"config/policy.yaml: no default for {setting.name} of node {node.get_name()}")
    default = setting.check(defaults[setting.name])
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


def _describe(setting: Setting, everyone: str) -> ParameterDescriptor:
    """The descriptor that tools show: who listens, what for; a range makes rqt draw a slider."""
    text = f"{setting.who(everyone)}: {setting.description}"
    descriptor = ParameterDescriptor(description=text, read_only=setting.read_only)
    if setting.choices:
        descriptor.additional_constraints = f"one of {setting.valid}"
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
    if setting is not None and setting.digits and isinstance(value, int):
        return Parameter(parameter.name, Parameter.Type.STRING, str(value))
    if setting is None or setting.kind not in NUMBERS:
        return parameter
    try:
        number = float(value)
        if setting.kind == "float":
            return Parameter(parameter.name, Parameter.Type.DOUBLE, number)
        return Parameter(parameter.name, Parameter.Type.INTEGER, int(number)) if number.is_integer() else parameter
    except (TypeError, ValueError):
        return parameter  # refused by its type
