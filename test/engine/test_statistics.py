"""Statistics of the actions: what is none is refused, with what was expected."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from vla_entropy_ros.engine import Policy
from vla_entropy_ros.engine.families import find_family

from .folders import change_json, refusal


@pytest.mark.parametrize(
    ("statistics", "said"),
    [
        ([1, 2], "holds no JSON object"),
        ({"action": {"q01": [0.0] * 7, "q99": [1.0] * 7}, "num_transitions": 3}, "lacks the level of the data set"),
        ({"arm": []}, "statistics of 'arm' lack action.q01 or action.q99"),
        ({"arm": {"action": {"q01": [0.0] * 7}}}, "lack action.q01 or action.q99"),
        ({"arm": {"action": {"q01": [-1e308] * 7, "q99": [1e308] * 7}}}, "are no ranges"),
        ({"arm": {"action": {"q01": [math.nan] * 7, "q99": [1.0] * 7}}}, "are no ranges"),
        ({"arm": {"action": {"q01": [0.5] * 7, "q99": [0.1] * 7}}}, "q01 must be at most q99"),
        ({"arm": {"action": {"q01": ["0"] * 7, "q99": [1.0] * 7}}}, "expected a list of numbers"),
        ({"arm": {"action": {"q01": [False] * 7, "q99": [1.0] * 7}}}, "expected a list of numbers"),
        ({"arm": {"action": {"q01": [0.0] * 7, "q99": [1.0] * 7, "mask": [2] * 7}}}, "a list of true and false"),
        ({"arm": {"action": {"q01": [0.0] * 8, "q99": [1.0] * 8}}}, "8 action dimensions: valid is 7"),
        ({"a": {}, "b": {}}, "unnorm_key must be given: valid are a, b"),
    ],
)
def test_statistics_that_are_none_are_explained(broken_folder: Path, statistics: Any, said: str) -> None:
    (broken_folder / "dataset_statistics.json").write_text(json.dumps(statistics))
    assert said in refusal(broken_folder)


def test_a_mask_of_ones_and_zeros_is_one_of_true_and_false(broken_folder: Path) -> None:
    ranges: list[Any] = []
    for mask in ([1] * 6 + [0], [True] * 6 + [False]):
        action = {"q01": [-0.1] * 7, "q99": [0.1] * 7, "mask": mask}
        (broken_folder / "dataset_statistics.json").write_text(json.dumps({"arm": {"action": action}}))
        ranges.append(find_family(broken_folder).describe(broken_folder).action_ranges["arm"])
    assert ranges[0] == ranges[1] == ((-0.1,) * 6 + (-1.0,), (0.1,) * 6 + (1.0,))


def test_statistics_in_the_configuration_that_are_none_are_explained(broken_folder: Path) -> None:
    change_json(broken_folder / "config.json", lambda config: config.update(norm_stats=["bridge"]))
    assert "norm_stats is ['bridge']: expected statistics by the name of a data set" in refusal(broken_folder)


def test_a_data_set_that_cannot_be_used_does_not_stand_in_the_way_of_another(broken_folder: Path) -> None:
    sound = {"action": {"q01": [0.0] * 7, "q99": [1.0] * 7}}
    wide = {"action": {"q01": [0.0] * 14, "q99": [1.0] * 14}}
    (broken_folder / "dataset_statistics.json").write_text(json.dumps({"arm": sound, "aloha": wide}))
    told = find_family(broken_folder).describe(broken_folder)
    assert (told.refused, list(told.action_ranges)) == ([], ["arm"])
    assert "statistics of 'aloha' describe 14 action dimensions" in told.remarks[0]
    Policy.load(broken_folder, unnorm_key="arm")
    assert "'aloha' describe 14" in refusal(broken_folder, unnorm_key="aloha")
