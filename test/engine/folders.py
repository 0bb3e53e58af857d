"""Folders to load or to refuse, and how they are changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_entropy_ros.engine import CheckpointError, Policy


def refusal(folder: Path, kind: type[Exception] = CheckpointError, **arguments: Any) -> str:
    """The one line with which loading `folder` is refused."""
    with pytest.raises(kind) as caught:
        Policy.load(folder, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def change_config(folder: Path, **values: Any) -> None:
    """Set keys of config.json, of its text_config where that has them already."""
    change_json(
        folder / "config.json",
        lambda config: [
            (config["text_config"] if name in config["text_config"] else config).__setitem__(name, value)
            for name, value in values.items()
        ],
    )


def change_text(folder: Path, **values: Any) -> None:
    """Set keys of the text_config."""
    change_json(folder / "config.json", lambda config: config["text_config"].update(values))


def change_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
