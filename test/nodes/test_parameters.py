"""Settings as parameters: converted, validated, refused in one line, applied as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_entropy_ros.nodes.common.parameters import Parameters, TunableNode
from vla_entropy_ros.nodes.common.process import StartError
from vla_entropy_ros.settings import Setting, When, among, everyone

HOW = ("full", "half", "off")
HALF = among("mode", ("half",), HOW)
TABLE = (
    Setting("mode", "str", "how", choices=HOW),
    Setting("low", "int", "lower one", 0, 100),
    Setting("high", "int", "upper one", 0, 100),
    Setting("share", "float", "how much", 0.0, 1.0),
    Setting("bins", "int", "how many", low=0, high=256),
    Setting("weighted", "bool", "whether"),
    Setting("device", "str", "where", read_only=True),
    Setting("cores", "str", "which", digits=True),
    Setting("split", "int", "between the two", 0, 9, listens=(HALF, When(
        "low unlike high", lambda values: values["low"] != values["high"], "while low and high are both {low}"))),
    Setting("twist", "int", "how much more", 0, 9, listens=(HALF,)),
    Setting("pace", "float", "how fast", 0.0, 1.0, listens=(among("mode", HOW[:2], HOW),)),
    Setting("eyes", "int", "how many look", 0, 9, listens=(
        When("several eyes", lambda values: values.get("there.are", 2) > 1, "with one eye"),)),
)  # fmt: skip
DEFAULTS = {"mode": "full", "low": 10, "high": 20, "share": 0.5, "bins": 64, "weighted": False, "device": "cpu",
            "cores": "", "split": 3, "twist": 1, "pace": 0.5, "eyes": 2}  # fmt: skip


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
        ("cores", 2, "2"),
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
    assert (low.description, low.integer_range[0].from_value, low.integer_range[0].to_value) == (
        "every mode: lower one", 0, 100,
    )  # fmt: skip
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


def described(stage: Any, node: str, *names: str) -> list[Any]:
    """What a node tells about its parameters."""
    request = DescribeParameters.Request(names=names)
    return list(stage.call(DescribeParameters, f"/{node}/describe_parameters", request).descriptors)


def test_descriptions_begin_with_who_listens(stage: Any) -> None:
    stage.add(Subject())
    split, pace, eyes, mode = described(stage, "subject", "split", "pace", "eyes", "mode")
    assert split.description == "half, low unlike high: between the two"
    assert pace.description == "every mode but off: how fast"
    assert eyes.description == "several eyes: how many look"
    assert mode.description == "every mode: how"
    assert everyone(TABLE[1:6]) == "always"  # where nothing depends on a choice


@pytest.mark.parametrize(
    ("before", "name", "value", "said"),
    [
        ({}, "split", 4, "split has no effect in mode full: half listens"),
        ({"mode": "half", "low": 20}, "split", 4, "split has no effect while low and high are both 20"),
        ({"mode": "half"}, "split", 4, ""),
        ({"mode": "off"}, "pace", 0.25, "pace has no effect in mode off: every mode but off listens"),
        ({"mode": "half"}, "pace", 0.25, ""),
        ({}, "low", 11, ""),
    ],
)
def test_a_value_without_effect_is_taken_and_the_answer_says_so(
    stage: Any, capfd: pytest.CaptureFixture[str], before: dict[str, Any], name: str, value: Any, said: str
) -> None:
    subject = stage.add(Subject(**before))
    for _ in range(2):
        answer = stage.set_parameter("subject", name, value)
        assert (answer.successful, answer.reason) == (True, said)
    assert subject.settings.values[name] == value
    log = capfd.readouterr().err
    assert log.count("has no effect") == bool(said)  # once, however often it is set
    assert said in log


def test_the_values_that_are_set_together_decide_who_listens(stage: Any) -> None:
    stage.add(Subject())
    both = [Parameter("mode", value="half").to_parameter_msg(), Parameter("split", value=4).to_parameter_msg()]
    request = SetParametersAtomically.Request(parameters=both)
    answer = stage.call(SetParametersAtomically, "/subject/set_parameters_atomically", request).result
    assert (answer.successful, answer.reason) == (True, "")
    both[0] = Parameter("mode", value="off").to_parameter_msg()
    both.append(Parameter("pace", value=0.25).to_parameter_msg())
    request = SetParametersAtomically.Request(parameters=both)
    reason = stage.call(SetParametersAtomically, "/subject/set_parameters_atomically", request).result.reason
    assert reason == (
        "split has no effect in mode off: half listens; pace has no effect in mode off: every mode but off listens"
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"split": 4}, ["split has no effect in mode full: half listens"]),
        ({"split": 3, "pace": 0.5}, []),  # the defaults: nobody chose them
        ({"split": 4, "pace": 0.25, "mode": "off"}, ["split has no effect in mode off", "pace has no effect in mode"]),
        ({"split": 4, "mode": "half"}, []),
        ({"split": 4, "twist": 8}, ["split, twist have no effect in mode full: half listens"]),
    ],
)
def test_what_is_chosen_at_start_up_without_effect_is_named(
    capfd: pytest.CaptureFixture[str], overrides: dict[str, Any], said: list[str]
) -> None:
    Subject(**overrides).destroy_node()
    log = capfd.readouterr().err
    assert log.count(" no effect ") == len(said)
    assert all(line in log for line in said)


def test_ranges_can_be_narrowed_and_widened_again(stage: Any, capfd: pytest.CaptureFixture[str]) -> None:
    subject = stage.add(Subject(eyes=3))
    assert "no effect" not in capfd.readouterr().err
    subject.settings.narrow({"low": 30, "high": 40}, {"there.are": 1})
    assert "eyes has no effect with one eye" in capfd.readouterr().err
    tops = [descriptor.integer_range[0].to_value for descriptor in described(stage, "subject", "low", "high", "bins")]
    assert tops == [30, 40, 256]
    assert stage.set_parameter("subject", "high", 40).successful
    answer = stage.set_parameter("subject", "low", 31)
    assert (answer.successful, answer.reason) == (False, "low: 31 is out of range; valid are 0 to 30")
    assert stage.set_parameter("subject", "eyes", 4).reason == "eyes has no effect with one eye"
    subject.settings.widen()
    assert described(stage, "subject", "low")[0].integer_range[0].to_value == 100
    assert stage.set_parameter("subject", "eyes", 5).reason == ""
    assert stage.set_parameter("subject", "high", 90).successful


def test_parameters_adopt_what_holds_already(subject: Subject) -> None:
    subject.settings.adopt({"low": 0})
    assert subject.get_parameter("low").value == 0
    assert subject.settings.values == {**DEFAULTS, "low": 0}
