"""One tick of the policy, in order: image -> pixels -> visual tokens -> selection -> decoder -> action."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..settings import SettingError
from .actions.drafts import NO_DRAFT, Draft, Drafter, Match, exact, within
from .actions.speculative import Decoded, Rules, plain, verified
from .actions.tokens import ACTION_NAMES, ActionSpace
from .decoding.cuda_graphs import make_passes
from .decoding.decoder import Decoder
from .decoding.kv_cache import Slots
from .decoding.runner import Prefill, Scored
from .device import find_device, find_dtype
from .errors import ActionError, CheckpointError
from .families.openvla import read_config
from .model.backbones import find_backbone
from .model.checkpoint import Checkpoint, Progress, load_checkpoint, parameters
from .model.preprocess import Preprocessor, patches
from .model.prompt import MAX_TEXT, Encoder, Prompt, Prompter
from .model.quantise import check_quantisation
from .observation import Observation, check_observation
from .result import Result, Stopwatch, drafts, reuse
from .reuse.adaptive import Activity, adapt
from .reuse.choice import choose, prepare
from .reuse.episode import NEW_EPISODE, Episode
from .reuse.layers import layer_entropy, plan, taper_layer
from .reuse.scores import Attention
from .reuse.selection import Patches, Selection, all_fresh
from .tunables import Tunables

PROBE_IDS = tuple(range(8))  # any text serves to see whether the image matters


@dataclass(frozen=True)
class PolicyInfo:
    """What a loaded policy is: its backbone, sizes, action and statistics."""

    vision_backbone_id: str
    image_size: int
    grid: tuple[int, int]  # rows, columns
    visual_tokens: int
    cameras: int
    action_names: tuple[str, ...]
    action_dim: int
    chunk: int
    state_names: tuple[str, ...]
    unnorm_key: str
    unnorm_keys: tuple[str, ...]
    parameters: int
    device: str
    dtype: str


class Policy:
    """A vision-language-action policy whose visual keys and values live on between ticks. Not thread-safe."""

    def __init__(
        self,
        preprocess: Preprocessor,
        prompter: Prompter,
        actions: ActionSpace,
        tunables: Tunables | None,
        checkpoint: Checkpoint,
        graphs: bool | None = None,
    ) -> None:
        network, config = checkpoint.network, checkpoint.config
        self._network, self._prompter, self._actions, self._preprocess = network, prompter, actions, preprocess
        weight = network.language_model.lm_head.weight
        self._device = weight.device
        tower = network.vision_backbone.featurizer.config
        self.llama, self.towers = config.llama, network.vision_backbone.configs
        self._patch = tower.patch
        others = 1 + MAX_TEXT + len(ACTION_NAMES)
        self._slots = Slots(
            config.llama, config.cameras * tower.grid**2, others, 3 * tower.patch**2, weight.device, weight.dtype
        )
        decoder = Decoder(network.language_model, self._slots, MAX_TEXT)
        with torch.inference_mode():
            self._passes, self._eager = make_passes(
                network, preprocess, decoder, self._slots, config.bos_id, actions.first_id, graphs
            )
        self.info = PolicyInfo(
            vision_backbone_id=config.vision_backbone_id,
            image_size=config.image_size,
            grid=(tower.grid, tower.grid),
            visual_tokens=self._slots.visual,
            cameras=config.cameras,
            action_names=ACTION_NAMES,
            action_dim=len(ACTION_NAMES),
            chunk=1,
            state_names=(),
            unnorm_key=actions.key,
            unnorm_keys=actions.keys,
            parameters=parameters(network),
            device=str(weight.device),
            dtype=str(weight.dtype).removeprefix("torch."),
        )
        self.set_tunables(tunables or Tunables.default(self.info.visual_tokens))
        self._drafter = Drafter(len(ACTION_NAMES), actions.first_id, actions.last_id)
        self.match: Match | None = None  # a rule of when a draft counts, in place of the tunables': for benchmarks
        self._asked: tuple[str, Prompt] | None = None
        self._attention: Attention | None = None  # of the tick before
        self._layer_entropy: NDArray[np.float64] | None = None  # [L], of the tick before, where it is needed
        self._unsettled = False
        self._episode = Episode()
        self._begin(NEW_EPISODE)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        unnorm_key: str | None = None,
        preprocess: str = "resize",
        tunables: Tunables | None = None,
        encoder: Encoder | None = None,
        graphs: bool | None = None,
        quantisation: str = "none",
        progress: Progress = lambda done, total: None,
    ) -> Policy:
        """Load an OpenVLA-layout folder; raises CheckpointError, DeviceError or SettingError: one line, valid choices.

        unnorm_key: data set of the action statistics, None or empty where there is one. encoder: prompt -> token ids
        that begin with BOS, in place of the folder's tokenizer.json. tunables: None for those of config/policy.yaml,
        budgets in proportion to the number of visual tokens. graphs: fixed shapes, on CUDA as graphs captured here;
        None: only on CUDA. quantisation: "int8" for the decoder's weights in 8 bits. progress: told bytes done and due.
        """
        path = Path(folder).expanduser()
        where = find_device(device)
        kind = find_dtype(dtype, where)
        check_quantisation(quantisation, where)
        config = read_config(path)
        towers = find_backbone(config.vision_backbone_id)
        return cls(  # what is cheap to check comes before the weights are read
            preprocess=Preprocessor(config.image_size, towers, preprocess, where, kind),
            prompter=Prompter(config, encoder, path),
            actions=ActionSpace(config.action_vocabulary, config.norm_stats, unnorm_key),
            tunables=tunables,
            checkpoint=load_checkpoint(path, config, where, kind, quantisation, progress),
            graphs=graphs,
        )

    def set_tunables(self, tunables: Tunables) -> None:
        """Use what is `fitting` of `tunables` from the next tick on; SettingError if a budget is above the tokens."""
        fitting = self.fitting(tunables)
        self.check(fitting)
        self._tunables = fitting

    def fitting(self, tunables: Tunables) -> Tunables:
        """Return `tunables` as this policy can run them; unchanged, the same object.

        Passes of fixed shapes do not taper: on a GPU a row costs next to nothing.
        """
        return replace(tunables, taper_rows=0) if tunables.taper_rows and not self._passes.tapers else tunables

    def check(self, tunables: Tunables) -> None:
        """Raise SettingError unless this policy can run `tunables` as they are."""
        tunables.check_budgets(self.info.visual_tokens)
        if self.fitting(tunables) is not tunables:
            cause = "passes of fixed shapes compute every fresh token in all layers"
            raise SettingError(f"taper_rows {tunables.taper_rows}: {cause}: valid is 0")

    def reset(self) -> None:
        """Begin a new episode: the next tick computes everything."""
        self._begin(NEW_EPISODE)

    @torch.inference_mode()
    def infer(self, observation: Observation) -> Result:
        """Run one tick.

        Raises ObservationError (the policy is as before) or ActionError (the next tick computes everything).
        """
        check_observation(observation, self.info.cameras, self.info.state_names)
        if self._asked is None or self._asked[0] != observation.instruction:
            self._asked = (observation.instruction, self._prompter(observation.instruction))
        try:
            return self._tick(observation, self._asked[1])
        except BaseException:  # whatever it was, the slots may be half written
            self._slots.clear()
            self._episode.reason, self._unsettled = "the tick before failed", False
            raise

    @torch.inference_mode()
    def settle(self) -> None:
        """Compute the attention scores for the next tick; call it after publishing, else the next `infer` does."""
        if self._unsettled:
            self._unsettled = False
            attention = self._passes.attention()  # [L, M, N]
            self._attention = Attention(attention.mean(0).cpu().numpy())
            prepare(self._attention, self._tunables)
            grows = self._tunables.growth_by_layer
            self._layer_entropy = layer_entropy(attention.cpu().numpy()) if grows else None

    @torch.inference_mode()
    def logits(self, image: NDArray[np.uint8], ids: tuple[int, ...]) -> Tensor:
        """Logits [V] of the first action token; all cameras see `image`; ids without BOS; begins a new episode."""
        self._begin(NEW_EPISODE)
        frames = self._preprocess.frames([image] * self.info.cameras)
        visual = self._passes.see(frames)
        hidden = self._eager.states(visual, self._rows(all_fresh(len(visual)), ids, NO_DRAFT))[0]
        self._begin(NEW_EPISODE)
        return self._network.language_model.lm_head(hidden).float()

    def self_test(self) -> None:
        """Raise CheckpointError unless a black and a white image give different logits; begins a new episode."""
        size = self.info.image_size
        black, white = (self.logits(np.full((size, size, 3), level, np.uint8), PROBE_IDS) for level in (0, 255))
        if not bool((black - white).abs().max() > 0):  # also when a logit is not a number
            raise CheckpointError("a black and a white image give the same logits: the policy does not see")

    @torch.inference_mode()
    def warm_up(self, ticks: int = 2) -> None:
        """Run ticks over noise so that the first real one is as fast as the others; begins a new episode."""
        noise = np.random.default_rng(0)
        size = self.info.image_size
        self._begin(NEW_EPISODE)
        for number in range(ticks):
            image = noise.integers(0, 256, (size, size, 3), np.uint8)
            with contextlib.suppress(ActionError):  # what it would do does not matter here
                self._tick(Observation((image,) * self.info.cameras, "", float(number)), Prompt(PROBE_IDS, ()))
            self.settle()
        self._begin(NEW_EPISODE)

    def _begin(self, reason: str) -> None:
        self._episode.begin(reason)
        self._slots.invalidate()
        self._activity = Activity()
        self._forget_text()

    def _forget_text(self) -> None:
        """Drop what the text of the tick before has left: its attention, and drafts of actions that it asked for."""
        self._drafter.forget()
        self._attention = self._layer_entropy = None
        self._unsettled = False

    def _tick(self, observation: Observation, prompt: Prompt) -> Result:
        watch = Stopwatch(self._device)
        self._passes.rows.clear()
        if interruption := self._episode.interruption(observation, self._tunables.max_gap):
            self._begin(interruption)
        if self._episode.follow(observation):
            self._forget_text()
        frames = self._preprocess.frames(observation.images)
        watch.lap("preprocess")
        visual = self._passes.see(frames)
        watch.lap("vision")
        self.settle()
        now = Patches.of(patches(frames, self._patch))
        tunables = self._tunables
        if tunables.adaptive:
            tunables = adapt(tunables, self._activity, self._slots.visual)
        choice = choose(now, self._slots, self._attention, self._episode, tunables, visual)
        watch.lap("select")
        draft = NO_DRAFT if self._tunables.drafts == "off" else self._drafter.propose()
        first = self._passes.prefill(visual, self._rows(choice.selection, prompt.ids, draft))
        watch.lap("prefill")
        decoded = self._decode(first, prompt.ids, draft, watch.start)
        actions = self._actions.decode(decoded.tokens)
        watch.lap("decode")
        self._slots.commit(choice.selection.fresh, now, visual, choice.selection.deep)
        result = Result(
            actions=actions,
            tokens=decoded.tokens,
            token_entropy=decoded.entropy,
            drafts=drafts(decoded),
            reuse=reuse(choice, self._slots.deep_age),
            timings=watch.timings(),
            decoder_passes=decoded.passes,
            decoder_rows=tuple(self._passes.rows),
            text_rows=len(prompt.ids),
            unknown_words=prompt.unknown,
            tick=self._episode.tick,
        )
        self._episode.advance()
        static_share = float(choice.selection.static.mean()) if choice.reason is None else 1.0
        if self._activity.observe(static_share, decoded.entropy, actions[0]) and tunables.adaptive:
            self._episode.restart_schedule()
        self._unsettled = True
        return result

    def _rows(self, selection: Selection, ids: tuple[int, ...], draft: Draft) -> Prefill:
        """What the prefill computes: where VLA-Cache's reused set grows, every token at first."""
        growth = self._growth(selection)
        fresh = np.arange(self._slots.visual) if growth else np.flatnonzero(selection.fresh)
        deep = selection.deep & selection.fresh
        if not growth and not np.array_equal(deep, selection.fresh):
            growth = {taper_layer(self._tunables.taper_from, self._slots.layers): np.flatnonzero(~deep)}
        return Prefill(fresh, ids, draft.ids, not self._slots.start_valid, growth)

    def _decode(self, first: Scored, ids: tuple[int, ...], draft: Draft, began: float) -> Decoded:
        """Decode the tokens; first: what the last row of the prompt `ids` and the drafts behind it put out."""
        tunables = self._tunables
        position = 1 + self._slots.visual + len(ids)
        if tunables.drafts == "off":
            return plain(self._passes, first, position, len(ACTION_NAMES))
        rules = Rules(
            match=self.match or (within(tunables.draft_tolerance) if tunables.drafts == "bounded" else exact),
            margin=0.0 if self.info.dtype == "float32" else tunables.draft_margin,
            deadline=began + tunables.deadline if tunables.drafts == "anytime" else math.inf,
        )
        return verified(self._passes, first, ids[-1], position, self._drafter, draft, rules)

    def _growth(self, selection: Selection) -> dict[int, NDArray[np.int64]]:
        """Tokens reused from each layer on, where the layer schedule is VLA-Cache's; empty for the constant one."""
        if self._layer_entropy is None or self._attention is None or selection.fresh.all():
            return {}
        reused = np.flatnonzero(~selection.fresh)
        return plan(reused[np.argsort(self._attention.mass[reused], kind="stable")], self._layer_entropy)
