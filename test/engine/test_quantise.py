"""Weights in 8 bits: how far off a product and an action are; what a device must have; what loading asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine import DeviceError, Observation, Policy
from vla_entropy_ros.engine.device import find_dtype
from vla_entropy_ros.engine.model.quantise import KINDS, Linear, Stack, check_quantisation, product, quantise
from vla_entropy_ros.engine.tunables import Tunables

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def in_8_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    levels, scale = torch.empty_like(weight, dtype=torch.int8), weight.new_empty(len(weight))
    quantise(weight, levels, scale)
    return levels, scale


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.floats(1e-3, 1e3))
def test_a_weight_is_off_by_half_a_level_at_most(seed: int, spread: float) -> None:
    weight = torch.randn(8, 24, generator=torch.Generator().manual_seed(seed)) * spread
    weight[3] = 0.0
    levels, scale = in_8_bits(weight)
    assert levels.dtype == torch.int8
    assert int(levels.abs().max()) == 127
    assert bool(((weight - levels * scale[:, None]).abs() <= 0.5001 * scale[:, None]).all())


@pytest.mark.parametrize(("kind", "late"), [("none", False), ("none", True), ("int8", True), ("fp8", True)])
def test_stacked_layers_give_what_they_give_apart(kind: str, late: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 16)
    weights = [torch.randn(rows, 16) for rows in (12, 4, 4)]
    alone = [Linear(16, len(weight)) for weight in weights]
    with torch.device("meta" if late else "cpu"):
        layers = [Linear(16, len(weight)) for weight in weights]
    stack = Stack(*layers) if late else None
    for one, layer, weight in zip(alone, layers, weights, strict=True):
        one.hold(weight, kind)
        layer.hold(weight, kind)
    stack = stack or Stack(*layers)
    apart = torch.cat([layer(x) for layer in alone], -1)
    torch.testing.assert_close(stack(x), apart)
    torch.testing.assert_close(torch.cat([layer(x) for layer in layers], -1), apart)
    assert {layer.weight.untyped_storage().data_ptr() for layer in layers} == {stack.weight.data_ptr()}
    assert layers[0].weight.dtype == KINDS.get(kind, torch.float32)
    assert layers[0].weight.data_ptr() + layers[0].weight.nbytes == layers[1].weight.data_ptr()


def test_blocks_of_rows_are_quantised_as_the_whole_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        weight = torch.randn(37, 24).to(dtype)
        whole = in_8_bits(weight)
        monkeypatch.setattr("vla_entropy_ros.engine.model.quantise.BLOCK", 5 * 24 + 1)
        for one, other in zip(in_8_bits(weight), whole, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
        monkeypatch.undo()


def moving(size: int, ticks: int) -> list[Observation]:
    random = np.random.default_rng(3)
    frame = random.integers(0, 256, (size, size, 3), np.uint8)
    seen = []
    for tick in range(ticks):
        row, column = random.integers(0, size - 30, 2)
        frame[row : row + 30, column : column + 30] = random.integers(0, 256, 3)
        seen.append(Observation((frame.copy(),), "pick up the red cube", 0.1 * tick))
    return seen


def test_drafts_and_fixed_shapes_keep_the_tokens_in_8_bits(small_folder: Path) -> None:
    tokens = []
    for graphs, drafts in ((False, "off"), (False, "exact"), (True, "exact")):
        policy = Policy.load(small_folder, quantisation="int8", graphs=graphs)
        policy.set_tunables(replace(Tunables.default(16), taper_rows=0, drafts=drafts))
        tokens.append([policy.infer(seen).tokens for seen in moving(56, 6)])
    np.testing.assert_array_equal(tokens[1], tokens[0])
    np.testing.assert_array_equal(tokens[2], tokens[0])


def test_what_a_device_lacks_is_refused_with_the_valid_choices(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match=r"quantisation 'int4' is not valid on cpu: valid are none, int8"):
        Policy.load(small_folder, quantisation="int4")
    with pytest.raises(DeviceError, match=r"dtype 'int8' is not valid: valid are float32, bfloat16, float16"):
        Policy.load(small_folder, dtype="int8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(DeviceError, match=r"'bfloat16' is not valid on cuda: valid are float32, float16"):
        find_dtype("bfloat16", torch.device("cuda"))
    assert find_dtype("float16", torch.device("cuda")) == torch.float16
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DeviceError, match="'int8' is not valid on cuda: valid are none"):
        check_quantisation("int8", torch.device("cuda"))


@pytest.mark.parametrize("quantisation", ["none", "int8"])
def test_loading_tells_how_far_it_is(small_folder: Path, quantisation: str) -> None:
    told: list[tuple[int, int]] = []
    policy = Policy.load(small_folder, quantisation=quantisation, progress=lambda *now: told.append(now))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (4 * policy.info.parameters,) * 2
    assert {total for _, total in told} == {4 * policy.info.parameters}


def check_kernel(multiply: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor], where: str) -> None:
    for rows in (1, 7, 37, 200):
        for width, columns in ((96, 64), (50, 304), (704, 128)):
            x = torch.randn(2, rows, columns, device=where, dtype=torch.bfloat16)
            weight, scale = in_8_bits(torch.randn(width, columns, device=where, dtype=torch.bfloat16))
            exact = (x.double() @ weight.double().T) * scale.double()
            found = multiply(x, weight, scale)
            assert found.dtype == torch.bfloat16
            assert float((found.double() - exact).norm() / exact.norm()) < 1e-2


def test_the_product_in_8_bits_is_the_one_in_higher_precision() -> None:
    check_kernel(product, "cpu")


@CUDA
def test_the_kernel_gives_the_product_in_higher_precision() -> None:
    check_kernel(product, "cuda")
