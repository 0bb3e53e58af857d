"""A scene that changes: a target moved, something held before it, lamp or camera touched, something else asked for."""

from __future__ import annotations

import numpy as np

from ...sim import Environment
from ...sim.disturbances import another_task, before_target, dim, hold_before, move_target, rests, tilt_camera
from ...sim.tasks import COLOURS
from .effect import MIDST, Effect, Once

PATH = (0.62, 0.35, 0.06)  # metres: where a distractor is carried along, to how far on either side, and how high
AWAY = np.array([0.5, 3.0, 0.5])  # metres: out of sight
BEFORE = 0.75  # of the way from the camera to the target, where a cloth is held
HALFWAY = 0.5  # of the strength, before which nobody asks for something else


class Moved(Once):
    """The target is put elsewhere in mid-episode, unless it was touched before."""

    unseen = False

    def touch(self, env: Environment) -> None:
        """Move the cube by `strength` [m] or more at its moment; no longer once it was found touched."""
        if self.moment is None:
            return
        if not rests(env, env.goal.colour):
            self.moment = None
        elif env.time >= self.moment and move_target(env, self.strength, self.rng, self.unseen):
            self.moment, self.moved_at, self.happened = None, env.time, True


class Hidden(Moved):
    """The same while nobody can see it: the arm stands before its old or its new place."""

    unseen = True


class Carried(Effect):
    """Somebody carries a cube of another colour through, between the camera and the arm."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` draws moment, side and colour."""
        super().__init__(strength, rng)
        self.happened = False
        self._began = rng.uniform(*MIDST)
        self._side = 1.0 if rng.random() < 0.5 else -1.0
        self._colour = int(rng.integers(len(COLOURS) - 1))

    def touch(self, env: Environment) -> None:
        """Be where the hand has come to at `strength` [m/s]."""
        x, far, high = PATH
        gone = self.strength * (env.time - self._began) - far
        if gone < -far:
            return
        self.happened = True
        other = [colour for colour in COLOURS if colour != env.goal.colour][self._colour]
        (geom,) = env.model.body(f"{other}_cube").geomadr
        place = np.array([x, self._side * gone, high]) if gone < far else AWAY
        hold_before(env, "carried", place, env.model.geom_rgba[geom])


class Covered(Once):
    """A cloth is held before the target for a while."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`strength`: seconds."""
        super().__init__(strength, rng)
        self._until: float | None = None

    def touch(self, env: Environment) -> None:
        """Bring it at its moment, take it away after `strength` seconds."""
        super().touch(env)
        if self._until is not None and env.time >= self._until:
            self._until = None
            hold_before(env, "cloth", AWAY)

    def happen(self, env: Environment) -> None:
        """Hold it before the target."""
        self._until = env.time + self.strength
        hold_before(env, "cloth", before_target(env, BEFORE))


class Tilted(Once):
    """The camera is bumped into: from a moment on it looks elsewhere, by so many degrees about a drawn axis."""

    def happen(self, env: Environment) -> None:
        """Turn it by `strength` degrees."""
        axis = self.rng.standard_normal(3)
        tilt_camera(env, np.radians(self.strength) * axis / np.linalg.norm(axis))


class Dimmed(Once):
    """A lamp is switched off."""

    def happen(self, env: Environment) -> None:
        """Leave 1 - `strength` of its light."""
        dim(env, self.strength)


class Redirected(Once):
    """Something else is asked for, before the first is done."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`strength`: seconds into the episode, at most."""
        super().__init__(strength, rng)
        self.moment = strength * rng.uniform(HALFWAY, 1.0)

    def happen(self, env: Environment) -> None:
        """Ask for another cube."""
        env.redirect(another_task(env, self.rng))
        self.asked_at = env.time
