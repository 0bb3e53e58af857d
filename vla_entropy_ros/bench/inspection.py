"""Why each visual token was computed or reused, tick by tick, as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..draw import (  # fmt: skip
    BACK,
    INK,
    SIZE,
    STATIC,
    Picture,
    frame_patches,
    heat,
    legend,
    overlay,
    save_picture,
    save_video,
    write,
)
from ..engine import Result
from ..engine.tunables import Tunables
from .recording import Recording

HEAD, FOOT = 30, 30  # pixels above and below a panel
SHEET_TICKS = 6
RATE = 5.0  # ticks per second of the video: slow enough to look at
PANELS = ("fresh and reused", "visual information", "attention", "age [ticks]; green: static")


def panels(image: Picture, told: str, result: Result, grid: tuple[int, int], max_age: int) -> Picture:
    """One tick [HEAD + SIZE + FOOT, 4 * SIZE, 3]: selection, visual information, attention, age and static patches.

    told: the instruction.
    """
    reuse = result.reuse
    age = heat(reuse.age.astype(np.float64).reshape(grid), 0.0, min(max_age, 20))
    frame_patches(age, reuse.static_mask.reshape(grid), STATIC, 1)
    maps = [
        overlay(image, reuse.codes.reshape(grid)),
        heat(reuse.visual_score.reshape(grid), 0.0, max(float(reuse.visual_score.max()), 1e-6)),
        heat(reuse.attention_score.reshape(grid), 0.0, max(float(reuse.attention_score.max()), 1e-6)),
        age,
    ]
    head = np.full((HEAD, 4 * SIZE, 3), BACK, np.uint8)
    foot = np.full((FOOT, 4 * SIZE, 3), BACK, np.uint8)
    for number, title in enumerate(PANELS):
        write(head, title, (number * SIZE + 10, 20))
    write(head, told, (SIZE // 3 + 10, 20), INK)
    said = f"tick {result.tick}   fresh {reuse.fresh}   reused {reuse.reused}   static {reuse.static}"
    budget = f"   k_vis {reuse.k_vis}, k_attn {reuse.k_attn}, t {reuse.t}   passes {result.decoder_passes}"
    write(foot, said + budget + (f"   all fresh: {reuse.reason}" if reuse.reason else ""), (10, 20), INK)
    legend(foot, 2 * SIZE + 10, 20)
    return np.concatenate((head, np.concatenate(maps, axis=1), foot))


def write_pictures(
    recording: Recording, results: Sequence[Result], grid: tuple[int, int], tunables: Tunables, folder: Path
) -> dict[str, str]:
    """Write inspect.mp4 (a frame per tick) and inspect.png (some ticks) into `folder`; returns the paths by kind."""

    def frames(numbers: Sequence[int]) -> Iterator[Picture]:
        for number in numbers:
            told = recording.instructions[number]
            yield panels(recording.images[number], told, results[number], grid, tunables.max_age)

    folder.mkdir(parents=True, exist_ok=True)
    chosen = np.unique(np.linspace(0, len(results) - 1, SHEET_TICKS).round().astype(int)).tolist()
    save_picture(np.concatenate(list(frames(chosen))), folder / "inspect.png")
    save_video(frames(range(len(results))), folder / "inspect.mp4", RATE)
    return {"picture": str(folder / "inspect.png"), "video": str(folder / "inspect.mp4")}


def tick_figures(recording: Recording, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Instruction and counts of each tick."""
    return [
        {
            "tick": result.tick,
            "instruction": told,
            "fresh": result.reuse.fresh,
            "reused": result.reuse.reused,
            "static": result.reuse.static,
            "by_visual": result.reuse.by_visual,
            "by_attention": result.reuse.by_attention,
            "k_vis": result.reuse.k_vis,
            "k_attn": result.reuse.k_attn,
            "age_max": int(result.reuse.age.max()),
            "passes": result.decoder_passes,
            "reason": result.reuse.reason,
        }
        for told, result in zip(recording.instructions, results, strict=True)
    ]
