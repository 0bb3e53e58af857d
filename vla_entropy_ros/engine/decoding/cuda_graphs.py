"""Passes of fixed shapes: captured as CUDA graphs at configure, the same code without capture elsewhere.

Rows are padded in front to a bucket; padding is written to a scratch slot that nothing sees. All slots are attended to,
under the mask of each row's position. The last TAIL rows are those that put something out. A tick uploads from pinned
memory and waits once for the selection and once per decoder pass, whose result decides what the next one computes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import Upload
from ..model.checkpoint import Network
from ..model.preprocess import Preprocessor
from .decoder import Decoder
from .kv_cache import Slots
from .runner import EagerPasses, Passes, Prefill, Scored, score, scored

TAIL = 8  # rows of output: a prompt row and up to six drafts, rounded up
EXTENSIONS = (1, TAIL)  # rows of a pass of action tokens: plain decoding, verification
FINE, COARSE, TURN = 16, 32, 256  # prefill buckets: multiples of FINE up to TURN rows, of COARSE above
PROBES = (32, 64)  # text rows of a captured attention probe; longer prompts are probed eagerly
WARM_UP = 2  # runs before a capture: libraries choose kernels and allocate workspaces in them
SOURCE, TOKEN, POSITION, SLOT, QUERY = range(5)  # columns of a pass's plan

_log = logging.getLogger(__name__)


def buckets(most: int) -> tuple[int, ...]:
    """Numbers of rows that a prefill of at most `most` is padded to, ascending."""
    fine = range(FINE, min(most + FINE, TURN + 1), FINE)
    return (*fine, *range(TURN + COARSE, most + COARSE, COARSE))


class Graph:
    """A function over fixed tensors; captured once and replayed where `pool` is one, else called each time."""

    def __init__(self, body: Callable[[], None], pool: Any) -> None:
        self._run = body
        if pool is None:
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                body()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            body()
        self._run = graph.replay

    def __call__(self) -> None:
        """Run it on the tensors as they are now."""
        self._run()


class StaticPasses:
    """`Passes` over fixed buffers, see the module; `capture` needs CUDA."""

    tapers = False

    def __init__(
        self, network: Network, preprocess: Preprocessor, decoder: Decoder, slots: Slots, eager: EagerPasses,
        first_action: int, capture: bool,
    ) -> None:  # fmt: skip
        self._network, self._preprocess, self._decoder, self._slots = network, preprocess, decoder, slots
        self._eager, self._first, self.rows = eager, first_action, eager.rows
        self.captured = capture
        self._pool = torch.cuda.graph_pool_handle() if capture else None
        device = decoder.positions.device
        most = slots.count
        self._margins = eager.margins
        self._visual = torch.zeros_like(slots.embeddings)  # [N, D]
        self._change = torch.zeros(slots.visual, device=device)
        self._plan = Upload((buckets(most)[-1], 5), torch.int64, device)
        self._scores = torch.zeros(TAIL, 3, device=device)
        self._host_scores = torch.zeros(TAIL, 3, pin_memory=device.type == "cuda")
        cameras = slots.visual // network.vision_backbone.configs[0].grid ** 2
        self._frames = Upload((cameras, preprocess.size, preprocess.size, 3), torch.uint8, device)
        with torch.inference_mode():
            self._capture(most)

    def _capture(self, most: int) -> None:
        """Prepare every graph a tick may need; the plan is all padding meanwhile."""
        self._pad(self._plan.host)
        self._plan.send(len(self._plan.host))
        self._seen = Graph(self._see, self._pool)
        sizes = tuple(reversed(buckets(most)))  # the largest first: the others fit into its memory
        self._prefills = {size: Graph(self._pass(size, True), self._pool) for size in sizes}
        self._extensions = {size: Graph(self._pass(size, False), self._pool) for size in EXTENSIONS}
        shape = (self._slots.layers, max(PROBES), self._slots.visual)
        self._attention = torch.zeros(shape, device=self._visual.device)
        self._probes = {size: Graph(self._probe(size), self._pool) for size in PROBES}

    def see(self, frames: NDArray[np.uint8]) -> Tensor:
        """See `Passes`; the change of the tokens since their slots were computed is measured along the way."""
        self._frames.host[...] = frames
        self._frames.send(len(frames))
        self._seen()
        self._slots.measured = self._change
        return self._visual

    def prefill(self, visual: Tensor, rows: Prefill) -> Scored:
        """See `Passes`; a growing reused set has no fixed shape and runs eagerly."""
        if rows.growth:
            return self._eager.prefill(visual, rows)
        if visual is not self._visual:
            self._visual.copy_(visual)
        first_text, ids = 1 + len(visual), [*rows.text, *rows.draft.tolist()]
        count = int(rows.start) + len(rows.fresh) + len(ids)
        size = next(size for size in reversed(self._prefills) if size >= count)
        plan = self._plan.host[:size]
        self._pad(plan)
        body = plan[size - count + rows.start : size - len(ids)]
        body[:, SOURCE] = rows.fresh
        body[:, POSITION] = body[:, SLOT] = 1 + rows.fresh
        if rows.start:
            plan[size - count] = (-1, self._eager.start, 0, 0, self._decoder.text)
        self._tokens(plan[size - len(ids) :], ids, first_text)
        text = plan[size - len(ids) : size - len(rows.draft)]
        text[:, QUERY] = np.arange(len(rows.text))
        self._decoder.kept = (first_text, len(rows.text))
        return self._run(self._prefills[size], size, count, 1 + len(rows.draft))

    def extend(self, ids: Sequence[int], position: int) -> Scored:
        """See `Passes`."""
        size = next(size for size in EXTENSIONS if size >= len(ids))
        plan = self._plan.host[:size]
        self._pad(plan)
        self._tokens(plan[size - len(ids) :], ids, position)
        return self._run(self._extensions[size], size, len(ids), len(ids))

    def attention(self) -> Tensor:
        """See `Passes`; valid until the next call."""
        count = self._decoder.kept[1]
        size = next((size for size in PROBES if size >= count), None)
        if size is None:
            return self._eager.attention()
        self._probes[size]()
        return self._attention[:, :count]

    def _pad(self, plan: NDArray[np.int64]) -> None:
        """Make every row of the plan padding: at BOS's position, written where nobody looks."""
        plan[:] = (-1, 0, 0, self._slots.count, self._decoder.text)

    def _tokens(self, plan: NDArray[np.int64], ids: Sequence[int], position: int) -> None:
        plan[:, TOKEN] = ids
        plan[:, POSITION] = plan[:, SLOT] = np.arange(position, position + len(ids))

    def _run(self, graph: Graph, size: int, count: int, out: int) -> Scored:
        self._plan.send(size)
        graph()
        self._host_scores.copy_(self._scores, non_blocking=True)
        if self._scores.is_cuda:
            torch.cuda.current_stream().synchronize()
        self.rows.append(count)
        return scored(self._host_scores[TAIL - out :])

    def _see(self) -> None:
        pixels = self._preprocess.normalise(self._frames.device)
        self._visual.copy_(self._network.visual_tokens(pixels).flatten(0, 1))
        self._change.copy_(self._slots.change(self._visual))

    def _pass(self, size: int, keep: bool) -> Callable[[], None]:
        """One pass of `size` rows by the plan; its last rows are scored."""
        llama, out = self._network.language_model, min(size, TAIL)

        def body() -> None:
            source, token, position, slot, query = self._plan.device[:size].unbind(1)
            seen = self._visual.index_select(0, source.clamp_min(0))
            rows = torch.where((source >= 0)[:, None], seen, llama.embed(token))
            states = self._decoder.fixed(rows, position, slot, query if keep else None, out)
            self._scores[TAIL - out :].copy_(score(llama.lm_head(states), self._first, self._margins))

        return body

    def _probe(self, size: int) -> Callable[[], None]:
        def body() -> None:
            self._attention[:, :size].copy_(self._decoder.attention_of(1 + self._slots.visual, size))

        return body


def make_passes(
    network: Network, preprocess: Preprocessor, decoder: Decoder, slots: Slots, start: int, first_action: int,
    graphs: bool | None,
) -> tuple[Passes, EagerPasses]:  # fmt: skip
    """Passes for this device, and the eager ones behind them.

    graphs: fixed shapes, captured on CUDA; None: only there. Where the capture fails, a warning, and eager passes.
    """
    eager = EagerPasses(network, preprocess, decoder, start, first_action)
    cuda = decoder.positions.is_cuda
    if not (cuda if graphs is None else graphs):
        return eager, eager
    try:
        return StaticPasses(network, preprocess, decoder, slots, eager, first_action, cuda), eager
    except RuntimeError as error:
        _log.warning("CUDA graphs are not used, ticks run eagerly: %s", " ".join(str(error).split()))
        return eager, eager
