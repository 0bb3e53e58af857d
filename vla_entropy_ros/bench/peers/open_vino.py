"""The peer: OpenVINO in float32 or bfloat16, vision and decoder as graphs whose shapes are all fixed.

Of the decoder these were tried over 40 images of the shipped policy, one thread, prefill + decode [ms] in float32
and in bfloat16, beside 16.4 + 12.5 of the policy's own plain path:

* keys and values handed on from run to run: 12.7 + 15.4 and 9.3 + 16.8
* a stateful model: 12.7 + 12.4 and 7.7 + 11.7
* a prompt of any length, rows in slots by its own attention operator: 13.9 + 8.2 and 10.5 + 8.0
* **a graph per length of the prompt, rows in slots by products and a softmax: 11.4 + 6.1 and 7.3 + 6.6**

All of them under `flushed`; without it the stateful one takes 15.2 + 14.4 and 9.7 + 13.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...engine import Policy
from ...engine.model.network import Network
from .graphs import FirstPass, NextPass, Vision
from .stepwise import PeerError, Pieces, Stepwise

PRECISIONS = {"f32": "FP32", "bf16": "BF16"}  # as a hint, and as a capability of the processor


class OpenVino(Stepwise):
    """The whole policy behind its image's preparation, in graphs read from torch; one thread."""

    precision = "f32"

    def __init__(self, policy: Policy, instructions: Sequence[str]) -> None:
        """Convert and compile, a graph for each length of a prompt; raises PeerError where something is missing."""
        super().__init__(policy, instructions)
        try:
            import openvino
        except ImportError as error:
            raise PeerError(f"{error.name} is not installed: make peers, or pip install openvino") from None
        self._core = openvino.Core()
        if PRECISIONS[self.precision] not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise PeerError(f"this processor has no {self.precision}: run it on one that has AVX-512 BF16 or AMX")
        model, network = self._model, self._model.network
        assert isinstance(network, Network)
        size = model.preprocess.size
        pixels = model.preprocess.pixels(np.zeros((model.cameras, size, size, 3), np.uint8))
        self._vision = self._compiled(Vision(network), (pixels,))
        first, step = (kind(model, self.slots).eval() for kind in (FirstPass, NextPass))
        visual = torch.zeros(model.layout.visual, first.config.hidden_size)
        self._first = {n: self._compiled(first, (torch.zeros(n).long(), visual)) for n in self.lengths}
        self._slots = [value.numpy() for value in step.empty()]
        one = torch.zeros(1).long()
        self._step = self._compiled(step, (one, one, *step.empty()))
        self._token, self._position = np.zeros(1, np.int64), np.zeros(1, np.int64)
        for number, value in enumerate((self._token, self._position, *self._slots)):
            self._step.set_input_tensor(number, openvino.Tensor(value, shared_memory=True))
        self._best, *self._new = (self._step.get_output_tensor(n).data for n in range(1 + len(self._slots)))

    @torch.no_grad()
    def _compiled(self, module: nn.Module, given: tuple[Tensor, ...]) -> Any:
        """A request of `module` for inputs of the shapes of `given`."""
        import openvino

        converted = openvino.convert_model(module, example_input=given)
        converted.reshape({put: list(one.shape) for put, one in zip(converted.inputs, given, strict=True)})
        hints = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        hints |= {"INFERENCE_PRECISION_HINT": self.precision}
        return self._core.compile_model(converted, "CPU", hints).create_infer_request()

    def see(self, pixels: Tensor) -> Any:
        """See `Stepwise`."""
        return self._vision.infer([pixels.numpy()], share_inputs=True, share_outputs=True)[0]

    def first(self, ids: Pieces, visual: Any) -> int:
        """See `Stepwise`."""
        request, count = self._first[len(ids)], len(ids) + len(visual)
        request.infer([np.array(ids), visual], share_inputs=True)
        for number, slots in enumerate(self._slots, start=1):
            slots[:, :, :count] = request.get_output_tensor(number).data
        return int(request.get_output_tensor(0).data[0])

    def step(self, token: int, position: int) -> int:
        """See `Stepwise`."""
        self._token[0], self._position[0] = token, position
        self._step.infer()
        for slots, new in zip(self._slots, self._new, strict=True):
            slots[:, :, position] = new[:, :, 0]
        return int(self._best[0])


class OpenVinoBfloat16(OpenVino):
    """The same under the hint that bfloat16 will do."""

    precision = "bf16"
