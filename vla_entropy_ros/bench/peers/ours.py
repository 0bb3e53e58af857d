"""The engine's own rows: each a policy of its own, for keys, values and drafts live on from image to image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ...engine import EngineError, Policy
from ...engine.tunables import Tunables
from ..configurations import BASELINE, DEFAULT
from .kinds import Missing

Choice = Callable[[Tunables], Tunables]  # of a row, from the default's


@dataclass(frozen=True)
class Ours:
    """A row of the engine: its name, the backend that was asked for (None: chosen at load), its policy."""

    name: str
    backend: str | None
    policy: Policy


def _plain(tunables: Tunables) -> Tunables:
    return replace(tunables, mode="full", drafts="off")


def _default(tunables: Tunables) -> Tunables:
    return tunables


ROWS: tuple[tuple[str, Choice, str | None], ...] = (  # name, tunables, backend; the first is what all is held against
    (BASELINE, _plain, "torch"),
    (f"{BASELINE}, compiled", _plain, "compiled"),
    (DEFAULT, _default, None),
    (f"{DEFAULT}, NumPy", _default, "numpy"),
    (f"{DEFAULT}, PyTorch", _default, "torch"),
)


def ours(folder: Path, warm_up: int) -> tuple[list[Ours], list[Missing]]:
    """Load a policy for each of ROWS and run `warm_up` ticks; those whose backend cannot be had come second.

    Raises EngineError where the first row cannot be loaded.
    """
    made: list[Ours] = []
    missing: list[Missing] = []
    for name, choice, backend in ROWS:
        try:
            policy = Policy.load(folder, backend=backend)
        except EngineError as error:
            if not made:
                raise
            missing.append(Missing(name, " ".join(str(error).split())))
            continue
        policy.set_tunables(choice(policy.tunables))
        policy.warm_up(warm_up)
        made.append(Ours(name, backend, policy))
    return made, missing
