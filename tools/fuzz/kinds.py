"""The kinds of file: what is spoiled how, what looks at it, and who judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from . import folders, oracles, parameters, policies, recordings, subjects

Judge = Callable[[Path, Any, Any, str], Iterator[str]]
SMALL, SHARDS = {"small_policy": subjects.small_policy}, {"two_shards": subjects.two_shards}
YAML, BAG = {"policy.yaml": subjects.parameters}, {"pick_red": subjects.bag}


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    subjects: what writes a sound folder, by name; spoil: spoils a copy of it and says what; look: what the product
    makes of it, refusing by one of `refusals`; judge: yields what is wrong with what was taken.
    """

    subjects: Mapping[str, Callable[[Path], Path]]
    spoil: Callable[[Path, Random], str]
    look: Callable[[Path], Any]
    refusals: tuple[str, ...]
    judge: Judge
    here: bool = True  # whether the product may look at a sound folder in the process that is forked for each trial


def _policy(folder: Path, seen: policies.Acted, reference: policies.Acted, said: str) -> Iterator[str]:
    return oracles.judge(folder, seen, reference)


def _parameters(folder: Path, seen: parameters.Started, reference: Any, said: str) -> Iterator[str]:
    return parameters.judge(folder, seen)


ENGINE = ("CheckpointError", "SettingError", "DeviceError", "ObservationError", "ActionError")
STARTS = ("StartError", "SettingError")
KINDS: dict[str, Kind] = {
    "config": Kind(SMALL | SHARDS, folders.spoil_config, policies.look, ENGINE, _policy),
    "statistics": Kind(SMALL, folders.spoil_statistics, policies.look, ENGINE, _policy),
    "tokenizer": Kind(SMALL | SHARDS, folders.spoil_tokenizer, policies.look, ENGINE, _policy),
    "weights": Kind(SMALL | SHARDS, folders.spoil_weights, policies.look, ENGINE, _policy),
    "index": Kind(SHARDS, folders.spoil_index, policies.look, ENGINE, _policy),
    "parameters": Kind(
        {"policy.yaml": subjects.parameters}, parameters.spoil, parameters.look, STARTS, _parameters, here=False
    ),
    "mcap": Kind(BAG, recordings.spoil_mcap, recordings.look, ("BagError",), recordings.judge),
    "metadata": Kind(BAG, recordings.spoil_metadata, recordings.look, ("BagError",), recordings.judge),
}
