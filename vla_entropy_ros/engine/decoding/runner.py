"""What a tick asks of the network: to see the images, to run the prompt, to run action tokens, to look back.

`EagerPasses` computes it with the shapes at hand; `graphs.StaticPasses` with fixed shapes, as CUDA graphs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..families.openvla import BINS
from ..model.checkpoint import Network
from ..model.preprocess import Preprocessor
from .decoder import Decoder

Tokens = NDArray[np.int64]
Growth = Mapping[int, Tokens]  # by layer, the visual tokens that are reused from there on


@dataclass(frozen=True)
class Scored:
    """The last R rows of a pass: greedy ids [R], margin [R] of the best logit over the next, entropy [R].

    entropy: over the action ids, 0 certain to 1 uniform, not a number where a logit is not finite.
    """

    ids: list[int]
    margin: NDArray[np.float64]
    entropy: NDArray[np.float64]


@dataclass(frozen=True)
class Prefill:
    """The rows of one prefill: fresh visual tokens [F] (ascending), text ids [M] without BOS, draft ids behind them.

    start: whether BOS is computed, too; growth: the layer schedule, empty for the constant one.
    """

    fresh: Tokens
    text: Sequence[int]
    draft: Tokens
    start: bool
    growth: Growth


class Passes(Protocol):
    """What `decode` and `policy` need; `rows`: those of each decoder pass since it was last emptied.

    tapers: whether a prefill may compute fewer rows in the last layers.
    """

    rows: list[int]
    tapers: bool

    def see(self, frames: NDArray[np.uint8]) -> Tensor:
        """Visual tokens [N, D] of frames [C, S, S, 3], camera after camera; valid until the next call."""
        ...

    def prefill(self, visual: Tensor, rows: Prefill) -> Scored:
        """Run the prompt over `visual` [N, D]; what its last row and the drafts behind it put out."""
        ...

    def extend(self, ids: Sequence[int], position: int) -> Scored:
        """Run tokens `ids` at consecutive positions from `position` on."""
        ...

    def attention(self) -> Tensor:
        """Attention [L, M, N] of the last prefill's text rows on the visual slots, float32."""
        ...


def score(logits: Tensor, first_action: int, margins: bool) -> Tensor:
    """Greedy id, margin (infinite unless `margins`) and entropy [R, 3] of logits [R, V], float32: exact below 2^24.

    The id is taken over the whole vocabulary, so that a token which is no action shows as one.
    """
    best, ids = logits.max(-1, keepdim=True)
    margin = torch.full_like(best, math.inf, dtype=torch.float32)
    if margins:
        margin = best.float() - logits.scatter(-1, ids, -math.inf).amax(-1, keepdim=True).float()
    actions = logits[:, first_action : first_action + BINS].float()
    entropy = torch.special.entr(actions.softmax(-1)).sum(-1, keepdim=True) / math.log(BINS)
    entropy = entropy + 0.0 * actions.sum(-1, keepdim=True)  # an infinite logit makes it no number
    return torch.cat((ids.float(), margin, entropy), dim=-1)


def scored(table: Tensor) -> Scored:
    """The host's view of `score`'s table [R, 3], which lies in host memory."""
    values = table.numpy().astype(np.float64)
    return Scored(values[:, 0].astype(np.int64).tolist(), values[:, 1], values[:, 2])


class EagerPasses:
    """Passes with as many rows as there are, on any device."""

    tapers = True

    def __init__(self, network: Network, preprocess: Preprocessor, decoder: Decoder, start: int, first: int) -> None:
        self._network, self._preprocess, self.decoder, self._first = network, preprocess, decoder, first
        self._llama = network.language_model
        self._device = decoder.positions.device
        self.start = start  # id of BOS
        self.margins = decoder.positions.is_cuda or self._llama.lm_head.weight.dtype != torch.float32
        self._start = self._llama.embed(torch.tensor([start], device=self._device))  # [1, D]
        self.rows = decoder.rows

    def see(self, frames: NDArray[np.uint8]) -> Tensor:
        """See `Passes`."""
        return self._network.visual_tokens(self._preprocess.pixels(frames)).flatten(0, 1)

    def prefill(self, visual: Tensor, rows: Prefill) -> Scored:
        """See `Passes`."""
        return self._scored(self.states(visual, rows))

    def states(self, visual: Tensor, rows: Prefill) -> Tensor:
        """States [1 + n, D] of the last text row and of the n drafts after a prefill."""
        embedded = [visual[self._there(rows.fresh)], self._embed([*rows.text, *rows.draft.tolist()])]
        first_text = 1 + len(visual)
        end = first_text + len(rows.text) + len(rows.draft)
        positions = [1 + rows.fresh, np.arange(first_text, end)]
        if rows.start:
            embedded.insert(0, self._start)
            positions.insert(0, np.zeros(1, np.int64))
        position = np.concatenate(positions)
        narrow = {
            layer: self._there(np.flatnonzero(~np.isin(position, 1 + reused))) for layer, reused in rows.growth.items()
        }
        keep, behind = len(rows.text), len(rows.draft)
        where = self._there(position)
        states = self.decoder.step(torch.cat(embedded), where, end, keep, behind, narrow, tail=keep + behind)
        return states[-1 - behind :]

    def extend(self, ids: Sequence[int], position: int) -> Scored:
        """See `Passes`."""
        end = position + len(ids)
        return self._scored(self.decoder.step(self._embed(ids), self.decoder.positions[position:end], end))

    def attention(self) -> Tensor:
        """See `Passes`."""
        return self.decoder.text_attention()

    def _scored(self, states: Tensor) -> Scored:
        return scored(score(self._llama.lm_head(states), self._first, self.margins).cpu())

    def _embed(self, ids: Sequence[int]) -> Tensor:
        return self._llama.embed(torch.tensor(ids, device=self._device, dtype=torch.long))

    def _there(self, array: Tokens) -> Tensor:
        return torch.from_numpy(array).to(self._device)
