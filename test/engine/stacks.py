"""A random decoder that PyTorch's modules run, and others beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vla_entropy_ros.engine.decoding.compiled import CompiledDecoder, PackedWeights, TransposedKVCache
from vla_entropy_ros.engine.decoding.decoder import Decoder
from vla_entropy_ros.engine.decoding.kv_cache import KVCache
from vla_entropy_ros.engine.decoding.runner import EagerRunner, Endpoints
from vla_entropy_ros.engine.decoding.sequence import Answers, Layout, RowPlan
from vla_entropy_ros.engine.model.compiled.library import Library
from vla_entropy_ros.engine.model.llama import Llama
from vla_entropy_ros.engine.model.shapes import LlamaConfig

VOCABULARY, AREA = 61, 20
CPU = torch.device("cpu")
_unused: Any = None
ENDS = Endpoints(_unused, _unused, lambda x: x, (), 0, 1, ())


class Random:
    """Random weights and a random layout, of fitting sizes as well as of odd ones; PyTorch's modules run them.

    inputs: rows [N + E, D] that are no tokens.
    """

    def __init__(self, seed: int, layers: int = 2) -> None:
        self.random = random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        kv_heads, group = int(random.choice([1, 2, 3])), int(random.choice([1, 2]))
        head = int(random.choice([4, 6, 16, 20, 32, 48]))
        config = LlamaConfig(
            kv_heads * group * head, int(random.choice([24, 33, 64])), layers, kv_heads * group, kv_heads, VOCABULARY
        )
        self.llama = Llama(config).requires_grad_(False).eval()
        for weight in self.llama.parameters():
            if weight.dim() == 2:
                weight.normal_(0, 1 / weight.shape[1] ** 0.5)
            else:
                weight.uniform_(0.5, 1.5)
        self.llama.fuse()
        causal = bool(random.random() < 0.7)
        placeholders = 0 if causal else 3
        self.layout = Layout(
            (1,), int(random.integers(1, 70)), int(random.integers(1, 9)), 7, int(random.integers(0, 2)), placeholders,
            causal, area=AREA,
        )  # fmt: skip
        self.words = tuple(random.integers(0, VOCABULARY, int(random.integers(1, self.layout.text + 1))).tolist())
        cache = KVCache(config, self.layout.slots, CPU, torch.float32)
        self.plain = EagerRunner(ENDS, Decoder(self.llama, cache, self.layout))
        self.inputs: NDArray[np.float32] = random.normal(0, 1, (self.layout.inputs, config.hidden_size)).astype(
            np.float32
        )

    def prefill(self, fresh: NDArray[np.int64], draft: Answers, start: bool = True) -> RowPlan:
        """The prompt's pass."""
        return self.layout.prefill(fresh, self.words, draft, start, {})

    @property
    def every(self) -> NDArray[np.int64]:
        """All visual tokens."""
        return np.arange(self.layout.visual)

    @property
    def area(self) -> int:
        """First slot behind the text."""
        return self.layout.first_text + len(self.words)

    def tree(self, rows: int) -> Answers:
        """Random answers, each behind any other or behind the text."""
        if not rows or self.layout.placeholders:
            return Answers()
        slots = self.random.permutation(AREA)[:rows].tolist()
        position: list[int] = []
        branch: list[int] = []
        for row in range(rows):
            parent = int(self.random.integers(-1, row))
            position.append(0 if parent < 0 else position[parent] + 1)
            branch.append((0 if parent < 0 else branch[parent]) | 1 << slots[row])
        order = np.argsort(position, kind="stable").tolist()
        tokens = self.random.integers(0, VOCABULARY, rows).tolist()
        parts = ([part[n] for n in order] for part in (tokens, position, slots, branch))
        return Answers(*map(tuple, parts))

    def narrowed(self) -> RowPlan:
        """The prompt's pass, of which rows are left out from two layers on."""
        visual = self.random.permutation(self.layout.visual)
        half = len(visual) // 2
        left = {1: np.sort(visual[: half // 2]), 3: np.sort(visual[:half])}
        return self.layout.prefill(self.every, self.words, Answers(), True, left)


class Pair(Random):
    """The compiled stack over a K/V cache of its own, beside PyTorch's modules."""

    def __init__(self, library: Library, seed: int, layers: int = 2) -> None:
        super().__init__(seed, layers)
        self.cache = TransposedKVCache(self.llama.config, self.layout.slots, CPU, torch.float32)
        self.decoder = Decoder(self.llama, self.cache, self.layout)
        self.compiled = CompiledDecoder(PackedWeights(library, self.llama), self.decoder, AREA + 3)

    def run(
        self, plan: RowPlan, logits: bool = False, inputs: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """States [out, D] or logits [out, V] of the compiled stack; a copy."""
        given = self.inputs if inputs is None else inputs
        return self.compiled.run(plan, given, logits).copy()


def rows_of(plan: RowPlan, kept: NDArray[np.int64], out: int) -> RowPlan:
    """Only some rows of a plan, ascending, of which the last `out` put something out."""
    parts = ("source", "token", "position", "slot", "seen", "branch")
    return replace(plan, out=out, narrow={}, **{name: getattr(plan, name)[kept].copy() for name in parts})
