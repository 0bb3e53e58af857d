"""The compiled library: found and checked before anything of it runs; its structures as ctypes has them.

A library may be missing, of other sources, of another machine, or have nothing that this processor can run: each is a
LibraryError of one line, and whoever asked does without.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..watch import Watch
from .build import FOLDER, NAME, digest
from .memory import Floats, empty, pointer

_INT, _POINTER, _DOUBLE = ctypes.c_int64, ctypes.c_void_p, ctypes.c_double


class LibraryError(Exception):
    """Why there is no compiled library here, in one line with what helps."""


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class ProductC(ctypes.Structure):
    """`Product` of compiled.h."""

    _fields_ = (*_fields(_INT, "rows columns"), *_fields(_POINTER, "packed bias"))


class LayerC(ctypes.Structure):
    """`Layer` of compiled.h."""

    _fields_ = (*_fields(_POINTER, "attention_norm mlp_norm"), *_fields(ProductC, "qkv out gate_up down"))


class DecoderC(ctypes.Structure):
    """`Decoder` of compiled.h."""

    _fields_ = (
        *_fields(_INT, "layers width heads kv_heads head_dim intermediate length kept capacity"),
        ("epsilon", _DOUBLE),
        ("layer", ctypes.POINTER(LayerC)),
        *_fields(_POINTER, "norm embedding cosine sine"),
        ("head", ProductC),
        *_fields(_POINTER, "keys values queries x normed qkv mixed gate_up scores numbers slot_position"),
    )


class PassC(ctypes.Structure):
    """`Pass` of compiled.h."""

    _fields_ = (
        *_fields(_INT, "rows area out first_text words narrowings"),
        *_fields(_POINTER, "source token position slot seen branch narrow_layer narrow_count narrow_rows"),
        *_fields(_POINTER, "inputs states logits"),
    )


class BlockC(ctypes.Structure):
    """`Block` of compiled.h."""

    _fields_ = (*_fields(_POINTER, "norm1 norm1_bias norm2 norm2_bias"), *_fields(ProductC, "qkv proj fc1 fc2"))


class TowerC(ctypes.Structure):
    """`Tower` of compiled.h."""

    _fields_ = (
        *_fields(_INT, "image grid patch width depth heads hidden prefixes length"),
        ("epsilon", _DOUBLE),
        ("centre", ctypes.c_float * 3),
        *_fields(ProductC, "stem embed"),
        *_fields(_POINTER, "positions prefix"),
        ("block", ctypes.POINTER(BlockC)),
        *_fields(_POINTER, "picture line cells x normed qkv mixed keys values hidden_rows scores seen none"),
    )


class ProjectorC(ctypes.Structure):
    """`Projector` of compiled.h."""

    _fields_ = (*_fields(_INT, "count features"), ("product", ProductC * 3), ("between", _POINTER * 2))


class SceneC(ctypes.Structure):
    """`Scene` of compiled.h."""

    _fields_ = (
        *_fields(_INT, "cameras grid image"),
        *_fields(_POINTER, "cells last undone reference levels levels_before gain offset floor terms work columns"),
    )


class SelectingC(ctypes.Structure):
    """`Selecting` of compiled.h."""

    _fields_ = (
        *_fields(_INT, "tokens width k_vis budget taper"),
        *_fields(_POINTER, "now stored deep_stored attention age by_attention old drift change urgency work near"),
        *_fields(_POINTER, "visual by_visual fresh deep"),
    )


class Library:
    """One variant of the library, e.g. "avx512": it computes in float32; its functions are those of variant.h."""

    pack: Any
    decode: Any
    look: Any
    project: Any
    compare_scene: Any
    image_entropy: Any
    relight: Any
    drift: Any
    keep_rows: Any
    select_tokens: Any

    def __init__(self, handle: ctypes.CDLL, variant: str) -> None:
        self.variant = variant
        self.panel, self.tile_rows = (int(getattr(handle, f"{name}_{variant}")()) for name in ("panel", "tile_rows"))
        kinds = {
            "pack": (_POINTER, _INT, _INT, _POINTER),
            "decode": (_POINTER, _POINTER, ctypes.c_int),
            "look": (_POINTER, _POINTER, _POINTER, _INT, ctypes.c_int),
            "project": (_POINTER, _INT, _POINTER, _POINTER, ctypes.c_int),
            "compare_scene": (_POINTER, _POINTER, ctypes.c_int, _POINTER),
            "image_entropy": (_POINTER, _POINTER, _INT, _POINTER, _POINTER),
            "relight": (_INT, _POINTER, _POINTER, _POINTER, _POINTER),
            "drift": (_INT, _INT, _POINTER, _POINTER, _POINTER),
            "keep_rows": (_INT, _INT, _POINTER, _POINTER, _POINTER),
            "select_tokens": (_POINTER, _POINTER, _POINTER),
        }
        for name, kind in kinds.items():
            function = getattr(handle, f"{name}_{variant}")
            function.argtypes, function.restype = kind, None
            setattr(self, name, function)

    def packed(self, weight: Floats) -> Floats:
        """Panels of a weight [N, K]."""
        rows, columns = weight.shape
        made = np.empty(-(-rows // self.panel) * columns * self.panel, np.float32)
        self.pack(pointer(np.ascontiguousarray(weight)), rows, columns, pointer(made))
        return made


class Copies:
    """What a library reads of tensors, float32; follows those that are changed in place."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._made: list[tuple[Floats, Callable[[], Floats]]] = []
        self._watch = Watch()

    def keep(self, make: Callable[[], Floats], *of: Tensor) -> int | None:
        """Address of a copy of what is made of tensors."""
        content = make()
        held = empty(content.shape)
        held[...] = content
        self._made.append((held, make))
        self._watch.add(of)
        return pointer(held)

    def tensor(self, tensor: Tensor) -> int | None:
        """Address of a copy of a tensor."""
        return self.keep(lambda: numbers(tensor), tensor)

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> ProductC:
        """The product by a weight [N, K], + bias [N]."""
        its_bias = None if bias is None else self.tensor(bias)
        return self.product(weight.shape, lambda: numbers(weight), weight, bias=its_bias)

    def product(
        self, shape: Sequence[int], weight: Callable[[], Floats], *of: Tensor, bias: int | None = None
    ) -> ProductC:
        """The product by a weight of `shape` [N, K] that is made of tensors, + what is kept as `bias` [N]."""
        rows, columns = shape
        return ProductC(rows, columns, self.keep(lambda: self._library.packed(weight()), *of), bias)

    def renew(self) -> None:
        """Make again what comes of tensors that were changed since."""
        if self._watch.changed():
            for held, make in self._made:
                held[...] = make()


def numbers(tensor: Tensor) -> Floats:
    """A tensor as float32 numbers."""
    return np.ascontiguousarray(tensor.detach().float().numpy())


def find() -> Library:
    """The fastest variant that this processor can run; raises LibraryError."""
    found = _found()
    if isinstance(found, str):
        raise LibraryError(found)
    return found[0]


def find_all() -> list[Library]:
    """Every variant that this processor can run, the fastest first; none where there is no library."""
    found = _found()
    return [] if isinstance(found, str) else found


@functools.cache
def _found() -> list[Library] | str:
    path = FOLDER / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not path.exists():
        return "the compiled stack was not built (it needs gcc or clang when the package is installed)"
    try:
        if not _whole(path):
            return "the compiled stack is cut off: install the package again"
        handle = ctypes.CDLL(str(path))
        handle.built_from.restype = handle.supported.restype = ctypes.c_char_p
        sources, supported = handle.built_from().decode(), handle.supported().decode().split()
        if sources != digest():
            return "the compiled stack was built from other sources: install the package again"
        if not supported:
            return "this processor is too old for the compiled stack (it needs AVX2 with FMA, or NEON)"
        return [Library(handle, name) for name in supported if hasattr(handle, f"decode_{name}")] or "it is empty"
    except (OSError, AttributeError, ValueError) as error:
        return f"the compiled stack does not load here: {' '.join(str(error).split())}; install the package again"


def _whole(path: Path) -> bool:
    """Whether a file has all that the loader maps of it: touching what is missing would end the process."""
    content = path.read_bytes()
    if content[:5] != b"\x7fELF\x02":  # of 64 bits; what else there is, the loader judges
        return True
    first, (size, count) = *struct.unpack_from("<Q", content, 32), struct.unpack_from("<2H", content, 54)
    for at in range(first, first + size * count, size or 1):
        offset, _, _, length = struct.unpack_from("<4Q", content, at + 8)
        if offset + length > len(content):
            return False
    return True
