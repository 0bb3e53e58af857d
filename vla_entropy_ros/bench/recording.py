"""Recorded episodes: what a camera saw while the arm moved, as one file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..configurations import named
from ..engine import Policy
from ..runner.plan import Observer, Trial

KEYS = ("images", "stamps", "instruction")


class RecordingError(ValueError):
    """A file that holds no usable recording; the message is one line."""


@dataclass(frozen=True)
class Recording:
    """One episode: images [T, H, W, 3] uint8, their times [T] (s, ascending) and the instruction."""

    images: NDArray[np.uint8]
    stamps: NDArray[np.float64]
    instruction: str

    def __len__(self) -> int:
        return len(self.images)


def save(recording: Recording, path: Path) -> None:
    """Write one recording as a compressed .npz."""
    np.savez_compressed(path, images=recording.images, stamps=recording.stamps, instruction=recording.instruction)


def load(path: Path) -> Recording:
    """Read a recording; raises RecordingError in one line if the file is cut short, lacks a part or does not fit."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if missing := [key for key in KEYS if key not in stored]:
                raise RecordingError(f"{path}: no {', '.join(missing)}; a recording has {', '.join(KEYS)}")
            images, stamps, instruction = (stored[key] for key in KEYS)
    except FileNotFoundError:
        raise RecordingError(f"no recording at {path}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{path} is cut short or no recording: {' '.join(str(error).split())}") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise RecordingError(f"{path}: images are {images.dtype} {list(images.shape)}, expected uint8 [T, H, W, 3]")
    if stamps.shape != (len(images),) or not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
        raise RecordingError(f"{path}: stamps must be {len(images)} ascending numbers, one per image")
    return Recording(images, stamps.astype(np.float64), str(instruction))


def record(policy: Policy, seeds: Sequence[int], limit: float | None, observer: Observer) -> list[Recording]:
    """Let the policy act in the simulator, computing everything, a task per seed in turn.

    limit: seconds an episode may take, None by family.
    """
    from ..runner import inprocess
    from ..sim import TASKS

    names = list(TASKS)
    full = named(["full"], "default", policy.info.visual_tokens)[0]
    trials = [Trial(full, names[number % len(names)], seed) for number, seed in enumerate(seeds)]
    arm = inprocess.Arm(policy)
    recordings = []
    for episode in inprocess.run(arm, trials, observer, limit, keep_images=True):
        images = np.stack([tick.image for tick in episode.ticks if tick.image is not None])
        recordings.append(Recording(images, np.array([tick.stamp for tick in episode.ticks]), episode.instruction))
    arm.close()
    return recordings
