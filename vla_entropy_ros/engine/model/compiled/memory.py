"""Memory that the compiled library reads and writes: taken once, aligned, in large pages where there are any."""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
CACHE_LINE = 64  # bytes
MOST_PANEL = 32  # columns of the widest variant: what may be read behind a buffer's last number
HUGE, CHUNK = 2**21, 2**23  # bytes of a large page, and of the memory asked for at a time


class _Arena:
    """Memory in pages of 2 MB where the system has them: small ones cost a tick a tenth once others have run between.

    What is taken lives for as long as an array that points there.
    """

    def __init__(self) -> None:
        self._rest: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._lock = threading.Lock()  # policies may be loaded by several threads at once

    def take(self, size: int) -> NDArray[np.uint8]:
        """Zeros that begin at a cache line, with room behind them for a panel that is read beyond the end."""
        whole = -(-(size + MOST_PANEL * 4) // CACHE_LINE) * CACHE_LINE
        with self._lock:
            if whole > len(self._rest):
                self._rest = _pages(max(CHUNK, -(-whole // HUGE) * HUGE))
            taken, self._rest = self._rest[:size], self._rest[whole:]
        return taken


def _pages(size: int) -> NDArray[np.uint8]:
    """Zeros that begin at a large page."""
    memory = mmap.mmap(-1, size + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):  # a system without such pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    return raw[-raw.ctypes.data % HUGE :]


_arena = _Arena()


def empty(shape: Sequence[int], dtype: Any = np.float32) -> NDArray[Any]:
    """Zeros in large pages, aligned, with room behind them for a panel that is read beyond the end."""
    count = int(np.prod(shape))
    return _arena.take(count * np.dtype(dtype).itemsize).view(dtype).reshape(shape)


def pointer(array: NDArray[Any] | None) -> int | None:
    """Address of an array's first number, NULL for None."""
    return None if array is None else array.ctypes.data


class Buffers:
    """Working memory, which lives as long as this object does."""

    def __init__(self) -> None:
        self._held: list[NDArray[Any]] = []

    def of(self, *shape: int) -> int | None:
        """Address of float32 numbers of that shape."""
        return self.copy(empty(shape))

    def copy(self, array: NDArray[Any]) -> int | None:
        """Address of a copy of an array, with room behind it for what is read beyond its end."""
        made = empty(array.shape, array.dtype)
        made[...] = array
        self._held.append(made)
        return pointer(made)
