"""OpenVLA: a causal decoder behind one or two vision towers, whose actions are seven tokens of one bin each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .description import Description
from .openvla_config import read_outline
from .openvla_folder import NAME, describe

if TYPE_CHECKING:
    from .family import Config, LoadOptions, Model

MODEL_TYPES = ("openvla", "prismatic")


class OpenVLA:
    """Checkpoints in the OpenVLA layout (config.json, safetensors, tokenizer.json); see `Family`."""

    name = NAME

    def recognises(self, config: Config) -> bool:
        """Whether config.json is of this family; one without a model_type is taken for it."""
        kind = config.get("model_type")
        return kind in MODEL_TYPES or (kind is None and "text_config" in config)

    def visual_tokens(self, folder: Path) -> int:
        """See `Family`."""
        return read_outline(folder).visual_tokens

    def describe(self, folder: Path) -> Description:
        """See `Family`."""
        return describe(folder)

    def load(self, folder: Path, options: LoadOptions) -> Model:
        """See `Family`."""
        from .openvla_model import load  # with torch

        return load(folder, options)
