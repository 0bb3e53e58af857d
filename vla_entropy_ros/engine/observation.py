"""What a policy sees at one instant, and whether it can be acted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import ObservationError

MAX_STATE_AGE = 0.2  # seconds between an observation's images and its state


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
    values = np.asarray(state.values, np.float64)
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
        raise ObservationError(f"the state is {age:.2f} s older than the images, valid is up to {MAX_STATE_AGE:g} s")
    return chosen
