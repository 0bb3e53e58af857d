"""What near ties cost a trained policy: the shipped one over the shipped bag, on the device and in its dtype."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray

from ...bags.storage import Storage
from ...engine import Observation, Policy, Result
from ...engine.actions.token_head import TokenHead
from ...engine.device import name_of
from ...engine.tunables import Tunables
from ...images import decode
from ...resources import default_checkpoint, share_path
from .shapes import INSTRUCTION

BAG, COMPRESSED, PERIOD = "bags/pick_red", "sensor_msgs/msg/CompressedImage", 0.1


def second_looks(device: torch.device, dtype: torch.dtype, quantisation: str = "none") -> dict[str, float]:
    """Passes of a tick with the second looks of these types and without any, and the share of tokens of plain decoding.

    In float32 there are none.
    """
    policy = Policy.load(default_checkpoint(), device=str(device), dtype=name_of(dtype), quantisation=quantisation)
    ours = policy.fitting(Tunables.default(policy.info.visual_tokens))
    scene = [Observation((image,), INSTRUCTION, PERIOD * tick) for tick, image in enumerate(images())]
    head = policy.model.head
    assert isinstance(head, TokenHead)
    margin = head.margin
    looking, plain = (_replay(policy, tunables, scene) for tunables in (ours, replace(ours, drafts="off")))
    head.margin = 0.0
    unlooking = _replay(policy, ours, scene)
    equal = [one.tokens == other.tokens for one, other in zip(looking, plain, strict=True)]  # [ticks, K]
    return {
        "images": len(scene),
        "draft_margin": round(margin, 5),
        "passes": _passes(looking),
        "passes_without_second_looks": _passes(unlooking),
        "equal_tokens": round(float(np.mean(equal)), 4),
    }


def _replay(policy: Policy, tunables: Tunables, scene: Sequence[Observation]) -> list[Result]:
    policy.set_tunables(tunables)
    policy.reset()
    results = []
    for seen in scene:
        results.append(policy.infer(seen))
        policy.settle()
    return results


def _passes(results: Sequence[Result]) -> float:
    return round(float(np.mean([result.decoder_passes for result in results])), 4)


def images() -> list[NDArray[np.uint8]]:
    """The shipped bag's, with nothing but what the engine needs: a machine to measure on may have no rosbags."""
    bag = Storage(share_path(BAG))
    try:
        (topic,) = (topic for topic, kind in bag.topics.items() if kind == COMPRESSED)
        return [decode(_compressed(message.raw)) for message in bag.messages([topic])]
    finally:
        bag.close()


def _compressed(data: bytes) -> SimpleNamespace:
    """Format and data of a CompressedImage in little-endian CDR: four bytes, stamp, frame, format, data."""
    content, at, parts = data[4:], 8, []
    for _ in range(3):
        at += -at % 4
        (size,) = struct.unpack_from("<I", content, at)
        parts.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return SimpleNamespace(format=parts[1].rstrip(b"\0").decode(), data=parts[2])
