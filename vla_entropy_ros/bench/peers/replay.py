"""Every image goes through every row before the next image does, the first row turned from image to image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...engine import ActionError, Observation, Policy
from ...engine.families import Model
from ..generate import sample_of
from ..recording import Recording
from ..ticks import Sample
from .kinds import Prepared
from .ours import Ours
from .stepwise import Peer, flushed


@dataclass
class Row:
    """A row of the table while it runs; tick(observation, number in the episode) raises ActionError without an action.

    seconds: to prepare a peer, None of the engine's own rows, whose backend is asked for by name or None.
    """

    name: str
    begin: Callable[[], None]
    tick: Callable[[Observation, int], Sample]
    backend: str | None = None
    seconds: float | None = None
    samples: list[Sample] = field(default_factory=list)
    faults: int = 0

    @property
    def is_peer(self) -> bool:
        """Whether it is none of the engine's own."""
        return self.seconds is not None

    @classmethod
    def of_ours(cls, ours: Ours) -> Row:
        """Ticks of the policy, one after the other; what it does after a tick is not timed."""
        policy = ours.policy
        return cls(ours.name, policy.reset, lambda observation, _: _inferred(policy, observation), ours.backend)

    @classmethod
    def of_peer(cls, prepared: Prepared, model: Model) -> Row:
        """Ticks of a peer, each on its own."""
        peer = prepared.peer
        return cls(
            prepared.name,
            lambda: None,
            lambda observation, number: _ticked(peer, model, observation, number),
            seconds=prepared.seconds,
        )


def replay(rows: Sequence[Row], recordings: Sequence[Recording], progress: Callable[[], None] = lambda: None) -> None:
    """Fill the rows' samples; only ticks in which every row has a valid action stay.

    progress: called after each image. Raises ActionError if none stays.
    """
    made: list[list[Sample | None]] = []
    for recording in recordings:
        for row in rows:
            row.begin()
        for number, observation in enumerate(recording.observations()):
            first = len(made) % len(rows)  # none is always the first, or always behind the same rest of the caches
            turn = {
                n % len(rows): _try(rows[n % len(rows)], observation, number) for n in range(first, first + len(rows))
            }
            made.append([turn[n] for n in range(len(rows))])
            progress()
    kept = [ticks for ticks in made if None not in ticks]
    if not kept:
        raise ActionError("no tick has a valid action in every row")
    for number, row in enumerate(rows):
        row.samples = [sample for ticks in kept if (sample := ticks[number]) is not None]


def _try(row: Row, observation: Observation, number: int) -> Sample | None:
    try:
        return row.tick(observation, number)
    except ActionError:
        row.faults += 1
        return None


def _inferred(policy: Policy, observation: Observation) -> Sample:
    sample = Sample.of(policy.infer(observation), policy.model.layout)
    policy.settle()
    return sample


def _ticked(peer: Peer, model: Model, observation: Observation, number: int) -> Sample:
    with flushed():
        return sample_of(peer.tick(observation), model, number)
