"""What a selection asks of picture and embeddings is in the compiled library what it is in NumPy and torch."""

from __future__ import annotations

import ctypes
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_entropy_ros.bench.selection import Looked
from vla_entropy_ros.engine import Observation
from vla_entropy_ros.engine.decoding.runner import Embedded
from vla_entropy_ros.engine.decoding.sequence import Layout
from vla_entropy_ros.engine.model.compiled.library import Library, find_all
from vla_entropy_ros.engine.model.compiled.memory import pointer
from vla_entropy_ros.engine.reuse.compiled import CompiledProvenance, CompiledScene, CompiledSelection
from vla_entropy_ros.engine.reuse.joint import JointSelection, Needed, joint_information, on_host
from vla_entropy_ros.engine.reuse.provenance import Provenance
from vla_entropy_ros.engine.reuse.scene import LEAST, NOISE_MOST, NOISY, Scene, relight
from vla_entropy_ros.engine.reuse.selector import Selector
from vla_entropy_ros.engine.tunables import Tunables

if not find_all():
    pytest.skip("the compiled stack was not built, or this processor can't run it", allow_module_level=True)

VARIANTS = st.sampled_from(find_all())
SEEDS = st.integers(0, 2**31)
MANY = settings(max_examples=100, deadline=None)
CPU = torch.device("cpu")
LEVEL = 1e-4  # grey levels
Numbers = NDArray[np.float32]


def lit(library: Library, x: Numbers, y: Numbers) -> NDArray[np.float64]:
    work, step = np.empty((3, len(x))), np.empty(2)
    library.relight(len(x), pointer(x), pointer(y), pointer(work), pointer(step))
    return step


def unsettled(x: Numbers, y: Numbers) -> bool:
    """Whether a patch lies so near to a threshold that rounding decides: then the reference is not sure either."""
    random, step = np.random.default_rng(0), np.array(relight(x, y))
    near = [relight(x, (y + random.normal(0, 2e-5, y.shape)).astype(np.float32)) for _ in range(8)]
    return bool((np.abs(np.array(near) - step) > (1e-6, 1e-3)).any())


@MANY
@given(VARIANTS, SEEDS, st.integers(1, 300), st.floats(0, 40), st.booleans())
def test_gain_and_offset_are_those_of_numpy(kind: Library, seed: int, count: int, noise: float, whole: bool) -> None:
    random = np.random.default_rng(seed)
    x = random.uniform(-10, 265, count).clip(0, 255)
    y = random.uniform(0.6, 1.6) * x + random.uniform(-40, 40) + random.normal(0, noise, count)
    y[random.random(count) < 0.2] = random.uniform(0, 255)
    before, now = (np.rint(values) if whole else values for values in (x, y.clip(0, 255)))
    last, this = before.astype(np.float32), now.astype(np.float32)
    if not unsettled(last, this):
        np.testing.assert_allclose(lit(kind, last, this), np.array(relight(last, this)), rtol=1e-9, atol=1e-9)


def frames(random: np.random.Generator, cameras: int, grid: int, patch: int) -> NDArray[np.float64]:
    """Pictures of patches that each have a colour and a texture."""
    colours = random.uniform(0, 255, (cameras, grid, grid, 3)).repeat(patch, 1).repeat(patch, 2)
    return colours + random.normal(0, random.uniform(0, 20), colours.shape)


@MANY
@given(VARIANTS, SEEDS, st.integers(1, 3), st.integers(1, 7), st.integers(1, 15))
def test_a_scene_is_that_of_numpy(kind: Library, seed: int, cameras: int, grid: int, patch: int) -> None:
    random, tokens = np.random.default_rng(seed), cameras * grid**2
    plain, compiled = Scene(cameras, grid), CompiledScene(kind, cameras, grid)
    picture = frames(random, cameras, grid, patch)
    for tick in range(5):
        if random.random() < 0.3:
            picture[:, : patch * int(random.integers(1, grid + 1))] = random.uniform(0, 255, 3)
        seen = picture * random.uniform(0.85, 1.15) + random.normal(0, random.uniform(0, 8), picture.shape)
        shown, levels = np.rint(seen).clip(0, 255).astype(np.uint8), plain._levels
        expected, found = plain.compare(shown), compiled.compare(shown)
        assert plain._cells is not None
        assert plain._levels is not None
        cells = np.ctypeslib.as_array((ctypes.c_float * plain._cells.size).from_address(compiled.c.cells))
        np.testing.assert_allclose(cells, plain._cells.ravel(), atol=LEVEL)
        if levels is not None and any(map(unsettled, levels, plain._levels)):
            return
        gain, offset, floor = compiled._light[..., None]
        np.testing.assert_allclose(gain[:, 0], plain._light.gain[:, 0, 0], rtol=1e-5)
        np.testing.assert_allclose(offset[:, 0], plain._light.offset[:, 0, 0], atol=20 * LEVEL)
        if tick:
            assert found.noise == pytest.approx(expected.noise, abs=20 * LEVEL)
            assert found.exposure == pytest.approx(expected.exposure, rel=1e-5)
            apart = plain._difference(plain._undone, plain._reference) * plain._light.gain[:, 0]
            sure = np.abs(apart - np.maximum(LEAST, NOISY * np.minimum(floor, NOISE_MOST))) > 20 * LEVEL
            np.testing.assert_array_equal(found.static[sure.ravel()], expected.static[sure.ravel()])
        else:
            assert not found.static.any()
        assert (found.noise is None) == (expected.noise is None)
        fresh = random.random(tokens) < random.choice([0.3, 1.0])
        some = random.permutation(tokens)[: int(random.integers(1, tokens + 1))]
        if patch > 1:
            np.testing.assert_allclose(compiled.image_entropy(some), plain.image_entropy(some), atol=1e-9)
        plain.commit(fresh)
        compiled.commit(fresh)


@pytest.mark.parametrize("kind", find_all(), ids=lambda kind: kind.variant)
def test_every_colour_has_the_grey_level_that_it_has_in_opencv(kind: Library) -> None:
    """Patches of 8 x 8 of all colours: the counts of their levels differ where one level does."""
    every = np.arange(2**24, dtype=np.uint32)
    colours = np.stack((every >> 16, every >> 8 & 255, every & 255), 1).astype(np.uint8)
    picture = colours.reshape(4, 2048, 2048, 3)
    plain, compiled = Scene(4, 256), CompiledScene(kind, 4, 256)
    plain._frames = picture
    compiled.compare(picture)
    numbers = np.arange(4 * 256**2)
    np.testing.assert_allclose(compiled.image_entropy(numbers), plain.image_entropy(numbers), atol=1e-9)


def embeddings(random: np.random.Generator, tokens: int, width: int) -> torch.Tensor:
    made = random.normal(0, 10.0 ** random.integers(-3, 3), (tokens, width)).astype(np.float32)
    wrong = random.random(tokens) < random.choice([0.0, 0.2])
    made[wrong, random.integers(0, width)] = random.choice([np.nan, np.inf, -np.inf, 0.0])
    made[random.random(tokens) < 0.05] = 0.0
    return torch.from_numpy(made)


@MANY
@given(VARIANTS, SEEDS, st.integers(1, 40), st.integers(1, 70))
def test_drift_is_that_of_torch(kind: Library, seed: int, tokens: int, width: int) -> None:
    random = np.random.default_rng(seed)
    plain, compiled = Provenance(tokens, width, CPU, torch.float32), CompiledProvenance(kind, tokens, width)
    for _ in range(4):
        visual = embeddings(random, tokens, width)
        for asked in ("drift", "deep_drift"):
            expected, found = (getattr(those, asked)(visual).numpy() for those in (plain, compiled))
            np.testing.assert_allclose(found, expected, rtol=4e-6)
        fresh = random.random(tokens) < 0.5
        deep = fresh & (random.random(tokens) < 0.5)
        for those in (plain, compiled):
            those.grow(fresh, deep)
            those.commit(fresh, deep, visual)
        np.testing.assert_array_equal(compiled.valid, plain.valid)


def differ_at_ties(found: NDArray[np.bool_], expected: NDArray[np.bool_], score: NDArray[np.float64]) -> bool:
    """Whether two masks of as many tokens differ, which they may only among equal scores."""
    apart = score[found != expected]
    assert found.sum() == expected.sum()
    assert not len(apart) or np.ptp(apart) <= 1e-9 * np.abs(apart).max()
    return bool(len(apart))


@MANY
@given(VARIANTS, SEEDS, st.sampled_from([2, 5, 1000]), st.integers(1, 6), st.booleans())
def test_tokens_are_those_that_numpy_chooses(kind: Library, seed: int, levels: int, grid: int, odd: bool) -> None:
    random, tokens = np.random.default_rng(seed), grid**2
    plain, compiled = Scene(1, grid), CompiledScene(kind, 1, grid)
    shown = np.rint(frames(random, 1, grid, 6)).clip(0, 255).astype(np.uint8)
    origins = Provenance(tokens, 2, CPU, torch.float32), CompiledProvenance(kind, tokens, 2)
    before = np.stack((np.ones(tokens), random.integers(0, levels, tokens) / 32), 1).astype(np.float32)
    some, age, every = random.random(tokens) < 0.7, random.integers(0, 12, tokens), np.ones(tokens, np.bool_)
    plain.compare(shown)
    compiled.compare(shown)
    for origin in origins:
        origin.commit(every, some, torch.from_numpy(before))
        origin.deep_age[:] = age
    now = np.stack((np.ones(tokens), np.zeros(tokens)), 1).astype(np.float32)
    if odd:
        now[random.integers(0, tokens, 2)] = random.choice([np.nan, np.inf])
    attention = random.integers(0, levels, tokens) / levels
    k_vis, k_attn, budget, taper = (int(number) for number in random.integers(0, tokens + 1, 4))
    tunables = replace(Tunables.default(tokens), row_budget=budget, taper_rows=taper, max_age=10)
    needed = Needed.of(attention, age, k_attn, 10)
    given = Embedded(torch.from_numpy(now), torch.from_numpy(now)), attention, needed, tunables, (k_vis, k_attn), every
    rules = JointSelection(plain, origins[0]), CompiledSelection(kind, compiled, origins[1])
    with np.errstate(invalid="ignore"):  # an infinite change without attention
        (visual, expected), (its_visual, found) = (rule.select(*given) for rule in rules)
        change = np.nan_to_num(on_host(origins[0].drift(given[0].visual)), nan=np.inf, posinf=np.inf)
        urgency = joint_information(attention, change, age)
    np.testing.assert_allclose(its_visual, visual, rtol=1e-9)
    if differ_at_ties(found.by_visual, expected.by_visual, visual):
        return
    if differ_at_ties(found.fresh, expected.fresh, urgency):
        return
    deep = joint_information(attention, on_host(origins[0].deep_drift(given[0].visual)), age)
    differ_at_ties(found.deep, expected.deep, deep)
    assert (found.deep is found.fresh) == (expected.deep is expected.fresh)


@settings(max_examples=20, deadline=None)
@given(VARIANTS, SEEDS, st.integers(1, 2), st.sampled_from([0, 12]))
def test_an_episode_is_that_of_numpy(kind: Library, seed: int, cameras: int, taper: int) -> None:
    grid, patch, width, layers = 6, 14, 24, 8
    random, tokens = np.random.default_rng(seed), cameras * grid**2
    layout = Layout((0,), tokens, 10, 1)
    plain, compiled = (
        Selector(layout, cameras, layers, patch, width, CPU, torch.float32, library) for library in (None, kind)
    )
    tunables = replace(Tunables.default(tokens), row_budget=24, taper_rows=taper)
    picture, visual = frames(random, cameras, grid, patch), random.normal(0, 1, (tokens, width))
    for tick in range(12):
        picture[:, : 2 * patch, : 2 * patch] = random.uniform(0, 255, 3)
        shown = np.rint(picture + random.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8)
        visual = visual + random.normal(0, 0.1, visual.shape) * random.random((tokens, 1)) ** 4
        rows = torch.from_numpy(visual.astype(np.float32))
        if random.random() < 0.2:
            rows[int(random.integers(0, tokens)), 0] = random.choice([np.nan, np.inf])
        looked, chosen = Looked.random(random, tokens), []
        for selector in (plain, compiled):
            selector.observe(Observation(tuple(shown), "go", 0.1 * tick), tunables)
            choice = selector.select(shown, Embedded(rows, rows), tunables)
            selector.grow(choice)
            selector.commit(choice, Embedded(rows, rows))
            selector.attend(looked, tunables)
            chosen.append(choice)
        assert chosen[0].reason == chosen[1].reason
        np.testing.assert_array_equal(chosen[0].fresh, chosen[1].fresh)
        assert chosen[0].left_out.keys() == chosen[1].left_out.keys()
        np.testing.assert_allclose(chosen[1].visual_score, chosen[0].visual_score, rtol=1e-5)
        np.testing.assert_array_equal(plain.age, compiled.age)


@pytest.mark.parametrize("shape", [(2, 56, 56, 3), (1, 57, 57, 3), (1, 56, 28, 3), (1, 0, 0, 3), (1, 56, 56, 4)])
def test_frames_that_are_not_of_the_scene_are_refused(shape: tuple[int, ...]) -> None:
    scene = CompiledScene(find_all()[0], 1, 4)
    with pytest.raises(ValueError, match="patches along a side"):
        scene.compare(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("visual", [torch.zeros(9, 8), torch.zeros(8, 8).T[:, :4], torch.zeros(8, 4).double()])
def test_embeddings_of_another_kind_are_refused(visual: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        CompiledProvenance(find_all()[0], 8, 4).drift(visual)


@pytest.mark.parametrize("kind", find_all(), ids=lambda kind: kind.variant)
def test_two_scenes_are_compared_at_once(kind: Library) -> None:
    random = np.random.default_rng(0)
    shown = [np.rint(frames(random, 1, 16, 14)).clip(0, 255).astype(np.uint8) for _ in range(2)]
    every, wrong = np.arange(256), []
    expected = []
    for picture in shown:
        scene = CompiledScene(kind, 1, 16)
        scene.compare(picture)
        expected.append(scene.image_entropy(every))

    def work(number: int) -> None:
        scene = CompiledScene(kind, 1, 16)
        for _ in range(100):
            scene.compare(shown[number])
            wrong.extend([number] * (not np.array_equal(scene.image_entropy(every), expected[number])))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
