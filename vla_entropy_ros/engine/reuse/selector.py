"""Which visual tokens a tick computes: one door for all that is remembered of them from the ticks before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..actions.head import Acted
from ..decoding.runner import Embedded
from ..decoding.sequence import Layout, LeftOut, Tokens
from ..observation import FAILED, NEW_EPISODE, Observation
from ..tunables import Tunables
from .episode import Episode
from .patches import Patches, cut, grey
from .provenance import Provenance
from .schedule import Activity, adapt, budgets, growth, layer_entropy, taper_layer
from .scores import GREY_LEVELS, Attention, Scores, image_entropy
from .selection import Required, Selection, all_fresh, influence, static_patches

NEW_INSTRUCTION = "new instruction"


@dataclass(frozen=True)
class Choice:
    """What one tick computes: `fresh` visual tokens [F], those left out from a layer on, the start rows or not.

    selection and scores [N] behind it; reason: why all is fresh regardless of them, or None; patches: of this tick;
    tick: ticks since the episode began.
    """

    fresh: Tokens
    left_out: LeftOut
    start: bool
    selection: Selection
    image_entropy: Scores
    attention_score: Scores
    reason: str | None
    patches: Patches
    tick: int


class Selector:
    """`observe` what is seen, `select`, and after the passes `commit`; `attend` to what the text looked at.

    Remembers of every visual token what its keys and values were computed from, how old they are and what attention it
    got; where in the episode and the schedule the policy is; how much happens.
    """

    def __init__(
        self, layout: Layout, layers: int, patch: int, width: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """patch: pixels along a side; width: channels of a visual token."""
        self._layout, self._layers, self._patch = layout, layers, patch
        self._provenance = Provenance(layout.visual, 3 * patch**2, width, device, dtype)
        self._episode = Episode()
        self._attention: Attention | None = None  # of the tick before
        self._layer_entropy: NDArray[np.float64] | None = None  # [L], of the tick before, where it is needed
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
        self._activity = Activity()
        self._forget_text()

    def fail(self) -> None:
        """Trust nothing: what was being written may be half written."""
        self._provenance.invalidate()
        self._episode.reason = FAILED

    def observe(self, observation: Observation, max_gap: float) -> bool:
        """Take note of what is seen next; True where the text of the tick before no longer counts."""
        interruption = self._episode.interruption(observation, max_gap)
        if interruption:
            self.begin(interruption)
        instructed = self._episode.follow(observation)
        if instructed:
            self._forget_text()
            if self._layout.text_touches_visual:
                self._episode.reason = self._episode.reason or NEW_INSTRUCTION
        return bool(interruption) or instructed

    def attend(self, attention: Tensor, tunables: Tunables) -> None:
        """Keep the attention [L, M, N] of the tick's text, and compute what the next tick asks of it."""
        self._attention = Attention(attention.mean(0).cpu().numpy())
        _ = self._attention_score(self._attention, tunables)
        if tunables.fill_order == "influence":
            _ = self._attention.mass
        self._layer_entropy = layer_entropy(attention.cpu().numpy()) if tunables.growth_by_layer else None

    def select(self, frames: NDArray[np.uint8], embedded: Embedded, tunables: Tunables) -> Choice:
        """Choose among the visual tokens of `frames` [C, S, S, 3]; all cameras share the budgets.

        What the mode and the budgets do not ask for is not computed.
        """
        now, episode = Patches.of(cut(frames, self._patch)), self._episode
        if tunables.adaptive:
            tunables = adapt(tunables, self._activity, self._layout.visual)
        nothing: Scores = np.zeros(self._layout.visual)
        if reason := episode.reason or ("mode full" if tunables.mode == "full" else None):
            return self._choice(all_fresh(len(nothing)), nothing, nothing, reason, now, tunables)
        static = self._static(now, tunables)
        if len(static) - np.count_nonzero(static) > tunables.scene_cut * len(static):
            return self._choice(all_fresh(len(static), static), nothing, nothing, "scene cut", now, tunables)
        k_vis, k_attn = budgets(tunables.mode, episode.t, tunables.k1, tunables.k2, tunables.T)
        seen = image_entropy(grey(now.pixels), GREY_LEVELS) if k_vis else nothing
        attended = nothing
        if self._attention is not None and k_attn:
            attended = self._attention_score(self._attention, tunables)
        required = Required.of(tunables, episode.t, seen, attended, static, self.age)
        urgency, deep = self._urgency(embedded, tunables)  # waits for the embeddings: whatever can, comes before
        return self._choice(required.filled(tunables, urgency, deep), seen, attended, None, now, tunables)

    def grow(self, choice: Choice) -> None:
        """Note that the passes have written what was chosen: `age` tells it, the rest waits for `commit`."""
        self._provenance.grow(choice.selection.fresh, choice.selection.deep)

    def commit(self, choice: Choice, embedded: Embedded, acted: Acted, adaptive: bool) -> None:
        """Note what the passes have written, and what came of it, before the next tick; see `grow`."""
        selection = choice.selection
        self._provenance.commit(selection.fresh, choice.patches, embedded.visual, selection.deep)
        self._episode.advance()
        static_share = float(selection.static.mean()) if choice.reason is None else 1.0
        if self._activity.observe(static_share, acted.mean_entropy, acted.opening) and adaptive:
            self._episode.restart_schedule()

    def _forget_text(self) -> None:
        self._attention = self._layer_entropy = None

    def _static(self, now: Patches, tunables: Tunables) -> NDArray[np.bool_]:
        """Tokens [N] whose keys and values may be reused as far as the pixels tell."""
        known = self._provenance
        reference = known.reference if tunables.static_reference == "anchor" else known.previous
        static = static_patches(now, reference, tunables.static_similarity, tunables.static_difference)
        return static & known.valid

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
        urgency = influence(_on_host(drift), mass)
        if not tapers:
            return urgency, None
        return urgency, influence(_on_host(self._provenance.deep_drift(embedded.visual)), mass)

    def _choice(
        self, selection: Selection, seen: Scores, attended: Scores, reason: str | None, now: Patches, tunables: Tunables
    ) -> Choice:
        """What the prompt's pass computes: where VLA-Cache's reused set grows, every token at first."""
        left_out = self._growth(selection)
        fresh = np.arange(self._layout.visual) if left_out else np.flatnonzero(selection.fresh)
        if not left_out and not np.array_equal(selection.deep, selection.fresh):
            left_out = {taper_layer(tunables.taper_from, self._layers): np.flatnonzero(~selection.deep)}
        start = not (self._provenance.start_valid and self._layout.start_is_constant)
        return Choice(fresh, left_out, start, selection, seen, attended, reason, now, self._episode.tick)

    def _growth(self, selection: Selection) -> LeftOut:
        """Tokens reused from each layer on, where the layer schedule is VLA-Cache's; empty for any other."""
        if self._layer_entropy is None or self._attention is None or selection.fresh.all():
            return {}
        reused = np.flatnonzero(~selection.fresh)
        return growth(reused[np.argsort(self._attention.mass[reused], kind="stable")], self._layer_entropy)


def _on_host(drift: Tensor) -> Scores:
    return drift.cpu().numpy().astype(np.float64)
