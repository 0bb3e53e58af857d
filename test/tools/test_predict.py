"""What the page on GPUs predicts is what its own measurement says."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch

from tools.predict import DEVICES, MEASURED, PREFILL, SELECTION, SOURCE, Predictor, table
from vla_entropy_ros.bench.gpu.launches import selection
from vla_entropy_ros.bench.gpu.rows import BOUNDS
from vla_entropy_ros.bench.gpu.shapes import TINY, moving, random_policy
from vla_entropy_ros.engine.device import Placement


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return json.loads(SOURCE.read_text())


def test_the_pages_table_is_that_of_the_measurement(content: dict[str, Any]) -> None:
    assert "\n".join(table(content)) in (SOURCE.parent / "gpu.md").read_text()


def test_where_it_was_measured_a_tick_is_the_sum_of_its_parts(content: dict[str, Any]) -> None:
    predictor = Predictor(content)
    for quantisation, row in BOUNDS.items():
        stages, made = content["rows"][row]["stage_ms"], predictor.predict(MEASURED, quantisation)
        first = content["passes_ms"][quantisation]["prefill"][str(PREFILL)]
        parts = stages["preprocess"] + stages["vision"] + first + stages["decode"]
        assert parts < made.one < parts + 0.5  # the kernels of the selection
        assert made.one < content["rows"][row]["latency_ms"]["mean"]
        if quantisation != "fp8":  # whose decoder was held to the rate of bfloat16
            assert made.floor == pytest.approx(content["one_pass_floor_ms"][quantisation]["total"], rel=0.02)


def test_a_slower_device_is_slower_by_its_roofline_alone(content: dict[str, Any]) -> None:
    predictor = Predictor(content)
    here, others = predictor.predict(MEASURED, "none"), [predictor.predict(each, "none") for each in DEVICES[1:]]
    for other in others:
        assert other.one > other.floor > here.floor
        assert other.one - other.floor == pytest.approx(here.one - here.floor, abs=0.5)
        assert other.mean > other.one


def test_more_passes_take_longer(content: dict[str, Any]) -> None:
    more = copy.deepcopy(content)
    more["drafts"]["expected_passes"] += 1.0
    times = [Predictor(each).predict(MEASURED, "fp8").mean for each in (content, more)]
    assert times[1] - times[0] == pytest.approx(content["passes_ms"]["fp8"]["extension"]["48"], abs=0.01)


def test_as_many_kernels_choose_the_tokens_as_are_counted() -> None:
    policy, _ = random_policy(TINY, Placement(torch.device("cpu"), torch.float32), graphs=True)
    assert selection(policy, next(moving(1))) == SELECTION
