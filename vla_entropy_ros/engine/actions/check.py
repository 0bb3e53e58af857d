"""Does an answer agree with full recomputation by plain decoding? Nothing that ticks remember is read or written."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..decoding.runner import EagerRunner, Table
from ..decoding.sequence import NO_ANSWERS, Answers, Layout
from ..errors import ActionError
from ..model.preprocess import Preprocessor
from ..observation import Observation, state_vector
from ..tunables import Tunables
from .drafts import NO_DRAFT
from .head import Acted, Head

TRANSLATION, ROTATION = ("x", "y", "z"), ("roll", "pitch", "yaw")  # names of columns in metres and in radians


@dataclass(frozen=True)
class Agreement:
    """How far an answer agrees with another one to the same observation.

    tokens: share of equal action tokens, 1 where there are none; translation [m], rotation [rad]: largest length of an
    action's deviation in these columns; other: largest deviation in any other column, in its own unit; finite: whether
    both are finite numbers, without which no token counts as equal and every deviation is infinite.
    """

    tokens: float
    translation: float
    rotation: float
    other: float
    finite: bool

    @classmethod
    def of(cls, names: Sequence[str], answer: Acted, plain: Acted) -> Agreement:
        """Compare actions [H, A], whose columns are called `names`, and tokens [K]."""
        apart = np.abs(answer.actions - plain.actions)
        if not np.isfinite(apart).all():
            return DISAGREEMENT
        known = (*TRANSLATION, *ROTATION)
        columns = [[n for n, name in enumerate(names) if name in group] for group in (TRANSLATION, ROTATION)]
        rest = [n for n, name in enumerate(names) if name not in known]
        equal = answer.decoded.tokens == plain.decoded.tokens
        moved, turned = (float(np.linalg.norm(apart[:, group], axis=1).max(initial=0.0)) for group in columns)
        share = float(equal.mean()) if equal.size else 1.0
        return cls(share, moved, turned, float(apart[:, rest].max(initial=0.0)), True)


DISAGREEMENT = Agreement(0.0, math.inf, math.inf, math.inf, False)


class Recomputation:
    """Computes every row of a prompt and one action token per pass, by a runner with a K/V cache of its own.

    The network, its tower among it, is the one that the ticks run; a head that is told not to draft remembers nothing.
    """

    def __init__(
        self,
        runner: EagerRunner,
        preprocess: Preprocessor,
        layout: Layout,
        head: Head,
        action_names: tuple[str, ...],
        state_names: tuple[str, ...],
    ) -> None:
        """runner: as ticks have it; action_names: of each column of an action; state_names: of the robot's state."""
        self._runner, self._preprocess, self._layout, self._head = runner, preprocess, layout, head
        self._action_names, self._state_names = action_names, state_names

    def act(self, observation: Observation, ids: Sequence[int], tunables: Tunables) -> Acted:
        """Actions for an observation and the text `ids`; ActionError if there are none."""
        layout, runner, began = self._layout, self._runner, time.perf_counter()
        runner.rows.clear()
        frames = self._preprocess.frames(observation.images)
        embedded = runner.embed_images(frames, state_vector(observation, self._state_names))
        plan = layout.prefill(np.arange(layout.visual), ids, NO_ANSWERS, start=True, left_out={})
        table, area = runner.run(plan, embedded), layout.first_text + len(ids)
        plain = replace(tunables, drafts="off")

        def extend(rows: Answers) -> Table:
            return runner.run(layout.answer_rows(rows, area))

        return self._head.act(table, NO_DRAFT, ids, extend, plain, began)

    def agreement(self, answer: Acted, observation: Observation, ids: Sequence[int], tunables: Tunables) -> Agreement:
        """How far `answer` agrees with `act`; DISAGREEMENT where that has no actions."""
        try:
            return Agreement.of(self._action_names, answer, self.act(observation, ids, tunables))
        except ActionError:
            return DISAGREEMENT
