"""What a tick is expected to take on GPUs that were not measured, from what a measured one took.

python -m tools.predict                  # the table of docs/gpu.md, from docs/gpu.json

Vision, the prompt's pass and a further pass are each taken to last as long as the roofline of the device says, and what
they took beyond it where they were measured: waiting, launches, tiles that are not full. Of its datasheet's bandwidth
and rate a device is taken to sustain as large a share as the measured one does; the host's part is taken to be the
same. The kernels that choose the tokens, which that run did not have yet, count as much each as those of a further
pass. int8 is left out where the architecture is another one: there its products are not bound by what bounds them here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_entropy_ros.bench.gpu.roofline import RATES, Roofline, one_pass, rows_of_one
from vla_entropy_ros.bench.gpu.rows import BOUNDS, FP8, INT8
from vla_entropy_ros.bench.gpu.run import weights
from vla_entropy_ros.bench.gpu.shapes import find_shape
from vla_entropy_ros.engine.cost import decoder_flops, vision_flops
from vla_entropy_ros.engine.device import FP8_FROM
from vla_entropy_ros.engine.model.network import Network

SOURCE = Path(__file__).resolve().parent.parent / "docs" / "gpu.json"
PREFILL, FURTHER = 128, 48  # rows of the prompt's pass, and of one behind it
SELECTION = 34  # kernels that choose the tokens and put them into the plan: `bench.gpu.launches.selection`
HALF = 2  # bytes of a number in bfloat16, of 4 in float32
PROFILED = {"none": "+ fused kernels", "fp8": FP8 + "ours", "int8": INT8 + "ours"}  # rows whose launches are known
NAMES = {"none": "bfloat16", "fp8": "fp8", "int8": "int8"}


@dataclass(frozen=True)
class Device:
    """A GPU by its datasheet: bandwidth [bytes/s], dense rate in bfloat16 [operations/s], compute capability."""

    name: str
    bandwidth: float
    rate: float
    capability: tuple[int, int]


MEASURED = Device("H200", 4.8e12, 989e12, (9, 0))
DEVICES = (
    MEASURED,
    Device("H100 SXM", 3.35e12, 989e12, (9, 0)),
    Device("RTX 4090", 1.01e12, 165e12, (8, 9)),
    Device("Jetson AGX Orin 64 GB", 0.205e12, 42e12, (8, 7)),
)


@dataclass(frozen=True)
class Prediction:
    """Milliseconds of a tick: by the roofline of one pass, of one pass, and of as many as the drafts leave."""

    floor: float
    one: float
    mean: float


class Predictor:
    """Parts of a tick at OpenVLA-7B's shape: their rooflines anywhere, and what they take beyond them."""

    def __init__(self, content: dict[str, Any]) -> None:
        """content: of gpu.json, measured on MEASURED."""
        self._rows, self._passes_ms = content["rows"], content["passes_ms"]
        self._shape = find_shape(content["about"]["shape"])
        vision, decoder = (HALF * size // 4 for size in weights(Network.shaped(self._shape.towers, self._shape.llama)))
        head = self._shape.llama.vocab_size * self._shape.llama.hidden_size * HALF
        narrow = (decoder + head) // 2
        self._vision, self._decoder = vision, {"none": decoder, "fp8": narrow, "int8": narrow}
        self._here = Roofline(1e12 * content["bandwidth_tb_s"], 1e12 * content["product_tflop_s"])
        self.passes = float(content["drafts"]["expected_passes"])

    def predict(self, device: Device, quantisation: str) -> Prediction:
        """A tick on `device`, weights in `quantisation`."""
        there, stages = self._sustained(device), self._rows[BOUNDS[quantisation]]["stage_ms"]
        vision = self._towers(there) + stages["vision"] - self._towers(self._here)
        first = self._pass(there, quantisation, PREFILL) + self._beyond(quantisation, "prefill", PREFILL)
        beyond = self._beyond(quantisation, "extension", FURTHER)
        further = self._pass(there, quantisation, FURTHER) + beyond
        selection = SELECTION * beyond / self._rows[PROFILED[quantisation]]["launches"]["pass"]
        one = stages["preprocess"] + vision + selection + first + stages["decode"]
        rate, read = RATES[quantisation], self._decoder[quantisation]
        floor = one_pass(there, self._shape, rows_of_one(self._shape), self._vision, read, rate)["total"]
        return Prediction(floor, one, one + (self.passes - 1) * further)

    def _sustained(self, device: Device) -> Roofline:
        bandwidth = device.bandwidth * self._here.bandwidth / MEASURED.bandwidth
        return Roofline(bandwidth, device.rate * self._here.rate / MEASURED.rate)

    def _towers(self, line: Roofline) -> float:
        """Roofline of vision [ms]."""
        return 1e3 * line.time(self._vision, vision_flops(self._shape.towers, self._shape.llama.hidden_size))

    def _pass(self, line: Roofline, quantisation: str, rows: int) -> float:
        """Roofline of a pass [ms]."""
        operations = decoder_flops(self._shape.llama, rows, 1 + self._shape.visual + self._shape.prompt)
        return 1e3 * line.time(self._decoder[quantisation], operations / RATES[quantisation])

    def _beyond(self, quantisation: str, kind: str, rows: int) -> float:
        """What a pass took beyond its roofline where it was measured [ms]."""
        took: float = self._passes_ms[quantisation][kind][str(rows)]
        return took - self._pass(self._here, quantisation, rows)


def table(content: dict[str, Any]) -> Iterator[str]:
    """Lines of the page's table."""
    predictor = Predictor(content)
    yield f"| device, weights | roofline of one pass | a tick of one pass | of {predictor.passes:.2f} passes | Hz |"
    yield "|---|---|---|---|---|"
    for device in DEVICES:
        for quantisation, name in NAMES.items():
            alike = device.capability == MEASURED.capability
            if (quantisation == "int8" and not alike) or (quantisation == "fp8" and device.capability < FP8_FROM):
                continue
            made = predictor.predict(device, quantisation)
            times = " | ".join(f"{time:.1f} ms" for time in (made.floor, made.one, made.mean))
            yield f"| {device.name}, {name} | {times} | {1e3 / made.mean:.0f} |"


if __name__ == "__main__":
    print("\n".join(table(json.loads(SOURCE.read_text()))))
