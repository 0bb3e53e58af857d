"""What a selection asks of picture and embeddings, in compiled code: what scene.py, provenance.py and joint.py compute.

Buffers are allocated once; what is handed out is the caller's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.runner import Embedded
from ..model.compiled.library import Library, SceneC, SelectingC
from ..model.compiled.memory import Buffers, empty, pointer
from ..tunables import Tunables
from .joint import JointSelection, Needed
from .patches import Mask
from .provenance import Provenance
from .scene import CELLS, MEAN_OF_NOISE, VALUES, Scene, Seen
from .scores import Scores, count_terms
from .selection import Selection


class CompiledScene:
    """As `Scene`, whose pictures are bytes throughout."""

    def __init__(self, library: Library, cameras: int, grid: int) -> None:
        """See `Scene`."""
        self._library, self._cameras, self._grid, self._tokens = library, cameras, grid, cameras * grid**2
        self._frames, self._begun, self._sized = np.zeros(0, np.uint8), False, Buffers()
        self._buffers = buffers = Buffers()
        self._light = empty((3, cameras))  # gain, offset and floor
        cells = (buffers.of(self._tokens, VALUES) for _ in range(4))
        levels = (buffers.of(self._tokens) for _ in range(2))
        light, work = map(pointer, self._light), buffers.copy(np.zeros((3, grid**2)))
        self.c = SceneC(cameras, grid, 0, *cells, *levels, *light, None, work, None)
        self._at = ctypes.byref(self.c)
        self.forget()

    @property
    def picture(self) -> tuple[Any, int | None]:
        """The scene and the frames that were compared last, as functions of the library take them."""
        assert self.c.image
        return self._at, pointer(self._frames)

    def forget(self) -> None:
        """See `Scene`."""
        self._begun, self._light[0], self._light[1] = False, 1.0, 0.0

    def compare(self, frames: NDArray[np.uint8]) -> Seen:
        """See `Scene`; ValueError where frames are no bytes [C, S, S, 3] in whole patches."""
        if frames.shape != self._frames.shape:
            self._take(frames.shape)
        self._frames, static = np.ascontiguousarray(frames, np.uint8), np.empty(self._tokens, np.bool_)
        begun, self._begun = self._begun, True
        self._library.compare_scene(*self.picture, begun, pointer(static))
        if not begun:
            return Seen(static)
        gain, _, floor = self._light.tolist()
        side = frames.shape[1] / self._grid / CELLS  # of a cell [pixels]
        return Seen(static, sum(floor) / len(floor) / MEAN_OF_NOISE * side, sum(gain) / len(gain))

    def commit(self, fresh: Mask) -> None:
        """See `Scene`."""
        self._library.keep_rows(self._tokens, VALUES, pointer(fresh), self.c.undone, self.c.reference)

    def image_entropy(self, patches: NDArray[np.int64]) -> Scores:
        """See `Scene`."""
        entropy, numbers = np.empty(len(patches)), np.ascontiguousarray(patches, np.int64)
        self._library.image_entropy(*self.picture, len(numbers), pointer(numbers), pointer(entropy))
        return entropy

    def _take(self, shape: Sequence[int]) -> None:
        """Make room for frames of that shape."""
        size = shape[1]
        if tuple(shape) != (self._cameras, size, size, 3) or not size or size % self._grid:
            raise ValueError(f"frames {tuple(shape)}: expected {self._cameras} of {self._grid} patches along a side")
        self._sized = Buffers()
        self.c.image, self.c.terms = size, self._sized.copy(count_terms((size // self._grid) ** 2))
        self.c.columns = self._sized.copy(np.zeros(3 * size, np.uint32))


class CompiledProvenance(Provenance):
    """As `Provenance`, of embeddings in float32 on a CPU."""

    def __init__(self, library: Library, tokens: int, width: int) -> None:
        super().__init__(tokens, width, torch.device("cpu"), torch.float32)
        self._library = library
        self.embeddings, self.deep_embeddings = (torch.from_numpy(empty((tokens, width))) for _ in range(2))

    def _change(self, visual: Tensor, stored: Tensor) -> Tensor:
        change, (tokens, width) = np.empty(len(stored), np.float32), stored.shape
        self._library.drift(tokens, width, self.address(visual), stored.data_ptr(), pointer(change))
        return torch.from_numpy(change)

    def _keep(self, fresh: Mask, deep: Mask, visual: Tensor) -> None:
        tokens, width = self.embeddings.shape
        for written, stored in ((fresh, self.embeddings), (deep, self.deep_embeddings)):
            self._library.keep_rows(tokens, width, pointer(written), self.address(visual), stored.data_ptr())

    def address(self, visual: Tensor) -> int:
        """Where embeddings [N, D] lie; ValueError where they are no such numbers in one piece."""
        if visual.shape != self.embeddings.shape or visual.dtype != torch.float32 or not visual.is_contiguous():
            raise ValueError(f"embeddings {tuple(visual.shape)}: expected {tuple(self.embeddings.shape)} in float32")
        return visual.data_ptr()


class CompiledSelection:
    """As `JointSelection`, in one call."""

    def __init__(self, library: Library, scene: CompiledScene, provenance: CompiledProvenance) -> None:
        self._library, self._scene, self._provenance, self._buffers = library, scene, provenance, Buffers()
        self._tokens, width = provenance.embeddings.shape
        zeros, kept = np.zeros(self._tokens), (provenance.embeddings, provenance.deep_embeddings)
        self._c = SelectingC(self._tokens, width, stored=kept[0].data_ptr(), deep_stored=kept[1].data_ptr())
        self._c.change, self._c.urgency, self._c.work = (self._buffers.copy(zeros) for _ in range(3))
        self._c.drift, self._c.near = self._buffers.of(self._tokens), self._buffers.copy(zeros.astype(np.int64))
        self._c.age = pointer(provenance.deep_age)
        self._at = ctypes.byref(self._c)

    def select(
        self,
        embedded: Embedded,
        attention: Scores,
        needed: Needed,
        tunables: Tunables,
        in_force: tuple[int, int],
        static: Mask,
    ) -> tuple[Scores, Selection]:
        """See `JointSelection`."""
        c, tokens = self._c, self._tokens
        visual, masks = np.empty(tokens), np.empty((3, tokens), np.bool_)
        c.now = self._provenance.address(embedded.visual)
        c.k_vis, c.budget, c.taper = in_force[0], tunables.row_budget, tunables.taper_rows
        c.attention, c.by_attention, c.old = pointer(attention), pointer(needed.by_attention), pointer(needed.old)
        c.visual, first = pointer(visual), masks.ctypes.data
        c.by_visual, c.fresh, c.deep = first, first + tokens, first + 2 * tokens
        self._library.select_tokens(*self._scene.picture, self._at)
        by_visual, fresh, deep = masks
        deep = deep if tunables.taper_rows else fresh
        by_attention, old = needed.by_attention, needed.old
        return visual, Selection(fresh, deep, static, by_visual, by_attention, old, *in_force, forced=False)


def parts(
    library: Library | None, cameras: int, grid: int, tokens: int, width: int, device: torch.device, dtype: torch.dtype
) -> tuple[Provenance, Scene | CompiledScene, JointSelection | CompiledSelection]:
    """What a selection of the default's mode is made of: in a library, or, where that is None, in NumPy and torch."""
    if library is None:
        provenance, scene = Provenance(tokens, width, device, dtype), Scene(cameras, grid)
        return provenance, scene, JointSelection(scene, provenance)
    its, seen = CompiledProvenance(library, tokens, width), CompiledScene(library, cameras, grid)
    return its, seen, CompiledSelection(library, seen, its)
