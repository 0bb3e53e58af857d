"""What a tick costs: the paper's figures, and true operations as PyTorch counts them."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vla_entropy_ros.engine.cost import decoder_flops, paper_macs, vision_flops
from vla_entropy_ros.engine.model.llama import Llama
from vla_entropy_ros.engine.model.shapes import LlamaConfig, TowerConfig
from vla_entropy_ros.engine.model.vision import Projector, VisionBackbone

OPENVLA = LlamaConfig()  # Llama-2-7B
ROWS = 284.525  # BOS, 256 visual tokens and the text, on average over the 40 instructions of LIBERO


def test_the_papers_figures() -> None:
    assert paper_macs(OPENVLA, ROWS) / 1e12 == pytest.approx(1.8638, abs=5e-5)
    assert paper_macs(OPENVLA, ROWS - 98.5) / 1e12 == pytest.approx(1.214, abs=5e-4)


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize(("rows", "visible"), [(12, 12), (5, 40)])
def test_decoder_operations_agree_with_pytorchs_counter(kv_heads: int, rows: int, visible: int) -> None:
    config = LlamaConfig(32, 48, 3, 4, kv_heads, vocab_size=100)
    with torch.device("meta"):
        llama = Llama(config)
        keys = torch.zeros(1, 4, visible, config.head_dim)

        def attend(layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return (q @ keys.transpose(2, 3)) @ keys

        with FlopCounterMode(display=False) as counter:
            hidden = llama(torch.zeros(1, rows, 32), torch.arange(rows), attend)
            llama.lm_head(hidden[:, -1])
    assert decoder_flops(config, rows, visible) == counter.get_total_flops()


@pytest.mark.parametrize(
    "towers",
    [
        (TowerConfig(image_size=56, width=16, depth=2, heads=2, mlp_width=40, stem_width=4),),
        (
            TowerConfig(56, 16, 2, 2, 40, 14, class_token=True, registers=4, layer_scale=True),
            TowerConfig(56, 24, 3, 2, 72, 14),
        ),
    ],
    ids=["small", "fused"],
)
def test_vision_operations_agree_with_pytorchs_counter(towers: tuple[TowerConfig, ...]) -> None:
    with torch.device("meta"):
        vision = VisionBackbone(*towers)
        projector = Projector(vision.width, 32, fused=len(towers) == 2)
        with FlopCounterMode(display=False) as counter:
            projector(vision(torch.zeros(1, 3 * len(towers), 56, 56)))
    assert vision_flops(towers, 32) == counter.get_total_flops()
