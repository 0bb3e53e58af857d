"""Settings as parameters: converted, validated, refused in one line, applied as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rcl_interfaces.srv import DescribeParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_entropy_ros.nodes.common.parameters import Parameters, TunableNode
from vla_entropy_ros.nodes.common.process import StartError
from vla_entropy_ros.settings import Setting

TABLE = (
    Setting("mode", "str", "how", choices=("full", "half", "off")),
    Setting("low", "int", "lower one", 0, 100),
    Setting("high", "int", "upper one", 0, 100),
    Setting("share", "float", "how much", 0.0, 1.0),
    Setting("bins", "int", "how many", low=0, high=256),
    Setting("weighted", "bool", "whether"),
    Setting("device", "str", "where", read_only=True),
)
DEFAULTS = {"mode": "full", "low": 10, "high": 20, "share": 0.5, "bins": 64, "weighted": False, "device": "cpu"}


class Subject(TunableNode):
    """A node with the table and a memory of what it was told to apply."""

    def __init__(self, **overrides: Any) -> None:
        super().__init__("subject", parameter_overrides=[Parameter(k, value=v) for k, v in overrides.items()])
        self.applied: list[dict[str, Any]] = []
        self._settings = self.settings = Parameters(self, TABLE, DEFAULTS, self.check, self.applied.append)

    def check(self, values: dict[str, Any]) -> None:
        if values["low"] > values["high"]:
            raise ValueError(f"low {values['low']} is above high {values['high']}")


@pytest.fixture
def subject() -> Iterator[Subject]:
    """A subject that nobody spins."""
    one = Subject()
    yield one
    one.destroy_node()


def test_a_new_value_is_applied_beside_the_others(stage: Any) -> None:
    subject = stage.add(Subject())
    assert subject.settings.values == DEFAULTS
    assert stage.set_parameter("subject", "low", 15).successful
    assert stage.set_parameter("subject", "weighted", True).successful
    assert subject.applied == [{**DEFAULTS, "low": 15}, {**DEFAULTS, "low": 15, "weighted": True}]
    assert subject.settings.values == subject.applied[-1]


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("share", 1, 1.0),
        ("mode", False, "off"),
        ("share", "1e-3", 0.001),
        ("share", 0.25, 0.25),
        ("high", "1e2", 100),
        ("high", 30.0, 30),
    ],
)
def test_whatever_reads_as_the_right_value_serves(subject: Subject, name: str, value: object, number: object) -> None:
    assert subject.set_parameters_atomically([Parameter(name, value=value)]).successful
    assert subject.get_parameter(name).value == number
    assert type(subject.applied[-1][name]) is type(number)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mode", True, "mode: True is not of type str; valid are full, half, off"),
        ("mode", "quarter", "mode: 'quarter' is not valid; valid are full, half, off"),
        ("low", 101, "low: 101 is out of range; valid are 0 to 100"),
        ("low", 2.5, "low: 2.5 is not of type int; valid are 0 to 100"),
        ("share", 2, "share: 2.0 is out of range; valid are 0 to 1"),
        ("share", float("nan"), "share: nan is out of range; valid are 0 to 1"),
        ("share", "much", "share: 'much' is not of type float; valid are 0 to 1"),
        ("share", True, "share: True is not of type float; valid are 0 to 1"),
        ("bins", 300, "valid are 0 to 256"),
        ("low", 21, "low 21 is above high 20"),
        ("device", "cuda", "device is read-only: it can only be given at start-up"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(subject: Subject, name: str, value: object, said: str) -> None:
    answer = subject.set_parameters_atomically([Parameter(name, value=value)])
    assert not answer.successful
    assert said in answer.reason
    assert "\n" not in answer.reason
    assert subject.settings.values == DEFAULTS
    assert subject.get_parameter(name).value == DEFAULTS[name]
    assert subject.applied == []


def test_a_refusal_is_in_the_log_for_those_whose_tool_does_not_show_it(
    subject: Subject, capfd: pytest.CaptureFixture[str]
) -> None:
    subject.set_parameters_atomically([Parameter("low", value=2.5)])
    assert "parameter refused: low: 2.5 is not of type int; valid are 0 to 100" in capfd.readouterr().err


def test_an_unknown_name_is_answered_with_those_there_are(stage: Any) -> None:
    stage.add(Subject())
    answer = stage.set_parameter("subject", "lowest", 1)
    assert not answer.successful
    assert answer.reason == f"there is no parameter lowest; valid are {', '.join(DEFAULTS)}"


def test_a_read_only_parameter_may_be_set_to_what_it_is(subject: Subject) -> None:
    both: list[Parameter[Any]] = [Parameter("device", value="cpu"), Parameter("low", value=11)]
    assert subject.set_parameters_atomically(both[:1]).successful
    assert subject.applied == []
    assert subject.set_parameters_atomically(both).successful
    assert subject.applied == [{**DEFAULTS, "low": 11}]
    assert not subject.set_parameters_atomically([Parameter("device", value="cuda"), *both[1:]]).successful


def test_values_that_only_fit_together_can_be_set_together(subject: Subject) -> None:
    both = [Parameter("low", value=60), Parameter("high", value=80)]
    assert subject.set_parameters_atomically(both).successful
    assert subject.applied == [{**DEFAULTS, "low": 60, "high": 80}]


def test_tools_see_ranges_and_choices(stage: Any) -> None:
    stage.add(Subject())
    names = ["low", "share", "mode", "device"]
    answer = stage.call(DescribeParameters, "/subject/describe_parameters", DescribeParameters.Request(names=names))
    low, share, mode, device = answer.descriptors
    assert (low.description, low.integer_range[0].from_value, low.integer_range[0].to_value) == ("lower one", 0, 100)
    assert (share.floating_point_range[0].to_value, share.floating_point_range[0].step) == (1.0, 0.0)
    assert mode.additional_constraints == "one of full, half, off"
    assert [descriptor.read_only for descriptor in answer.descriptors] == [False, False, False, True]
    assert device.name == "device"


def test_an_integer_serves_as_a_float_from_the_start_on() -> None:
    subject = Subject(share=1, low=50, high=60, mode=False)
    assert subject.settings.values["mode"] == "off"
    assert (subject.settings.values["share"], subject.settings.values["low"]) == (1.0, 50)
    assert subject.get_parameter("share").value == 1.0
    assert not subject.set_parameters_atomically([Parameter("share", value=2)]).successful
    subject.destroy_node()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"mode": "quarter"}, "mode: 'quarter' is not valid; valid are full, half, off"),
        ({"low": -1}, "low: -1 is out of range; valid are 0 to 100"),
        ({"low": "ten"}, "low: 'ten' is not of type int; valid are 0 to 100"),
        ({"share": 2}, "share: 2.0 is out of range; valid are 0 to 1"),
        ({"share": 1.5}, "share: 1.5 is out of range; valid are 0 to 1"),
        ({"low": 30}, "low 30 is above high 20"),
    ],
)
def test_a_start_up_value_out_of_range_stops_the_node_in_one_line(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises((StartError, ValueError)) as refusal:
        Subject(**overrides)
    assert str(refusal.value) == said


def test_a_setting_without_a_default_is_named() -> None:
    node = Node("bare")
    with pytest.raises(StartError, match="no default for mode of node bare"):
        Parameters(node, TABLE, {})
    node.destroy_node()
