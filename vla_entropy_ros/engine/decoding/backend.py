"""What runs the passes of a policy: chosen at load, by what was asked, what the weights are and what is there."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..device import Placement
from ..errors import DeviceError
from ..model.compiled.library import Library, LibraryError, find
from ..model.llama import Llama
from .compiled import CompiledRunner
from .cuda_graphs import Drift, make_runner
from .kv_cache import KVCache
from .numpy_decoder import NumpyDecoder, NumpyRunner
from .runner import EagerRunner, Endpoints, Runner
from .sequence import Layout

COMPILED, NUMPY, TORCH = "compiled", "numpy", "torch"
BACKENDS = (COMPILED, NUMPY, TORCH)
MOST_COPIED = 2 * 10**9  # bytes of a decoder's weights: both backends keep a copy, which a large policy has no room for


@dataclass(frozen=True)
class Backend:
    """One of BACKENDS, with what it needs; remark: a line that says why it is not a faster one, where one was lost."""

    name: str
    library: Library | None = None
    remark: str | None = None

    def cache(self, llama: Llama, layout: Layout, where: Placement) -> KVCache:
        """A K/V cache as its passes read it."""
        return KVCache(llama.config, layout.slots, where.device, where.dtype, transposed=self.library is not None)

    def runner(
        self, ends: Endpoints, eager: EagerRunner, drift: Drift, graphs: bool | None, kernels: bool | None
    ) -> Runner:
        """What executes passes over the cache of `eager`; graphs, kernels: see `make_runner`."""
        decoder = eager.decoder
        if self.library is not None:
            return CompiledRunner(self.library, ends, decoder)
        if self.name == NUMPY:
            return NumpyRunner(ends, NumpyDecoder(decoder.llama, decoder.cache, decoder.layout))
        return make_runner(ends, eager, drift, graphs, kernels)


def find_backend(asked: str | None, llama: Llama, where: Placement, graphs: bool | None) -> Backend:
    """The fastest there is, or the one `asked` for; DeviceError where that can't be had, or is none of BACKENDS."""
    if asked not in (None, *BACKENDS):
        raise DeviceError(f"backend {asked!r} is not valid: valid are {', '.join(BACKENDS)}")
    reason = "fixed shapes are PyTorch's" if graphs else _reason(llama, where)
    if asked == TORCH or (reason and asked is None):
        return Backend(TORCH)
    if reason:
        raise DeviceError(f"backend {asked!r} can't be had: {reason}: valid is torch")
    if asked == NUMPY:
        return Backend(NUMPY)
    try:
        return Backend(COMPILED, find())
    except LibraryError as error:
        if asked == COMPILED:
            raise DeviceError(f"backend 'compiled' can't be had: {error}: valid are numpy, torch") from None
        return Backend(NUMPY, remark=f"{error}: NumPy runs small passes")


def _reason(llama: Llama, where: Placement) -> str | None:
    """Why a decoder can run in PyTorch alone; None where it can run in either of the others."""
    if where.device.type != "cpu":
        return f"it is for a CPU, and the policy is on {where.device}"
    if where.dtype != torch.float32 or where.quantisation != "none":
        return "it computes in float32"
    size = sum(weight.nbytes for weight in llama.model.layers.parameters())
    if size > MOST_COPIED:
        return f"it would copy weights of {size / 1e9:.1f} GB"
    return None
