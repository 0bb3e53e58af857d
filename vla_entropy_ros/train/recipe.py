"""The training recipe as one dataclass, read from config/train.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..construct import construct


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained; a run is reproducible from it.

    Sizes of the network, amount of demonstrations, length of the two phases; times in seconds, angles in radians,
    lengths in metres.
    """

    seed: int
    image_size: int
    width: int
    tower_depth: int
    stem_width: int
    decoder_depth: int
    heads: int
    mlp_width: int
    max_translation: float
    max_rotation: float
    demonstrations: int  # images from the noisy expert
    round_images: int  # images per DAgger round
    tokens: int  # visual tokens trained on, of those of the image; the last phase sees all
    steps: int  # optimiser steps of the first phase
    round_steps: tuple[int, ...]  # optimiser steps after each DAgger round; as many rounds as numbers
    last_steps: int  # optimiser steps at the end, on all visual tokens
    batch: int
    average: float  # share that the running average of the weights keeps at each step
    learning_rate: float
    weight_decay: float
    warmup: int
    bin_sigma: float  # width of the soft target, in bins
    auxiliary_weight: float
    dimension_weights: tuple[float, ...]

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all phases."""
        return self.steps + sum(self.round_steps) + self.last_steps

    @property
    def images(self) -> int:
        """Images recorded in all."""
        return self.demonstrations + len(self.round_steps) * self.round_images

    @classmethod
    def load(cls, path: Path, **changes: Any) -> Recipe:
        """Read `path`; ValueError lists unknown and missing keys."""
        return construct(cls, {**yaml.safe_load(path.read_text()), **changes}, path.name)
