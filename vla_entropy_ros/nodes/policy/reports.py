"""The policy node's tasks on /diagnostics: inference, observation, cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from rclpy.utilities import get_rmw_implementation_identifier

from ...engine import Result
from ..common.diagnostics import ERROR, OK, STALE, WARN, Report
from .causes import shortage, usual
from .refreshes import little_reuse, means
from .statistics import Statistics

PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"


@dataclass(frozen=True)
class Bounds:
    """What is worth reporting: silence [s], share of images lost in transport, 95th percentile of the tick [s]."""

    silence: float
    loss: float
    tick: float


@dataclass(frozen=True)
class Scene:
    """What stands around the node, asked only where it matters.

    name: the node's, in full; silence: why a camera (counted from 0) is not heard, and what to type; several: who
    speaks where one is expected; instruction: what to type for one, whether the last one was empty or not;
    listeners: how many hear the actions; clock: ROS time [s]; standstill: why the clock can't be relied on.
    """

    name: str = "/policy"
    silence: Callable[[int], str] = lambda camera: f"of camera {camera + 1}"
    several: Callable[[], str | None] = lambda: None
    instruction: Callable[[bool], str] = lambda empty: "an empty one" if empty else "publish one"
    listeners: Callable[[], int] = lambda: 1
    clock: Callable[[], float] = lambda: 0.0
    standstill: str | None = None


ALONE = Scene()


def inactive(scene: Scene) -> Report:
    """What the tasks say of a node that is configured, and no more."""
    return Report(STALE, f"inactive, nothing is published: ros2 lifecycle set {scene.name} activate")


def inference_report(now: Statistics, bounds: Bounds, scene: Scene = ALONE) -> Report:
    """Is there an action every control period, and if not, why?"""
    if not now.active:
        return inactive(scene)
    times, answer = now.tick_time, now.answer
    values: dict[str, object] = {
        "instruction": now.instruction or "",
        "ticks": now.ticks,
        "rate [Hz]": f"{times.rate:.1f}",
        **times.summary("tick", "ms", 1e3),
        "passes": now.passes,
        **({} if answer is None else _decoding(answer.result)),
        "faults": now.faults,
        "dropped results": now.dropped,
        "held for uncertainty": now.held,
        "resets": now.resets,
    }
    trouble = _inference_trouble(now, bounds, scene) or Report(
        OK, f"{times.rate:.1f} Hz, {np.median(times.numbers) * 1e3:.0f} ms"
    )
    return replace(trouble, values=values)


def _inference_trouble(now: Statistics, bounds: Bounds, scene: Scene) -> Report | None:
    """What keeps actions from coming in time; None when they do."""
    times, answer = now.tick_time, now.answer
    busy = None if now.busy_since is None else now.taken - now.busy_since
    if now.fault is not None:
        return Report(ERROR, now.fault)
    if now.blocked is not None:
        return Report(ERROR, f"holding: {now.blocked}: end that publisher, or give it another topic")
    if now.instruction is None:
        return Report(WARN, f"no instruction: {scene.instruction(now.stopped)}")
    if scene.standstill is not None:
        return Report(STALE, scene.standstill)
    if busy is not None and busy > bounds.silence:
        due = f"{bounds.tick:.2g} s are due"
        return Report(STALE, f"a tick has been running for {busy:.1f} s, {due}: is the device overloaded?")
    lack = shortage(now, scene.clock)
    if lack is not None and lack.none:
        return Report(STALE, f"no tick: {lack.why}")
    if now.idle is None or now.idle > bounds.silence + usual(now):
        return Report(STALE, "no tick for lack of usable images: see the task observation")
    if (slow := float(np.percentile(times.numbers, 95))) > bounds.tick:
        return Report(WARN, f"slow: p95 {slow * 1e3:.0f} ms, {bounds.tick * 1e3:.0f} ms are due")
    if lack is not None:
        return Report(WARN, f"{times.rate:.1f} Hz, {lack.due:.1f} Hz are due: {lack.why}")
    if answer is not None and answer.hold is not None:
        return Report(WARN, f"held: {answer.hold}")
    if not scene.listeners():
        return Report(WARN, f"nobody hears the actions: start a command node, or remap (ros2 node info {scene.name})")
    if answer is not None and (unknown := answer.result.unknown_words):
        return Report(WARN, f"words of the instruction that the policy does not know: {', '.join(unknown)}")
    return None


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


def observation_report(now: Statistics, bounds: Bounds, scene: Scene = ALONE) -> Report:
    """Do usable images arrive, and the state where the policy needs one?"""
    if not now.active:
        return inactive(scene)
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
    trouble = _observation_trouble(now, bounds, scene) or Report(OK, f"{now.images.rate:.1f} Hz")
    return replace(trouble, values=values)


def _observation_trouble(now: Statistics, bounds: Bounds, scene: Scene) -> Report | None:
    """What is wrong with the images or the state; None when they are of use."""
    if scene.standstill is not None:
        return Report(STALE, scene.standstill)
    for camera, arrived in enumerate(now.last_received or (None,)):
        if arrived is None:
            return Report(STALE, f"no image yet {scene.silence(camera)}")
        if (silence := now.taken - arrived) > bounds.silence:
            return Report(STALE, f"no image for {silence:.1f} s {scene.silence(camera)}")
    several = scene.several()
    if now.observation_fault is not None:
        fault = now.observation_fault if several is None else f"{now.observation_fault}; {several}"
        return Report(ERROR if now.observation_refused else WARN, fault)
    if several is not None:
        return Report(WARN, several)
    lost, whole = now.losses.rate, now.losses.rate + now.images.rate
    if lost > bounds.loss * whole:
        return Report(WARN, f"{lost / whole:.0%} of the images lost in transport: {_advice()}")
    lack = shortage(now, scene.clock)
    if lack is not None and lack.of_images:
        return Report(WARN, lack.why)
    return None if now.doubt is None else Report(WARN, now.doubt)


def _advice() -> str:
    """What helps against lost images."""
    middleware = get_rmw_implementation_identifier()
    if "fastrtps" not in middleware:
        return (
            f"{middleware} may need larger buffers (sysctl net.core.rmem_max), here and where the camera's driver runs"
        )
    if os.environ.get(PROFILE):
        return f"is {PROFILE} set where the camera's driver runs, too?"
    return f"set {PROFILE} to config/fastdds.xml, here and where the camera's driver runs"


def cache_report(now: Statistics, bounds: Bounds, scene: Scene = ALONE) -> Report:
    """How much of the K/V cache is reused, how old is it, and why is it not more?"""
    if not now.active:
        return inactive(scene)
    mode = "" if now.tunables is None else now.tunables.mode
    if now.answer is None:
        return Report(OK, "empty", {"mode": mode})
    record = now.answer.result.reuse
    values: dict[str, object] = {
        "mode": mode,
        "k_vis": record.k_vis,
        "k_attn": record.k_attn,
        "schedule t [ticks]": record.t,
        **now.fresh.summary("fresh tokens", "1"),
        **means(now.tallies),
        **now.reused.summary("reused tokens", "1"),
        **now.oldest.summary("oldest token", "ticks"),
        "noise [grey levels]": "-" if record.noise is None else f"{record.noise:.2f}",
        "exposure, of the first frame's": "-" if record.exposure is None else f"{record.exposure:.3f}",
        "last time all fresh because": record.reason or "-",
    }
    why = None if now.tunables is None else little_reuse(now.tallies, now.tunables, record, scene.several)
    if why is not None:
        return Report(WARN, why, values)
    reused = now.reused.numbers
    share = float(reused.mean()) / record.visual if len(reused) else 0.0
    return Report(OK, f"{share:.0%} of {record.visual} visual tokens reused", values)


REPORTS: dict[str, Callable[[Statistics, Bounds, Scene], Report]] = {
    "inference": inference_report,
    "observation": observation_report,
    "cache": cache_report,
}


def idle_report(name: str, loading: str | None, final: bool, failure: str | None) -> Report:
    """What the tasks of the node `name` say without a policy.

    loading: what is being loaded, None where nothing is; final: whether it is shut down; failure: of the last
    configure.
    """
    if loading is not None:
        return Report(STALE, f"{loading}: wait, then ros2 lifecycle set {name} activate")
    if final:
        return Report(STALE, "shut down for good: start the node again")
    if failure is not None:
        return Report(ERROR, failure)
    return Report(STALE, f"unconfigured, nothing is loaded: ros2 lifecycle set {name} configure")
