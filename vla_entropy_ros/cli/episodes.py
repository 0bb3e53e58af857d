"""The episodes that every kind of benchmark replays: where they come from, and what is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from ..bench.recording import Recording
    from ..engine import Policy

EPISODES = 2  # of each family of tasks
EXCERPT = 24  # images of an episode in --quick
WARM_UP = 25  # ticks


def record(policy: Policy, episodes: int, seed: int, folder: Path, console: Console) -> list[Recording]:
    """Record finished episodes of every family of tasks and keep them in `folder`."""
    from ..bench import recording
    from ..sim import FAMILIES
    from .evaluate import progress

    with progress(episodes * len(FAMILIES), console) as observer:
        recordings = recording.record_finished(policy, episodes, seed, observer)
    folder.mkdir(parents=True, exist_ok=True)
    for number, recorded in enumerate(recordings):
        recording.save(recorded, folder / f"episode-{number}.npz")
    return recordings


def measured_on(policy: Policy, recordings: list[Recording]) -> dict[str, Any]:
    """What was measured, on what, over which images."""
    from ..evaluation.about import about

    return {
        "about": about(),
        "policy": {
            "visual_tokens": policy.info.visual_tokens,
            "parameters": policy.info.parameters,
            "device": policy.info.device,
        },
        "episodes": [{"images": len(recorded), "instructions": recorded.told} for recorded in recordings],
        "images": sum(map(len, recordings)),
    }
