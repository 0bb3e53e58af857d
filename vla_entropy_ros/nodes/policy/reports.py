"""What the policy node says about itself on /diagnostics: inference, observation, cache."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from ..common.diagnostics import ERROR, OK, STALE, WARN, Report
from .inference import Inference
from .telemetry import ReuseWindows

INACTIVE = Report(OK, "inactive")
PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"


@dataclass(frozen=True)
class Bounds:
    """What is worth reporting: silence [s], share of images lost in transport, 95th percentile of the tick [s]."""

    silence: float
    loss: float
    tick: float


def inference_report(inference: Inference, bounds: Bounds) -> Report:
    """Is there an action every control period, and if not, why?"""
    orders, counters = inference.orders, inference.counters
    if not orders.active:
        return INACTIVE
    total = inference.total.recent()
    values: dict[str, object] = {
        "instruction": inference.instruction,
        "ticks": counters.ticks,
        "rate [Hz]": f"{inference.total.rate:.1f}",
        **inference.total.summary("tick", "ms", 1e3),
        **_decoding(inference),
        "faults": counters.faults,
        "dropped results": counters.dropped,
        "held for uncertainty": counters.held,
        "resets": counters.resets,
    }
    busy = inference.busy_since
    if inference.fault:
        return Report(ERROR, inference.fault, values)
    if not inference.instruction:
        return Report(WARN, "no instruction: publish one (std_msgs/String, not empty) on 'instruction'", values)
    if busy is not None and time.monotonic() - busy > bounds.silence:
        return Report(STALE, f"a tick has been running for {time.monotonic() - busy:.1f} s", values)
    if not len(total):
        return Report(STALE, "no tick for lack of usable images", values)
    if (slow := float(np.percentile(total, 95))) > bounds.tick:
        return Report(WARN, f"slow: p95 {slow * 1e3:.0f} ms, {bounds.tick * 1e3:.0f} ms are due", values)
    if inference.last_tick is not None and inference.last_tick.hold:
        return Report(WARN, f"held: {inference.last_tick.hold}", values)
    if inference.last_tick is not None and (unknown := inference.last_tick.result.unknown_words):
        return Report(WARN, f"words of the instruction that the policy does not know: {', '.join(unknown)}", values)
    return Report(OK, f"{inference.total.rate:.1f} Hz, {np.median(total) * 1e3:.0f} ms", values)


def _decoding(inference: Inference) -> dict[str, object]:
    """How the last tick was decoded."""
    if inference.last_tick is None:
        return {}
    result = inference.last_tick.result
    return {
        "decoder passes": result.decoder_passes,
        "drafts accepted": f"{result.drafts.accepted} of {result.drafts.tried}",
        "certified tokens": f"{result.drafts.certified} of {len(result.tokens)}",
        "action entropy, largest": f"{result.token_entropy.max():.2f}",
    }


def observation_report(inference: Inference, bounds: Bounds) -> Report:
    """Do usable images arrive?"""
    orders, counters = inference.orders, inference.counters
    if not orders.active:
        return INACTIVE
    values: dict[str, object] = {
        "rate [Hz]": f"{inference.received.rate:.1f}",
        **inference.capture_age.summary("age at tick", "ms", 1e3),
        "received": counters.received,
        "replaced by a newer one before a tick": counters.displaced,
        "between two ticks": counters.early,
        "out of order": counters.late,
        "too old": counters.too_old,
        "refused": counters.refused,
        "lost in transport": counters.lost,
        "without a match of the other cameras": inference.unmatched,
        "changes of camera or size, jumps of time": counters.changes,
    }
    if inference.last_received is None:
        return Report(STALE, "no image yet on 'image' or 'image/compressed'", values)
    if (silence := time.monotonic() - inference.last_received) > bounds.silence:
        return Report(STALE, f"no image for {silence:.1f} s", values)
    if inference.observation_fault:
        return Report(ERROR if inference.observation_refused else WARN, inference.observation_fault, values)
    lost, whole = inference.lost.rate, inference.lost.rate + inference.received.rate
    if lost > bounds.loss * whole:
        return Report(WARN, f"{lost / whole:.0%} of the images lost in transport: {_advice()}", values)
    return Report(OK, f"{inference.received.rate:.1f} Hz", values)


def _advice() -> str:
    """What helps against lost images."""
    if os.environ.get(PROFILE):
        return f"is {PROFILE} set where the camera's driver runs, too?"
    return f"set {PROFILE} to config/fastdds.xml, here and where the camera's driver runs"


def cache_report(inference: Inference, record: ReuseWindows) -> Report:
    """How much of the K/V cache is reused, and how old is it?"""
    tick = inference.last_tick
    if not inference.orders.active:
        return INACTIVE
    mode = inference.orders.options.tunables.mode
    if tick is None:
        return Report(OK, "empty", {"mode": mode})
    fresh, reused = record.fresh.recent(), record.reused.recent()
    values: dict[str, object] = {
        "mode": mode,
        **record.fresh.summary("fresh tokens", "1"),
        **record.reused.summary("reused tokens", "1"),
        **record.oldest.summary("oldest token", "ticks"),
        "last time all fresh because": tick.result.reuse.reason or "-",
    }
    visual = tick.result.reuse.visual
    share = float(reused.mean()) / visual if len(reused) else 0.0
    if mode != "full" and len(fresh) > 10 and not reused.any():
        why = tick.result.reuse.reason or "every token has changed or is important"
        return Report(WARN, f"nothing reused: {why}", values)
    return Report(OK, f"{share:.0%} of {visual} visual tokens reused", values)
