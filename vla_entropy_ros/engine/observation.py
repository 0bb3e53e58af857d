"""What a policy sees at one instant: whether it can be acted on, continues what was seen before, and is due."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from .errors import ObservationError

MAX_STATE_AGE = 0.2  # seconds between an observation's images and its state
NEW_EPISODE, FAILED, JUMPED = "new episode", "the tick before failed", "time jumped"  # why everything is fresh
NEW_INSTRUCTION, NEW_MODE, SCENE_CUT, MODE_FULL = "new instruction", "new mode", "scene cut", "mode full"
LATE = 1.0  # seconds: what is older than the last by less has only come late; by more, time has gone back
TOLERANCE = 0.25  # of the period: covers the jitter of a camera at the control rate


@dataclass(frozen=True)
class State:
    """The robot's measured state by name: values [n] (rad, m, opening) of joints or pose fields; when measured [s]."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    stamp: float


@dataclass(frozen=True)
class Observation:
    """One camera image per camera, each [H, W, 3] uint8 RGB; what to do; when it was seen [s]; the robot's state.

    state: only families whose `state_names` are not empty look at it.
    """

    images: tuple[NDArray[np.uint8], ...]
    instruction: str
    stamp: float
    state: State | None = None


def noise(
    random: np.random.Generator, size: int, cameras: int, state_names: tuple[str, ...], stamp: float
) -> Observation:
    """Return an observation in which all cameras see the same noise, `size` pixels along a side; the state is zero."""
    image = random.integers(0, 256, (size, size, 3), np.uint8)
    return Observation((image,) * cameras, "", stamp, State(state_names, np.zeros(len(state_names)), stamp))


def check_observation(observation: Observation, cameras: int, state_names: tuple[str, ...] = ()) -> None:
    """Raise ObservationError unless images, instruction, stamp and the state named `state_names` can be used."""
    images = observation.images
    if not isinstance(images, (tuple, list)) or len(images) != cameras:
        given = f"{len(images)} images" if isinstance(images, (tuple, list)) else f"a {type(images).__name__}"
        raise ObservationError(f"expected a tuple of {cameras} camera image(s), got {given}")
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            given = str(image.dtype) if isinstance(image, np.ndarray) else type(image).__name__
            raise ObservationError(f"image {number}: expected an array of uint8, got {given}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ObservationError(f"image {number}: expected [height, width, 3] pixels, got {list(image.shape)}")
    if not isinstance(observation.instruction, str) or not observation.instruction.strip():
        raise ObservationError("the instruction is empty")
    if not np.isfinite(observation.stamp):
        raise ObservationError(f"the stamp {observation.stamp} is no time in seconds")
    state_vector(observation, state_names)


def state_vector(observation: Observation, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Values [n] of the state's fields `names`, in their order; empty where none are asked for.

    Raises ObservationError that names what is missing, not finite, too old or of another length.
    """
    if not names:
        return np.zeros(0)
    state, needed = observation.state, f"this policy needs {', '.join(names)}"
    if state is None:
        raise ObservationError(f"the observation has no state: {needed}")
    try:
        values = np.asarray(state.values, np.float64)
    except (TypeError, ValueError):
        raise ObservationError(f"the state's values are no numbers: {needed}") from None
    if values.shape != (len(state.names),):
        raise ObservationError(f"the state has {len(state.names)} names and values of shape {list(values.shape)}")
    where = {name: number for number, name in enumerate(state.names)}
    if missing := [name for name in names if name not in where]:
        raise ObservationError(f"the state lacks {', '.join(missing)}: {needed}; it has {', '.join(state.names)}")
    chosen = values[[where[name] for name in names]]
    if wrong := [name for name, value in zip(names, chosen, strict=True) if not np.isfinite(value)]:
        raise ObservationError(f"the state is not a finite number in {', '.join(wrong)}")
    age = observation.stamp - state.stamp
    if not abs(age) <= MAX_STATE_AGE:
        said = f"{abs(age):.2f} s {'newer' if age < 0 else 'older'} than the images"
        raise ObservationError(f"the state is {said}, valid is up to {MAX_STATE_AGE:g} s")
    return chosen


@dataclass(frozen=True)
class View:
    """What tells whether an observation continues the one before: time [s], size of each image, frame of each camera.

    frames: empty where nobody told them.
    """

    stamp: float
    sizes: tuple[tuple[int, ...], ...]
    frames: tuple[str, ...] = ()


def view_of(observation: Observation) -> View:
    """The view of an observation."""
    return View(observation.stamp, tuple(image.shape for image in observation.images))


def interruption(before: View, now: View, max_gap: float = math.inf) -> str | None:
    """Why `now` does not continue `before`, None where it does; max_gap: longest time between the two [s].

    Nothing cached may outlive an interruption. Whoever can leave out what only comes late asks `is_late` first.
    """
    if now.frames != before.frames:
        return f"the camera changed from '{', '.join(before.frames)}' to '{', '.join(now.frames)}'"
    if now.sizes != before.sizes:
        return "image size changed"
    if now.stamp < before.stamp:
        return "time went backwards"
    return JUMPED if now.stamp - before.stamp > max_gap else None


def is_late(before: float, stamp: float) -> bool:
    """Whether what was seen at `stamp` [s] only comes late: older than `before`, but time has not gone back."""
    return -LATE < stamp - before < 0


class Verdict(Enum):
    """What to do with an image."""

    TICK = "tick"
    EARLY = "early"
    LATE = "late"


class Pacer:
    """Picks the images that become ticks, at most one per control period; remembers the last tick's and image's time.

    An image of a time that has gone back is due at once.
    """

    def __init__(self) -> None:
        self._last = self._seen = -math.inf

    def judge(self, stamp: float, period: float) -> Verdict:
        """Verdict on an image of time `stamp` [s]; TICK makes it the last one."""
        if is_late(self._last, stamp):
            return Verdict.LATE
        interval = max(0.0, stamp - self._seen)  # of the camera
        self._seen = stamp
        if 0 <= stamp - self._last < period - min(TOLERANCE * period, interval / 2):  # the next comes closer to it
            return Verdict.EARLY
        self._last = stamp
        return Verdict.TICK

    def forget(self) -> None:
        """The next image is due whatever its stamp."""
        self._last = self._seen = -math.inf
