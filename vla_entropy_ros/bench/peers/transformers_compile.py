"""The peer: transformers' forward under torch.compile, with a cache and shapes that are fixed, called by hand."""

from __future__ import annotations

import inspect
import os
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...engine import Policy
from ...engine.model.network import Network
from ..generate import sharing
from .stepwise import PeerError, Pieces, Stepwise


class Compiled(Stepwise):
    """`LlamaForCausalLM` with a `StaticCache` and its argmax, compiled for each length of a prompt and for one row.

    The towers are the policy's own, as they are. Compiling takes most of a minute, and 10 to 15 s for each further
    length of a prompt. Freezing with a C++ wrapper was tried: as fast.
    """

    def __init__(self, policy: Policy, instructions: Sequence[str]) -> None:
        """Compile for every length of a prompt; raises PeerError where there is no C++ compiler."""
        super().__init__(policy, instructions)
        if lacking := _no_compiler():
            raise PeerError(lacking)
        from transformers import StaticCache

        assert isinstance(self._model.network, Network)
        self._network, self._device = self._model.network, self._model.where.device
        self._llama: Any = sharing(self._network.language_model, self._device)
        self._cache: Any = StaticCache(config=self._llama.config, max_cache_len=self.slots)
        named = "cache" in inspect.signature(self._llama.forward).parameters  # transformers 5.24 has renamed it
        self._given = {"cache" if named else "past_key_values": self._cache, "use_cache": True, "logits_to_keep": 1}
        self._forward: Any = self._best
        with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=len(self.lengths) + 8):
            self._once(self.lengths[0])  # the cache takes its memory outside of what is compiled
            self._forward = torch.compile(self._best, dynamic=False)
            for length in self.lengths:
                self._once(length)

    def _best(self, rows: Tensor, positions: Tensor) -> Tensor:
        """The most likely token [1] behind rows [1, S, D] at positions [1, S]."""
        made = self._llama(inputs_embeds=rows, position_ids=positions, **self._given)
        best: Tensor = made.logits[:, -1].argmax(-1)
        return best

    def _once(self, length: int) -> None:
        """One prompt of so many token ids and a row behind it."""
        visual = torch.zeros(self._model.layout.visual, self._network.language_model.config.hidden_size)
        self.first([0] * length, visual.to(self._device))
        self.step(0, length + len(visual))

    def see(self, pixels: Tensor) -> Tensor:
        """See `Stepwise`."""
        return self._network.visual_tokens(pixels).flatten(0, 1)

    def first(self, ids: Pieces, visual: Tensor) -> int:
        """See `Stepwise`."""
        start = len(self._model.layout.start)
        embedded = self._network.language_model.embed(torch.tensor(ids, device=self._device))
        rows = torch.cat((embedded[:start], visual, embedded[start:]))[None]
        self._cache.reset()
        return int(self._forward(rows, torch.arange(rows.shape[1], device=self._device)[None]))

    def step(self, token: int, position: int) -> int:
        """See `Stepwise`."""
        rows = self._network.language_model.embed(torch.tensor([[token]], device=self._device))
        return int(self._forward(rows, torch.tensor([[position]], device=self._device)))


def _no_compiler() -> str | None:
    """What torch.compile lacks on a CPU and what brings it, None where it is there."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler {compiler}, which torch.compile needs: apt-get install g++, or set CXX"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    if not (header := Path(sysconfig.get_paths(scheme)["include"], "Python.h")).exists():
        return f"{header} is missing, which torch.compile needs: apt-get install python3-dev"
    return None
