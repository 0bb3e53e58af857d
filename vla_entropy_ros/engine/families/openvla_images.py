"""preprocessor_config.json of an OpenVLA folder: what it asks of images is what is done, or it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..files import read_json, shown
from ..model.backbones import TowerKind

PREPROCESSOR = "preprocessor_config.json"
ROUNDED = 0.005  # as bfloat16 has means and deviations, in which OpenVLA's own file is written


def check_preprocessor(folder: Path, kinds: Sequence[TowerKind], image_size: int) -> None:
    """Raise CheckpointError where the file asks for another size, resizing or normalisation of images than is done."""
    file = folder / PREPROCESSOR
    if not (file.exists() or file.is_symlink()):
        return
    told = read_json(file)
    valid: dict[str, tuple[Any, ...]] = {
        "image_resize_strategy": ("resize-naive", None),
        "tvf_do_letterbox": (False, None),
        "input_sizes": ([[3, image_size, image_size]] * len(kinds), None),
        "interpolations": (["bicubic"] * len(kinds), None),
    }
    for name, values in valid.items():
        if told.get(name) not in values:
            raise CheckpointError(f"{PREPROCESSOR}: {name} {shown(told[name])}: valid is {shown(values[0])}")
    for name, wanted in (("means", [kind.mean for kind in kinds]), ("stds", [kind.std for kind in kinds])):
        if told.get(name) is not None and not _alike(told[name], wanted):
            listed = [list(one) for one in wanted]
            raise CheckpointError(f"{PREPROCESSOR}: {name} {shown(told[name])}: valid for these towers is {listed}")


def _alike(told: Any, wanted: Sequence[Sequence[float]]) -> bool:
    if not isinstance(told, list) or len(told) != len(wanted):
        return False
    return all(
        isinstance(one, list)
        and len(one) == len(other)
        and all(type(a) in (int, float) and abs(a - b) <= ROUNDED for a, b in zip(one, other, strict=True))
        for one, other in zip(told, wanted, strict=True)
    )
