"""`vla-entropy bench --device`: run the benchmark; gpu.json is whole at every moment, pictures beside it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ...engine.device import active, find_device, find_dtype
from ...resources import share_path
from . import chart, run, trained
from .check import BenchmarkError
from .figures import ratios
from .machine import about
from .replay import TOKENS, expected_passes, measured_passes, share_of
from .shapes import find_shape

SAID = (
    "Weights are random, drafts are held to be right by chance; latency depends on neither. Passes per tick are those "
    "measured on the small policy (docs/bench.json, float32), and the second looks that it takes here with this dtype "
    "and quantisation, at draft_margin, over the shipped bag. The rows look at near ties again by the same rule; "
    "near_ties is the share of their rows that random logits put within draft_margin."
)
GIVEN = "Weights are random, drafts are held to be right by chance, as often as gives the passes that were asked for."
PARTS = ("rows", "failed", "one_pass_floor_ms", "memory_gb", "passes_ms", "drafts", "parts_us")  # what comes bit by bit
FIGURES = ("one_pass_floor_ms", "memory_gb", "passes_ms", "ratios", "drafts")


class Report:
    """The output folder, written after each part that comes."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self._folder = folder
        self.content = {"complete": False, **content, **{name: {} for name in PARTS}, "ratios": {}}
        self._profiles: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.write()

    def add(self, found: dict[str, Any]) -> None:
        """Merge a part of the content, and write."""
        self._profiles |= found.pop("profile", {})
        for name, value in found.items():
            self.content[name] = self.content[name] | value if name in PARTS else value
        self.content["ratios"] = ratios(self.content)
        self.write()

    def write(self) -> None:
        """Write gpu.json, and the profile where there is one; a reader never sees half a file."""
        _replace(self._folder / "gpu.json", json.dumps(self.content, indent=1, allow_nan=False) + "\n")
        if self._profiles:
            text = "\n\n".join(f"{name}\n{table}" for name, table in self._profiles.items())
            _replace(self._folder / "gpu-profile.txt", text + "\n")

    def finish(self) -> None:
        """Draw what was measured; BenchmarkError if a row failed."""
        if self.content["rows"]:
            chart.plot(self.content, self._folder / "gpu.png", title(self.content))
        if any(any(kinds.values()) for kinds in self.content["passes_ms"].values()):
            chart.plot_passes(self.content, self._folder / "gpu-rows.png", title(self.content))
        if self.content["failed"]:
            causes = "; ".join(f"{name}: {cause}" for name, cause in self.content["failed"].items())
            raise BenchmarkError(f"not what an eager policy computes: {causes}")
        self.content["complete"] = True
        self.write()


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def measure_device(
    console: Console, folder: Path, device: str, shape: str, ticks: int, warm_up: int, passes: float | None,
    dtype: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure and write into `folder`; EngineError or ValueError in one line.

    passes: None for docs/bench.json's; dtype: None for bfloat16 on CUDA, float32 elsewhere.
    """
    if passes is not None and not 1.0 <= passes <= TOKENS:
        raise ValueError(f"passes {passes:g}: valid is 1 to {TOKENS}, one for each token")
    where = find_device(device)
    kind = find_dtype(dtype or ("bfloat16" if where.type == "cuda" else "float32"), where)
    with active(where):  # streams, waits and kernels of what is measured name no device
        plan = run.Plan(find_shape(shape), where, kind, ticks, warm_up, partial(_drafts, passes, where, kind))
        report = Report(folder, {
            "about": about(where) | {"dtype": str(kind).removeprefix("torch."), "shape": shape},
            "ticks": ticks, "warm_up": warm_up, "note": SAID if passes is None else GIVEN,
        })  # fmt: skip
        for found in run.Bench(plan).measure():
            for name, row in found.get("rows", {}).items():
                console.print(chart.line(name, row), highlight=False, soft_wrap=True)
            for name, cause in found.get("failed", {}).items():
                console.print(f"{name}: failed: {cause}", highlight=False, soft_wrap=True)
            report.add(found)
        report.finish()
        return report.content


def _drafts(passes: float | None, device: torch.device, dtype: torch.dtype, quantisation: str) -> dict[str, Any]:
    """How often a draft holds so that a tick takes `passes`, and where they come from."""
    told: dict[str, Any] = {}
    if passes is None:
        small = trained.second_looks(device, dtype, quantisation)
        told = {"measured_passes": measured_passes(_measurement()), "small_policy": small}
        passes = told["measured_passes"] + small["passes"] - small["passes_without_second_looks"]
    share = share_of(passes)
    return {**told, "expected_passes": round(expected_passes(share), 3), "share_that_holds": round(share, 4)}


def show(console: Console, content: dict[str, Any], folder: Path) -> None:
    """Print the table and the figures below it."""
    console.print(chart.table(content, title(content)))
    for name in FIGURES:
        console.print(f"{name}: {json.dumps(content[name])}", highlight=False)
    console.print(f"{content['note']}\nwritten to {folder}", highlight=False)


def title(content: dict[str, Any]) -> str:
    """Say what was measured, where, in one line."""
    machine = content["about"]
    rate = f"copy {content['bandwidth_tb_s']} TB/s, product {content['product_tflop_s']} TFLOP/s"
    return f"shape {machine['shape']}, {machine['dtype']}, {machine['device']}, torch {machine['torch']}; {rate}"


def _measurement() -> Path:
    try:
        return share_path("docs/bench.json")
    except FileNotFoundError:
        raise ValueError("docs/bench.json is not installed: give --passes") from None
