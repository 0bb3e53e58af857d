"""Recorded episodes: what a camera saw while the arm moved, and what it was told, as one file."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Observation, Policy, State
from ..evaluation.configurations import named
from ..evaluation.plan import Observer, scenes
from ..evaluation.records import EpisodeRecord, TickRecord
from ..sim.tasks import FAMILIES, family_tasks

KEYS = ("images", "stamps", "instructions")
STATE_KEYS = ("state_names", "states")  # of files that hold the arm's state, too
TRIES = 3  # episodes for each that shall be finished
OLD_KEY = "instruction"  # one for all images, in files written before instructions could change


class RecordingError(ValueError):
    """A recording that can't be made or used; the message is one line."""


@dataclass(frozen=True)
class Recording:
    """One episode: images [T, H, W, 3] uint8, their times [T] (s, ascending) and the instruction at each.

    states [T, n]: the arm's state at each image, by `state_names`; no names where it was not recorded.
    """

    images: NDArray[np.uint8]
    stamps: NDArray[np.float64]
    instructions: tuple[str, ...]
    state_names: tuple[str, ...] = ()
    states: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def told(self) -> list[str]:
        """The different instructions, in the order in which they were given."""
        return list(dict.fromkeys(self.instructions))

    def excerpt(self, length: int) -> Recording:
        """At most `length` images in a row: around the first change of the instruction, else from the beginning."""
        change = next((n for n, told in enumerate(self.instructions) if told != self.instructions[0]), 0)
        first = int(np.clip(change - length // 2, 0, max(0, len(self) - length)))
        return self.part(range(first, min(first + length, len(self))))

    def part(self, numbers: Sequence[int]) -> Recording:
        """Cut out the images of these numbers."""
        chosen = list(numbers)
        told = tuple(self.instructions[n] for n in chosen)
        states = None if self.states is None else self.states[chosen]
        return Recording(self.images[chosen], self.stamps[chosen], told, self.state_names, states)

    def observations(self) -> Iterator[Observation]:
        """What the policy saw, image by image."""
        for number, (image, told) in enumerate(zip(self.images, self.instructions, strict=True)):
            stamp = float(self.stamps[number])
            state = None if self.states is None else State(self.state_names, self.states[number], stamp)
            yield Observation((image,), told, stamp, state)


def save(recording: Recording, path: Path) -> None:
    """Write one recording as a compressed .npz."""
    parts = {"images": recording.images, "stamps": recording.stamps, "instructions": np.array(recording.instructions)}
    if recording.states is not None:
        parts |= {"state_names": np.array(recording.state_names), "states": recording.states}
    np.savez_compressed(path, **parts)  # type: ignore[arg-type]


def load(path: Path) -> Recording:
    """Read a recording; raises RecordingError in one line if the file is cut short, lacks a part or does not fit."""
    stored = _read(path)
    if OLD_KEY in stored and KEYS[2] not in stored:
        stored[KEYS[2]] = np.full(len(stored.get("images", ())), str(stored[OLD_KEY]))
    if missing := [key for key in KEYS if key not in stored]:
        raise RecordingError(f"{path}: no {', '.join(missing)}; a recording has {', '.join(KEYS)}")
    images, stamps, instructions = (stored[key] for key in KEYS)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        shape = f"{images.dtype} {list(images.shape)}"
        raise RecordingError(f"{path}: images are {shape}, expected uint8 [T, H, W, 3] of one camera")
    if stamps.shape != (len(images),) or not np.isfinite(stamps).all() or (np.diff(stamps) <= 0).any():
        raise RecordingError(f"{path}: stamps must be {len(images)} ascending numbers, one per image")
    told = tuple(str(text) for text in instructions.ravel())
    if instructions.shape != (len(images),) or not all(text.strip() for text in told):
        raise RecordingError(f"{path}: instructions must be {len(images)} texts, one per image")
    return Recording(images, stamps.astype(np.float64), told, *_states(stored, len(images), path))


def _states(
    stored: dict[str, NDArray[Any]], count: int, path: Path
) -> tuple[tuple[str, ...], NDArray[np.float64] | None]:
    """Names and values [count, n] of the stored states, none where the file has none."""
    if not all(key in stored for key in STATE_KEYS):
        return (), None
    names, states = tuple(str(name) for name in stored["state_names"].ravel()), stored["states"]
    if states.dtype != np.float64 or states.shape != (count, len(names)):
        shape = f"{states.dtype} {list(states.shape)}"
        raise RecordingError(f"{path}: states are {shape}, expected float64 [{count}, {len(names)}], a row per image")
    return names, states


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        raise RecordingError(f"no recording at {path}") from None
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        why = "it is no .npz file" if "pickle" in str(error) else " ".join(str(error).split())
        raise RecordingError(f"{path} is cut short or no recording: {why}") from None


def record(
    policy: Policy, scenes: Sequence[tuple[str, int]], limit: float | None, observer: Observer
) -> list[Recording]:
    """Let the policy act in the simulator, computing everything; scenes: task and seed of each episode.

    limit: seconds an episode may take, None by family. Raises RecordingError if an episode has no valid action.
    """
    return [recording for recording, _ in _recorded(policy, scenes, limit, observer)]


def record_finished(policy: Policy, episodes: int, seed: int, observer: Observer) -> list[Recording]:
    """As `record`, `episodes` of each family of tasks that the policy finishes: an arm that is stuck shows little.

    Seeds count up from `seed`. After TRIES times as many, unfinished ones make up the number.
    """
    made: list[Recording] = []
    for family in FAMILIES:
        planned = scenes(family_tasks(family), TRIES * episodes, seed)
        finished: list[Recording] = []
        others: list[Recording] = []
        with contextlib.closing(_recorded(policy, planned, None, observer)) as recorded:
            for recording, success in recorded:
                (finished if success else others).append(recording)
                if len(finished) == episodes:
                    break
        made += (finished + others)[:episodes]
    return made


def _recorded(
    policy: Policy, scenes: Sequence[tuple[str, int]], limit: float | None, observer: Observer
) -> Generator[tuple[Recording, bool]]:
    """Each episode, and whether the policy finished it."""
    from ..evaluation import inprocess
    from ..evaluation.plan import Trial

    full = named(["full"], "default", policy.info.visual_tokens)[0]
    arm, listener = inprocess.SimulatedArm(policy), _Instructions(observer)
    try:
        trials = [Trial(full, task, seed) for task, seed in scenes]
        for episode in inprocess.run_in_process(arm, trials, listener, limit, keep_images=True):
            if not episode.ticks:
                raise RecordingError(f"{episode.task}: the policy had no valid action")
            images = np.stack([tick.image for tick in episode.ticks if tick.image is not None])
            stamps = np.array([tick.stamp for tick in episode.ticks])
            states = [tick.state for tick in episode.ticks if tick.state is not None]
            names, values = states[0].names, np.stack([state.values for state in states])
            yield Recording(images, stamps, tuple(listener.told), names, values), episode.success
    finally:
        arm.close()


class _Instructions:
    """An observer that notes the instruction of each tick and passes everything on."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.told: list[str] = []
        self.idle, self.end = observer.idle, observer.end

    def begin(self, episode: EpisodeRecord) -> None:
        """Begin a new list."""
        self.told = []
        self._observer.begin(episode)

    def tick(self, episode: EpisodeRecord, tick: TickRecord) -> None:
        """Note what the policy was told at this tick."""
        self.told.append(episode.instruction)
        self._observer.tick(episode, tick)
