"""The peer: transformers' `generate` over a policy's own weights, as a user of the original code runs it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..engine import ActionError, Observation, Policy, Timings
from ..engine.actions.token_head import TokenHead
from ..engine.device import Stopwatch
from ..engine.families import Model
from ..engine.model.llama import Llama
from ..engine.model.network import Network
from ..engine.result import Drafts
from .ticks import Sample

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Generated:
    """What one tick of `Generate` gave: token ids, rows of its prefill, text rows among them, time of each stage."""

    tokens: tuple[int, ...]
    rows: int
    text_rows: int
    timings: Timings


def can_generate(policy: Policy) -> bool:
    """Whether a policy is a causal decoder of tokens behind visual tokens and text, its weights as they are stored."""
    model = policy.model
    plain = model.layout.nothing_ahead and not model.layout.state and model.where.quantisation == "none"
    return plain and isinstance(model.head, TokenHead) and isinstance(model.network, Network)


class Generate:
    """Greedy `LlamaForCausalLM.generate` with its defaults (growing cache, sdpa) behind the policy's own towers.

    The towers run eagerly, one after the other, in the same operations as timm's, which the original code runs. No
    weight is stored twice: the decoder of transformers holds the policy's own.
    """

    def __init__(self, policy: Policy) -> None:
        """Build the decoder; imports transformers, which takes seconds. policy: one that `can_generate`."""
        model = policy.model
        assert isinstance(model.network, Network)
        self._model, self._network = model, model.network
        self._llama: Any = sharing(model.network.language_model, model.where.device)
        self._prompt: tuple[str, Tensor] = ("", torch.empty(0))

    def warm_up(self, ticks: int) -> None:
        """Run ticks over noise, so that the first real one is as fast as the others."""
        size, noise = self._model.preprocess.size, np.random.default_rng(0)
        for number in range(ticks):
            images = (noise.integers(0, 256, (size, size, 3), np.uint8),) * self._model.cameras
            self.tick(Observation(images, "pick up the red cube", float(number)))

    def sample(self, observation: Observation, number: int) -> Sample:
        """Figures of tick `number` of an episode; raises ActionError where it has no valid action."""
        return sample_of(self.tick(observation), self._model, number)

    @torch.inference_mode()
    def tick(self, observation: Observation) -> Generated:
        """Token ids for one observation, less where the end token comes first, and the time of each stage."""
        model, text = self._model, self._text(observation.instruction)
        start = len(model.layout.start)
        watch = Stopwatch(model.where.device)
        frames = model.preprocess.frames(observation.images)
        watch.lap("preprocess")
        visual = self._network.projector(self._features(model.preprocess.pixels(frames))).flatten(0, 1)
        watch.lap("vision")
        watch.lap("select")

        def first_pass(*_: object) -> None:
            watch.lap("prefill")
            hook.remove()

        hook = self._llama.register_forward_hook(first_pass)
        embedded = self._network.language_model.embed(text)
        rows = torch.cat((embedded[:start], visual, embedded[start:]))[None]
        ids = self._llama.generate(
            inputs_embeds=rows,
            attention_mask=torch.ones(rows.shape[:2], dtype=torch.long, device=rows.device),
            max_new_tokens=model.tokens,
            do_sample=False,
            pad_token_id=0,  # never used by one sequence; without it, a line in the log at every tick
        )
        tokens = tuple(ids[0].tolist())
        watch.lap("decode")
        return Generated(tokens, rows.shape[1], len(text) - start, Timings(**watch.timings()))

    def _text(self, instruction: str) -> Tensor:
        """Ids of the start tokens and the text, kept for as long as the instruction stays."""
        if self._prompt[0] != instruction:
            ids = (*self._model.layout.start, *self._model.prompt(instruction).ids)
            self._prompt = (instruction, torch.tensor(ids, device=self._model.where.device))
        return self._prompt[1]

    def _features(self, pixels: Tensor) -> Tensor:
        vision = self._network.vision_backbone
        first = vision.featurizer(pixels[:, :3])
        if vision.fused_featurizer is None:
            return first
        return torch.cat((first, vision.fused_featurizer(pixels[:, 3:])), dim=-1)


def sample_of(made: Generated, model: Model, number: int) -> Sample:
    """Figures of tick `number` of an episode, in which everything was computed, one token per pass.

    Raises ActionError where its tokens are no action.
    """
    assert isinstance(model.head, TokenHead)
    count, visual = len(made.tokens), model.layout.visual
    if count < model.tokens:
        raise ActionError(f"{model.tokens} action tokens are needed, the end token came after {count}")
    return Sample(
        timings=made.timings,
        actions=tuple(map(tuple, model.head.space.decode(made.tokens).tolist())),
        tokens=made.tokens,
        drafts=Drafts(0, 0, (), count, ()),
        decoder_passes=count,
        decoder_rows=(made.rows, *(1,) * (count - 1)),
        text_rows=made.text_rows,
        slots=made.rows,
        outputs=1,
        others=len(model.layout.start),
        visual=visual,
        fresh=visual,
        age_mean=0.0,
        age_max=0,
        tick=number,
    )


def sharing(llama: Llama, device: torch.device) -> LlamaForCausalLM:
    """Transformers' Llama whose weights are the same tensors as ours."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = asdict(llama.config)
    rope = {"rope_type": "default", "rope_theta": shape.pop("rope_theta")}
    tied = shape.pop("tied")
    config = LlamaConfig(**shape, tie_word_embeddings=tied, rope_parameters=rope)
    with torch.device("meta"):
        made = LlamaForCausalLM(config)
    made.requires_grad_(False).load_state_dict(llama.state_dict(), assign=True)
    with torch.device(device):
        made.model.rotary_emb = type(made.model.rotary_emb)(made.config)  # no weights: they are not stored
    return made.eval()
