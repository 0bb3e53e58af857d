"""Fused kernels give what the modules give; a row's result does not depend on the rows beside it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("triton", reason="needs Triton: make kernels")

from vla_entropy_ros.bench.gpu import parts, roofline
from vla_entropy_ros.bench.gpu.shapes import TINY, random_model
from vla_entropy_ros.engine.decoding.fused import FusedDecoder
from vla_entropy_ros.engine.device import Placement
from vla_entropy_ros.engine.model.fused_tower import run_tower
from vla_entropy_ros.engine.model.kernels import FP8
from vla_entropy_ros.engine.model.products import Weight, add_norm, rows_for
from vla_entropy_ros.engine.model.quantise import Linear, rounded
from vla_entropy_ros.engine.model.shapes import LlamaConfig, TowerConfig
from vla_entropy_ros.engine.model.vision import Tower

from .decoders import DEVICE, apart, decoder, run, whole_pass

CUDA = torch.cuda.is_available()
HALVES = (torch.float16, torch.bfloat16) if CUDA else (torch.float16,)  # the interpreter multiplies bits of bfloat16
DTYPES = (torch.float32, *HALVES)
ROUNDING = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
SHAPES = {
    "one head each": LlamaConfig(64, 96, 2, 4, 4, 100),
    "grouped, odd widths": LlamaConfig(160, 352, 3, 5, 1, 100),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("quantisation", ["none", "int8"])
def test_a_fused_pass_leaves_what_modules_leave(shape: str, dtype: torch.dtype, quantisation: str) -> None:
    of = decoder(SHAPES[shape], dtype, quantisation)
    made = whole_pass(of)
    expected = run(of, of, made)
    of.cache.clear()
    of.queries.zero_()
    for name, value in run(of, FusedDecoder(of), made).items():
        assert apart(value, expected[name]) < ROUNDING[dtype], name


def test_in_fp8_a_fused_pass_is_as_near_to_full_precision_as_modules_are() -> None:
    config = SHAPES["one head each"]
    dtype = HALVES[-1]
    exact = decoder(config, torch.float32)
    made = whole_pass(exact)
    truth = run(exact, exact, made)["states"]
    of = decoder(config, dtype, "fp8")
    made = whole_pass(of)
    modules = apart(run(of, of, made)["states"], truth)
    fused = apart(run(of, FusedDecoder(of), made)["states"], truth)
    assert modules > 0.01  # 8 bits show
    # the interpreter cuts off where a device rounds to the nearest: about twice the error
    assert fused < modules * (1.3 if CUDA else 3.0)


@pytest.mark.parametrize("quantisation", ["none", "int8", "fp8"])
def test_what_a_row_becomes_does_not_depend_on_the_number_of_rows(quantisation: str) -> None:
    of = decoder(SHAPES["one head each"], HALVES[-1], quantisation)
    made = whole_pass(of)
    step = FusedDecoder(of)
    together = run(of, step, made)["states"]
    alone = run(of, step, made, slice(-3, None))["states"]  # over the slots that the others have left
    assert apart(alone, together[-3:]) < (ROUNDING[HALVES[-1]] if quantisation != "fp8" else 0.2)
    if CUDA and quantisation != "int8":  # which has another kernel for a few rows; NumPy sums by the number of rows
        assert torch.equal(alone, together[-3:])


def weight(outputs: int, inputs: int, kind: str, dtype: torch.dtype) -> tuple[Weight, torch.Tensor]:
    """One with random values, and what it is in float64."""
    layer, values = Linear(inputs, outputs), torch.randn(outputs, inputs, device=DEVICE, dtype=dtype) / inputs**0.5
    layer.hold(values, kind)
    exact = layer.weight.double() * (1.0 if layer.scale is None else layer.scale.double()[:, None])
    return Weight(layer), exact


@pytest.mark.parametrize("kind", ["none", "int8", "fp8"])
@pytest.mark.parametrize("rows", [1, 7, 16, 17, 40, 64, 65, 130])
def test_a_product_is_the_one_in_higher_precision(kind: str, rows: int) -> None:
    dtype = HALVES[-1]
    sizes = ((128, 256), (70, 192), (4096, 4096)) if CUDA else ((128, 256), (70, 192))
    for outputs, inputs in sizes:
        torch.manual_seed(rows)
        its, exact = weight(outputs, inputs, kind, dtype)
        x = rows_for(torch.randn(rows, inputs, device=DEVICE, dtype=dtype), its.kind)
        seen = x.values.double() * (1.0 if x.scale is None else x.scale.double()[:, None])
        assert apart(its.of(x, torch.float32).sum(0), seen @ exact.T) < 3e-3
        both, exact = weight(2 * outputs, inputs, kind, dtype)
        gate, up = (seen @ exact.T).chunk(2, -1)
        assert apart(both.gated(x, dtype), F.silu(gate) * up) < 1e-2


def test_rows_in_8_bits_are_those_of_the_modules() -> None:
    torch.manual_seed(0)
    x, norm = (torch.randn(*size, device=DEVICE, dtype=HALVES[-1]) for size in ((5, 192), (192,)))
    made = add_norm(x.clone(), None, norm, 1e-6, FP8)
    assert made.scale is not None
    plain = F.rms_norm(x.float(), (192,), norm.float(), 1e-6).to(x.dtype)
    widened = made.values.float() * made.scale[:, None]
    assert float((widened.abs().amax(1) / made.scale - 448).abs().max()) < 0.5  # the largest becomes the largest
    assert apart(widened, rounded(plain)) < (0.03 if CUDA else 0.08)  # cut off where a device rounds, see above


def test_rows_are_embedded_from_inputs_or_by_their_id() -> None:
    of = decoder(SHAPES["one head each"], torch.float32)
    source, token = torch.tensor([3, -1, 0, -1], device=DEVICE), torch.tensor([0, 7, 0, 99], device=DEVICE)
    inputs = torch.randn(5, 64, device=DEVICE)
    torch.testing.assert_close(FusedDecoder(of).embed(source, token, inputs), of.embed(source, token, inputs))


def test_sums_are_added_and_normed_in_place() -> None:
    torch.manual_seed(0)
    x, parts, norm = torch.randn(5, 96), torch.randn(3, 5, 96), torch.rand(96)
    x, parts, norm = (each.to(DEVICE) for each in (x, parts, norm))
    total = x + parts.sum(0)
    made = add_norm(x, parts, norm, 1e-6, 0)
    torch.testing.assert_close(x, total, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(made.values, F.rms_norm(total, (96,), norm, 1e-6), rtol=1e-5, atol=1e-5)


def test_a_fused_tower_gives_the_features_of_its_modules() -> None:
    torch.manual_seed(0)
    config = TowerConfig(56, 48, 3, 2, 96, class_token=True, registers=4, layer_scale=True)
    tower, pixels = Tower(config).to(DEVICE), torch.randn(2, 3, 56, 56, device=DEVICE)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.1)
    with torch.inference_mode():
        expected = tower(pixels)
        tower.fold()
        torch.testing.assert_close(tower(pixels), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(run_tower(tower, pixels), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quantisation", ["none", "int8", "fp8"])
def test_the_benchmark_times_kernels_beside_modules(quantisation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "REPEATS", 1)
    monkeypatch.setattr(parts, "ROWS", (1, 16))
    monkeypatch.setattr(parts, "TIMES", 1)
    monkeypatch.setattr(parts, "kernels_available", lambda device: None)
    model, _ = random_model(TINY, Placement(DEVICE, HALVES[-1], quantisation))
    for part, by_rows in parts.parts(model).items():
        for rows, figures in by_rows.items():
            assert figures["ours_us"] > 0, (part, rows)
