"""Model families: each turns a checkpoint folder into a `Model` that any policy can run.

A second family is a second file beside openvla.py, and an entry in FAMILIES.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError, incomplete
from .family import Family, LoadOptions, Model, read_json
from .openvla import OpenVLA

__all__ = ["FAMILIES", "Family", "LoadOptions", "Model", "find_family"]

FAMILIES: list[Family] = [OpenVLA()]  # the first that recognises a folder takes it


def find_family(folder: Path) -> Family:
    """The family of the checkpoint in `folder`; raises CheckpointError that lists those known."""
    if not folder.is_dir():
        raise incomplete(f"no checkpoint folder at {folder}", folder)
    config = read_json(folder / "config.json")
    for family in FAMILIES:
        if family.recognises(config):
            return family
    kind, valid = config.get("model_type"), ", ".join(family.name for family in FAMILIES)
    raise CheckpointError(f"config.json: model_type {kind!r} is of no family known here: valid are {valid}")
