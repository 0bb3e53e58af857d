"""The inference thread: what is published, what is dropped, and when changes take effect."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.logging import get_logger
from sensor_msgs.msg import Image

from vla_entropy_ros.engine import ActionError, Observation, ObservationError, Tunables
from vla_entropy_ros.nodes.inference import Inference, Options, Tick

PATIENCE = 5.0
NOW = 1000.0  # seconds, on a clock that the tests set
OPTIONS = Options(Tunables.default(), control_period=0.1, max_observation_age=0.5, default_instruction="")


@dataclass
class Timings:
    """Only what the thread itself looks at."""

    total: float = 0.01


@dataclass
class Answer:
    """A result whose action says which tick it belongs to."""

    actions: np.ndarray
    timings: Timings = field(default_factory=Timings)


class Scripted:
    """Stands in for the policy: notes every call, and can be held inside `infer` or made to fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.observations: list[Observation] = []
        self.tunables: list[Tunables] = []
        self.threads: set[str] = set()
        self.go_on = threading.Event()
        self.go_on.set()
        self.inside = threading.Event()
        self.fault: Exception | None = None
        self.value = 0.5

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)

    def self_test(self) -> None:
        self._note("self_test")

    def warm_up(self) -> None:
        self._note("warm_up")

    def reset(self) -> None:
        self._note("reset")

    def settle(self) -> None:
        self._note("settle")

    def set_tunables(self, tunables: Tunables) -> None:
        self._note("set_tunables")
        self.tunables.append(tunables)

    def infer(self, observation: Observation) -> Answer:
        self._note("infer")
        self.observations.append(observation)
        self.inside.set()
        assert self.go_on.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        return Answer(np.full((1, 7), self.value))


class Bench:
    """An inference with a scripted policy, a clock, and what it published."""

    def __init__(self) -> None:
        self.policy = Scripted()
        self.now = NOW
        self.published: list[Tick] = []
        self.observed: list[Tick] = []
        logger: Any = get_logger("bench")
        self.inference = Inference(OPTIONS, lambda: self.now, self._publish, self.observed.append, logger)
        self.inference.load(lambda: self.policy)  # type: ignore[arg-type, return-value]

    def _publish(self, tick: Tick) -> None:
        self.policy.calls.append("publish")
        self.published.append(tick)

    def run(self, instruction: str = "pick up the red cube") -> None:
        """Activate and instruct."""
        self.inference.start()
        self.inference.instruct(instruction)

    def see(self, stamp: float, value: int = 0, encoding: str = "mono8") -> None:
        """Offer an image of that time [s]; the clock stands there, too."""
        self.now = stamp
        message = Image(height=1, width=1, step=1, encoding=encoding, data=array.array("B", [value]))
        message.header.stamp = Time(sec=int(stamp), nanosec=round(stamp % 1 * 1e9))
        self.inference.offer(message)

    def settle(self) -> None:
        """Wait until the thread has nothing left to do."""
        end = time.monotonic() + PATIENCE
        while (self.inference._slot._item is not None or self.inference.busy_since) and time.monotonic() < end:
            time.sleep(0.001)
        self.inference._worker.call(lambda: None, PATIENCE)

    def tick(self, stamp: float, **image: Any) -> None:
        """One image, looked at to the end."""
        self.see(stamp, **image)
        self.settle()


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
    (tick,) = bench.published
    assert (tick.stamp.sec, tick.stamp.nanosec, tick.period) == (1000, 0, 0.1)
    assert bench.observed == [tick]


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
    assert bench.inference.counters.displaced == 3
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
    assert bench.inference.counters.dropped == 1


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
    assert [tick.period for tick in bench.published] == [0.1, 0.2]


def test_an_old_image_gives_no_action(bench: Bench) -> None:
    bench.run()
    bench.see(NOW)
    bench.settle()
    bench.now = NOW + 2
    message = Image(height=1, width=1, step=1, encoding="mono8", data=array.array("B", [0]))
    for stamp in (NOW + 1, NOW + 3):  # too old, and from a clock that is ahead
        message.header.stamp = Time(sec=int(stamp))
        bench.inference.offer(message)
        bench.settle()
    assert len(bench.published) == 1
    assert bench.inference.counters.too_old == 2
    assert "valid up to 0.5" in bench.inference.observation_fault


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
    assert bench.inference.fault.startswith("no action: ")
    assert "\n" not in bench.inference.fault
    assert bench.policy.calls[-1] == "reset"
    bench.policy.fault, bench.policy.value = None, 0.0
    bench.tick(NOW + 1)
    assert len(bench.published) == 1
    assert bench.inference.fault == ""
    assert bench.inference.counters.faults == 1


def test_an_unusable_image_leaves_the_cache_alone(bench: Bench) -> None:
    bench.run()
    bench.tick(NOW)
    resets = bench.policy.calls.count("reset")
    bench.tick(NOW + 1, encoding="yuv9")
    bench.policy.fault = ObservationError("image too small")
    bench.tick(NOW + 2)
    assert len(bench.published) == 1
    assert bench.inference.observation_fault == "image too small"
    assert bench.inference.counters.refused == 2
    assert bench.policy.calls.count("reset") == resets


def test_a_compressed_twin_is_left_aside_while_raw_images_come(bench: Bench) -> None:
    from sensor_msgs.msg import CompressedImage

    bench.run()
    bench.tick(NOW)
    bench.inference.offer(CompressedImage(format="jpeg"))
    bench.settle()
    assert bench.inference.counters.received == 1
    bench.inference._last_raw -= 10.0
    bench.inference.offer(CompressedImage(format="jpeg"))
    bench.settle()
    assert bench.inference.counters.received == 2


def test_a_policy_that_fails_its_test_is_not_kept() -> None:
    logger: Any = get_logger("bench")
    inference = Inference(OPTIONS, lambda: NOW, lambda tick: None, lambda tick: None, logger)
    policy = Scripted()
    policy.self_test = lambda: (_ for _ in ()).throw(ActionError("blind"))  # type: ignore[method-assign]
    with pytest.raises(ActionError, match="blind"):
        inference.load(lambda: policy)  # type: ignore[arg-type, return-value]
    assert inference._policy is None
    assert inference.close()
