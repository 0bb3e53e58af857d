"""A random network with a random prompt, to decode with drafts and without."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from vla_entropy_ros.engine.actions.drafts import NO_DRAFT, Draft, Drafter
from vla_entropy_ros.engine.actions.speculative import Decoded, Rules, Scored, greedy_decode, speculative_decode
from vla_entropy_ros.engine.actions.token_head import TokenHead
from vla_entropy_ros.engine.actions.tokens import BINS, ActionSpace
from vla_entropy_ros.engine.decoding.decoder import Decoder, Sight
from vla_entropy_ros.engine.decoding.kv_cache import KVCache
from vla_entropy_ros.engine.decoding.runner import EagerRunner, Endpoints, Table
from vla_entropy_ros.engine.decoding.sequence import Answers, Layout
from vla_entropy_ros.engine.model.llama import Llama
from vla_entropy_ros.engine.model.logits import wide_logits
from vla_entropy_ros.engine.model.shapes import LlamaConfig

from .conftest import causal

COUNT, FIRST, VISUAL, TEXT, ROWS = 7, 16, 5, 3, 24
LAST = FIRST + BINS - 1
PROMPT = 1 + VISUAL + TEXT
LAST_WORD = 5  # id of the last prompt row
SPACE = ActionSpace(LAST + 1, {"": {"action": {"q01": [-1] * 7, "q99": [1] * 7}}}, None)


class Bench:
    """A random network with a random prompt, half of whose visual slots may be left from an earlier image."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32) -> None:
        random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        heads = int(random.choice([2, 4]))
        kv_heads = int(random.choice([n for n in (1, 2, 4) if heads % n == 0]))
        config = LlamaConfig(16, 24, int(random.integers(1, 4)), heads, kv_heads, vocab_size=LAST + 9)
        llama = Llama(config).requires_grad_(False).eval()
        for weight in llama.parameters():
            if weight.dim() == 2:
                weight.normal_(0, 0.5)
        self.llama = llama.to(dtype).fuse()
        self.layout = Layout((1,), VISUAL, TEXT, COUNT, area=ROWS + COUNT)
        cache = KVCache(config, self.layout.slots, torch.device("cpu"), dtype)
        self.decoder = Decoder(self.llama, cache, self.layout)
        self.head = TokenHead(SPACE, COUNT, lambda x: wide_logits(self.llama.lm_head, x), torch.finfo(dtype).eps, ROWS)
        unused = cast(Any, None)
        ends = Endpoints(unused, unused, self.head.readout, (), 0, COUNT, ())
        self.runner = EagerRunner(ends, self.decoder)
        self.rows = torch.randn(PROMPT, 16).to(dtype)
        self.rows[-1] = self.llama.embed(torch.tensor(LAST_WORD))
        self.fresh = np.concatenate(([True], random.random(VISUAL) < 0.5, [True] * TEXT))
        self.extended: list[Answers] = []
        with torch.inference_mode():
            where = torch.arange(PROMPT)
            self.decoder.run(torch.randn(PROMPT, 16).to(dtype), where, where, causal(where), tail=1)

    def prefill(self, draft: Draft) -> Table:
        """What the last prompt row and the draft put out."""
        behind = self.layout.answer_rows(draft.answers, PROMPT)
        rows = torch.cat((self.rows[self.fresh], self.llama.embed(torch.from_numpy(behind.token))))
        prompt, padding = np.flatnonzero(self.fresh), -len(rows) % 4
        none = np.zeros_like(prompt)

        def padded(*parts: NDArray[np.int64], value: int = 0) -> torch.Tensor:
            return F.pad(torch.from_numpy(np.concatenate(parts)), (padding, 0), value=value)

        seen, branch = padded(prompt + 1, behind.seen, value=1), padded(none, behind.branch)
        sight = Sight(seen, branch, PROMPT, max(PROMPT, behind.reach if len(behind) else 0))
        slot = padded(prompt, behind.slot, value=self.decoder.cache.count)
        rows, where = F.pad(rows, (0, 0, padding, 0)), padded(prompt, behind.position)
        states = self.decoder.run(rows, where, slot, sight, tail=1 + len(draft))
        return self.head.readout(states).numpy().astype(np.float64)

    def extend(self, rows: Answers) -> Table:
        """Run answers behind the prompt."""
        self.extended.append(rows)
        return self.runner.run(self.layout.answer_rows(rows, PROMPT))

    @torch.inference_mode()
    def calibrated(self) -> float:
        """Margin below which a row is looked at again."""
        self.head.calibrate(self.prefill, self.extend, LAST_WORD)
        return self.head.margin

    @torch.inference_mode()
    def plain(self) -> Decoded:
        """What counts."""
        return greedy_decode(self.extend, Scored.of(self.prefill(NO_DRAFT)), COUNT)

    @torch.inference_mode()
    def plain_behind(self, draft: Draft) -> Decoded:
        """As `plain`, with the prompt's keys and values as they are where `draft` rides behind it."""
        self.prefill(draft)
        last = self.extend(draft.answers.behind(LAST_WORD).part(0, 1))
        return greedy_decode(self.extend, Scored.of(last), COUNT)

    @torch.inference_mode()
    def verified(self, drafter: Drafter, draft: Draft, rules: Rules) -> Decoded:
        """With drafts."""
        self.extended.clear()
        return speculative_decode(self.extend, Scored.of(self.prefill(draft)), LAST_WORD, drafter, draft, rules)
