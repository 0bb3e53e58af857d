"""Compile what a pass at OpenVLA-7B's shape launches, for devices that are not there; run as a program of its own.

Prints a JSON list: each kernel's name, target, registers, bytes of stack, stores into and reads from local memory.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from vla_entropy_ros.engine.model import products
from vla_entropy_ros.engine.model.products import Rows, Weight
from vla_entropy_ros.engine.model.quantise import Linear

TYPES = {
    torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int8: "*i8", torch.int64: "*i64",
    torch.float8_e4m3fn: "*fp8e4nv",
}  # fmt: skip
OPTIONS = ("num_warps", "num_stages")
SHARED = {80: 166_912, 89: 101_376, 90: 232_448}  # bytes for one program, by compute capability
WIDTH, HIDDEN, HEADS = 4096, 11008, 32
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


class Launcher:
    """Stands for a kernel: compiles what it is launched with, in place of running it."""

    def __init__(self, kernel: Any, capability: int, found: list[dict[str, Any]]) -> None:
        self._kernel, self._capability, self._found = kernel, capability, found
        self._done: set[tuple[str, ...]] = set()

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return self._launch

    def _launch(self, *args: Any, **kwargs: Any) -> None:
        options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        names = self._kernel.arg_names
        given = dict(zip(names, args, strict=False)) | kwargs
        signature, constants, aligned = {}, {}, {}
        for number, name in enumerate(names):
            value = given[name]
            if value is None or self._kernel.params[number].is_constexpr:
                signature[name], constants[name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[name], aligned[(number,)] = TYPES[value.dtype], [["tt.divisibility", 16]]
            elif isinstance(value, float):
                signature[name] = "fp32"
            else:
                signature[name] = "i32"
                if value % 16 == 0:
                    aligned[(number,)] = [["tt.divisibility", 16]]
        key = (self._kernel.__name__, str(signature), str(constants), str(aligned), str(options))
        if key in self._done:
            return
        self._done.add(key)
        source = ASTSource(self._kernel, signature=signature, constexprs=constants, attrs=aligned)
        made = triton.compile(source, target=GPUTarget("cuda", self._capability, 32), options=options)
        facts = {"kernel": self._kernel.__name__, "target": self._capability, "constants": str(constants)}
        room = {"shared": made.metadata.shared, "room": SHARED[self._capability]}
        self._found.append(facts | room | resources(made.asm["cubin"]))


def resources(cubin: bytes) -> dict[str, int]:
    """Registers and stack of a compiled kernel, and instructions that spill."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run(
            [TOOLS / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True, check=True
        )
        code = subprocess.run([TOOLS / "nvdisasm", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.findall(rf"{name}:(\d+)", said.stdout)[0]) for name in ("REG", "STACK"))
    return {"registers": registers, "stack": stack, "spills": len(re.findall(r"\b(?:STL|LDL)\b", code))}


def launch_all(dtype: torch.dtype, rows: int) -> None:
    """One launch of everything between two layers, of `rows`, with weights of that type."""

    def weight(outputs: int, inputs: int) -> Weight:
        layer = Linear(1, 1)
        layer.weight = torch.nn.Parameter(torch.empty(outputs, inputs, dtype=dtype, device="meta"), requires_grad=False)
        layer.scale = None if dtype == x.dtype else torch.empty(outputs, dtype=x.dtype, device="meta")
        return Weight(layer)

    def empty(*size: int, of: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.empty(size, dtype=of, device="meta")

    x, norm = empty(rows, WIDTH), empty(WIDTH)
    whole = [empty(rows, of=torch.int64) for _ in range(3)]
    keys = empty(HEADS, 400, 128)
    qkv_weight, out, gate_up, down = (
        weight(3 * WIDTH, WIDTH), weight(WIDTH, WIDTH), weight(2 * HIDDEN, WIDTH), weight(WIDTH, HIDDEN)
    )  # fmt: skip
    kind = out.kind
    products.embed_rows(whole[0], whole[1], empty(300, WIDTH), empty(32064, WIDTH))
    seen = products.add_norm(x, None, norm, 1e-6, kind)
    qkv = qkv_weight.of(seen, x.dtype)[0].view(rows, -1, 128)
    tables = empty(400, 1, 128), empty(400, 1, 128)
    for query in (whole[0], None):
        products.rotate_into(qkv, *tables, whole[0], whole[1], query, keys, keys, empty(HEADS, 129, 128))
    mixed = out.of(products.rows_for(products.attend(qkv, keys, keys, *whole), kind), x.dtype)
    rows_in = products.add_norm(x, mixed, norm, 1e-6, kind)
    down.of(products.rows_for(gate_up.gated(rows_in, x.dtype), kind), x.dtype)
    products.add_layer_norm(empty(256, 1152), empty(256, 1152), torch.nn.LayerNorm(1152, device="meta", dtype=x.dtype))
    assert isinstance(seen, Rows)


def main() -> None:
    """Compile for every target that is asked for."""
    found: list[dict[str, Any]] = []
    for capability in map(int, sys.argv[1:]):
        for name in [name for name in vars(products) if name.endswith("_kernel")]:
            kernel = getattr(products, name)
            kernel = kernel._kernel if isinstance(kernel, Launcher) else kernel
            setattr(products, name, Launcher(kernel, capability, found))
        products._shared = lambda _, size=SHARED[capability]: size  # type: ignore[assignment]
        for dtype in (torch.bfloat16, torch.int8, torch.float8_e4m3fn):
            if dtype == torch.float8_e4m3fn and capability < 89:
                continue
            for rows in (1, 48, 112):
                launch_all(dtype, rows)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
