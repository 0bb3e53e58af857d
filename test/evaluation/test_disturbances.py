"""Disturbances do what was asked of them, the same in every run and for every policy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_entropy_ros.cli.options import FRESH_SEED
from vla_entropy_ros.control import ChunkError, Limits
from vla_entropy_ros.evaluation.camera import Camera, Frame
from vla_entropy_ros.evaluation.closed_loop import ClosedLoop
from vla_entropy_ros.evaluation.disturbances import KINDS, Disturbance, disturbances
from vla_entropy_ros.evaluation.disturbances.effect import MIDST
from vla_entropy_ros.evaluation.disturbances.pictures import SWELL
from vla_entropy_ros.evaluation.timing import SLACK, lock_step
from vla_entropy_ros.settings import SettingError
from vla_entropy_ros.sim import Environment
from vla_entropy_ros.sim.expert import expert_action

PERIOD = 0.1
GREY = np.full((64, 64, 3), 100, np.uint8)
FIXED = ("jpeg", "blur")  # kinds that leave nothing to chance


@pytest.fixture(scope="module")
def loop() -> Iterator[ClosedLoop]:
    env = Environment(image_size=112)
    yield ClosedLoop(env, "base", PERIOD, Limits())
    env.close()


def seen(kind: str, strength: float, image: NDArray[np.uint8] = GREY, seed: int = 1) -> list[NDArray[np.uint8]]:
    """What an episode's first 50 ticks make of one picture."""
    effect = Disturbance(kind, strength).begin("pick_red", seed)
    return [effect.see(image, tick * PERIOD) for tick in range(50)]


def frames(
    loop: ClosedLoop,
    disturbance: Disturbance | None,
    seconds: float = 1.0,
    task: str = "pick_red",
    seed: int = FRESH_SEED,
) -> list[Frame]:
    """What reaches the expert's closed loop."""
    loop.start(task, seed, disturbance)
    camera, made = Camera(loop, lock_step(PERIOD), (16, 16)), []
    while loop.env.time < seconds - SLACK and not loop.env.success:
        camera.look(0.0)
        if (frame := camera.newest()) is not None:
            made.append(frame)
            action = expert_action(loop.env)[None]
            loop.step()
            with suppress(ChunkError):  # of a picture that came very late
                loop.offer(action, frame.observation.stamp)
        else:
            loop.step()
    return made


def pictures(loop: ClosedLoop, disturbance: Disturbance | None, seconds: float = 1.0) -> list[NDArray[np.uint8]]:
    """What the expert's closed loop sees."""
    return [frame.observation.images[0] for frame in frames(loop, disturbance, seconds)]


def test_noise_has_the_deviation_asked_for_in_every_pixel_and_channel() -> None:
    one, other = seen("noise", 6.0)[:2]
    off = one.astype(float) - 100
    assert off.std() == pytest.approx(6.0, rel=0.02)
    assert abs(off.mean()) < 0.2
    assert abs(np.corrcoef(off[..., 0].ravel(), off[..., 1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(off.ravel(), other.ravel())[0, 1]) < 0.05


def test_exposure_swings_slowly_between_its_bounds() -> None:
    gains = np.array([image.mean() / 100 for image in seen("exposure", 0.2)])
    assert (gains.min(), gains.max()) == pytest.approx((0.8, 1.2), abs=0.01)
    swing = round(SWELL / PERIOD)
    np.testing.assert_allclose(gains[:swing], gains[swing : 2 * swing], atol=0.006)
    assert np.abs(np.diff(gains)).max() < 0.2 * 2 * np.pi * PERIOD / SWELL + 0.011


def test_flicker_goes_up_and_down_from_picture_to_picture() -> None:
    levels = [int(image.mean()) for image in seen("flicker", 0.1)]
    assert set(levels) == {90, 110}
    assert all(a != b for a, b in itertools.pairwise(levels))


def test_a_bright_pixel_is_cut_and_does_not_wrap() -> None:
    white = np.full((8, 8, 3), 250, np.uint8)
    assert min(image.min() for image in seen("noise", 50.0, white)) > 0
    assert {int(image.max()) for image in seen("flicker", 0.5, white)} == {125, 255}


def test_jpeg_spoils_more_the_lower_its_quality(loop: ClosedLoop) -> None:
    (clean,) = pictures(loop, None, PERIOD)
    errors = [np.abs(seen("jpeg", q, clean)[0].astype(int) - clean).mean() for q in (100, 50, 5)]
    assert 0 < errors[0] < 1.5 < errors[1] < errors[2] < 30
    assert seen("jpeg", 90, clean)[0].argmax(axis=2)[0, 0] == clean.argmax(axis=2)[0, 0]  # still RGB


def test_a_bump_shifts_the_picture_from_its_moment_on_by_so_many_pixels(loop: ClosedLoop) -> None:
    clean, bumped = pictures(loop, None), pictures(loop, Disturbance("bump", 8))
    assert loop.effect.offset.tolist() in ([8, 0], [-8, 0], [0, 8], [0, -8])
    right, down = loop.effect.offset
    inside = np.s_[8:-8, 8:-8]
    shifted = [bool((a != b).any()) for a, b in zip(clean, bumped, strict=True)]
    first = shifted.index(True)
    assert all(shifted[first:])
    assert MIDST[0] <= first * PERIOD <= MIDST[1] + PERIOD
    for a, b in zip(clean[first:], bumped[first:], strict=True):
        np.testing.assert_array_equal(np.roll(a, (down, right), (0, 1))[inside], b[inside])


def test_the_target_is_moved_once_at_its_moment(loop: ClosedLoop) -> None:
    for seed in range(8):
        loop.start("pick_red", seed, Disturbance("moved", 0.1))
        places, stamps = [loop.env.cube_position("red")], []
        while loop.env.time < 0.8 and loop.effect.moved_at is None:
            loop.observe()
            stamps.append(loop.env.time)
            places.append(loop.env.cube_position("red"))
            loop.advance(None, 0)
        assert loop.effect.moved_at == stamps[-1]
        assert MIDST[0] <= stamps[-1] <= MIDST[1] + PERIOD
        assert np.linalg.norm(places[-1] - places[0]) >= 0.1
        np.testing.assert_allclose(places[-2], places[0], atol=1e-3)
        loop.observe()
        np.testing.assert_allclose(loop.env.cube_position("red"), places[-1], atol=1e-3)


def test_a_target_that_was_touched_before_the_moment_is_left_alone(loop: ClosedLoop) -> None:
    loop.start("pick_red", 3, Disturbance("moved", 0.1))
    loop.env.data.qvel[loop.env.model.jnt_dofadr[loop.env.model.body("red_cube").jntadr[0]]] = 0.1
    for _ in range(10):
        loop.observe()
        loop.advance(None, 0)
    assert loop.effect.moved_at is None


def told(made: list[Frame]) -> list[tuple[float, float, str]]:
    """When each picture was taken, when it came, and what was asked for then."""
    return [(frame.observation.stamp, frame.arrives, frame.observation.instruction) for frame in made]


@pytest.mark.parametrize("text", [*KINDS, "noise=50", "jpeg=1"])
def test_an_episode_repeats_bit_for_bit_and_another_seed_differs(loop: ClosedLoop, text: str) -> None:
    (disturbance,) = disturbances([text])
    one, again, clean = (frames(loop, d, 2.0) for d in (disturbance, disturbance, None))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a.observation.images[0], b.observation.images[0])
    assert told(one) == told(again)
    same = (np.array_equal(a.observation.images[0], b.observation.images[0]) for a, b in zip(one, clean, strict=False))
    assert told(one) != told(clean) or not all(same)
    if disturbance.kind not in FIXED:
        starts = [disturbance.begin("pick_red", seed).rng.random(4).tolist() for seed in (1, 2)]
        assert starts[0] != starts[1]


def test_a_hidden_target_moves_while_the_arm_stands_before_one_of_its_places(loop: ClosedLoop) -> None:
    moved = 0
    for seed in range(12):
        loop.start("pick_red", seed, Disturbance("hidden", 0.07))
        while loop.env.time < 1.5 and loop.effect.moved_at is None:
            before = loop.env.cube_position("red")
            seen = loop.env.in_sight(before, "red")
            loop.effect.touch(loop.env)
            if loop.effect.moved_at is not None:
                moved += 1
                assert not (seen and loop.env.in_sight(loop.env.cube_position("red"), "red"))
                assert np.linalg.norm(loop.env.cube_position("red") - before) >= 0.07
            loop.advance(expert_action(loop.env)[None], 1)
    assert moved >= 4


def test_a_distractor_passes_through_the_picture_and_is_gone(loop: ClosedLoop) -> None:
    clean, carried = (frames(loop, d, 4.0, "put_red") for d in (None, Disturbance("distractor", 1.0)))
    changed = [
        bool((a.observation.images[0] != b.observation.images[0]).any()) for a, b in zip(clean, carried, strict=True)
    ]
    first, last = changed.index(True), len(changed) - changed[::-1].index(True)
    assert MIDST[0] <= first * PERIOD <= MIDST[1] + 0.3
    assert 0.2 <= (last - first) * PERIOD <= 0.9  # 0.7 m at 1 m/s, not all of it in sight
    assert [frame.tool.tolist() for frame in clean] == [frame.tool.tolist() for frame in carried]  # nothing touches


def test_a_cloth_hides_the_target_for_so_long(loop: ClosedLoop) -> None:
    made = frames(loop, Disturbance("cover", 0.5), 2.0, "push_red_left")
    calm = frames(loop, None, 2.0, "push_red_left")
    hidden = [
        n for n, (frame, other) in enumerate(zip(made, calm, strict=True)) if other.in_sight and not frame.in_sight
    ]
    assert 3 <= len(hidden) <= 5
    assert MIDST[0] <= hidden[0] * PERIOD <= MIDST[1] + PERIOD


def test_a_tilted_camera_sees_the_target_elsewhere_and_the_next_episode_does_not(loop: ClosedLoop) -> None:
    loop.start("pick_red", 1, Disturbance("tilt", 5.0))
    place = loop.env.cube_position("red")
    before, turned = loop.env.project(place), loop.env.model.cam_quat.copy()
    loop.env.data.time = 1.0
    loop.effect.touch(loop.env)
    angle = 2 * np.degrees(np.arccos(min(1.0, abs(float(turned[0] @ loop.env.model.cam_quat[0])))))
    assert angle == pytest.approx(5.0, abs=1e-6)
    assert np.linalg.norm(loop.env.project(place) - before) > 0.01
    loop.start("pick_red", 1)
    np.testing.assert_array_equal(loop.env.model.cam_quat, turned)
    np.testing.assert_array_equal(loop.env.project(place), before)


def test_a_lamp_that_goes_out_darkens_what_is_seen_for_good(loop: ClosedLoop) -> None:
    means = [picture.mean() for picture in pictures(loop, Disturbance("light", 0.8), 1.2)]
    assert means[-1] < 0.75 * means[0]
    assert means[-1] == pytest.approx(means[-3], rel=0.05)
    assert pictures(loop, None, PERIOD)[0].mean() == means[0]


def test_a_long_exposure_smears_what_moves_and_nothing_else(loop: ClosedLoop) -> None:
    sharp, smeared = pictures(loop, None), pictures(loop, Disturbance("blur", 0.06))
    np.testing.assert_array_equal(sharp[0], smeared[0])  # nothing moved before
    off = np.abs(sharp[5].astype(int) - smeared[5]).max(2)
    assert off.max() > 30  # the arm
    assert np.median(off) == 0
    assert (off[-20:] <= 1).all()  # the table's near edge


def test_something_else_is_asked_for_once_and_what_counts_is_that(loop: ClosedLoop) -> None:
    made = frames(loop, Disturbance("instruction", 1.0), 12.0, "put_red", 5)
    asked = [frame.observation.instruction for frame in made]
    changes = [n for n, (a, b) in enumerate(itertools.pairwise(asked)) if a != b]
    assert len(changes) == 1
    assert 0.5 <= (changes[0] + 1) * PERIOD <= 1.0 + PERIOD
    assert asked[-1] in {f"put the {colour} cube on the plate" for colour in ("green", "blue", "yellow")}
    assert loop.env.success
    assert loop.env.instruction == asked[-1]
    assert loop.effect.asked_at == pytest.approx((changes[0] + 1) * PERIOD)


def test_dropped_pictures_never_come_and_late_ones_come_in_order(loop: ClosedLoop) -> None:
    some = [frame.observation.stamp for frame in frames(loop, Disturbance("dropped", 0.5), 6.0, "put_red")]
    gaps = np.diff(some)
    assert 0.2 < np.mean(gaps > PERIOD + SLACK) < 0.8
    late = frames(loop, Disturbance("late", 0.3), 6.0, "put_red")
    stamps, delays = [f.observation.stamp for f in late], [f.arrives - f.observation.stamp for f in late]
    assert stamps == sorted(set(stamps))
    assert 0.0 <= min(delays) < 0.1 < max(delays) <= 0.3
    assert len(stamps) < 6.0 / PERIOD - 5  # some were overtaken


def test_without_a_disturbance_the_picture_is_the_simulators(loop: ClosedLoop) -> None:
    loop.start("pick_red", FRESH_SEED)
    np.testing.assert_array_equal(loop.observe().images[0], loop.env.render())


def test_what_is_asked_for_is_read_once_each_with_the_usual_strength_if_none_is_named() -> None:
    made = disturbances(["noise=6", "exposure", "noise=6.0", "jpeg=30"])
    assert [one.label for one in made] == ["noise=6", "exposure=0.2", "jpeg=30"]
    assert [one.label for one in disturbances(["noise=1e1", "noise=10"])] == ["noise=10"]
    assert disturbances([]) == ()
    assert [one.kind for one in disturbances(["all", "noise"])] == list(KINDS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fog", "unknown disturbance 'fog': valid are noise=0.01 to 50, exposure="),
        ("noise=0", "disturbance noise: 0.0 is out of range; valid are 0.01 to 50"),
        ("noise=50.1", "out of range; valid are 0.01 to 50"),
        ("noise=.nan", "out of range; valid are 0.01 to 50"),
        ("noise=", "is not of type float; valid are 0.01 to 50"),
        ("flicker=[", "is not of type float; valid are 0.01 to 0.9"),
        ("jpeg=101", "disturbance jpeg: 101 is out of range; valid are 1 to 100"),
        ("jpeg=2.5", "is not of type int; valid are 1 to 100"),
        ("moved=1", "out of range; valid are 0.05 to 0.2"),
        ("bump=0", "out of range; valid are 1 to 64"),
        ("tilt=20", "disturbance tilt: 20.0 is out of range; valid are 0.1 to 15"),
        ("late=-1", "disturbance late: -1.0 is out of range; valid are 0.02 to 1"),
        ("dropped=1", "disturbance dropped: 1.0 is out of range; valid are 0.01 to 0.9"),
        ("cover=ten", "disturbance cover: 'ten' is not of type float; valid are 0.1 to 5"),
    ],
)
def test_another_kind_or_strength_is_refused_in_one_line_with_the_valid_ones(text: str, said: str) -> None:
    with pytest.raises(SettingError) as error:
        disturbances([text])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
