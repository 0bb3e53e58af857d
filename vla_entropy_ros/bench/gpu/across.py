"""Does a device compute what the CPU does? The same weights, captured there and eager here; a matter of seconds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ...engine import EngineError
from ...engine.device import Placement, find_device
from ...engine.tunables import QUANTISATIONS
from .check import TICKS, BenchmarkError, States, Twin, compare, wrong
from .run import captured_policy, defaults
from .shapes import find_shape, moving, random_model

CPU = torch.device("cpu")


def against_cpu(device: torch.device, shape: str, dtype: torch.dtype, quantisation: str) -> dict[str, float]:
    """Figures of an `Agreement` between a captured policy on `device` and an eager one on the CPU.

    BenchmarkError if they are further apart than rounding, or graphs were not captured.
    """
    model, _ = random_model(find_shape(shape), Placement(device, dtype, quantisation), made_on=CPU)
    states, twin = States(model), random_model(find_shape(shape), Placement(CPU, dtype, quantisation))[0]
    policy = captured_policy(model, shape)
    figures = compare(policy, states, Twin(twin), list(moving(TICKS)), defaults(policy)).figures()
    if cause := wrong(figures, model.where):
        raise BenchmarkError(cause)
    return figures


def main() -> int:
    """Compare every quantisation in bfloat16 and write check.json as they come; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", default="tiny")
    parser.add_argument("--output", type=Path, required=True, help="folder of check.json")
    chosen = parser.parse_args()
    found: dict[str, object] = {}
    status = 0
    for quantisation in QUANTISATIONS:
        try:
            found[quantisation] = against_cpu(find_device(chosen.device), chosen.shape, torch.bfloat16, quantisation)
        except (EngineError, BenchmarkError) as error:
            found[quantisation], status = {"failed": str(error)}, 1
        print(f"bfloat16, {quantisation}: {found[quantisation]}", flush=True)  # noqa: T201 - a command of its own
        (chosen.output / "check.json").write_text(json.dumps(found, indent=1) + "\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
