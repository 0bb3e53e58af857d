"""What a checkpoint folder is taken for: a policy, and what it does with one observation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_entropy_ros.engine import ActionError, Observation, ObservationError, Policy

INSTRUCTIONS = (
    "pick up the red cube",
    "pick up the blue cube",
    "PUT the green block on the plate, then push it left!",
    "a zebra near the cube",
    f"pick up the {'a' * 40} cube",  # what a regular expression may take for ever on
)
CONTROL, NO_TOKEN = ("<s>", "</s>", "<pad>"), "<zz>"


@dataclass(frozen=True)
class Acted:
    """A loaded policy and what it does with one observation: prompt ids or None by instruction, visual tokens, logits.

    control: the ids of an instruction with a control token's name, or NO_TOKEN, in it, by that name;
    visual: [N, D]; logits: [V] of the last row for the first instruction that it understands; actions: [1, 7] and their
    tokens, None where the tick was refused.
    """

    policy: Policy
    ids: dict[str, tuple[int, ...] | None]
    control: dict[str, tuple[int, ...] | None]
    visual: Tensor
    logits: NDArray[np.float32]
    actions: NDArray[np.float64] | None
    tokens: tuple[int, ...]

    @property
    def understood(self) -> str | None:
        """The first instruction that it has ids for."""
        return next((text for text, ids in self.ids.items() if ids), None)

    def same(self, other: Acted) -> bool:
        """Whether both do the same, bit for bit."""
        same = self.ids == other.ids and np.array_equal(self.logits, other.logits) and self.tokens == other.tokens
        if self.actions is None or other.actions is None:
            return same and self.actions is other.actions
        return same and np.array_equal(self.actions, other.actions)


def picture(size: int) -> NDArray[np.uint8]:
    """The image that is looked at."""
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)


def look(folder: Path) -> Acted:
    """Load the folder as the node does, and run one tick."""
    policy = Policy.load(folder)
    policy.self_test()
    return act(policy)


@torch.inference_mode()
def act(policy: Policy) -> Acted:
    """What a loaded policy does."""
    image, cameras = picture(policy.info.image_size), policy.info.cameras
    ids = {text: _ids(policy, text) for text in INSTRUCTIONS}
    control = {word: _ids(policy, f"pick up {word} the red cube") for word in (*CONTROL, NO_TOKEN)}
    understood = next((text for text in ids if ids[text]), None)
    model = policy.model
    network: Any = model.network
    visual = network.visual_tokens(model.preprocess.pixels(model.preprocess.frames([image] * cameras))).flatten(0, 1)
    logits = policy.outputs(image, ids[understood] or () if understood else tuple(range(8)))[-1].numpy()
    actions, tokens = None, ()
    try:
        result = policy.infer(Observation((image,) * cameras, understood or INSTRUCTIONS[0], 0.0))
        actions, tokens = np.asarray(result.actions), tuple(result.tokens)
    except (ActionError, ObservationError):
        pass
    return Acted(policy, ids, control, visual, logits, actions, tokens)


def _ids(policy: Policy, instruction: str) -> tuple[int, ...] | None:
    try:
        return tuple(policy.model.prompt(instruction).ids)
    except ObservationError:
        return None
