"""What the figures were measured with: versions, device, driver, and the clocks under load."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ... import __version__

ASKED = (
    "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.draw", "power.limit",
    "temperature.gpu",
)  # fmt: skip
SIDE, PRODUCTS = 8192, 400  # of the load under which clocks are read: about half a second


def about(device: torch.device) -> dict[str, Any]:
    """Device and versions."""
    cuda = device.type == "cuda"
    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "triton": _version("triton"),
        "transformers": _version("transformers"),
        "device": torch.cuda.get_device_name(device) if cuda else f"CPU, {torch.get_num_threads()} threads",
        "memory_gb": round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1) if cuda else None,
        "nvidia_smi": _under_load(device) if cuda else None,
        "system": platform.platform(),
    }


def _under_load(device: torch.device) -> dict[str, str] | None:
    """Driver and clocks while the device multiplies."""
    one = torch.randn(SIDE, SIDE, device=device, dtype=torch.float16)
    out = torch.empty_like(one)
    for _ in range(PRODUCTS):
        torch.mm(one, one, out=out)
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)  # from torch 2.4 on
    found = nvidia_smi(f"GPU-{uuid}") if uuid else None
    torch.cuda.synchronize(device)
    return found


def nvidia_smi(uuid: str) -> dict[str, str] | None:
    """What nvidia-smi tells of that device, None where it is absent or tells nothing; only asks, never sets."""
    command = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader", f"--id={uuid}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(ASKED, values, strict=True)) if len(values) == len(ASKED) else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
