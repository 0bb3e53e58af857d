"""The compiled stack gives what PyTorch's modules give, each row to the last bit as if it were alone."""

from __future__ import annotations

import ctypes
import shutil
import threading
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine import DeviceError, Policy
from vla_entropy_ros.engine.decoding import backend
from vla_entropy_ros.engine.decoding.runner import Embedded
from vla_entropy_ros.engine.decoding.sequence import Answers, RowPlan
from vla_entropy_ros.engine.model.backbones import DINOV2, SIGLIP, SMALL
from vla_entropy_ros.engine.model.compiled import library, memory
from vla_entropy_ros.engine.model.compiled.library import Library, find_all
from vla_entropy_ros.engine.model.compiled.vision import CompiledVision
from vla_entropy_ros.engine.model.network import Network
from vla_entropy_ros.engine.model.preprocess import Preprocessor
from vla_entropy_ros.engine.model.shapes import LlamaConfig, TowerConfig

from .stacks import Pair, rows_of

if not find_all():
    pytest.skip("the compiled stack was not built, or this processor can't run it", allow_module_level=True)

VARIANTS = st.sampled_from(find_all())
MANY = settings(max_examples=100, deadline=None)


@MANY
@given(kind=VARIANTS, seed=st.integers(0, 2**31), drafted=st.integers(0, 12))
@torch.inference_mode()
def test_passes_are_those_of_the_modules(kind: Library, seed: int, drafted: int) -> None:
    pair = Pair(kind, seed)
    held = Embedded(torch.from_numpy(pair.inputs), torch.from_numpy(pair.inputs))
    fresh = np.flatnonzero(pair.random.random(pair.layout.visual) < 0.4)
    draft = pair.tree(drafted)
    plans: list[tuple[RowPlan, Embedded | None]]
    plans = [(pair.prefill(pair.every, Answers()), held), (pair.prefill(fresh, draft, start=False), held)]
    if not pair.layout.placeholders:
        plans += [(pair.layout.answer_rows(pair.tree(5), pair.area), None)]
    for plan, embedded in plans:
        states = pair.plain.states(plan, embedded).numpy()
        np.testing.assert_allclose(pair.run(plan), states, atol=2e-4)
        logits = states @ pair.llama.lm_head.weight.numpy().T
        np.testing.assert_allclose(pair.run(plan, logits=True), logits, atol=1e-3)
    words = len(pair.words)
    its = pair.plain.decoder
    np.testing.assert_allclose(pair.decoder.queries[:, :, :words], its.queries[:, :, :words], atol=2e-4)
    for one, other in ((pair.cache.keys, its.cache.keys), (pair.cache.values, its.cache.values)):
        np.testing.assert_allclose(one[:, :, : pair.cache.count], other[:, :, : pair.cache.count], atol=2e-4)


@MANY
@given(kind=VARIANTS, seed=st.integers(0, 2**31))
def test_a_row_does_not_depend_on_the_rows_beside_it_to_the_last_bit(kind: Library, seed: int) -> None:
    pair = Pair(kind, seed)
    whole = pair.prefill(pair.every, pair.tree(12))
    everything = pair.run(rows_of(whole, np.arange(len(whole)), min(len(whole), pair.compiled.most)))
    kept = np.flatnonzero(pair.random.random(len(whole)) < pair.random.random())
    for rows in [kept] * bool(len(kept)) + [np.array([row]) for row in pair.random.integers(0, len(whole), 3)]:
        alone = pair.run(rows_of(whole, rows, out := min(len(rows), pair.compiled.most)))
        where = rows[-out:] - (len(whole) - len(everything))
        inside = where >= 0
        np.testing.assert_array_equal(alone[inside], everything[where[inside]])


@MANY
@given(kind=VARIANTS, seed=st.integers(0, 2**31))
def test_a_row_in_a_tree_is_that_of_plain_decoding_to_the_last_bit(kind: Library, seed: int) -> None:
    pair = Pair(kind, seed)
    if pair.layout.placeholders:
        return
    draft = pair.tree(10)
    pair.run(pair.prefill(pair.every, Answers()))
    found = pair.run(pair.layout.answer_rows(draft, pair.area), logits=True)
    for row in range(len(draft)):
        path = [n for n in range(len(draft)) if draft.branch[row] >> draft.slot[n] & 1]  # ascending positions
        plain = [
            pair.run(pair.layout.answer_rows(Answers.following([draft.token[n]], number), pair.area), logits=True)
            for number, n in enumerate(path)
        ]
        np.testing.assert_array_equal(plain[-1][0], found[row])


@MANY
@given(kind=VARIANTS, seed=st.integers(0, 2**31), value=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_what_is_no_number_shows_in_the_rows_that_see_it_and_in_no_other(
    kind: Library, seed: int, value: float
) -> None:
    pair = Pair(kind, seed, layers=1)
    plan = pair.prefill(pair.every, pair.tree(8))
    wrong = int(pair.random.integers(0, pair.layout.visual))
    plan = rows_of(plan, np.arange(len(plan)), min(len(plan), pair.compiled.most))
    right = pair.run(plan)
    spoiled = pair.inputs.copy()
    spoiled[wrong, 0] = value
    found = pair.run(plan, inputs=spoiled)
    slot = pair.layout.first_visual + wrong
    sees = (plan.seen > slot)[-len(found) :]
    assert not np.isfinite(found[sees]).all(1).any()
    np.testing.assert_array_equal(found[~sees], right[~sees])


@pytest.mark.parametrize("kind", find_all(), ids=lambda kind: kind.variant)
def test_several_threads_give_the_same_to_the_last_bit(kind: Library) -> None:
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            pair = Pair(kind, 5)
            made.append(pair.run(pair.prefill(pair.every, pair.tree(9))))
        np.testing.assert_array_equal(made[0], made[1])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", find_all(), ids=lambda kind: kind.variant)
def test_two_decoders_run_at_once(kind: Library) -> None:
    pairs = [Pair(kind, seed, layers=4) for seed in (1, 2)]
    plans = [pair.prefill(pair.every, pair.tree(9)) for pair in pairs]
    expected = [pair.run(plan) for pair, plan in zip(pairs, plans, strict=True)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            wrong.extend([number] * (not np.array_equal(pairs[number].run(plans[number]), expected[number])))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


@MANY
@given(kind=VARIANTS, seed=st.integers(0, 2**31))
@torch.inference_mode()
def test_rows_that_are_left_out_from_a_layer_on(kind: Library, seed: int) -> None:
    pair = Pair(kind, seed, layers=4)
    plan = pair.narrowed()
    states = pair.plain.states(plan, Embedded(torch.from_numpy(pair.inputs), torch.from_numpy(pair.inputs)))
    np.testing.assert_allclose(pair.run(plan), states.numpy(), atol=2e-4)
    its = pair.plain.decoder.cache
    np.testing.assert_allclose(pair.cache.values[:, :, : its.count], its.values[:, :, : its.count], atol=2e-4)


TOWERS = {
    "a stem": ((TowerConfig(56, 24, 2, 2, 40, stem_width=5),), (SMALL,)),
    "a wide stem": ((TowerConfig(28, 32, 1, 4, 64, stem_width=33),), (SMALL,)),
    "two towers": (
        (
            TowerConfig(56, 48, 2, 4, 64, class_token=True, registers=4, layer_scale=True),
            TowerConfig(56, 36, 1, 3, 50),
        ),
        (DINOV2, SIGLIP),
    ),
}


@pytest.mark.parametrize("towers", TOWERS)
@pytest.mark.parametrize("kind", find_all(), ids=lambda kind: kind.variant)
@torch.inference_mode()
def test_visual_tokens_are_those_of_the_modules(kind: Library, towers: str) -> None:
    configs, kinds = TOWERS[towers]
    llama = LlamaConfig(40, 48, 1, 2, 2, vocab_size=9)
    torch.manual_seed(0)
    network = Network.shaped(configs, llama).to_empty(device="cpu").requires_grad_(False)
    for name, weight in network.named_parameters():
        scale = 0.3 if weight.dim() < 2 else 1 / weight[0].numel() ** 0.5
        weight.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, scale)
    network.fuse()
    preprocess = Preprocessor(configs[0].image_size, kinds, "resize", torch.device("cpu"), torch.float32)
    frames = np.random.default_rng(0).integers(0, 256, (2, *(configs[0].image_size,) * 2, 3), np.uint8)
    expected = network.visual_tokens(preprocess.pixels(frames)).flatten(0, 1).numpy()
    vision = CompiledVision.of(kind, network, preprocess)
    assert vision is not None
    tokens = memory.empty(expected.shape)
    for _ in range(2):  # nothing is left of the picture before
        vision.look(frames, tokens)
    np.testing.assert_allclose(tokens, expected, atol=2e-4 * np.abs(expected).max())


def test_a_library_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "digest", lambda: "0" * 16)
    assert "other sources" in str(library._found.__wrapped__())


def test_an_old_processor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Mock()
    handle.supported.return_value, handle.built_from.return_value = b"", library.digest().encode()
    monkeypatch.setattr(ctypes, "CDLL", lambda path: handle)
    assert "too old" in str(library._found.__wrapped__())


@pytest.mark.parametrize("what", ["nothing", "garbage", "another machine's", 4096, 20_000, 60_000, 100_000])
def test_a_library_that_does_not_load_is_a_line(
    what: str | int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = library.FOLDER.glob(f"{library.NAME}*.so")
    if what == "garbage":
        (tmp_path / file.name).write_bytes(b"\x7fELF and nothing more")
    elif isinstance(what, int):  # a full disk, a copy that broke off
        (tmp_path / file.name).write_bytes(file.read_bytes()[:what])
    elif what != "nothing":
        shutil.copy(file, tmp_path)
        made = bytearray((tmp_path / file.name).read_bytes())
        made[18] = 0xF3  # e_machine: RISC-V
        (tmp_path / file.name).write_bytes(made)
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    found = library._found.__wrapped__()
    assert isinstance(found, str)
    assert "install" in found
    assert "\n" not in found


def test_what_runs_a_policy_is_told(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Policy.load(small_folder).info.backend == f"compiled ({find_all()[0].variant})"
    assert Policy.load(small_folder, backend="numpy").info.backend == "NumPy"
    assert Policy.load(small_folder, backend="torch").info.backend == "eager"
    assert Policy.load(small_folder, graphs=True).info.backend == "fixed shapes"
    halved = Policy.load(small_folder, dtype="bfloat16").info
    assert halved.backend == "eager"
    assert halved.backend_remark == (
        "bfloat16 on a CPU saves memory, but no time: float32 runs without PyTorch's dispatch, and with exact drafts"
    )
    monkeypatch.setattr(library, "_found", lambda: "the compiled stack was not built (...)")
    without = Policy.load(small_folder).info
    line = "the compiled stack was not built (...): NumPy runs small passes"
    assert (without.backend, without.backend_remark, without.remarks) == ("NumPy", line, ())


@pytest.mark.parametrize(
    ("asked", "dtype", "line"),
    [
        ("fast", "float32", "backend 'fast' is not valid: valid are compiled, numpy, torch"),
        ("compiled", "bfloat16", "backend 'compiled' can't be had: it computes in float32: valid is torch"),
        ("numpy", "float16", "backend 'numpy' can't be had: it computes in float32: valid is torch"),
        ("compiled", "float32", "backend 'compiled' can't be had: it is not there: valid are numpy, torch"),
    ],
)
def test_a_backend_that_can_not_be_had_is_refused(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, asked: str, dtype: str, line: str
) -> None:
    monkeypatch.setattr(library, "_found", lambda: "it is not there")
    with pytest.raises(DeviceError) as refused:
        Policy.load(small_folder, backend=asked, dtype=dtype)
    assert str(refused.value) == line


def test_weights_that_no_copy_has_room_for_run_as_modules(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "MOST_COPIED", 1000)
    assert Policy.load(small_folder).info.backend == "eager"
    assert Policy.load(small_folder, dtype="bfloat16").info.backend_remark is None
    with pytest.raises(DeviceError, match=r"it would copy weights of 0.0 GB: valid is torch"):
        Policy.load(small_folder, backend="compiled")


def test_the_library_asks_for_no_memory() -> None:
    """Whoever uses it allocates, once: what it is linked against has no allocator in it."""
    (file,) = library.FOLDER.glob(f"{library.NAME}*.so")
    content = file.read_bytes()
    for name in (b"malloc", b"calloc", b"realloc", b"posix_memalign", b"aligned_alloc", b"mmap"):
        assert b"\0" + name + b"\0" not in content


def test_a_pass_that_has_no_room_or_no_inputs_is_refused() -> None:
    pair = Pair(find_all()[0], 2)
    plan = pair.prefill(pair.every, Answers())
    with pytest.raises(ValueError, match="need inputs"):
        pair.compiled.run(plan, None, False)
    for out in (0, len(plan) + 1):
        with pytest.raises(ValueError, match=f"{out} of {len(plan)} rows: expected"):
            pair.compiled.run(rows_of(plan, np.arange(len(plan)), out), pair.inputs, False)


def test_memory_is_given_to_one_of_many_threads() -> None:
    taken: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: taken.extend(memory.empty((31,)) for _ in range(300))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    where = sorted(memory.pointer(array) or 0 for array in taken)
    assert len(where) == 2400
    assert min(np.diff(where)) >= 31 * 4 + 4 * memory.MOST_PANEL
