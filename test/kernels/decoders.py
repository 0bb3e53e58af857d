"""Small random decoders, and one pass with everything in it that a pass may have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_entropy_ros.engine.decoding.cuda_graphs import Step
from vla_entropy_ros.engine.decoding.decoder import Decoder, Sight
from vla_entropy_ros.engine.decoding.kv_cache import KVCache
from vla_entropy_ros.engine.decoding.sequence import Layout
from vla_entropy_ros.engine.model.checkpoint import place
from vla_entropy_ros.engine.model.llama import Llama
from vla_entropy_ros.engine.model.shapes import LlamaConfig

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
VISUAL, WORDS = 40, 9
LAYOUT = Layout((1,), VISUAL, 32, 7)
FIRST = LAYOUT.first_text + WORDS  # slot of the first draft


def decoder(config: LlamaConfig, dtype: torch.dtype, quantisation: str = "none", seed: int = 0) -> Decoder:
    """One with random weights that keep states of order one."""
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        llama = Llama(config).fuse()
    for name, old in llama.state_dict().items():
        weight = torch.randn(old.shape, generator=random)
        weight = 1 + 0.1 * weight if weight.dim() == 1 else weight / old.shape[-1] ** 0.5
        # named as in a network: what is quantised is told by the name
        holder = torch.nn.Module()
        holder.language_model = llama
        place(holder, f"language_model.{name}", weight.to(DEVICE, dtype), quantisation)
    return Decoder(llama, KVCache(config, LAYOUT.count, DEVICE, dtype), LAYOUT)


@dataclass(frozen=True)
class Pass:
    """Rows [R, D], their positions, slots and kept queries, and what they see."""

    x: Tensor
    position: Tensor
    slot: Tensor
    query: Tensor
    sight: Sight


def whole_pass(of: Decoder, seed: int = 1) -> Pass:
    """Start, visual tokens, text, and a tree of three drafts behind: two for one position, one for the next."""
    count = FIRST
    position = torch.tensor([*range(count), count, count, count + 1])
    slot = torch.arange(count + 3)
    seen = torch.tensor([*range(1, count + 1), count, count, count])
    branch = torch.tensor([0] * count + [0b1, 0b10, 0b101])
    query = torch.where((slot >= LAYOUT.first_text) & (slot < count), slot - LAYOUT.first_text, LAYOUT.text)
    width = of.llama.config.hidden_size
    x = torch.randn(count + 3, width, generator=torch.Generator().manual_seed(seed)).to(of.cache.keys)
    position, slot, query, seen, branch = (each.to(DEVICE) for each in (position, slot, query, seen, branch))
    area = torch.full((count + 3, 1), count, device=DEVICE)
    return Pass(x, position, slot, query, Sight(seen, branch, area, of.cache.length))


def run(of: Decoder, step: Step, made: Pass, rows: slice = slice(None)) -> dict[str, Tensor]:
    """States of the last rows, keys, values and queries that `step` leaves, from an empty cache; rows: only those."""
    area = made.sight.area
    assert isinstance(area, Tensor)
    seen, branch, area = (each[rows].clone() for each in (made.sight.seen, made.sight.branch, area))
    sight = Sight(seen, branch, area, made.sight.reach)
    x, position, slot = (each[rows].clone() for each in (made.x, made.position, made.slot))
    with torch.inference_mode():
        states = step.run(x, position, slot, sight, min(8, len(x)), made.query[rows].clone())
    cache = of.cache
    return {
        "states": states.clone(),
        "keys": cache.keys[:, :, : FIRST + 3].clone(),
        "values": cache.values[:, :, : FIRST + 3].clone(),
        "queries": of.queries[:, :, :WORDS].clone(),
    }


def apart(one: Tensor, other: Tensor) -> float:
    """Norm of the difference over the norm of `other`."""
    one, other = one.double(), other.double()
    return float((one - other).norm() / other.norm())
