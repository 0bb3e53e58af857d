"""config.json and statistics of an OpenVLA folder: what would change the numbers is honoured or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..actions.tokens import BINS
from ..errors import CheckpointError
from ..files import read_json, shown
from ..model.backbones import TowerKind, find_backbone
from ..model.prompt import Encoder, Prompter, Template
from ..model.reading import CONFIG
from ..model.shapes import PATCH, LlamaConfig
from ..model.text_config import check_text_config, read_text_config
from .openvla_images import check_preprocessor

MAX_CAMERAS = 8
MOST_PIXELS = 4096  # along a side of an image
PROMPT = "In: What action should the robot take to {}?\nOut:"
VICUNA_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
    "USER: What action should the robot take to {}? ASSISTANT:"
)
SPACE, SPACE_ID = "▁", 29871  # of Llama's tokenizer: OpenVLA ends a prompt with it
OFT = ("use_l1_regression", "use_diffusion", "use_proprio", "use_film")  # keys of OpenVLA-OFT: another head, other rows
STATISTICS = "dataset_statistics.json"


@dataclass(frozen=True)
class PolicyConfig:
    """What config.json says of the policy as a whole; `described_tower` is its `vision_config`, if any.

    ends: ids that end a text. remarks: a line each about what is left aside.
    """

    vision_backbone_id: str
    image_size: int
    llama: LlamaConfig
    action_vocabulary: int  # V: the action ids are the last 256 below it
    bos_id: int
    vicuna_prompt: bool
    norm_stats: dict[str, Any]
    described_tower: Any
    cameras: int
    ends: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def towers(self) -> tuple[TowerKind, ...]:
        """Kinds of its vision towers."""
        return find_backbone(self.vision_backbone_id)

    def prompter(self, encoder: Encoder | None, folder: Path) -> Prompter:
        """Instructions as this checkpoint was trained on them, by `encoder` or the tokenizer in `folder`."""
        template = Template(
            VICUNA_PROMPT if self.vicuna_prompt else PROMPT,
            self.llama.vocab_size,
            self.bos_id,
            self.ends,
            self.action_vocabulary - BINS,
            SPACE_ID,
            SPACE,
        )
        return Prompter(template, encoder, folder)


@dataclass(frozen=True)
class Outline:
    """What config.json and the statistics say at once; raw: config.json itself, text: its text_config."""

    raw: Mapping[str, Any]
    text: Mapping[str, Any]
    image_size: int
    cameras: int
    norm_stats: dict[str, Any]

    @property
    def visual_tokens(self) -> int:
        """Visual tokens of all cameras."""
        return self.cameras * (self.image_size // PATCH) ** 2


def read_outline(folder: Path) -> Outline:
    """Read what takes no time of a checkpoint folder; raises CheckpointError."""
    raw = read_json(folder / CONFIG)
    text = check_text_config(raw.get("text_config"))
    kinds = find_backbone(raw.get("vision_backbone_id"))
    _check_alike(raw, kinds)
    image_size = _image_size(raw.get("image_sizes"), len(kinds))
    check_preprocessor(folder, kinds, image_size)
    return Outline(
        raw, text, image_size, _cameras(raw.get("num_images_in_input", 1)), _statistics(folder, raw.get("norm_stats"))
    )


def read_config(folder: Path, outline: Outline | None = None) -> PolicyConfig:
    """Read the configuration of a checkpoint folder, beyond its `outline`: over a second; raises CheckpointError."""
    outline = outline or read_outline(folder)
    raw, text = outline.raw, outline.text
    llama, ends, remarks = read_text_config(folder, text)
    padding = raw.get("pad_to_multiple_of", 64)
    if type(padding) is not int or not 0 <= padding <= llama.vocab_size - BINS:
        raise CheckpointError(
            f"config.json: pad_to_multiple_of {shown(padding)}: valid are 0 to {llama.vocab_size - BINS}, which leave "
            f"room for {BINS} action ids"
        )
    bos = text.get("bos_token_id", 1)
    if type(bos) is not int or not 0 <= bos < llama.vocab_size:
        raise _wrong("text_config.bos_token_id", bos, f"are 0 to {llama.vocab_size - 1}")
    backbone = str(raw.get("llm_backbone_id", ""))
    return PolicyConfig(
        vision_backbone_id=raw["vision_backbone_id"],
        image_size=outline.image_size,
        llama=llama,
        action_vocabulary=llama.vocab_size - padding,
        bos_id=bos,
        ends=ends,
        vicuna_prompt=backbone.startswith("vicuna") or _is_called_v01(folder),
        norm_stats=outline.norm_stats,
        described_tower=raw.get("vision_config"),
        cameras=outline.cameras,
        remarks=tuple(remarks),
    )


def _is_called_v01(folder: Path) -> bool:
    """Whether the folder, or the repository in the hub's cache that it is a snapshot of, is called openvla-v01."""
    path = folder.resolve()
    repository = path.parent.parent.name.rpartition("--")[2] if path.parent.name == "snapshots" else ""
    return any(name.startswith("openvla-v01") for name in (path.name, repository))


def _wrong(name: str, value: Any, valid: str) -> CheckpointError:
    return CheckpointError(f"config.json: {name} {shown(value)}: valid {valid}")


def _check_alike(raw: dict[str, Any], kinds: Sequence[TowerKind]) -> None:
    """Raise CheckpointError where config.json asks for another image preparation, tower or projector than is built."""
    two = len(kinds) == 2
    projector = "fused-gelu-mlp" if two else "gelu-mlp"
    asked = str(raw.get("arch_specifier", projector))
    if asked.rpartition("+")[2] != projector:
        raise _wrong("arch_specifier", asked, f"is one that ends in {projector}")
    valid: dict[str, tuple[Any, ...]] = {
        "image_resize_strategy": ("resize-naive", None),
        "n_action_bins": (BINS, None),
        "use_fused_vision_backbone": (two, None),
        "output_projector_states": (False, None),
        "quantization_config": (None,),
        **dict.fromkeys(OFT, (False, None)),
    }
    for name, values in valid.items():
        if name in raw and not any(raw[name] is value or raw[name] == value for value in values):
            raise _wrong(name, raw[name], f"is {values[0]}")
    activations = raw.get("timm_override_act_layers")
    if isinstance(activations, list) and any(one is not None for one in activations):
        raise _wrong("timm_override_act_layers", activations, "is null for each tower")
    names = [kind.timm for kind in kinds if kind.timm]
    told = raw.get("timm_model_ids")
    if told is not None and names and told != names:
        raise _wrong("timm_model_ids", told, f"is {names} for this vision_backbone_id")


def _image_size(sizes: Any, towers: int) -> int:
    """Pixels along a side, of every tower: OpenVLA writes one size per tower, this package's own export two for one."""
    one_each = isinstance(sizes, list) and len(sizes) in {towers, 2} and len({*map(str, sizes)}) == 1
    if not one_each or type(sizes[0]) is not int or not PATCH <= sizes[0] <= MOST_PIXELS:
        several = "two equal whole numbers" if towers == 2 else "one whole number"
        raise _wrong("image_sizes", sizes, f"is a list of {several}, the pixels along a side for each vision tower")
    return int(sizes[0])


def _cameras(count: Any) -> int:
    """Camera images per observation; the key is OpenVLA-OFT's."""
    if type(count) is not int or not 1 <= count <= MAX_CAMERAS:
        raise _wrong("num_images_in_input", count, f"are 1 to {MAX_CAMERAS}")
    return count


def _statistics(folder: Path, stored: Any) -> dict[str, Any]:
    """Statistics by data set: of dataset_statistics.json where it is there, else those `stored` in config.json."""
    file = folder / STATISTICS
    found, where = (read_json(file), STATISTICS) if file.exists() or file.is_symlink() else (stored or {}, "norm_stats")
    if not isinstance(found, dict):
        raise CheckpointError(f"{where} is {shown(found)}: expected statistics by the name of a data set")
    if "action" in found:
        raise CheckpointError(
            f'{where} lacks the level of the data set: expected {{"my_data": {{"action": ...}}}}, found its keys '
            f"{', '.join(map(str, list(found)[:4]))} at the top; wrap them in the name of the data set"
        )
    return found
