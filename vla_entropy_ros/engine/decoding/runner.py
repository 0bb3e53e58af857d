"""What a tick asks of the network: embed the images, run rows, look back. Here with the shapes at hand.

`cuda_graphs.CUDAGraphRunner` does the same with fixed shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..model.llama import Llama
from ..model.preprocess import Preprocessor
from .choosing import Ask
from .decoder import ROW_MULTIPLE, Decoder, Sight
from .sequence import RowPlan, Tokens

Table = NDArray[np.float64]  # [T, W]: what the head's readout gave for the last rows of a pass
Scored = Callable[[NDArray[np.float32]], Table]  # logits [R, V] -> what the readout gives for their states
Readout = Callable[[Tensor], Tensor]  # states [R, D] -> table [T, W] of at most a row per row, float32

# Not cuDNN, torch's first choice on Hopper: it would make a plan for each new shape, and shapes vary from pass to pass.
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Network(Protocol):
    """What a runner needs of a model's network."""

    @property
    def language_model(self) -> Llama:
        """The decoder."""
        ...

    def visual_tokens(self, pixels: Tensor) -> Tensor:
        """Visual tokens [C, N / C, D] of pixel values [C, channels, S, S]."""
        ...

    def use_kernels(self, on: bool) -> None:
        """Embed images in fused kernels from now on, or without."""
        ...

    def further_rows(self, state: Tensor) -> Tensor:
        """Rows [E, D] of the robot's `state` [n] and of placeholders, none where the layout has neither."""
        ...


@dataclass(frozen=True)
class Endpoints:
    """What stands before and behind the decoder.

    frames: shape [C, S, S, 3] of what `preprocess` makes of the cameras' images; state: numbers in the robot's state;
    tail: most rows whose states `readout` reads in one pass; extensions: rows of the passes behind the prompt's, none
    where one pass is all. scored: what `readout` makes of logits, where it begins with the product by the decoder's
    own head.
    """

    network: Network
    preprocess: Preprocessor
    readout: Readout
    frames: tuple[int, ...]
    state: int
    tail: int
    extensions: tuple[int, ...]
    scored: Scored | None = None


@dataclass(frozen=True)
class Embedded:
    """One observation as rows: `visual` tokens [N, D], and `inputs` [N + E, D] that begin with them.

    drift: squared relative change [N] of the visual tokens since their keys and values were computed, where the runner
    measured it along the way. choose: where it can choose among them by that, for a pass whose plan is open.
    """

    visual: Tensor
    inputs: Tensor
    drift: Tensor | None = None
    choose: Ask | None = None


class Runner(Protocol):
    """Executes row plans. rows: those of each pass since it was last emptied, mean of the layers.

    narrows: whether a pass may leave rows out from a layer on; chooses: whether it offers to choose visual tokens;
    captured: whether passes are replayed CUDA graphs; kind: how passes run, in words.
    """

    rows: list[int]
    narrows: bool
    chooses: bool
    kind: str
    captured: bool

    def embed_images(self, frames: NDArray[np.uint8], state: NDArray[np.float64]) -> Embedded:
        """Embed frames [C, S, S, 3], camera after camera, and the state [n]; valid until the next call."""
        ...

    def run(self, plan: RowPlan, embedded: Embedded | None = None) -> Table:
        """Run the rows; what the last ones put out. embedded: needed where a row is no token."""
        ...

    def room(self, rows: int, most: int, /) -> int:
        """How many rows are best put beside `rows` others of a prompt's pass, where `most` would be of use."""
        ...

    def text_attention(self) -> Tensor:
        """Attention [L, M, N] of the last prompt's text rows on the visual slots, float32; until the next call."""
        ...

    def text_information(self) -> Tensor:
        """Attention information [M, N] in it, float32; until the next call: see `Decoder.text_information`."""
        ...


class EagerRunner:
    """Passes with as many rows as there are, on any device."""

    narrows = True
    chooses = False
    kind = "eager"
    captured = False

    def __init__(self, ends: Endpoints, decoder: Decoder) -> None:
        self._ends, self.decoder = ends, decoder
        self._device = decoder.positions.device
        self.rows: list[int] = []
        self.prompt: RowPlan | None = None  # the last plan whose queries were kept

    def embed_images(self, frames: NDArray[np.uint8], state: NDArray[np.float64]) -> Embedded:
        """See `Runner`."""
        visual = self._ends.network.visual_tokens(self._ends.preprocess.pixels(frames)).flatten(0, 1)
        if self.decoder.layout.inputs == len(visual):
            return Embedded(visual, visual)
        further = self._ends.network.further_rows(self._there(state).to(visual.dtype))
        return Embedded(visual, torch.cat((visual, further)))

    def run(self, plan: RowPlan, embedded: Embedded | None = None) -> Table:
        """See `Runner`."""
        table = self._ends.readout(self.states(plan, embedded))
        return table.cpu().numpy().astype(np.float64)

    def states(self, plan: RowPlan, embedded: Embedded | None = None) -> Tensor:
        """States [out, D] of the plan's last rows."""
        decoder, count = self.decoder, len(plan)
        self._note(plan)
        x = decoder.llama.embed(self._there(plan.token))
        if len(held := np.flatnonzero(plan.source >= 0)):
            assert embedded is not None
            x[self._there(held)] = embedded.inputs[self._there(plan.source[held])]
        query = None
        if plan.words:
            query = self._there(plan.query(decoder.no_query))
        padding = 0 if count == 1 and not plan.words else -count % ROW_MULTIPLE
        parts = (plan.position, plan.slot, plan.seen, plan.branch)
        position, slot, seen, branch = (self._there(part) for part in parts)
        if padding:
            x, position = F.pad(x, (0, 0, padding, 0)), F.pad(position, (padding, 0))
            slot = F.pad(slot, (padding, 0), value=decoder.cache.count)
            seen, branch = F.pad(seen, (padding, 0), value=1), F.pad(branch, (padding, 0))
            query = None if query is None else F.pad(query, (padding, 0), value=decoder.no_query)
        sight = Sight(seen, branch, plan.area, plan.reach, plan.all_seen)
        narrow = {layer: self._there(padding + rows) for layer, rows in plan.narrow.items()}
        with self._attention():
            return decoder.run(x, position, slot, sight, plan.out, query, narrow)

    def _note(self, plan: RowPlan) -> None:
        """What others ask of the passes: how many rows, and which prompt's queries are kept."""
        self.rows.append(plan.mean_rows(self.decoder.cache.layers))
        if plan.words:
            self.prompt = plan

    def room(self, _: int, most: int, /) -> int:
        """See `Runner`."""
        return most

    def text_attention(self) -> Tensor:
        """See `Runner`."""
        return self.decoder.text_attention(*self._text())

    def text_information(self) -> Tensor:
        """See `Runner`."""
        return self.decoder.text_information(*self._text())

    def _text(self) -> tuple[Tensor, int]:
        """How many slots each text row of the last prompt sees [M], and the most of these."""
        assert self.prompt is not None
        seen = self.prompt.text_seen
        return self._there(seen), int(seen.max())

    def _attention(self) -> AbstractContextManager[object]:
        """How attention may be computed in a pass of any shape."""
        return sdpa_kernel(ATTENTION) if self._device.type == "cuda" else nullcontext()

    def _there(self, array: Tokens | NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(array).to(self._device)
