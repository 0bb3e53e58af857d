"""What may go wrong in an episode, by name and strength."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import yaml

from ...settings import Setting, SettingError
from .delivery import Dropped, Late
from .effect import Effect
from .pictures import Blur, Bump, Exposure, Flicker, Jpeg, Noise
from .scene import Carried, Covered, Dimmed, Hidden, Moved, Redirected, Tilted

ALL = "all"


def _float(kind: str, unit: str, low: float, high: float) -> Setting:
    return Setting(kind, "float", unit, low, high)


KINDS: dict[str, tuple[type[Effect], Setting, float]] = {  # what it does, its strength, the strength if none is given
    "noise": (Noise, _float("noise", "standard deviation [grey levels]", 0.01, 50.0), 6.0),
    "exposure": (Exposure, _float("exposure", "share of the gain", 0.01, 0.9), 0.2),
    "flicker": (Flicker, _float("flicker", "share of the gain", 0.01, 0.9), 0.1),
    "jpeg": (Jpeg, Setting("jpeg", "int", "quality", 1, 100), 50),
    "blur": (Blur, _float("blur", "exposure [s]", 0.02, 0.1), 0.06),
    "bump": (Bump, Setting("bump", "int", "shift [pixels]", 1, 64), 8),
    "tilt": (Tilted, _float("tilt", "turn of the camera [degrees]", 0.1, 15.0), 2.0),
    "light": (Dimmed, _float("light", "share of the lamp that goes out", 0.05, 1.0), 0.5),
    "moved": (Moved, _float("moved", "least distance [m]", 0.05, 0.2), 0.1),
    "hidden": (Hidden, _float("hidden", "least distance [m]", 0.05, 0.2), 0.07),
    "distractor": (Carried, _float("distractor", "speed [m/s]", 0.05, 2.0), 0.4),
    "cover": (Covered, _float("cover", "duration [s]", 0.1, 5.0), 1.0),
    "instruction": (Redirected, _float("instruction", "when at the latest [s]", 0.2, 10.0), 1.5),
    "dropped": (Dropped, _float("dropped", "share of the pictures", 0.01, 0.9), 0.3),
    "late": (Late, _float("late", "delay at most [s]", 0.02, 1.0), 0.2),
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
        """Start it for one episode: task, seed and kind decide all that is left to chance, whatever the policy does.

        Where a target is moved to, and whether at all, also depends on where the arm is by then.
        """
        rng = np.random.default_rng([seed, *self.kind.encode(), *task.encode()])
        return KINDS[self.kind][0](self.strength, rng)


def undisturbed() -> Effect:
    """Start an episode in which nothing goes wrong."""
    return Effect(0.0, np.random.default_rng(0))


def valid() -> str:
    """Every kind with the range of its strength, in one line."""
    return ", ".join(f"{kind}={setting.valid}" for kind, (_, setting, _) in KINDS.items())


def disturbances(texts: Sequence[str]) -> tuple[Disturbance, ...]:
    """What `kind=strength` or `kind`, which takes its usual strength, ask for, each once; `all` is every kind so.

    Raises SettingError that lists the valid ones.
    """
    each = [kind for text in texts for kind in (KINDS if text == ALL else (text,))]
    return tuple(dict.fromkeys(_read(text) for text in each))


def _read(text: str) -> Disturbance:
    kind, given, strength = text.partition("=")
    if kind not in KINDS:
        raise SettingError(f"unknown disturbance '{kind}': valid are {valid()}, {ALL}")
    _, setting, usual = KINDS[kind]
    if not given:
        return Disturbance(kind, usual)
    try:
        value = yaml.safe_load(strength)
    except yaml.YAMLError:
        value = strength
    if isinstance(value, str) and setting.kind == "float":
        with suppress(ValueError):
            value = float(value)  # 1e1, which is text in YAML
    try:
        return Disturbance(kind, setting.check(value))
    except SettingError as error:
        raise SettingError(f"disturbance {error}") from error
