"""What runs the passes of a policy: chosen at load, by what was asked, what the weights are and what is there."""

from __future__ import annotations

import torch

from ..device import GB, Placement, name_of
from ..errors import DeviceError
from ..model.compiled.library import Library, LibraryError, find
from ..model.llama import Llama
from .compiled import CompiledRunner, PackedWeights, TransposedKVCache
from .decoder import Decoder
from .kv_cache import KVCache
from .numpy_decoder import NumpyDecoder, NumpyRunner
from .runner import EagerRunner, Endpoints
from .sequence import Layout

COMPILED, NUMPY, TORCH = "compiled", "numpy", "torch"
BACKENDS = (COMPILED, NUMPY, TORCH)
MOST_COPIED = 2 * 10**9  # bytes of a decoder's weights: both backends keep a copy, which a large policy has no room for


class Backend:
    """One of BACKENDS for a decoder; remark: a line that says why it is not a faster one, where one was lost."""

    def __init__(self, name: str, llama: Llama, where: Placement, remark: str | None = None) -> None:
        """Raises LibraryError where the compiled stack can't be had."""
        self.name, self.remark, self._llama, self._where = name, remark, llama, where
        self._weights = PackedWeights(find(), llama) if name == COMPILED else None

    @property
    def library(self) -> Library | None:
        """The compiled library, where it runs the passes."""
        return None if self._weights is None else self._weights.library

    def runner(self, ends: Endpoints, layout: Layout) -> EagerRunner:
        """What executes passes of any shape, over a K/V cache of its own."""
        llama, where = self._llama, self._where
        kind = KVCache if self._weights is None else TransposedKVCache
        with torch.inference_mode(False):  # others may write to it, too
            cache = kind(llama.config, layout.slots, where.device, where.dtype)
        if self._weights is not None:
            return CompiledRunner(self._weights, ends, Decoder(llama, cache, layout))
        if self.name == NUMPY:
            return NumpyRunner(ends, NumpyDecoder(llama, cache, layout))
        return EagerRunner(ends, Decoder(llama, cache, layout))


def find_backend(asked: str | None, llama: Llama, where: Placement, graphs: bool | None) -> Backend:
    """The fastest there is, or the one `asked` for; DeviceError where that can't be had, or is none of BACKENDS."""
    if asked not in (None, *BACKENDS):
        raise DeviceError(f"backend {asked!r} is not valid: valid are {', '.join(BACKENDS)}")
    reason = "fixed shapes are PyTorch's" if graphs else _reason(llama, where)
    if asked == TORCH or (reason and asked is None):
        return Backend(TORCH, llama, where, _saves_no_time(llama, where) if asked is None else None)
    if reason:
        raise DeviceError(f"backend {asked!r} can't be had: {reason}: valid is torch")
    if asked == NUMPY:
        return Backend(NUMPY, llama, where)
    try:
        return Backend(COMPILED, llama, where)
    except LibraryError as error:
        if asked == COMPILED:
            raise DeviceError(f"backend 'compiled' can't be had: {error}: valid are numpy, torch") from None
        return Backend(NUMPY, llama, where, f"{error}: NumPy runs small passes")


def _reason(llama: Llama, where: Placement) -> str | None:
    """Why a decoder can run in PyTorch alone; None where it can run in either of the others."""
    if where.device.type != "cpu":
        return f"it is for a CPU, and the policy is on {where.device}"
    if where.dtype != torch.float32 or where.quantisation != "none":
        return "it computes in float32"
    if (size := _copied(llama)) > MOST_COPIED:
        return f"it would copy weights of {size / GB:.1f} GB"
    return None


def _saves_no_time(llama: Llama, where: Placement) -> str | None:
    """A line about 16 bits on a CPU that has room for float32; None where there is nothing to say."""
    halved = where.dtype != torch.float32 and where.quantisation == "none"
    if where.device.type != "cpu" or not halved or _copied(llama) > MOST_COPIED:
        return None
    instead = "float32 runs without PyTorch's dispatch, and with exact drafts"
    return f"{name_of(where.dtype)} on a CPU saves memory, but no time: {instead}"


def _copied(llama: Llama) -> int:
    """Bytes of a copy of the layers' weights in float32."""
    return 4 * sum(weight.numel() for weight in llama.model.layers.parameters())
