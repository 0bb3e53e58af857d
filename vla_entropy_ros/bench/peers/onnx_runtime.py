"""The peer: ONNX Runtime in float32, vision and decoder as three graphs, keys and values in memory that stays bound.

Of the decoder these were tried over 40 images of the shipped policy, one thread, prefill + decode [ms], beside 16.4 +
12.5 of the policy's own plain path:

* keys and values in slots, attention as products and a softmax: 14.5 + 5.8
* the runtime's GroupQueryAttention, which rotates and keeps keys and values in place: **11.3 to 12.2 + 4.6**
* its MultiHeadAttention, or the exporter's attention, for the prompt: 1.4 and 1.0 more than GroupQueryAttention

Without `flushed` the prompt takes 17.8 to 19.2 with each of the three operators.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...engine import Policy
from ...engine.model.network import Network
from .graphs import Decoder, Layer, Vision
from .stepwise import PeerError, Pieces, Stepwise

OPSET, CONTRIBUTED = 17, "com.microsoft"
QUIET = 3  # of the runtime's severities: errors alone


class GroupQueryAttention(torch.autograd.Function):
    """The runtime's operator of that name in the exported graph; run by torch, it gives the right shapes alone."""

    @staticmethod
    def forward(_: Any, qkv: Tensor, keys: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Rows attended to [1, S, H hd] and the slots [1, Hkv, slots, hd] with those rows in them."""
        heads = rest[-2]
        return qkv[..., : heads * keys.shape[-1]].clone(), keys.clone(), values.clone()

    @staticmethod
    def symbolic(
        graph: Any, qkv: Any, keys: Any, values: Any, last: Any, total: Any, cos: Any, sin: Any, *heads: int
    ) -> Any:
        """The operator: packed rows, slots, position of the last row, rows in all, tables [slots, hd / 2]."""
        none = graph.op("prim::Constant")
        none.setType(torch._C.OptionalType.ofTensor())
        made = graph.op(
            f"{CONTRIBUTED}::GroupQueryAttention", qkv, none, none, keys, values, last, total, cos, sin,
            num_heads_i=heads[0], kv_num_heads_i=heads[1], do_rotary_i=1, outputs=3,
        )  # fmt: skip
        made[0].setType(qkv.type().with_sizes([1, None, None]))
        made[1].setType(keys.type())
        made[2].setType(values.type())
        return made


class GroupedPass(Decoder):
    """A pass over a prompt or over one row; keys and values of all slots come in and go out, in the same memory."""

    def forward(self, ids: Tensor, last: Tensor, total: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Token [1] and `empty`'s tensors with the rows' in them, of ids [S], last [1] and total (int32) and these.

        rest: visual tokens [N, D] first where it is a prompt. The last layer ends with one row.
        """
        prompt = len(rest) > len(self.names)
        x = self.prompt(ids, rest[0]) if prompt else self.rows(ids)
        kept, new = rest[prompt:], []
        half, config = self.config.head_dim // 2, self.config
        tables = self.cos[:, :half].contiguous(), self.sin[:, half:].contiguous()
        heads = config.num_attention_heads, config.num_key_value_heads
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            slots = kept[2 * number : 2 * number + 2]
            attended, *filled = GroupQueryAttention.apply(layer.project(x), *slots, last, total, *tables, *heads)
            new += filled
            if number == len(self.layers) - 1:
                attended, x = attended[:, -1:], x[:, -1:]
            x = layer.finish(x, attended)
        return (self.best(x), *new)


class OnnxRuntime(Stepwise):
    """The whole policy behind its image's preparation as ONNX graphs, all optimisations on, one thread."""

    def __init__(self, policy: Policy, instructions: Sequence[str]) -> None:
        """Export and load; raises PeerError where packages are missing."""
        super().__init__(policy, instructions)
        try:
            import onnx  # noqa: F401 - torch's exporter needs it for the runtime's own operators
            import onnxruntime
        except ImportError as error:
            raise PeerError(f"{error.name} is not installed: make peers, or pip install onnx onnxruntime") from None
        onnxruntime.set_default_logger_severity(QUIET)
        network, layout, size = self._model.network, self._model.layout, self._model.preprocess.size
        assert isinstance(network, Network)
        decoder = GroupedPass(self._model, self.slots).eval()
        frames = np.zeros((self._model.cameras, size, size, 3), np.uint8)
        visual = torch.zeros(layout.visual, decoder.config.hidden_size)
        ids, last, total = torch.zeros(self.lengths[0], dtype=torch.long), torch.zeros(1).int(), torch.tensor(1).int()
        kept = [f"kept_{name}" for name in decoder.names]
        into, out = ["ids", "last", "total"], ["best", *(f"new_{name}" for name in decoder.names)]
        pixels = self._model.preprocess.pixels(frames)
        self._vision = _session(Vision(network), (pixels,), ["pixels"], ["visual"])
        prompt = (ids, last, total, visual, *decoder.empty())
        first = _session(decoder, prompt, [*into, "visual", *kept], out, {"ids": {0: "S"}})
        step = _session(decoder, (ids[:1], last, total, *decoder.empty()), [*into, *kept], out)
        self._first, self._step = _Bound(first, kept, out), _Bound(step, kept, out)
        self._step.put("ids", np.zeros(1, np.int64))
        self._slots = [value.numpy() for value in decoder.empty()]
        self._first.keep(self._slots)
        self._step.keep(self._slots)

    def see(self, pixels: Tensor) -> Any:
        """See `Stepwise`."""
        return self._vision.run(None, {"pixels": pixels.numpy()})[0]

    def first(self, ids: Pieces, visual: Any) -> int:
        """See `Stepwise`."""
        self._first.put("ids", np.array(ids))
        self._first.put("visual", visual)
        return self._first.run(len(ids) + len(visual) - 1)

    def step(self, token: int, position: int) -> int:
        """See `Stepwise`."""
        self._step.values["ids"][0] = token
        return self._step.run(position)


class _Bound:
    """A graph whose inputs and outputs stay where they are, so that a run looks nothing up and copies nothing."""

    def __init__(self, session: Any, kept: Sequence[str], out: Sequence[str]) -> None:
        self._session, self._names = session, (kept, out[1:])
        self._binding = session.io_binding()
        self.values: dict[str, Any] = {}
        self.put("last", np.zeros(1, np.int32))
        self.put("total", np.zeros((), np.int32))
        self._best = np.zeros(1, np.int64)
        self._binding.bind_ortvalue_output(out[0], _shared(self._best))

    def put(self, name: str, value: Any) -> None:
        """Read an input from this array from now on."""
        self.values[name] = value
        self._binding.bind_ortvalue_input(name, _shared(value))

    def keep(self, slots: Sequence[Any]) -> None:
        """Read and write keys and values in these arrays."""
        for into, out, value in zip(*self._names, slots, strict=True):
            self._binding.bind_ortvalue_input(into, _shared(value))
            self._binding.bind_ortvalue_output(out, _shared(value))

    def run(self, last: int) -> int:
        """The token behind rows whose last one stands at that position."""
        self.values["last"][0] = last
        self.values["total"][()] = last + 1
        self._session.run_with_iobinding(self._binding)
        return int(self._best[0])


def _shared(value: Any) -> Any:
    """The runtime's value in an array's own memory."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(value)


@torch.no_grad()
def _session(module: nn.Module, given: tuple[Tensor, ...], into: list[str], out: list[str], free: Any = None) -> Any:
    """A graph of `module`, called with `given`, as the runtime runs it; free: axes that vary."""
    import onnxruntime

    made: Any = io.BytesIO()  # what the older exporter takes, and its annotation leaves out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter: that it is the older one, and what it makes constants
        torch.onnx.export(
            module, given, made, input_names=into, output_names=out, dynamic_axes=free, opset_version=OPSET,
            dynamo=False, custom_opsets={CONTRIBUTED: 1} if isinstance(module, GroupedPass) else None,
        )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = QUIET
    return onnxruntime.InferenceSession(made.getvalue(), options, providers=["CPUExecutionProvider"])
