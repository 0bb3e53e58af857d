"""The kinds of peers by name, made for a policy, or what one that cannot be had here lacks."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...engine import Observation, Policy
from ..generate import Generate, can_generate
from .stepwise import Peer, PeerError, flushed

LINE = 200  # characters of what went wrong that are told
Make = Callable[[Policy, Sequence[str]], Peer]


@dataclass(frozen=True)
class Kind:
    """A peer's name in the tables and what makes one for a policy and the instructions that it will hear."""

    name: str
    make: Make


@dataclass(frozen=True)
class Prepared:
    """A peer that runs, and the time until it did [s]: export, compilation, first tick of each instruction."""

    name: str
    peer: Peer
    seconds: float


@dataclass(frozen=True)
class Missing:
    """A peer that cannot be had here, and why, in one line."""

    name: str
    why: str


def refusal(policy: Policy) -> str | None:
    """Why no peer can be set beside `policy`, in one line; None where they can."""
    if policy.model.where.device.type != "cpu":
        return f"--peers compares on a CPU, the policy is on {policy.info.device}: load it on cpu"
    if not can_generate(policy):
        return "--peers needs a causal decoder of tokens whose weights are not in 8 bits, such as the policy shipped"
    return None


def _later(module: str, name: str) -> Make:
    """What makes a peer of a module that is imported when it is needed, with all that it brings."""
    return lambda policy, told: getattr(importlib.import_module(f".{module}", __package__), name)(policy, told)


KINDS = (
    Kind("transformers generate", lambda policy, _: Generate(policy)),
    Kind("torch.compile of transformers", _later("transformers_compile", "Compiled")),
    Kind("ONNX Runtime float32", _later("onnx_runtime", "OnnxRuntime")),
    Kind("OpenVINO float32", _later("open_vino", "OpenVino")),
    Kind("OpenVINO bfloat16", _later("open_vino", "OpenVinoBfloat16")),
)


def prepare(kind: Kind, policy: Policy, instructions: Sequence[str], warm_up: int) -> Prepared | Missing:
    """Make the peer and run `warm_up` ticks over noise, under these instructions in turn."""
    began = time.perf_counter()
    try:
        with flushed():
            peer = kind.make(policy, instructions)
            for observation in _noise(policy, instructions, len(instructions)):
                peer.tick(observation)
            seconds = time.perf_counter() - began
            for observation in _noise(policy, instructions, warm_up):
                peer.tick(observation)
    except PeerError as error:
        return Missing(kind.name, str(error))
    except Exception as error:  # noqa: BLE001 - of an exporter, a compiler, a runtime: the other peers go on
        return Missing(kind.name, _line(error))
    return Prepared(kind.name, peer, seconds)


def _noise(policy: Policy, instructions: Sequence[str], count: int) -> list[Observation]:
    size, random = policy.info.image_size, np.random.default_rng(0)
    told = [instructions[number % len(instructions)] for number in range(count)]
    images = [(random.integers(0, 256, (size, size, 3), np.uint8),) * policy.info.cameras for _ in told]
    return [
        Observation(seen, text, float(number)) for number, (seen, text) in enumerate(zip(images, told, strict=True))
    ]


def _line(error: Exception) -> str:
    """What went wrong in the first line that says something, cut where it is long."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "no more is told")
    return f"{type(error).__name__}: {said[:LINE]}"
