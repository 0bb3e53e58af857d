"""Model families: each turns a checkpoint folder into a `Model` that any policy can run.

A second family is a second file beside openvla.py, and an entry in FAMILIES.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError, incomplete
from ..files import folder_errors, read_json, shown
from .description import Description
from .family import Family, LoadOptions, Model
from .openvla import OpenVLA
from .others import check_kind

__all__ = ["FAMILIES", "Description", "Family", "LoadOptions", "Model", "find_family"]

FAMILIES: list[Family] = [OpenVLA()]  # the first that recognises a folder takes it


def find_family(folder: Path) -> Family:
    """The family of the checkpoint in `folder`; raises CheckpointError that names its kind, or lists those known."""
    with folder_errors(folder):
        if not folder.is_dir():
            raise incomplete(f"no checkpoint folder at {folder}", folder)
        check_kind(folder)
        config = read_json(folder / "config.json")
    for family in FAMILIES:
        if family.recognises(config):
            return family
    kind, valid = shown(config.get("model_type")), ", ".join(family.name for family in FAMILIES)
    raise CheckpointError(f"config.json: model_type {kind} is of no family known here: valid are {valid}")
