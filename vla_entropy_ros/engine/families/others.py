"""Folders of other kinds than a policy that can be loaded: recognised by their files, and what to do with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import CheckpointError
from ..files import read_json, shown


@dataclass(frozen=True)
class Other:
    """A kind of folder: any of `files` (patterns) shows it; `advice` says what to do.

    beside: also where config.json lies with it; otherwise such files are the leftovers of a policy's training.
    """

    name: str
    files: tuple[str, ...]
    advice: str
    beside: bool = True


MERGE = "merge it into its base model (peft: merge_and_unload, then save_pretrained) and name that folder"
OTHERS = (
    Other(
        "an OpenVLA-OFT policy",
        (
            "action_head--*", "proprio_projector--*", "noisy_action_projector--*", "vision_backbone--*",
            "action_head*.pt", "proprio_projector*.pt",
        ),
        "its actions come from these parts (chunks by regression or diffusion), not from the tokens that a plain "
        "OpenVLA gives: this family is not supported yet, and the folder must not run as a plain OpenVLA",
    ),
    Other("an adapter (LoRA)", ("adapter_config.json", "adapter_model.*"), MERGE),
    Other("an adapter (LoRA)", ("lora_adapter/*",), MERGE, beside=False),
    Other(
        "a sharded training state",
        ("*.distcp", "global_step*", "zero_to_fp32.py", "*_optim_states.pt"),
        "gather it into one set of safetensors with the tool of the framework that wrote it",
        beside=False,
    ),
    Other(
        "a training run of Prismatic",
        ("checkpoints/*.pt", "config.yaml"),
        "convert it to the Hugging Face layout (vla-scripts/extern/convert_openvla_weights_to_hf.py of OpenVLA)",
        beside=False,
    ),
    Other("an openpi checkpoint (JAX)", ("params/_METADATA", "assets/*/norm_stats.json"), "it is not supported yet"),
    Other("a model in GGUF", ("*.gguf",), "name the folder of safetensors that it was made from"),
)  # fmt: skip
SNAPSHOTS = "snapshots"


def check_kind(folder: Path) -> None:
    """Raise CheckpointError that names the kind of `folder` and what to do, where it is none that can be loaded."""
    config = folder / "config.json"
    whole = config.is_file() or config.is_symlink()
    names = {str(path.relative_to(folder)) for one in OTHERS for name in one.files for path in folder.glob(name)}
    check_names(str(folder), [*names, *(["config.json"] if whole else [])])
    if not whole:
        _check_place(folder)
        return
    if (kind := lerobot_type(read_json(config))) is not None:
        raise CheckpointError(
            f"{folder} is a LeRobot policy of type {shown(kind)}: this family is not supported, run it with LeRobot "
            "(valid here are checkpoints in the OpenVLA layout)"
        )


def check_names(where: str, names: Iterable[str]) -> None:
    """As `check_kind`, of a folder or repository called `where` that has files of these names."""
    paths = sorted(PurePosixPath(name) for name in names)
    whole = PurePosixPath("config.json") in paths
    for other in OTHERS:
        if whole and not other.beside:
            continue
        if found := next((path for path in paths if any(_matches(path, pattern) for pattern in other.files)), None):
            raise CheckpointError(f"{where} is {other.name} ({found}): {other.advice}")


def _matches(path: PurePosixPath, pattern: str) -> bool:
    """Whether the whole of `path` matches, as in `Path.glob`; `match` alone looks at its end."""
    return len(path.parts) == len(PurePosixPath(pattern).parts) and path.match(pattern)


def lerobot_type(config: dict[str, Any]) -> str | None:
    """The type of a LeRobot policy, None where config.json is not LeRobot's."""
    kind = config.get("type")
    ours = "model_type" in config or "text_config" in config
    return kind if isinstance(kind, str) and not ours and "input_features" in config else None


def _check_place(folder: Path) -> None:
    """Raise CheckpointError where the checkpoint lies below `folder`."""
    below = [path.parent for path in (*folder.glob("*/config.json"), *folder.glob(f"{SNAPSHOTS}/*/config.json"))]
    if below:
        names = ", ".join(str(path.relative_to(folder)) for path in sorted(below)[:5])
        cached = " (a repository in the hub's cache)" if (folder / SNAPSHOTS).is_dir() else ""
        raise CheckpointError(f"{folder} has no config.json{cached}, but below it {names} has: name that folder")
