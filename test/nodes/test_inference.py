"""The inference thread: what is published, what is dropped, and when changes take effect."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from rclpy.logging import get_logger
from sensor_msgs.msg import Image

from vla_entropy_ros.engine import ActionError, ObservationError
from vla_entropy_ros.nodes.policy.inference import Inference

from .bench import NOW, OPTIONS, PATIENCE, Bench, Scripted


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh bench."""
    one = Bench()
    yield one
    one.policy.go_on.set()
    assert one.inference.close()


def test_everything_about_the_policy_happens_on_one_thread(bench: Bench) -> None:
    bench.run()
    bench.tick(NOW)
    assert bench.policy.threads == {"inference"}
    assert bench.policy.calls[:3] == ["self_test", "warm_up", "reset"]


def test_the_action_is_out_before_the_policy_settles(bench: Bench) -> None:
    bench.run()
    bench.tick(NOW)
    assert bench.policy.calls[-3:] == ["infer", "publish", "settle"]
    (answer,) = bench.published
    assert (answer.stamp.sec, answer.stamp.nanosec, answer.period) == (1000, 0, 0.1)
    assert bench.observed == [answer]


def test_without_activation_nothing_is_inferred(bench: Bench) -> None:
    bench.inference.instruct("pick up the red cube")
    bench.tick(NOW)
    assert "infer" not in bench.policy.calls


@pytest.mark.parametrize("instruction", [None, ""])
def test_without_instruction_nothing_is_inferred(bench: Bench, instruction: str | None) -> None:
    bench.inference.start()
    if instruction is not None:
        bench.run("pick up the red cube")
        bench.inference.instruct(instruction)
    bench.tick(NOW)
    assert "infer" not in bench.policy.calls


def test_the_default_instruction_serves_until_another_comes(bench: Bench) -> None:
    bench.inference.set_options(replace(OPTIONS, default_instruction="wait"))
    bench.inference.start()
    bench.tick(NOW)
    bench.inference.instruct("go")
    bench.tick(NOW + 1)
    bench.inference.instruct("")
    bench.tick(NOW + 2)
    assert [observation.instruction for observation in bench.policy.observations] == ["wait", "go"]


def test_an_instruction_that_comes_while_an_image_is_considered_serves_the_next_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    consider = bench.inference._consider

    def overtaken(*arguments: Any) -> None:
        """The orders to work by are fixed already when the instruction arrives."""
        bench.inference.instruct("go")
        consider(*arguments)

    monkeypatch.setattr(bench.inference, "_consider", overtaken)
    bench.inference.start()
    bench.tick(NOW)
    assert bench.policy.observations == []
    bench.tick(NOW + 1)
    assert [observation.instruction for observation in bench.policy.observations] == ["go"]


def test_the_newest_image_wins(bench: Bench) -> None:
    bench.run()
    bench.policy.go_on.clear()
    bench.see(NOW, value=1)
    assert bench.policy.inside.wait(PATIENCE)
    for number in range(2, 6):
        bench.see(NOW + number / 10, value=number)
    bench.policy.go_on.set()
    bench.settle()
    assert [observation.images[0][0, 0, 0] for observation in bench.policy.observations] == [1, 5]
    assert bench.statistics.displaced == 3
    assert len(bench.published) == 2


@pytest.mark.parametrize(
    "event",
    [
        lambda inference: inference.instruct("something else"),
        lambda inference: inference.instruct(""),
        lambda inference: inference.pause(),
        lambda inference: inference.reset(),
    ],
    ids=["instruction", "no instruction", "deactivate", "reset"],
)
def test_a_result_that_was_overtaken_is_dropped(bench: Bench, event: Callable[[Inference], None]) -> None:
    bench.run()
    bench.policy.go_on.clear()
    bench.see(NOW)
    assert bench.policy.inside.wait(PATIENCE)
    event(bench.inference)
    bench.policy.go_on.set()
    bench.settle()
    assert bench.published == []
    assert bench.observed == []
    assert bench.statistics.dropped == 1


def test_a_change_takes_effect_at_the_next_tick_never_inside_one(bench: Bench) -> None:
    bench.run()
    bench.policy.go_on.clear()
    bench.see(NOW)
    assert bench.policy.inside.wait(PATIENCE)
    changed = replace(OPTIONS, tunables=replace(OPTIONS.tunables, k1=3), control_period=0.2)
    bench.inference.set_options(changed)
    assert bench.policy.tunables == [OPTIONS.tunables]
    bench.policy.go_on.set()
    bench.settle()
    bench.tick(NOW + 1)
    assert bench.policy.tunables == [OPTIONS.tunables, changed.tunables]
    assert [answer.period for answer in bench.published] == [0.1, 0.2]


def test_an_old_image_gives_no_action(bench: Bench) -> None:
    bench.run()
    bench.see(NOW)
    bench.settle()
    bench.now = NOW + 2
    message = Image(height=1, width=1, step=1, encoding="mono8", data=array.array("B", [0]))
    for stamp in (NOW + 1, NOW + 3):  # too old, and from a clock that is ahead
        message.header.stamp = Time(sec=int(stamp))
        bench.inference.intake.offer(message)
        bench.settle()
    assert len(bench.published) == 1
    assert bench.statistics.too_old == 2
    assert "valid is up to 0.2" in (bench.statistics.observation_fault or "")


def test_time_that_jumps_back_begins_a_new_episode(bench: Bench) -> None:
    bench.run()
    bench.tick(NOW)
    resets = bench.policy.calls.count("reset")
    bench.tick(NOW - 500)
    assert bench.policy.calls.count("reset") == resets + 1
    assert len(bench.published) == 2


def test_a_reset_is_done_before_the_next_tick(bench: Bench) -> None:
    bench.run()
    bench.tick(NOW)
    bench.inference.reset()
    bench.tick(NOW + 0.01)  # due at once: the pace begins anew, too
    assert bench.policy.calls[-4:] == ["reset", "infer", "publish", "settle"]


@pytest.mark.parametrize("fault", [ActionError("no action"), RuntimeError("CUDA out of memory\nand more"), None])
def test_a_failing_tick_publishes_nothing_and_the_next_one_is_fresh(bench: Bench, fault: Exception | None) -> None:
    bench.run()
    bench.policy.fault, bench.policy.value = fault, float("nan")
    bench.tick(NOW)
    assert bench.published == []
    said = bench.statistics.fault or ""
    assert said.startswith("no action: ")
    assert "\n" not in said
    assert bench.policy.calls[-1] == "reset"
    bench.policy.fault, bench.policy.value = None, 0.0
    bench.tick(NOW + 1)
    assert len(bench.published) == 1
    assert bench.statistics.fault is None
    assert bench.statistics.faults == 1


def test_an_unusable_image_leaves_the_cache_alone(bench: Bench) -> None:
    bench.run()
    bench.tick(NOW)
    resets = bench.policy.calls.count("reset")
    bench.tick(NOW + 1, encoding="yuv9")
    bench.policy.fault = ObservationError("image too small")
    bench.tick(NOW + 2)
    assert len(bench.published) == 1
    assert bench.statistics.observation_fault == "image too small"
    assert bench.statistics.refused == 2
    assert bench.policy.calls.count("reset") == resets


def test_a_compressed_twin_is_left_aside_while_raw_images_come(bench: Bench) -> None:
    from sensor_msgs.msg import CompressedImage

    bench.run()
    bench.tick(NOW)
    bench.inference.intake.offer(CompressedImage(format="jpeg"))
    bench.settle()
    assert bench.statistics.received == 1
    bench.inference.intake._views[0]._last_raw -= 10.0
    bench.inference.intake.offer(CompressedImage(format="jpeg"))
    bench.settle()
    assert bench.statistics.received == 2


def test_a_policy_that_fails_its_test_is_not_kept() -> None:
    logger: Any = get_logger("bench")
    inference = Inference(OPTIONS, lambda: NOW, lambda stamp: None, lambda answer: None, lambda answer: None, logger)
    policy = Scripted()
    policy.self_test = lambda: (_ for _ in ()).throw(ActionError("blind"))  # type: ignore[method-assign]
    with pytest.raises(ActionError, match="blind"):
        inference.load(lambda: policy)  # type: ignore[arg-type, return-value]
    assert inference._policy is None
    assert inference.close()


@pytest.mark.parametrize(
    "change",
    [{"frame": "wrist"}, {"size": 2}, {"stamp": NOW - 5.0}],
    ids=["another frame", "another size", "time that jumps back"],
)
def test_another_camera_drops_the_running_result_and_the_cache(bench: Bench, change: dict[str, Any]) -> None:
    bench.run()
    bench.tick(NOW - 0.5)
    bench.policy.inside.clear()
    bench.policy.go_on.clear()
    bench.see(NOW)
    assert bench.policy.inside.wait(PATIENCE)
    bench.see(**{"stamp": NOW + 0.1, **change})
    bench.policy.go_on.set()
    bench.settle()
    assert bench.statistics.dropped == bench.statistics.interruptions == 1
    assert bench.policy.calls[-4:] == ["reset", "infer", "publish", "settle"]
    assert len(bench.published) == 2


def test_an_uncertain_action_is_marked_not_to_be_done(bench: Bench) -> None:
    bench.run()
    bench.tick(NOW)
    bench.inference.set_options(replace(OPTIONS, max_action_entropy=0.2))
    bench.tick(NOW + 1)
    bench.inference.set_options(replace(OPTIONS, max_action_entropy=0.3))
    bench.tick(NOW + 2)
    assert [answer.hold for answer in bench.published] == [
        None, "action entropy 0.25 is above max_action_entropy 0.2", None
    ]  # fmt: skip
    assert bench.statistics.held == 1


def test_several_cameras_make_one_observation_of_the_age_of_its_oldest_image() -> None:
    bench = Bench(cameras=2)
    bench.inference.set_options(replace(OPTIONS, camera_slop=0.05))
    bench.run()
    bench.see(NOW, value=1, camera=0)
    bench.see(NOW + 0.2, value=2, camera=1)  # not of the same moment
    bench.tick(NOW + 0.22, value=3, camera=0)
    (observation,) = bench.policy.observations
    assert [int(image[0, 0, 0]) for image in observation.images] == [3, 2]
    assert bench.published[0].capture_age == pytest.approx(0.02, abs=1e-6)
    assert observation.stamp == pytest.approx(NOW + 0.2)
    assert bench.statistics.unmatched == 1
    assert bench.inference.close()
