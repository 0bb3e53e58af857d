"""What may go wrong in an episode: pictures that are noisy, too bright or shifted, and a target that moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray

from ..settings import Setting, SettingError
from ..sim import Environment
from ..sim.disturbances import move_target, rests
from .errors import RunError

Image = NDArray[np.uint8]  # [H, W, 3], RGB

SWELL = 2.5  # seconds of one swing of the exposure
MIDST = (0.3, 0.7)  # seconds into an episode between which something happens once: a cube is grasped from 0.7 s on


class Effect:
    """A disturbance at work in one episode; this one does nothing."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` decides all that is left to chance."""
        self.strength, self.rng = strength, rng
        self.moved_at: float | None = None  # when the target was put elsewhere [s]
        self.offset = np.zeros(2, np.int64)  # of the picture [pixels], right and down

    def touch(self, env: Environment) -> None:
        """Change the scene, before a picture is taken."""

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """What the policy sees of `image`, taken at `time` [s] of the episode."""
        return image


class Noise(Effect):
    """Sensor noise: Gaussian, of its own for every pixel and channel."""

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """The picture with noise of `strength` grey levels, cut to 0..255."""
        noise = self.rng.standard_normal(image.shape, np.float32) * np.float32(self.strength)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def brighter(image: Image, gain: float) -> Image:
    """The picture with every grey level times `gain`, cut to 255."""
    levels = np.clip(np.rint(np.arange(256) * gain), 0, 255).astype(np.uint8)
    return levels[image]


class Exposure(Effect):
    """An automatic exposure that hunts: a slow sine, from a phase of its own in every episode."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` draws the phase."""
        super().__init__(strength, rng)
        self._phase = rng.uniform(0, 2 * np.pi)

    def see(self, image: Image, time: float) -> Image:
        """The picture at this moment's gain, 1 - strength to 1 + strength."""
        return brighter(image, 1 + self.strength * np.sin(2 * np.pi * time / SWELL + self._phase))


class Flicker(Effect):
    """Lamps that flicker at the camera's own rate: a bright picture after every dark one."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` draws which comes first."""
        super().__init__(strength, rng)
        self._sign = 1 if rng.random() < 0.5 else -1

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """The picture at gain 1 + strength or 1 - strength, by turns."""
        self._sign = -self._sign
        return brighter(image, 1 + self._sign * self.strength)


class Jpeg(Effect):
    """A camera that compresses."""

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """The picture as it comes out of a JPEG of quality `strength`; RunError if OpenCV makes none."""
        import cv2

        made, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(self.strength)])
        spoilt = cv2.imdecode(packed, cv2.IMREAD_COLOR) if made else None
        if spoilt is None:
            raise RunError(f"expected a JPEG of a picture {image.shape}, OpenCV made none: build it with JPEG")
        return cv2.cvtColor(spoilt, cv2.COLOR_BGR2RGB).astype(np.uint8)


class Moved(Effect):
    """The target is put elsewhere in mid-episode, unless it was touched before."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` draws the moment, later the place."""
        super().__init__(strength, rng)
        self._moment: float | None = rng.uniform(*MIDST)

    def touch(self, env: Environment) -> None:
        """Move the cube by `strength` [m] or more at its moment; no longer once it was found touched."""
        if self._moment is None:
            return
        if not rests(env, env.goal.colour):
            self._moment = None
        elif env.time >= self._moment and move_target(env, self.strength, self.rng):
            self._moment, self.moved_at = None, env.time


class Bump(Effect):
    """The camera is bumped into: from a moment on, all it sees is shifted along one axis of the picture."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` draws the moment and the direction."""
        super().__init__(strength, rng)
        self._moment = rng.uniform(*MIDST)
        self._shift = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)][rng.integers(4)]) * int(strength)

    def touch(self, env: Environment) -> None:
        """Shift from the moment on."""
        if env.time >= self._moment:
            self.offset = self._shift

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """The picture `strength` pixels off; what comes in from outside it repeats its edge."""
        right, down = self.offset
        rows, columns = (np.arange(n) - by for n, by in zip(image.shape[:2], (down, right), strict=True))
        return image[np.clip(rows, 0, image.shape[0] - 1)][:, np.clip(columns, 0, image.shape[1] - 1)]


KINDS: dict[str, tuple[type[Effect], Setting, float]] = {  # what it does, its strength, the strength if none is given
    "noise": (Noise, Setting("noise", "float", "standard deviation [grey levels]", 0.01, 50.0), 6.0),
    "exposure": (Exposure, Setting("exposure", "float", "share of the gain", 0.01, 0.9), 0.2),
    "flicker": (Flicker, Setting("flicker", "float", "share of the gain", 0.01, 0.9), 0.1),
    "jpeg": (Jpeg, Setting("jpeg", "int", "quality", 1, 100), 50),
    "moved": (Moved, Setting("moved", "float", "least distance [m]", 0.05, 0.2), 0.1),
    "bump": (Bump, Setting("bump", "int", "shift [pixels]", 1, 64), 8),
}


@dataclass(frozen=True)
class Disturbance:
    """One kind of disturbance and its strength, in the kind's own unit."""

    kind: str
    strength: float

    @property
    def label(self) -> str:
        """As it is asked for, such as noise=6."""
        return f"{self.kind}={self.strength:.15g}"

    def begin(self, task: str, seed: int) -> Effect:
        """Start it for one episode: task, seed and kind decide everything about it, whatever the policy does."""
        rng = np.random.default_rng([seed, *self.kind.encode(), *task.encode()])
        return KINDS[self.kind][0](self.strength, rng)


def undisturbed() -> Effect:
    """Start an episode in which nothing goes wrong."""
    return Effect(0.0, np.random.default_rng(0))


def valid() -> str:
    """Every kind with the range of its strength, in one line."""
    return ", ".join(f"{kind}={setting.valid}" for kind, (_, setting, _) in KINDS.items())


def disturbances(texts: Sequence[str]) -> tuple[Disturbance, ...]:
    """What `kind=strength` or `kind`, which takes its usual strength, ask for, each once.

    Raises SettingError that lists the valid ones.
    """
    return tuple(dict.fromkeys(_read(text) for text in texts))


def _read(text: str) -> Disturbance:
    kind, given, strength = text.partition("=")
    if kind not in KINDS:
        raise SettingError(f"unknown disturbance '{kind}': valid are {valid()}")
    _, setting, usual = KINDS[kind]
    if not given:
        return Disturbance(kind, usual)
    try:
        value = yaml.safe_load(strength)
    except yaml.YAMLError:
        value = strength
    try:
        return Disturbance(kind, setting.check(value))
    except SettingError as error:
        raise SettingError(f"disturbance {error}") from error
