"""What every peer does with an image: see, compute the whole prompt, then one row for each further token."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ...engine import Observation, Policy, Timings
from ...engine.device import Stopwatch
from ..generate import Generated

Pieces = list[int]  # token ids of a prompt: start tokens and text


class PeerError(RuntimeError):
    """A peer that cannot be had here: one line that says what is missing and how to get it."""


class Peer(Protocol):
    """Recomputes everything for every image and decodes greedily; keeps nothing from one image to the next."""

    def tick(self, observation: Observation) -> Generated:
        """Token ids for one observation and the time of each stage."""
        ...


class Stepwise(ABC):
    """A peer in three parts, over the weights of a policy that `can_generate`."""

    def __init__(self, policy: Policy, instructions: Sequence[str]) -> None:
        """Prepare for these instructions; slots: positions of the longest prompt with its answer."""
        self._model = policy.model
        self._ids = {told: [*self._model.layout.start, *self._model.prompt(told).ids] for told in instructions}
        self.lengths = sorted({len(ids) for ids in self._ids.values()})
        self.slots = self.lengths[-1] + self._model.layout.visual + self._model.tokens

    @abstractmethod
    def see(self, pixels: Tensor) -> Any:
        """Visual tokens [N, D] of pixel values [C, channels, S, S]."""

    @abstractmethod
    def first(self, ids: Pieces, visual: Any) -> int:
        """The token behind the start tokens, the visual tokens and the text."""

    @abstractmethod
    def step(self, token: int, position: int) -> int:
        """The token behind `token`, which stands at `position`."""

    @torch.no_grad()
    def tick(self, observation: Observation) -> Generated:
        """See `Peer`."""
        model, ids = self._model, self._ids[observation.instruction]
        rows = len(ids) + model.layout.visual
        watch = Stopwatch(model.where.device)
        frames = model.preprocess.frames(observation.images)
        watch.lap("preprocess")
        visual = self.see(model.preprocess.pixels(frames))
        watch.lap("vision")
        watch.lap("select")
        tokens = [self.first(ids, visual)]
        watch.lap("prefill")
        for position in range(rows, rows + model.tokens - 1):
            tokens.append(self.step(tokens[-1], position))
        watch.lap("decode")
        return Generated(tuple(tokens), rows, len(ids) - len(model.layout.start), Timings(**watch.timings()))


@contextlib.contextmanager
def flushed() -> Iterator[None]:
    """Let this thread take numbers below the smallest normal one for zero.

    A softmax makes many such numbers, and they are slow: it takes three tenths off ONNX Runtime's prefill and a sixth
    off OpenVINO's, and nothing off the engine's.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
