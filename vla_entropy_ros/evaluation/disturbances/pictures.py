"""Pictures that are noisy, too bright, spoilt, smeared or shifted."""

from __future__ import annotations

import numpy as np

from ...sim import Environment
from ..errors import RunError
from .effect import Effect, Image, Once

SWELL = 2.5  # seconds of one swing of the exposure


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


class Blur(Effect):
    """Motion blur of a long exposure: what moves meanwhile is smeared."""

    punctual = False

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`strength`: seconds of exposure."""
        super().__init__(strength, rng)
        self.exposure = strength
        self._exposed: list[Image] = []

    def expose(self, image: Image) -> None:
        """One of the moments that the picture adds up."""
        self._exposed.append(image)

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """The mean of the picture and of what was seen while it was exposed."""
        moments = [*self._exposed, image]
        self._exposed = []
        return np.rint(np.mean(moments, 0)).astype(np.uint8)


class Bump(Once):
    """The camera is bumped into: from a moment on, all it sees is shifted along one axis of the picture."""

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        """`rng` draws the moment and the direction."""
        super().__init__(strength, rng)
        self._shift = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)][rng.integers(4)]) * int(strength)

    def happen(self, env: Environment) -> None:  # noqa: ARG002
        """Shift from now on."""
        self.offset = self._shift

    def see(self, image: Image, time: float) -> Image:  # noqa: ARG002
        """The picture `strength` pixels off; what comes in from outside it repeats its edge."""
        right, down = self.offset
        rows, columns = (np.arange(n) - by for n, by in zip(image.shape[:2], (down, right), strict=True))
        return image[np.clip(rows, 0, image.shape[0] - 1)][:, np.clip(columns, 0, image.shape[1] - 1)]
