"""Whatever keeps actions from coming: the diagnostics are never all OK, and name the cause and what to type."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from vla_entropy_ros.engine import ActionError, ObservationError
from vla_entropy_ros.nodes.common import diagnostics
from vla_entropy_ros.nodes.common.diagnostics import ERROR, OK, STALE, WARN, Report
from vla_entropy_ros.nodes.policy import causes
from vla_entropy_ros.nodes.policy.reports import Bounds, Scene, cache_report, inference_report, observation_report

from .bench import NOW, OPTIONS, Bench

BOUNDS = Bounds(silence=0.5, loss=0.1, tick=1.0)
WALL = 1.79e9  # seconds: this year
Situation = Callable[[Bench], None]


def reports(bench: Bench) -> list[Report]:
    """What the three tasks say."""
    scene = Scene(clock=lambda: bench.now)
    return [report(bench.statistics, BOUNDS, scene) for report in (inference_report, observation_report, cache_report)]


def stream(bench: Bench, **image: Any) -> None:
    """Images of two seconds, all of them looked at."""
    for number in range(20):
        bench.tick(**{"stamp": NOW + 5 + number / 10, **image})


def alternating(bench: Bench) -> None:
    for number in range(20):
        bench.tick(NOW + 5 + number / 10, frame=f"camera {number % 2}")


def alternating_while_inferring(bench: Bench) -> None:
    """The other camera's image arrives while a tick runs, each time."""
    infer = bench.policy.infer

    def overtaken(observation: Any) -> Any:
        bench.see(observation.stamp + 0.01, frame=f"camera {len(bench.policy.observations) % 2}")
        return infer(observation)

    bench.policy.infer = overtaken  # type: ignore[method-assign]
    bench.see(NOW + 5)  # the others follow each other without end
    time.sleep(0.3)


def told_again(bench: Bench) -> None:
    """Somebody gives another instruction while a tick runs, each time."""
    infer = bench.policy.infer

    def overtaken(observation: Any) -> Any:
        bench.inference.instruct(f"another, number {len(bench.policy.observations)}")
        return infer(observation)

    bench.policy.infer = overtaken  # type: ignore[method-assign]
    stream(bench)


def late(bench: Bench) -> None:
    for number in range(20):
        bench.tick(NOW - 0.4 + number / 100, now=NOW)


def without_state(bench: Bench) -> None:
    def lacking(stamp: float) -> Any:
        raise ObservationError("the state lacks elbow")

    bench.inference._sense = lacking
    stream(bench)


def failing(bench: Bench) -> None:
    bench.policy.fault = ActionError("no such token")
    stream(bench)


def ended(bench: Bench) -> None:
    def broken() -> None:
        raise RuntimeError("out of threads")

    bench.inference._worker._turn = broken
    bench.see(NOW + 5)
    bench.inference._worker._thread.join(5.0)


def wall(bench: Bench, stamp: float, now: float) -> None:
    for _ in range(3):
        bench.tick(stamp, now=now)


def stopped(bench: Bench) -> None:
    bench.inference.instruct("")
    stream(bench)


def blocked(bench: Bench) -> None:
    bench.inference.block("/instruction: /ui publishes std_msgs/msg/Bool")
    stream(bench)


SITUATIONS: dict[str, tuple[Situation, str]] = {
    "deactivated": (lambda bench: bench.inference.pause(), "inactive, nothing is published: ros2 lifecycle set"),
    "an empty instruction": (stopped, "no instruction: an empty one"),
    "an instruction of another type": (
        blocked, "holding: /instruction: /ui publishes std_msgs/msg/Bool: end that publisher"
    ),
    "no image any more": (lambda bench: None, "no tick for lack of usable images"),
    "old images": (lambda bench: stream(bench, now=NOW + 60), " s old, valid is up to 0.5"),
    "images ahead of the clock": (
        lambda bench: wall(bench, NOW + 0.45, NOW), "image is 0.45 s ahead of this node's clock, valid is up to 0.2"
    ),
    "images without a time": (lambda bench: wall(bench, 0.0, WALL), "image has no time, its stamp is zero"),
    "images of the monotonic clock": (
        lambda bench: wall(bench, time.monotonic(), WALL), "looks like time since boot (the monotonic clock)"
    ),
    "simulated time without /clock": (lambda bench: wall(bench, WALL, 0.0), "nothing has come on /clock"),
    "images out of order": (late, "older than the last tick's"),
    "a stamp that never changes": (lambda bench: stream(bench, stamp=NOW, now=NOW + 0.1), "repeat header.stamp"),
    "unusable images": (lambda bench: stream(bench, encoding="yuv9"), "unknown encoding 'yuv9'"),
    "no state": (without_state, "the state lacks elbow"),
    "a tick that fails": (failing, "no action: no such token"),
    "a thread that ended": (ended, "the inference thread has ended: out of threads"),
    "two cameras on one topic": (alternating_while_inferring, "the camera, its image size or its time changed"),
    "instructions without end": (told_again, "results since the last tick were dropped"),
}  # fmt: skip


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench with a policy that is told what to do."""
    one = Bench()
    one.run()
    yield one
    one.policy.go_on.set()
    assert one.inference.close()


@pytest.mark.parametrize("before", ["from the start", "after a good tick"])
@pytest.mark.parametrize("name", SITUATIONS)
def test_no_action_is_never_ok(bench: Bench, name: str, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    situation, said = SITUATIONS[name]
    if before == "after a good tick" or name in ("images out of order", "a stamp that never changes"):
        bench.tick(NOW)
    published = len(bench.published)
    situation(bench)
    assert len(bench.published) == published
    end = time.monotonic() + 10.0
    while said not in " ".join(report.message for report in reports(bench)) and time.monotonic() < end:
        time.sleep(0.05)
    told = reports(bench)
    assert any(report.level != OK for report in told)
    assert said in " ".join(report.message for report in told)


def test_cameras_that_never_match_are_named_with_their_distance() -> None:
    bench = Bench(cameras=2)
    bench.inference.set_options(replace(OPTIONS, camera_slop=0.03))
    bench.run()
    for number in range(40):
        bench.see(NOW + number / 10, camera=0)
        bench.see(NOW + number / 10 + 0.05, camera=1)
    bench.settle()
    inference, observation, _ = reports(bench)
    said = (
        "had no match of the other cameras: the newest of image_2 is 0.050 s after that of image, observation.slop is"
    )
    assert (inference.level, observation.level) == (STALE, WARN)
    assert said in inference.message
    assert said in observation.message
    for number in range(40, 80):
        bench.see(0.0, camera=1)
        bench.see(NOW + number / 10, camera=0)
    bench.settle()
    assert "image_2 has no time, its stamp is zero" in reports(bench)[1].message
    assert bench.inference.close()


def test_one_silent_camera_of_two_is_told() -> None:
    bench = Bench(cameras=2)
    bench.run()
    bench.tick(NOW, camera=0)
    scene = Scene(silence=lambda camera: f"on /image_{camera + 1}")
    report = observation_report(bench.statistics, BOUNDS, scene)
    assert (report.level, report.message) == (STALE, "no image yet on /image_2")
    bench.tick(NOW, camera=1)
    bench.settle()
    end = time.monotonic() + 10.0
    while "no image" not in observation_report(bench.statistics, BOUNDS, scene).message and time.monotonic() < end:
        bench.tick(bench.now + 0.1, camera=1)
        time.sleep(0.05)
    assert "on /image_1" in observation_report(bench.statistics, BOUNDS, scene).message
    assert bench.inference.close()


def test_most_ticks_lost_is_a_warning_that_tells_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "WINDOW", 0.5)
    monkeypatch.setattr(diagnostics, "WINDOW", 0.5)
    begun = time.monotonic()
    number = 0
    while time.monotonic() - begun < 0.8:
        number += 1
        bench.tick(NOW + number / 10, encoding="yuv9")
        time.sleep(0.01)
    bench.tick(NOW + number + 1)  # one in half a second, where ten are due each
    inference, _, _ = reports(bench)
    assert inference.level == WARN
    assert "Hz are due: " in inference.message


def test_a_second_who_speaks_is_a_warning_and_stands_beside_an_error(bench: Bench) -> None:
    bench.tick(NOW)
    scene = Scene(several=lambda: "several publishers send images on /image (/a, /b)")
    report = observation_report(bench.statistics, BOUNDS, scene)
    assert (report.level, report.message) == (WARN, "several publishers send images on /image (/a, /b)")
    bench.tick(NOW + 1, encoding="yuv9")
    report = observation_report(bench.statistics, BOUNDS, scene)
    assert report.level == ERROR
    assert "unknown encoding" in report.message
    assert "(/a, /b)" in report.message


def test_time_that_stands_still_comes_before_what_follows_from_it(bench: Bench) -> None:
    scene = Scene(standstill="/clock stands still")
    for report in (inference_report, observation_report):
        told = report(bench.statistics, BOUNDS, scene)
        assert (told.level, told.message) == (STALE, "/clock stands still")


def test_an_image_of_a_further_camera_that_can_not_be_used_is_told_with_its_topic() -> None:
    bench = Bench(cameras=2)
    bench.run()
    bench.see(NOW, camera=0)
    bench.tick(NOW, camera=1, size=0)
    said = "image_2: image of zero size: 0 x 0, expected at least 1 x 1: check the camera's driver"
    assert observation_report(bench.statistics, BOUNDS).message == said
    assert bench.inference.close()


def test_actions_that_nobody_hears_are_a_warning(bench: Bench) -> None:
    bench.tick(NOW)
    report = inference_report(bench.statistics, BOUNDS, Scene(listeners=lambda: 0))
    assert report.level == WARN
    assert "nobody hears the actions" in report.message


def test_an_empty_instruction_counts_also_while_nothing_can_be_trusted(bench: Bench) -> None:
    bench.inference.block("somebody")
    bench.inference.instruct("")
    bench.inference.block(None)
    stream(bench)
    assert bench.published == []
    assert bench.inference.instruction is None
