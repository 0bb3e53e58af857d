"""What the device can do, measured: bytes copied and products per second; the least time a tick can take by them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ...engine.actions.tokens import ACTION_NAMES
from ...engine.cost import decoder_flops, vision_flops
from ...engine.tunables import Tunables
from .shapes import Shape

REPEATS, WARM_UP = 20, 3
RATES = {"none": 1.0, "int8": 1.0, "fp8": 2.0}  # of the decoder's products against bfloat16; int8 is widened to it


@dataclass(frozen=True)
class Roofline:
    """Bandwidth of a copy [bytes/s, read and written], rate of a matrix product [operations/s]."""

    bandwidth: float
    rate: float

    def time(self, read: float, operations: float) -> float:
        """Least time [s] for reading so many bytes and doing so many operations."""
        return max(read / self.bandwidth, operations / self.rate)


def measure_roofline(device: torch.device, dtype: torch.dtype) -> Roofline:
    """Copy a large buffer and multiply two large random matrices."""
    large = device.type == "cuda"
    bandwidth = _bandwidth(2**30 if large else 2**25, device)
    side = 8192 if large else 512
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return Roofline(bandwidth, 2 * side**3 / median(lambda: one @ other, device))


def _bandwidth(size: int, device: torch.device) -> float:
    source = torch.randint(0, 100, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / median(lambda: target.copy_(source), device)


def rows_of_one(shape: Shape) -> int:
    """Rows of the prompt's pass in our defaults: budget, text, and the drafts that a tick needs."""
    budget = min(Tunables.default(shape.visual).row_budget, shape.visual)
    return budget + shape.prompt + len(ACTION_NAMES) - 1


def one_pass(
    roofline: Roofline, shape: Shape, rows: int, vision_bytes: int, decoder_bytes: int, rate: float = 1.0
) -> dict[str, float]:
    """Least time [ms] of a tick with one decoder pass of `rows`, whose weights take so many bytes, by part.

    rate: of the decoder's products, times the roofline's.
    """
    visible = 1 + shape.visual + shape.prompt
    vision = roofline.time(vision_bytes, vision_flops(shape.towers, shape.llama.hidden_size))
    decoder = roofline.time(decoder_bytes, decoder_flops(shape.llama, rows, visible) / rate)
    parts = {"vision": vision, "decoder": decoder, "total": vision + decoder}
    return {name: round(1e3 * seconds, 4) for name, seconds in parts.items()}


def median(work: Callable[[], object], device: torch.device) -> float:
    """Median seconds of `work`, each time until the device has done it."""
    times = []
    for number in range(WARM_UP + REPEATS):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            times.append(time.perf_counter() - began)
    return float(np.median(times))
