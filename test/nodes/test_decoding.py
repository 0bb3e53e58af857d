"""How images become what the policy sees: what decodes them, and what is said of those that are in doubt."""

from __future__ import annotations

import array
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from .bench import NOW, Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh bench."""
    one = Bench()
    yield one
    assert one.inference.close()


def test_images_that_may_be_of_something_else_are_acted_on_and_told(bench: Bench) -> None:
    lines: list[str] = []
    bench.inference._logger = SimpleNamespace(warning=lambda line, **_: lines.append(line))  # type: ignore[assignment]
    bench.run()
    for number, encoding in enumerate(("mono8", "8UC1", "16UC1", "16UC1", "mono8", "16UC1")):
        deep = encoding == "16UC1"
        message = Image(height=1, width=1, step=2, encoding=encoding, data=array.array("B", bytes(2)))
        bench.now = NOW + number
        message.header.stamp = Time(sec=int(bench.now))
        bench.inference.intake.offer(message)
        bench.settle()
        assert len(bench.published) == number + 1
        assert (bench.statistics.doubt is not None) == deep
    (line,) = lines
    assert "images come as 16UC1" in line
    assert bench.statistics.refused == 0


def test_what_decodes_is_chosen_and_told_when_the_policy_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def find(info: Any, warn: Any) -> Any:
        info("raw images are decoded by ...")
        return lambda samples, encoding: np.full((1, 1, 3), 7, np.uint8)

    monkeypatch.setattr("vla_entropy_ros.nodes.policy.inference.find_converter", find)
    monkeypatch.setattr(
        "test.nodes.bench.get_logger", lambda name: SimpleNamespace(info=told.append, warning=pytest.fail)
    )
    bench = Bench()
    assert told == ["raw images are decoded by ..."]
    bench.run()
    bench.tick(NOW)
    assert bench.inference.close()
    assert bench.policy.observations[0].images[0].tolist() == [[[7, 7, 7]]]


def test_a_further_cameras_image_is_doubted_by_its_topic() -> None:
    bench = Bench(cameras=2)
    bench.run()
    for camera, encoding in enumerate(("mono8", "16UC1")):
        message = Image(height=1, width=1, step=2, encoding=encoding, data=array.array("B", bytes(2)))
        bench.now = NOW
        message.header.stamp = Time(sec=int(NOW))
        bench.inference.intake.offer(message, camera)
    bench.settle()
    assert (bench.statistics.doubt or "").startswith("image_2: images come as 16UC1")
    assert len(bench.published) == 1
    bench.inference.pause()
    assert bench.statistics.doubt is None
    assert bench.inference.close()
