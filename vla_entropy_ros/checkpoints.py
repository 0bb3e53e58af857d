"""What a checkpoint folder is, for a person: sizes, memory, action ranges against the arm's limits, what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .engine import EngineError
from .engine.families import Description, find_family
from .engine.files import MB, plain
from .settings import default_settings

UNITS = {**dict.fromkeys(("x", "y", "z"), "m"), **dict.fromkeys(("roll", "pitch", "yaw"), "rad")}


def describe(folder: Path, load: bool) -> dict[str, Any]:
    """Everything that is known of `folder`, for JSON; load: whether the weights are read and tried, too."""
    told = Description(None)
    with told.attempt():
        told = find_family(folder).describe(folder)
    seen = _tried(folder, told) if load and not told.refused else False
    return {
        "folder": str(folder),
        "family": told.family,
        "stored_mb": round(sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.exists()) / MB, 1),
        **{name.replace(" ", "_"): size for name, size in told.sizes.items()},
        "memory_mb": {kind: round(need / MB) for kind, need in told.memory.items()},
        "unnorm_keys": list(told.action_ranges),
        "actions": {key: _columns(told, key) for key in told.action_ranges},
        "remarks": told.remarks,
        "refused": told.refused,
        "looks_at_the_image": seen or None,
    }


def _tried(folder: Path, told: Description) -> bool:
    """Whether the policy runs and looks at the image; what is wrong is added to `told`."""
    from .engine import Policy  # with torch

    try:
        Policy.load(folder, unnorm_key=next(iter(told.action_ranges))).self_test()
    except EngineError as error:
        told.refused.append(str(error))
    return not told.refused


def _columns(told: Description, key: str) -> dict[str, Any]:
    """Ranges of a data set's actions, and what of them goes beyond the command node's default limits."""
    from .control import limits_of  # with scipy: what is refused need not wait for it
    from .control.saturation import excess

    low, high = told.action_ranges[key]
    wide = excess(low, high, told.action_names, limits_of(default_settings("command")))
    names = told.action_names
    return {
        "range": {name: [low[i], high[i]] for i, name in enumerate(names)},
        "beyond_default_limits": [one.text for one in wide],
    }


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """`describe` as a page."""
    apart = ("memory_mb", "actions", "unnorm_keys", "remarks", "refused", "looks_at_the_image")
    for name, value in told.items():
        if name not in apart:
            yield f"{name.replace('_', ' '):20} {_shown(value)}"
    for kind, need in told["memory_mb"].items():
        yield f"{'memory':20} {need:8,d} MB in {kind}"
    for key, actions in told["actions"].items():
        yield f"{'data set':20} {plain(key)}"
        for name, (low, high) in actions["range"].items():
            yield f"  {name:18} {low:9.4f} to {high:9.4f} {UNITS.get(name, '')}".rstrip()
        for wide in actions["beyond_default_limits"]:
            yield f"  beyond the command node's default limits: {wide}"
    for remark in told["remarks"]:
        yield f"note: {remark}"
    for reason in told["refused"]:
        yield f"REFUSED: {reason}"
    if told["looks_at_the_image"]:
        yield "a black and a white image give different outputs"
    elif not told["refused"]:
        yield "the weights themselves were not read: --load does, and tries whether the policy looks at the image"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return f"{value:,d}" if isinstance(value, int) else str(value)
