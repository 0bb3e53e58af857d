"""The policy node's tasks on /diagnostics: inference, observation, cache."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from ...engine import Result
from ..common.diagnostics import ERROR, OK, STALE, WARN, Report
from .statistics import Statistics

INACTIVE = Report(OK, "inactive")
PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"


@dataclass(frozen=True)
class Bounds:
    """What is worth reporting: silence [s], share of images lost in transport, 95th percentile of the tick [s]."""

    silence: float
    loss: float
    tick: float


def inference_report(now: Statistics, bounds: Bounds) -> Report:
    """Is there an action every control period, and if not, why?"""
    if not now.active:
        return INACTIVE
    times, answer = now.tick_time, now.answer
    values: dict[str, object] = {
        "instruction": now.instruction or "",
        "ticks": now.ticks,
        "rate [Hz]": f"{times.rate:.1f}",
        **times.summary("tick", "ms", 1e3),
        **({} if answer is None else _decoding(answer.result)),
        "faults": now.faults,
        "dropped results": now.dropped,
        "held for uncertainty": now.held,
        "resets": now.resets,
    }
    busy = None if now.busy_since is None else now.taken - now.busy_since
    if now.fault is not None:
        return Report(ERROR, now.fault, values)
    if now.instruction is None:
        return Report(WARN, "no instruction: publish one (std_msgs/String, not empty) on 'instruction'", values)
    if busy is not None and busy > bounds.silence:
        return Report(STALE, f"a tick has been running for {busy:.1f} s", values)
    if not len(times.numbers):
        return Report(STALE, "no tick for lack of usable images", values)
    if (slow := float(np.percentile(times.numbers, 95))) > bounds.tick:
        return Report(WARN, f"slow: p95 {slow * 1e3:.0f} ms, {bounds.tick * 1e3:.0f} ms are due", values)
    if answer is not None and answer.hold is not None:
        return Report(WARN, f"held: {answer.hold}", values)
    if answer is not None and (unknown := answer.result.unknown_words):
        return Report(WARN, f"words of the instruction that the policy does not know: {', '.join(unknown)}", values)
    return Report(OK, f"{times.rate:.1f} Hz, {np.median(times.numbers) * 1e3:.0f} ms", values)


def _decoding(result: Result) -> dict[str, object]:
    """How the last answer was decoded, as far as there are tokens, and how certain it is."""
    values: dict[str, object] = {}
    if len(result.tokens):
        values["decoder passes"] = result.decoder_passes
        values["drafts accepted"] = f"{result.drafts.accepted} of {result.drafts.tried}"
        values["certified tokens"] = f"{result.drafts.certified} of {len(result.tokens)}"
    if result.uncertainty is not None:
        values["action entropy, largest"] = f"{result.uncertainty:.2f}"
    return values


def observation_report(now: Statistics, bounds: Bounds) -> Report:
    """Do usable images arrive, and the state where the policy needs one?"""
    if not now.active:
        return INACTIVE
    values: dict[str, object] = {
        "rate [Hz]": f"{now.images.rate:.1f}",
        **now.capture_age.summary("age at tick", "ms", 1e3),
        **(now.state_age.summary("state beside the image", "ms", 1e3) if len(now.state_age.numbers) else {}),
        "received": now.received,
        "replaced by a newer one before a tick": now.displaced,
        "between two ticks": now.early,
        "out of order": now.late,
        "too old": now.too_old,
        "refused": now.refused,
        "lost in transport": now.lost,
        "without a match of the other cameras": now.unmatched,
        "changes of camera or size, jumps of time": now.interruptions,
    }
    if now.last_received is None:
        return Report(STALE, "no image yet on 'image' or 'image/compressed'", values)
    if (silence := now.taken - now.last_received) > bounds.silence:
        return Report(STALE, f"no image for {silence:.1f} s", values)
    if now.observation_fault is not None:
        return Report(ERROR if now.observation_refused else WARN, now.observation_fault, values)
    lost, whole = now.losses.rate, now.losses.rate + now.images.rate
    if lost > bounds.loss * whole:
        return Report(WARN, f"{lost / whole:.0%} of the images lost in transport: {_advice()}", values)
    return Report(OK, f"{now.images.rate:.1f} Hz", values)


def _advice() -> str:
    """What helps against lost images."""
    if os.environ.get(PROFILE):
        return f"is {PROFILE} set where the camera's driver runs, too?"
    return f"set {PROFILE} to config/fastdds.xml, here and where the camera's driver runs"


def cache_report(now: Statistics, bounds: Bounds) -> Report:
    """How much of the K/V cache is reused, and how old is it?"""
    if not now.active:
        return INACTIVE
    if now.answer is None:
        return Report(OK, "empty", {"mode": now.mode})
    record, fresh, reused = now.answer.result.reuse, now.fresh.numbers, now.reused.numbers
    values: dict[str, object] = {
        "mode": now.mode,
        **now.fresh.summary("fresh tokens", "1"),
        **now.reused.summary("reused tokens", "1"),
        **now.oldest.summary("oldest token", "ticks"),
        "last time all fresh because": record.reason or "-",
    }
    share = float(reused.mean()) / record.visual if len(reused) else 0.0
    if now.mode != "full" and len(fresh) > 10 and not reused.any():
        why = record.reason or "every token has changed or is important"
        return Report(WARN, f"nothing reused: {why}", values)
    return Report(OK, f"{share:.0%} of {record.visual} visual tokens reused", values)
