"""Costs at OpenVLA-7B's shape: by formula, and as PyTorch counts the network, so that one checks the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ..engine.cost import decoder_flops, paper_macs, vision_flops
from ..engine.model.network import Network
from ..engine.model.shapes import LlamaConfig, TowerConfig
from .ticks import Sample, drafted, skipped

LLAMA = LlamaConfig()  # Llama-2-7B
TOWERS = (
    TowerConfig(224, 1024, 23, 16, 4096, 14, class_token=True, registers=4, layer_scale=True),
    TowerConfig(224, 1152, 26, 16, 4304, 14),
)
TOKENS, ROWS = 256, 284.525  # visual tokens; prefill rows on average over LIBERO's 40 instructions


@dataclass(frozen=True)
class Passes:
    """Decoder passes of an average tick: rows of the prefill without and with drafts; rows of all later passes."""

    rows: float
    drafted: float
    later: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Passes:
        """With the shares of reuse and the passes of these ticks."""
        left_out = float(np.mean(skipped(samples))) / samples[0].visual * TOKENS
        later = float(np.mean([sum(sample.decoder_rows[1:]) for sample in samples]))
        return cls(ROWS - left_out, float(np.mean([drafted(sample) for sample in samples])), later)

    @property
    def prefill(self) -> tuple[int, int, int]:
        """Rows, slots they attend to, rows that put out logits."""
        return round(self.rows + self.drafted), round(ROWS), round(1 + self.drafted)


STEP = (1, round(ROWS + 4), 1)  # a row of a later pass, in the middle of the action: as `Passes.prefill`


def costs(samples: Sequence[Sample]) -> dict[str, float]:
    """Costs at OpenVLA-7B's shape with these ticks' shares of reuse and passes, by formula; nothing is run.

    paper_tmacs: the paper's figure; true_tflops: vision, prefill with drafts, later passes.
    """
    passes = Passes.of(samples)
    flops = vision_flops(TOWERS, LLAMA.hidden_size) + decoder_flops(LLAMA, *passes.prefill)
    return {
        "paper_tmacs": round(paper_macs(LLAMA, passes.rows) / 1e12, 4),
        "true_tflops": round((flops + decoder_flops(LLAMA, *STEP) * passes.later) / 1e12, 4),
        "passes": round(float(np.mean([sample.decoder_passes for sample in samples])), 3),
    }


class Counted:
    """The engine's own modules at OpenVLA-7B's shape; what a run of them would cost, counted by PyTorch.

    They lie on the meta device, where only shapes flow: nothing is allocated or computed.
    """

    def __init__(self) -> None:
        self._network = Network.shaped(TOWERS, LLAMA).requires_grad_(False)

    def vision(self) -> int:
        """Operations of both towers and the projector for one image."""
        size = TOWERS[0].image_size
        with FlopCounterMode(display=False) as counter:
            self._network.visual_tokens(torch.zeros(1, 3 * len(TOWERS), size, size, device="meta"))
        return counter.get_total_flops()

    def decoder(self, rows: int, visible: int, heads_out: int) -> int:
        """Operations of a pass of `rows` that attends to `visible` slots; `heads_out` rows put out logits."""
        llama = self._network.language_model

        def attend(_layer: int, q: Tensor, k: Tensor, _v: Tensor) -> Tensor:
            stored = k.new_zeros(1, k.shape[1], visible, k.shape[3])  # the slots, those of k and v among them
            return F.scaled_dot_product_attention(q, stored, stored)

        with FlopCounterMode(display=False) as counter:
            embedded = torch.zeros(1, rows, LLAMA.hidden_size, device="meta")
            hidden = llama(embedded, torch.arange(rows, device="meta"), attend)
            llama.lm_head(hidden[:, rows - heads_out :])
        return counter.get_total_flops()

    def paper(self, rows: float) -> float:
        """The paper's figure: multiply-accumulates of the layers where `rows` see each other and nothing else."""
        low = math.floor(rows)
        return sum(
            share * (self.decoder(count, count, 1) / 2 - LLAMA.hidden_size * LLAMA.vocab_size)
            for count, share in ((low, 1.0 - (rows - low)), (low + 1, rows - low))
            if share
        )


def check(runs: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Count vision, one decode step and the prefill of these runs at OpenVLA-7B's shape, beside the formulas.

    largest_difference: of a formula from the count, relative.
    """
    counted = Counted()
    found = {"vision": (counted.vision(), vision_flops(TOWERS, LLAMA.hidden_size))}
    found["decode step"] = (counted.decoder(*STEP), decoder_flops(LLAMA, *STEP))
    for name, samples in runs.items():
        prefill = Passes.of(samples).prefill
        found[f"prefill: {name}"] = (counted.decoder(*prefill), decoder_flops(LLAMA, *prefill))
    return {
        "counted_tflops": {name: round(count / 1e12, 6) for name, (count, _) in found.items()},
        "largest_difference": max(abs(formula / count - 1.0) for count, formula in found.values()),
    }
