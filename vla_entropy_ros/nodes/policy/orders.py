"""What the inference thread works by, and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray

from ...engine import Observation, Result, Tunables
from ...engine.observation import NEW_EPISODE
from ..common.parameters import Values
from ..common.realtime import OFF, Realtime


@dataclass(frozen=True)
class Options:
    """What may change between two ticks: the engine's settings and the node's, times in seconds.

    check_every: ticks between two checks, 0 for those at the start alone; check_translation [m], check_rotation [rad]:
    bounds of what they find in the mean; realtime: habits of the thread, which do not change.
    """

    tunables: Tunables
    control_period: float
    max_observation_age: float
    default_instruction: str
    camera_slop: float = 0.0
    max_action_entropy: float = 1.0
    check_every: int = 0
    check_translation: float = math.inf
    check_rotation: float = math.inf
    realtime: Realtime = OFF


def options_of(values: Values) -> Options:
    """Options of all parameter values; ValueError in one line when they do not fit together."""
    return Options(
        Tunables.of(values),
        control_period=values["control_period"],
        max_observation_age=values["observation.max_age"],
        default_instruction=values["default_instruction"].strip(),
        camera_slop=values["observation.slop"],
        max_action_entropy=values["max_action_entropy"],
        check_every=values["self_check.every"],
        check_translation=values["self_check.translation"],
        check_rotation=values["self_check.rotation"],
        realtime=Realtime.of(values),
    )


@dataclass(frozen=True)
class Orders:
    """What the thread works by; replaced as a whole. A result of another `epoch` is dropped, not published.

    given: the instruction that was given, None for the default one, empty for none at all; begun: why the `episode`
    began; blocked: why no instruction can be trusted, None when it can; since: monotonic time [s] from which on there
    should be actions.
    """

    options: Options
    active: bool = False
    given: str | None = None
    epoch: int = 0
    episode: int = 0
    begun: str = NEW_EPISODE
    blocked: str | None = None
    since: float = 0.0

    @property
    def instruction(self) -> str | None:
        """The instruction to follow; None where there is none, or none that can be trusted."""
        return None if self.blocked is not None else self.asked

    @property
    def asked(self) -> str | None:
        """The instruction that was asked for; None where there is none."""
        return (self.options.default_instruction if self.given is None else self.given) or None


@dataclass(frozen=True)
class Answer:
    """One answered observation.

    Its stamp, its age when the tick began [s], the image [H, W, 3] of each camera, the result and the control period
    [s]; hold: why the action must not be done, None when it may; observation: what was answered, for whoever checks it;
    the number of the episode and the mode of the selection.
    """

    stamp: Time
    capture_age: float
    images: tuple[NDArray[np.uint8], ...]
    result: Result
    period: float
    hold: str | None = None
    observation: Observation | None = None
    episode: int = 0
    mode: str = ""


def doubt(result: Result, bound: float) -> str | None:
    """Why an action is too uncertain to be done; None when it is not. A bound of 1 is never exceeded."""
    entropy = result.uncertainty
    if entropy is None or not entropy > bound < 1.0:
        return None
    return f"action entropy {entropy:.2f} is above max_action_entropy {bound:g}"
