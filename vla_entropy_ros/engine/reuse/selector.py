"""Which visual tokens a tick computes: one door for all that is remembered of them from the ticks before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..decoding.choosing import Answering, Ask
from ..decoding.runner import Embedded
from ..decoding.sequence import Answers, Layout, LeftOut, RowPlan, Tokens
from ..model.compiled.library import Library
from ..observation import FAILED, MODE_FULL, NEW_EPISODE, NEW_INSTRUCTION, NEW_MODE, SCENE_CUT, Observation
from ..tunables import FULL, JOINT, Tunables
from .compiled import parts
from .episode import Episode
from .joint import Needed, Unchosen, on_host
from .pixels import Pixels
from .scene import Seen
from .schedule import budgets, growth, layer_entropy, taper_layer
from .scores import Attention, Scores
from .selection import Required, Selection, all_fresh, influence


@dataclass(frozen=True)
class Choice:
    """What one tick computes: `fresh` visual tokens [F], those left out from a layer on, the start rows or not.

    selection and scores [N] behind it; reason: why all is fresh regardless of them, or None; seen: in the picture;
    tick, t: ticks since the episode, and since the schedule began. answer: where the device chooses, what tells the
    tokens in the end; until then `fresh` only has their number, and what follows from them is missing.
    """

    fresh: Tokens
    left_out: LeftOut
    start: bool
    selection: Selection
    visual_score: Scores
    attention_score: Scores
    reason: str | None
    seen: Seen
    tick: int
    t: int
    answer: Answering | None = None

    def plan(self, layout: Layout, ids: Sequence[int], draft: Answers) -> RowPlan:
        """The pass of the prompt with text `ids`, a draft behind it."""
        plan = layout.prefill(self.fresh, ids, draft, self.start, self.left_out)
        return plan if self.answer is None else replace(plan, open=True)

    def answered(self) -> Choice:
        """Return the choice with all that belongs to it, once that pass was run."""
        if self.answer is None:
            return self
        answer = self.answer()
        chosen = replace(self.selection, fresh=answer.fresh, deep=answer.fresh, by_visual=answer.by_visual)
        fresh = np.flatnonzero(answer.fresh)
        return replace(self, fresh=fresh, selection=chosen, visual_score=answer.visual, answer=None)


class Looking(Protocol):
    """What tells where the text of the last tick has looked: see `Runner`."""

    def text_attention(self) -> Tensor:
        """Attention [L, M, N]."""
        ...

    def text_information(self) -> Tensor:
        """Attention information [M, N]."""
        ...


class Selector:
    """`observe` what is seen, `select`, and after the passes `commit`; `attend` to what the text looked at.

    Remembers of every visual token what its keys and values were computed from, how old they are and what attention it
    got; where in the episode and the schedule the policy is.
    """

    def __init__(
        self,
        layout: Layout,
        cameras: int,
        layers: int,
        patch: int,
        width: int,
        device: torch.device,
        dtype: torch.dtype,
        library: Library | None = None,
    ) -> None:
        """patch: pixels along a side; width: channels of a visual token; library: None for NumPy and torch."""
        self._layout, self._layers = layout, layers
        grid, self._pixels = math.isqrt(layout.visual // cameras), Pixels(layout.visual, patch)
        made = parts(library, cameras, grid, layout.visual, width, device, dtype)
        self._provenance, self._scene, self._joint = made
        self._episode = Episode()
        self._mode: str | None = None  # that of the tick before
        self._attention: Attention | None = None  # of the tick before
        self._information: Scores | None = None  # [N], that in the attention of the tick before
        self._layer_entropy: NDArray[np.float64] | None = None  # [L], of the tick before, where it is needed
        self._needed: Needed | None = None  # at the next tick, if budgets stay as they are
        self.begin(NEW_EPISODE)

    @property
    def age(self) -> NDArray[np.int64]:
        """Ticks [N] since each token's keys and values were computed, in the layers where that is longest ago."""
        return self._provenance.deep_age

    def drift(self, visual: Tensor) -> Tensor:
        """Squared relative change [N] of visual tokens [N, D] since their keys and values were computed."""
        return self._provenance.drift(visual)

    def begin(self, reason: str) -> None:
        """Start a new episode: nothing is reused at the next tick, because of `reason`."""
        self._episode.begin(reason)
        self._provenance.invalidate()
        self._scene.forget()
        self._forget_text()

    def fail(self) -> None:
        """Trust nothing: what was being written may be half written."""
        self._provenance.invalidate()
        self._needed = None
        self._episode.reason = FAILED

    def observe(self, observation: Observation, tunables: Tunables) -> bool:
        """Take note of what is seen next; True where the text of the tick before no longer counts."""
        interruption = self._episode.interruption(observation, tunables.max_gap)
        if interruption:
            self.begin(interruption)
        if self._mode not in (None, tunables.mode):  # each mode remembers what it asks for alone
            self.begin(self._episode.reason or NEW_MODE)
        self._mode = tunables.mode
        instructed = self._episode.follow(observation)
        if instructed:
            self._forget_text()
            if self._layout.text_touches_visual or tunables.mode == JOINT:  # no attention to go by: the worst tick
                self._episode.reason = self._episode.reason or NEW_INSTRUCTION
        return bool(interruption) or instructed

    def attend(self, runner: Looking, tunables: Tunables) -> None:
        """Keep what the tick's text looked at, as far as the next tick asks for it."""
        self._forget_text()
        if tunables.mode == FULL:
            return
        if tunables.mode == JOINT:
            self._information = on_host(runner.text_information()).mean(0)
            _ = self._need(self._information, self._in_force(tunables)[1], tunables)
            return
        attention = runner.text_attention()  # [L, M, N]
        self._attention = Attention(attention.mean(0).cpu().numpy())
        _ = self._attention_score(self._attention, tunables)
        if tunables.fill_order == "influence":
            _ = self._attention.mass
        self._layer_entropy = layer_entropy(attention.cpu().numpy()) if tunables.growth_by_layer else None

    def select(self, frames: NDArray[np.uint8], embedded: Embedded, tunables: Tunables) -> Choice:
        """Choose among the visual tokens of `frames` [C, S, S, 3]; all cameras share the budgets.

        What the mode and the budgets do not ask for is not computed.
        """
        episode = self._episode
        nothing: Scores = np.zeros(self._layout.visual)
        seen, reason = self._look(frames, tunables), episode.reason or (MODE_FULL if tunables.mode == FULL else None)
        changed = len(nothing) - np.count_nonzero(seen.static)
        if reason is None and changed > tunables.scene_cut * len(nothing):
            reason = SCENE_CUT
        if reason:
            selection = all_fresh(len(nothing), None if episode.reason else seen.static)
            return self._choice(selection, nothing, nothing, reason, seen, tunables)
        k_vis, k_attn = self._in_force(tunables)
        if tunables.mode == JOINT:
            return self._by_information(embedded, seen, tunables, (k_vis, k_attn))
        visual = self._pixels.image_entropy() if k_vis else nothing
        attended = nothing
        if self._attention is not None and k_attn:
            attended = self._attention_score(self._attention, tunables)
        required = Required.of(tunables, episode.t, visual, attended, seen.static, self.age)
        urgency, deep = self._urgency(embedded, tunables)  # waits for the embeddings: whatever can, comes before
        return self._choice(required.filled(tunables, urgency, deep), visual, attended, None, seen, tunables)

    def grow(self, choice: Choice) -> None:
        """Note that the passes have written what was chosen: `age` tells it, the rest waits for `commit`."""
        self._needed = None  # by the ages of the tick before
        self._provenance.grow(choice.selection.fresh, choice.selection.deep)

    def commit(self, choice: Choice, embedded: Embedded) -> None:
        """Note what the passes have written, and what came of it, before the next tick; see `grow`."""
        selection = choice.selection
        self._provenance.commit(selection.fresh, selection.deep, embedded.visual)
        if self._mode != FULL:
            (self._scene if self._mode == JOINT else self._pixels).commit(selection.fresh)
        self._episode.advance()

    def _look(self, frames: NDArray[np.uint8], tunables: Tunables) -> Seen:
        """What the mode asks of the picture; static: only what may be reused at all."""
        if tunables.mode == FULL:
            return Seen(np.zeros(self._layout.visual, np.bool_))
        seen = self._scene.compare(frames) if tunables.mode == JOINT else self._pixels.compare(frames, tunables)
        np.logical_and(seen.static, self._provenance.valid, out=seen.static)
        return seen

    def _by_information(self, embedded: Embedded, seen: Seen, tunables: Tunables, in_force: tuple[int, int]) -> Choice:
        """The default's rule; without attention to go by, as after a change of mode, every token got the same."""
        attention = self._information
        if attention is None:
            attention = np.full(self._layout.visual, 1.0 / self._layout.visual)
        needed = self._need(attention, in_force[1], tunables)
        if embedded.choose and (unchosen := Unchosen.of(attention, self.age, in_force, tunables, needed)):
            return self._leave(unchosen, embedded.choose, seen, in_force, tunables)
        visual, selection = self._joint.select(embedded, attention, needed, tunables, in_force, seen.static)
        return self._choice(selection, visual, attention, None, seen, tunables)

    def _leave(self, unchosen: Unchosen, ask: Ask, seen: Seen, in_force: tuple[int, int], tunables: Tunables) -> Choice:
        """Leave the choice to what has the embeddings."""
        every = np.arange(self._layout.visual)
        answer = ask(unchosen.question(self._scene.image_entropy(every)))
        some, none = every < unchosen.count, np.zeros_like(seen.static)
        by_attention, old = unchosen.by_attention, unchosen.old
        selection = Selection(some, some, seen.static, none, by_attention, old, *in_force, forced=False)
        choice = self._choice(selection, np.zeros(len(every)), unchosen.attention, None, seen, tunables)
        return replace(choice, answer=answer)

    def _forget_text(self) -> None:
        self._attention = self._information = self._layer_entropy = self._needed = None

    def _in_force(self, tunables: Tunables) -> tuple[int, int]:
        """Budgets (k_vis, k_attn) of the next tick, if no reason makes everything fresh."""
        return budgets(tunables.mode, self._episode.t, tunables.k1, tunables.k2, tunables.T)

    def _need(self, attention: Scores, k_attn: int, tunables: Tunables) -> Needed:
        """What the next tick computes in any case, as was found after the tick before where that still holds."""
        known = self._needed
        if known is None or (known.k_attn, known.max_age) != (k_attn, tunables.max_age):
            known = self._needed = Needed.of(attention, self.age, k_attn, tunables.max_age)
        return known

    @staticmethod
    def _attention_score(attention: Attention, tunables: Tunables) -> Scores:
        return attention.mass if tunables.mode == "vla_cache" else attention.score(tunables.mass_weighted)

    def _urgency(self, embedded: Embedded, tunables: Tunables) -> tuple[Scores, Scores | None]:
        """Which tokens [N] fill the row budget first, and which of the fresh ones go through the last layers."""
        tapers = bool(tunables.taper_rows) and not tunables.growth_by_layer
        oldest: Scores = self.age.astype(np.float64)
        if tunables.fill_order == "age" or not (tunables.row_budget or tapers):
            return oldest, oldest if tapers else None
        mass = np.zeros(len(oldest)) if self._attention is None else self._attention.mass
        drift = self.drift(embedded.visual) if embedded.drift is None else embedded.drift
        urgency = influence(on_host(drift), mass)
        if not tapers:
            return urgency, None
        return urgency, influence(on_host(self._provenance.deep_drift(embedded.visual)), mass)

    def _choice(
        self,
        selection: Selection,
        visual: Scores,
        attended: Scores,
        reason: str | None,
        seen: Seen,
        tunables: Tunables,
    ) -> Choice:
        """What the prompt's pass computes: where VLA-Cache's reused set grows, every token at first."""
        left_out = self._growth(selection)
        fresh = np.arange(self._layout.visual) if left_out else np.flatnonzero(selection.fresh)
        if not (left_out or selection.deep is selection.fresh or np.array_equal(selection.deep, selection.fresh)):
            left_out = {taper_layer(tunables.taper_from, self._layers): np.flatnonzero(~selection.deep)}
        start = not (self._provenance.start_valid and self._layout.start_is_constant)
        tick, t = self._episode.tick, self._episode.t
        return Choice(fresh, left_out, start, selection, visual, attended, reason, seen, tick, t)

    def _growth(self, selection: Selection) -> LeftOut:
        """Tokens reused from each layer on, where the layer schedule is VLA-Cache's; empty for any other."""
        if self._layer_entropy is None or self._attention is None or selection.fresh.all():
            return {}
        reused = np.flatnonzero(~selection.fresh)
        return growth(reused[np.argsort(self._attention.mass[reused], kind="stable")], self._layer_entropy)
