"""`vla-entropy bench --device`: run the benchmark and write gpu.json and gpu.png."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ... import __version__
from ...engine.device import find_device, find_dtype
from ...resources import share_path
from . import chart, run
from .replay import expected_passes, measured_passes, share_of
from .shapes import find_shape

SAID = (
    "Weights are random; drafts are held to be right by chance, at the rate that gives the passes per tick measured on "
    "the small policy. Latency depends on neither."
)
FIGURES = (
    "one_pass_floor_ms", "one_pass_floor_8_bits_ms", "peak_memory_gb", "ratios", "generate_agrees", "drafts",
)  # fmt: skip


def measure_device(
    console: Console, folder: Path, device: str, shape: str, ticks: int, warm_up: int, passes: float | None
) -> dict[str, Any]:
    """Measure and write into `folder`; EngineError or ValueError in one line. passes: None for docs/bench.json's."""
    from ...progress import bar

    where = find_device(device)
    dtype = find_dtype("bfloat16" if where.type == "cuda" else "float32", where)
    target = passes if passes is not None else measured_passes(_measurement())
    share = share_of(target)
    plan = run.Plan(find_shape(shape), where, dtype, ticks, warm_up, share, graphs=True)
    with bar(console, "measuring", len(run.ROWS)) as (shown, task):
        found = run.measure_rows(plan, lambda: shown.advance(task))
    content = {
        "about": about(where) | {"dtype": str(dtype).removeprefix("torch."), "shape": shape},
        "ticks": ticks, "warm_up": warm_up, "note": SAID,
        "drafts": {"measured_passes": target, "share_that_holds": round(share, 4),
                   "expected_passes": round(expected_passes(share), 3)},
        **found,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(content, indent=1) + "\n")
    chart.plot(content, folder / "gpu.png", title(content))
    return content


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


def about(device: torch.device) -> dict[str, Any]:
    """Device and versions."""
    cuda = device.type == "cuda"
    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name(device) if cuda else f"CPU, {torch.get_num_threads()} threads",
        "memory_gb": round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1) if cuda else None,
        "system": platform.platform(),
    }


def _measurement() -> Path:
    try:
        return share_path("docs/bench.json")
    except FileNotFoundError:
        raise ValueError("docs/bench.json is not installed: give --passes") from None
