"""A runner of fixed shapes: captured as CUDA graphs at configure, the same code without capture elsewhere.

Rows are padded in front to a bucket; padding is written to a scratch slot that nothing sees. All slots are attended to,
under a mask by what each row sees. A tick uploads from pinned memory and waits once per decoder pass, whose result
decides what the next one computes; where the selection can't be left to the device, also once for that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..device import Upload, kernels_available, name_of
from ..files import one_line
from .choosing import CHOSEN, Answering, Chooser, Question
from .decoder import Decoder, Sight
from .kv_cache import ALIGNMENT
from .runner import EagerRunner, Embedded, Endpoints, Runner, Table
from .sequence import EMBEDDED, RowPlan

FINE, COARSE, TURN = 16, 32, 256  # prefill buckets: multiples of FINE up to TURN rows, of COARSE above
TILE, WORTHWHILE = 128, 8  # rows that products compute at once; drafts for which they are worth another tile
PROBES = (32, 64)  # text rows of a captured attention probe; longer prompts are probed eagerly
WARM_UP = 2  # runs before a capture: libraries choose kernels and allocate workspaces in them
HALF, LEAST_HEAD = 2, 16  # bytes of a number, channels of a head that fused kernels can do with
SOURCE, TOKEN, POSITION, SLOT, SEEN, QUERY, BRANCH, AREA = COLUMNS = range(8)  # of an uploaded plan

_log = logging.getLogger(__name__)


class Step(Protocol):
    """What embeds and runs the rows of a pass; see `Decoder`."""

    def embed(self, source: Tensor, token: Tensor, inputs: Tensor, /) -> Tensor:
        """Rows [R, D]."""
        ...

    def run(
        self, x: Tensor, position: Tensor, slot: Tensor, sight: Sight, tail: int, query: Tensor | None = None, /
    ) -> Tensor:
        """States [tail, D] of the last rows."""
        ...


Drift = Callable[[Tensor], Tensor]  # visual tokens [N, D] -> their change [N] since they were computed last


def buckets(most: int, least: int = 1) -> tuple[int, ...]:
    """Numbers of rows that a prefill of `least` to `most` is padded to, ascending."""
    fine = range(FINE, min(most + FINE, TURN + 1), FINE)
    sizes = (*fine, *range(TURN + COARSE, most + COARSE, COARSE))
    return tuple(size for size in sizes if size >= least)


class Graph:
    """A function over fixed tensors; captured once and replayed where there is a `Captures`, else called each time."""

    def __init__(self, body: Callable[[], None], captures: Captures | None) -> None:
        self._body = body  # holds what it reads: a graph knows the addresses alone
        self._run = body if captures is None else captures.capture(body)

    def __call__(self) -> None:
        """Run it on the tensors as they are now."""
        self._run()


class Captures:
    """What the captures of a runner share: their memory, and a stream whose workspaces all of them use."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """Capture `body`; returns its replay."""
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                body()
        graph = torch.cuda.CUDAGraph()
        # thread_local: what other threads ask of CUDA meanwhile, an image that is uploaded, does not spoil it
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            body()
        torch.cuda.current_stream().wait_stream(stream)
        graph.replay()  # the first launch brings it to the device
        return graph.replay


class CUDAGraphRunner:
    """A `Runner` over fixed buffers, see the module; `capture` needs CUDA.

    drift: measured in the graph that embeds the images, so that the host need not wait for it a second time.
    """

    narrows = False

    def __init__(
        self, ends: Endpoints, eager: EagerRunner, drift: Drift, capture: bool, step: Step | None = None
    ) -> None:
        """step: what embeds and runs the rows, in place of the eager runner's decoder."""
        self._ends, self._eager, self._drift = ends, eager, drift
        self._step = step or eager.decoder
        self.kind = "graphs" if capture else "fixed shapes"
        if step:
            self.kind += ", fused kernels"
        self._decoder, self.rows, self.captured = eager.decoder, eager.rows, capture
        layout, cache = self._decoder.layout, self._decoder.cache
        device, dtype = cache.keys.device, cache.keys.dtype
        width = ends.network.language_model.config.hidden_size
        sizes = buckets(layout.slots, ends.tail)
        self._frames = Upload(ends.frames, torch.uint8, device)
        self._state = Upload((ends.state,), torch.float32, device)
        self._inputs = torch.zeros(layout.inputs, width, device=device, dtype=dtype)
        self._change = torch.zeros(layout.visual, device=device)
        self._plan = Upload((len(COLUMNS), sizes[-1]), torch.int64, device)  # a pass has the last rows of each column
        padding = (EMBEDDED, 0, 0, cache.count, 1, self._decoder.no_query, 0, 0)
        self._padding = np.array(padding)[:, None]  # of each column
        table = ends.readout(torch.zeros(ends.tail, width, device=device, dtype=dtype))
        self._table = torch.zeros_like(table, dtype=torch.float32)
        self._host_table = torch.zeros(table.shape, pin_memory=device.type == "cuda")
        self._attention = torch.zeros(cache.layers, max(PROBES), layout.visual, device=device)
        self._information = torch.zeros_like(self._attention[0])
        pool = Captures() if capture else None
        self._embed = Graph(self._embed_all, pool)
        self._chooser = Chooser(self._change)
        self.chooses = layout.nothing_ahead
        self._rank, self._fill = Graph(self._chooser.rank, pool), Graph(self._fill_plan, pool)
        # the largest first: the others fit into its memory
        self._prefills = {size: Graph(self._pass(size, True), pool) for size in reversed(sizes)}
        self._extensions = {size: Graph(self._pass(size, False), pool) for size in ends.extensions}
        probed = [size for size in PROBES if layout.nothing_ahead and size <= layout.text]
        decoder = self._decoder
        looks = ((decoder.text_attention, self._attention), (decoder.text_information, self._information))
        self._probes = [{size: Graph(self._probe(size, *look), pool) for size in probed} for look in looks]

    def embed_images(self, frames: NDArray[np.uint8], state: NDArray[np.float64]) -> Embedded:
        """See `Runner`."""
        self._frames.host[...], self._state.host[...] = frames, state
        self._frames.send(len(frames))
        self._state.send(len(state))
        self._embed()
        choose = self._choose if self.chooses else None
        return Embedded(self._inputs[: self._decoder.layout.visual], self._inputs, self._change, choose)

    def _choose(self, question: Question) -> Answering:
        """See `Embedded`."""
        self._chooser.send(question)
        self._rank()
        return self._chooser.fetch()

    def run(self, plan: RowPlan, embedded: Embedded | None = None) -> Table:
        """See `Runner`; a pass that leaves rows out has no fixed shape and runs eagerly."""
        if plan.narrow:
            return self._eager.run(plan, embedded)
        if embedded is not None and embedded.inputs is not self._inputs:
            self._inputs.copy_(embedded.inputs)
        graphs = self._prefills if plan.words else self._extensions
        count = len(plan)
        size = min(size for size in graphs if size >= count)
        host = self._plan.host
        self._clear(host)
        rows = host[:, host.shape[1] - count :]
        rows[SOURCE], rows[TOKEN], rows[POSITION], rows[SLOT] = plan.source, plan.token, plan.position, plan.slot
        rows[QUERY], rows[SEEN], rows[BRANCH] = plan.query(self._decoder.no_query), plan.seen, plan.branch
        host[AREA] = plan.area
        if plan.open:
            visual = (plan.source >= 0) & (plan.source < self._decoder.layout.visual)
            rows[SOURCE][visual] = CHOSEN - plan.source[visual]
        if plan.words:
            self._eager.prompt = plan
        self._plan.send(len(COLUMNS))
        if plan.open:
            self._fill()
        graphs[size]()
        self._host_table.copy_(self._table, non_blocking=True)
        if self._table.is_cuda:
            torch.cuda.current_stream(self._table.device).synchronize()
        self.rows.append(count)
        return self._host_table[-plan.out :].numpy().astype(np.float64)

    def room(self, rows: int, most: int, /) -> int:
        """See `Runner`; up to the next multiple of TILE, within which a row costs next to nothing."""
        left = -rows % TILE
        return min(most, left if left >= WORTHWHILE else left + TILE)

    def text_attention(self) -> Tensor:
        """See `Runner`."""
        words = self._probed(0)
        return self._attention[:, :words] if words else self._eager.text_attention()

    def text_information(self) -> Tensor:
        """See `Runner`."""
        words = self._probed(1)
        return self._information[:words] if words else self._eager.text_information()

    def _probed(self, kind: int) -> int:
        """Run the probe of that kind which has room for the last prompt's text; its words, 0 where there is none."""
        plan, probes = self._eager.prompt, self._probes[kind]
        assert plan is not None
        size = next((size for size in probes if size >= plan.words), None)
        if size is None:
            return 0
        probes[size]()
        return plan.words

    def _clear(self, plan: NDArray[np.int64]) -> None:
        """Make every row of the plan padding: it sees the first slot, and is written where nobody looks."""
        plan[:] = self._padding

    def _embed_all(self) -> None:
        """Embed the images and the state, and measure how far the visual tokens have drifted."""
        network, layout = self._ends.network, self._decoder.layout
        visual = self._inputs[: layout.visual]
        visual.copy_(network.visual_tokens(self._ends.preprocess.normalise(self._frames.device)).flatten(0, 1))
        if layout.inputs > layout.visual:
            self._inputs[layout.visual :].copy_(network.further_rows(self._state.device.to(visual.dtype)))
        self._change.copy_(self._drift(visual))

    def _fill_plan(self) -> None:
        """Put the tokens chosen into the plan."""
        plan = self._plan.device
        self._chooser.fill(plan[SOURCE], plan[POSITION : SEEN + 1])

    def _pass(self, size: int, keep: bool) -> Callable[[], None]:
        """One pass of `size` rows by the plan; what its last rows put out goes to the table."""
        decoder, out = self._decoder, min(size, self._ends.tail)
        plan = self._plan.device[:, -size:]
        source, token, position, slot, seen, query, branch, area = plan.unbind()
        empty = np.zeros(plan.shape, np.int64)
        self._clear(empty)
        plan.copy_(torch.from_numpy(empty))  # a capture runs it, before there is any other

        def body() -> None:
            x = self._step.embed(source, token, self._inputs)
            sight = Sight(seen, branch, area[:, None], decoder.cache.length)
            states = self._step.run(x, position, slot, sight, out, query if keep else None)
            table = self._ends.readout(states)
            self._table[len(self._table) - len(table) :].copy_(table)

        return body

    def _probe(self, size: int, look: Callable[[Tensor, int], Tensor], out: Tensor) -> Callable[[], None]:
        """What `look` finds of `size` text rows goes to `out` [..., M, N]."""
        layout, cache = self._decoder.layout, self._decoder.cache
        end = layout.first_text + size
        seen = torch.arange(end - size, end, device=out.device) + 1
        reach = min(-(-end // ALIGNMENT) * ALIGNMENT, cache.length)  # an odd number takes a slow product

        def body() -> None:
            out[..., :size, :].copy_(look(seen, reach))

        return body


def make_runner(ends: Endpoints, eager: EagerRunner, drift: Drift, graphs: bool | None, kernels: bool | None) -> Runner:
    """The runner for this device, `eager` where shapes are not fixed.

    graphs: fixed shapes, captured on CUDA; None: only there. kernels: fused ones; None: where they can be had. What
    fails leaves a warning, and the runner that does without.
    """
    device = eager.decoder.positions.device
    if not (device.type == "cuda" if graphs is None else graphs):
        return eager
    step = fused_step(eager.decoder) if kernels or (kernels is None and device.type == "cuda") else None
    for its_step in (step, None) if step else (None,):
        ends.network.use_kernels(its_step is not None)
        try:
            return CUDAGraphRunner(ends, eager, drift, device.type == "cuda", its_step)
        except Exception as error:  # noqa: BLE001 (those of Triton's compiler have no base of their own)
            without = "fused kernels" if its_step else "CUDA graphs, ticks run eagerly"
            _log.warning("without %s: %s", without, one_line(error))
    return eager


def fused_step(decoder: Decoder) -> Step | None:
    """The decoder in fused kernels; None, and a warning that says why, where they can't be had."""
    keys = decoder.cache.keys
    width = keys.shape[-1]
    reason: str | None
    if keys.element_size() != HALF:
        reason = f"dtype is {name_of(keys.dtype)}: they are there for bfloat16 and float16"
    elif width & (width - 1) or width < LEAST_HEAD:
        reason = f"heads of {width} channels: a power of two from {LEAST_HEAD} on is needed"
    else:
        reason = kernels_available(keys.device)  # starts Triton
    if reason:
        _log.warning("without fused kernels: %s", reason)
        return None
    from .fused import FusedDecoder  # brings Triton

    return FusedDecoder(decoder)
