"""What a disturbance may do to an episode, and when."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...sim import Environment

Image = NDArray[np.uint8]  # [H, W, 3], RGB

MIDST = (0.3, 0.7)  # seconds into an episode between which something happens once: a cube is grasped from 0.7 s on


class Effect:
    """A disturbance at work in one episode; this one does nothing."""

    exposure = 0.0  # seconds for which a picture is exposed
    punctual = True  # whether every picture that nobody will look at may be left out

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` decides all that is left to chance."""
        self.strength, self.rng = strength, rng
        self.happened = True  # whether it has come about: at once, unless it waits for something
        self.moved_at: float | None = None  # when the target was put elsewhere [s]
        self.asked_at = 0.0  # when what counts was asked for [s]
        self.offset = np.zeros(2, np.int64)  # of the picture [pixels], right and down

    def touch(self, env: Environment) -> None:
        """Change the scene, before a picture is taken."""

    def expose(self, image: Image) -> None:
        """Take in what the camera sees while a picture is exposed, before its end."""

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """What the policy sees of `image`, taken at `time` [s] of the episode."""
        return image

    def delivery(self) -> float | None:
        """Seconds by which a picture comes late; None for one that never comes."""
        return 0.0


class Once(Effect):
    """Something that happens at one moment."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` draws the moment."""
        super().__init__(strength, rng)
        self.happened = False
        self.moment: float | None = rng.uniform(*MIDST)

    def touch(self, env: Environment) -> None:
        """Let it happen when it is time."""
        if self.moment is not None and env.time >= self.moment:
            self.moment, self.happened = None, True
            self.happen(env)

    def happen(self, env: Environment) -> None:
        """What happens."""
