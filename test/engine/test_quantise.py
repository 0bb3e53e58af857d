"""Weights in 8 bits: how far off a product and an action are; what a device must have; what loading asks of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_entropy_ros.engine import DeviceError, Observation, Policy
from vla_entropy_ros.engine.device import Placement, check_quantisation, find_device, find_dtype, kernels_available
from vla_entropy_ros.engine.model import quantise as module
from vla_entropy_ros.engine.model.quantise import KINDS, Linear, Stack, product, quantise
from vla_entropy_ros.engine.policy import PolicyInfo
from vla_entropy_ros.engine.tunables import Tunables
from vla_entropy_ros.settings import SettingError

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
    with pytest.raises(SettingError, match=r"quantisation: 'int4' is not valid; valid are none, int8"):
        Policy.load(small_folder, quantisation="int4")
    with pytest.raises(DeviceError, match=r"dtype 'int8' is not valid: valid are float32, bfloat16, float16"):
        Policy.load(small_folder, dtype="int8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(DeviceError, match=r"'bfloat16' is not valid on cuda: valid are float32, float16"):
        find_dtype("bfloat16", torch.device("cuda"))
    assert find_dtype("float16", torch.device("cuda")) == torch.float16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(
        DeviceError, match=r"^device 'cuda:2' is not available: available are auto, cpu, cuda:0, cuda:1"
    ):
        find_device("cuda:2")


Machine = Callable[..., str | None]  # kernels_available on a machine of that kind


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with a GPU and all that Triton needs, but for what is said."""

    def why(
        triton: bool = True, sm: tuple[int, int] = (8, 6), header: bool = True, fault: str = "", **tools: str
    ) -> Any:
        for tool, name in ({"gcc": "gcc"} | tools).items():
            if tool == "CC":
                monkeypatch.setenv("CC", name)
            elif name:
                (tmp_path / name).write_text("#!/bin/sh\n")
                (tmp_path / name).chmod(0o755)
        if header:
            (tmp_path / "Python.h").touch()
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: sm)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if triton else None)

        def start() -> None:
            if fault:
                raise RuntimeError(fault)

        active = SimpleNamespace(get_current_target=start)
        monkeypatch.setitem(sys.modules, "triton.runtime", SimpleNamespace(driver=SimpleNamespace(active=active)))
        return kernels_available(torch.device("cuda"))

    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_paths", lambda _: {"include": str(tmp_path)})
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    kernels_available.cache_clear()
    yield why
    kernels_available.cache_clear()


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ({"triton": False}, r"Triton is not installed \(pip install triton\)"),
        ({"sm": (6, 1)}, r"Triton needs compute capability 7\.0, this GPU has 6\.1"),
        ({"gcc": ""}, r"there is no C compiler, which Triton needs \(apt-get install gcc libc6-dev\)"),
        ({"CC": "icx"}, r"CC=icx is no compiler here, and Triton needs one .*"),
        ({"header": False}, r".*/Python\.h is missing, which Triton needs \(apt-get install python3-dev\)"),
        ({"fault": "ptxas\nfailed"}, r"Triton does not start here \(RuntimeError: ptxas failed\)"),
    ],
)
def test_a_machine_without_kernels_says_what_it_lacks(lacks: dict[str, Any], said: str, machine: Machine) -> None:
    assert re.fullmatch(said, machine(**lacks) or "")


@pytest.mark.parametrize("tools", [{}, {"gcc": "", "clang": "clang"}, {"CC": "icx", "icx": "icx"}])
def test_a_machine_with_a_compiler_has_kernels(tools: dict[str, str], machine: Machine) -> None:
    assert machine(**tools) is None


def test_without_kernels_one_line_says_that_8_bits_save_no_time(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy.load(small_folder, quantisation="int8")
    assert policy.info.remarks == ()
    monkeypatch.setattr(module, "kernels_available", lambda _: "there is no C compiler")
    where = Placement(torch.device("cuda"), torch.float16, "int8")
    assert PolicyInfo.of(replace(policy.model, where=where)).remarks == (
        "quantisation: int8 saves memory on cuda, but no time: there is no C compiler",
    )
    assert PolicyInfo.of(replace(policy.model, where=replace(where, quantisation="none"))).remarks == ()


@pytest.mark.parametrize("quantisation", ["none", "int8"])
def test_loading_tells_how_far_it_is(small_folder: Path, quantisation: str) -> None:
    told: list[tuple[int, int]] = []
    policy = Policy.load(small_folder, quantisation=quantisation, progress=lambda *now: told.append(now))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (4 * policy.info.parameters,) * 2
    assert {total for _, total in told} == {4 * policy.info.parameters}


def test_the_product_in_8_bits_is_the_one_in_higher_precision() -> None:
    for rows in (1, 7, 37, 200):
        for width, columns in ((96, 64), (50, 304), (704, 128)):
            x = torch.randn(2, rows, columns, dtype=torch.bfloat16)
            weight, scale = in_8_bits(torch.randn(width, columns, dtype=torch.bfloat16))
            exact = (x.double() @ weight.double().T) * scale.double()
            found = product(x, weight, scale)
            assert found.dtype == torch.bfloat16
            assert float((found.double() - exact).norm() / exact.norm()) < 1e-2


def test_fp8_is_refused_on_a_gpu_that_cannot_multiply_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 7))
    with pytest.raises(
        DeviceError, match=r"^quantisation 'fp8' needs compute capability 8\.9, cuda has 8\.7: valid are none, int8$"
    ):
        check_quantisation("fp8", cuda)
    check_quantisation("int8", cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    check_quantisation("fp8", cuda)
    check_quantisation("fp8", torch.device("cpu"))  # slow, but the same numbers


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.floats(1e-3, 1e3))
def test_products_in_fp8_are_off_by_the_rounding_of_8_bits(seed: int, spread: float) -> None:
    random = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(5, 64, generator=random) * spread, torch.randn(12, 64, generator=random)
    layer = Linear(64, 12)
    layer.hold(weight, "fp8")
    exact = x.double() @ weight.double().T
    error = float((layer(x).double() - exact).norm() / exact.norm())
    assert 0.002 < error < 0.06  # 3 bits behind the first: up to 1 / 16 of a value, on average a third of it
