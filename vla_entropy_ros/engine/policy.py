"""One tick of the policy, in order: observe, embed, select, prefill, act, commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..settings import SettingError
from .actions.check import Agreement, Recomputation
from .actions.drafts import Draft
from .actions.head import Acted
from .actions.speculative import NO_TOKENS, Extend
from .decoding.backend import find_backend
from .decoding.cuda_graphs import make_runner
from .decoding.runner import Embedded, Endpoints, Runner, Table
from .decoding.sequence import NO_ANSWERS
from .device import Stopwatch, active, find_device, find_placement, guarded
from .errors import ActionError, CheckpointError
from .families import LoadOptions, Model, find_family
from .families.info import PolicyInfo
from .files import Progress, no_progress
from .hub import find_folder
from .model.prompt import Encoder, Prompt
from .observation import NEW_EPISODE, Observation, check_observation, noise, state_vector
from .result import Result, Timings, drafts, reuse
from .reuse.selector import Choice, Selector
from .tunables import Tunables, load_setting

PROBE_IDS = tuple(range(8))  # any text serves to see whether the image matters


class Policy:
    """A vision-language-action policy whose visual keys and values live on between ticks. Not thread-safe."""

    def __init__(
        self, model: Model, tunables: Tunables | None = None, graphs: bool | None = None, kernels: bool | None = None,
        backend: str | None = None,
    ) -> None:  # fmt: skip
        """tunables: None for those of config/policy.yaml, as far as it can run them; the others: see `load`."""
        self.model = model
        network, layout, where = model.network, model.layout, model.where
        llama = network.language_model.config
        self._backend = find_backend(backend, network.language_model, where, graphs)
        self._selector = Selector(
            layout, model.cameras, llama.num_hidden_layers, model.patch, llama.hidden_size, where.device, where.dtype,
            self._backend.library,
        )  # fmt: skip
        size = model.preprocess.size
        self._frames = np.empty((model.cameras, size, size, 3), np.uint8)
        self._ends = ends = Endpoints(
            network, model.preprocess, model.head.readout, self._frames.shape, len(model.state_names),
            model.head.rows, model.head.extensions, getattr(model.head, "scored", None),
        )  # fmt: skip
        with active(where.device), torch.inference_mode():
            self._eager = self._backend.runner(ends, layout)
            self._cache = self._eager.decoder.cache
            self._runner = make_runner(ends, self._eager, self._selector.drift, graphs, kernels)
            if where.dtype != torch.float32:  # there, rows differ by too little to change a token
                self._calibrate()
        self.info = PolicyInfo.of(model, self._runner.kind, self._backend.remark)
        self._asked: tuple[str, Prompt] | None = None
        self._last: Callable[[], None] | None = None  # what is left to do of the last tick
        self._plain: Recomputation | None = None  # made when it is asked for
        self.set_tunables(tunables or self.fitting(Tunables.default(layout.visual)))

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
        kernels: bool | None = None,
        backend: str | None = None,
        quantisation: str = "none",
        allow_download: bool = False,
        progress: Progress = no_progress,
    ) -> Policy:
        """Load a folder of any family; raises CheckpointError, DeviceError or SettingError: one line, valid choices.

        folder: a path, or org/name or org/name@revision on the hub; allow_download: bring it into the local cache.
        unnorm_key: data set of the action statistics, None or empty where there is one. encoder: prompt -> token ids
        that begin with BOS, in place of the folder's tokenizer.json. tunables: None for those of config/policy.yaml,
        budgets in proportion to the number of visual tokens. graphs: fixed shapes, on CUDA as graphs captured here;
        None: only on CUDA. kernels: fused ones in these, None: where they can be had. quantisation: the decoder's
        weights in 8 bits, "int8" or "fp8". backend: of passes on a CPU, one of BACKENDS, None: the fastest there is.
        progress: told bytes done and due.
        """
        where = find_placement(find_device(device), dtype, quantisation)
        load_setting("preprocess").check(preprocess)
        options = LoadOptions(where, unnorm_key or "", preprocess, encoder, progress)
        path = find_folder(folder, allow_download)
        with guarded(where.device):
            return cls(find_family(path).load(path, options), tunables, graphs, kernels, backend)

    @property
    def tunables(self) -> Tunables:
        """What the ticks run with."""
        return self._tunables

    @property
    def runner(self) -> Runner:
        """What executes its passes, for those who count or compare them."""
        return self._runner

    @property
    def fixed_shapes(self) -> bool:
        """Whether passes have fixed shapes, as CUDA graphs need them."""
        return not self._runner.narrows

    def set_tunables(self, tunables: Tunables) -> None:
        """Use `tunables` from the next tick on; raises SettingError unless they fit this policy."""
        self.check(tunables)
        self._tunables = tunables

    def check(self, tunables: Tunables) -> None:
        """Raise SettingError unless `tunables` fit this policy: its number of tokens, and what its passes can do."""
        tunables.check_budgets(self.info.visual_tokens)
        if self.fitting(tunables) is not tunables:
            cause = "passes of fixed shapes compute every fresh token in all layers"
            raise SettingError(f"taper_rows {tunables.taper_rows}: {cause}: valid is 0")

    def fitting(self, tunables: Tunables) -> Tunables:
        """Return `tunables` as this policy can run them, the same object where it can.

        Passes of fixed shapes do not taper: on a GPU a row costs next to nothing.
        """
        return replace(tunables, taper_rows=0) if tunables.taper_rows and self.fixed_shapes else tunables

    def reset(self, reason: str = NEW_EPISODE) -> None:
        """Begin a new episode: the next tick computes everything, because of `reason`."""
        self._last = None
        self._selector.begin(reason)
        self.model.head.forget()

    @torch.inference_mode()
    def infer(self, observation: Observation) -> Result:
        """Run one tick.

        Raises ObservationError (the policy is as before), ActionError (the next tick computes everything) or
        DeviceLostError (no tick will come of this process).
        """
        check_observation(observation, self.info.cameras, self.info.state_names)
        prompt = self._prompt(observation.instruction)
        with self._at_work():
            return self._tick(observation, prompt)

    def _prompt(self, instruction: str) -> Prompt:
        if self._asked is None or self._asked[0] != instruction:
            self._asked = (instruction, self.model.prompt(instruction))
        return self._asked[1]

    def _at_work(self) -> AbstractContextManager[None]:
        """Work on the policy's device; whatever fails, nothing that may be half written is trusted after it."""
        return guarded(self.model.where.device, self._distrust)

    def _distrust(self) -> None:
        self._last = None
        self._selector.fail()
        self._cache.clear()

    def _tick(self, observation: Observation, prompt: Prompt) -> Result:
        model, runner, selector, tunables = self.model, self._runner, self._selector, self._tunables
        layout, watch = model.layout, Stopwatch(model.where.device)
        self.settle()
        runner.rows.clear()
        if selector.observe(observation, tunables):
            model.head.forget()  # drafts of actions that the text of the tick before asked for
        frames = model.preprocess.frames(observation.images, self._frames)
        watch.lap("preprocess")
        embedded = runner.embed_images(frames, state_vector(observation, model.state_names))
        watch.lap("vision")
        draft = model.head.propose(tunables)  # while a GPU still embeds the images
        choice = selector.select(frames, embedded, tunables)
        watch.lap("select")
        others = layout.prefill_rows(len(choice.fresh), len(prompt.ids), choice.start)
        draft = draft.first(runner.room(others, len(draft)))
        table = runner.run(choice.plan(layout, prompt.ids, draft.answers), embedded)
        watch.lap("prefill")
        choice = choice.answered()
        acted = model.head.act(table, draft, prompt.ids, self._extension(prompt), tunables, watch.start)
        watch.lap("decode")
        selector.grow(choice)
        self._last = partial(self._conclude, choice, embedded)
        return Result(
            actions=acted.actions,
            tokens=acted.decoded.tokens,
            token_entropy=acted.decoded.entropy,
            drafts=drafts(acted.decoded),
            reuse=reuse(choice, selector.age),
            timings=Timings(**watch.timings()),
            decoder_passes=acted.decoded.passes,
            decoder_rows=tuple(runner.rows),
            text_rows=len(prompt.ids),
            unknown_words=prompt.unknown,
            tick=choice.tick,
        )

    @torch.inference_mode()
    def settle(self) -> None:
        """Do what the next tick needs of this one; call it after publishing, else the next `infer` does."""
        last, self._last = self._last, None
        if last is not None:
            with self._at_work():
                last()

    def _conclude(self, choice: Choice, embedded: Embedded) -> None:
        """Remember what was computed, and what the text looked at; grow what the next tick proposes."""
        self._selector.commit(choice, embedded)
        self._selector.attend(self._runner, self._tunables)
        _ = self.model.head.propose(self._tunables).answers

    @torch.inference_mode()
    def compare(self, observation: Observation, result: Result) -> Agreement:
        """How far `result`, the answer to `observation`, agrees with full recomputation; the next ticks are as without.

        Keeps a second K/V cache until `end_comparing`; raises DeviceLostError.
        """
        model, ids = self.model, self._prompt(observation.instruction).ids
        answer = Acted(result.actions, replace(NO_TOKENS, tokens=result.tokens))
        with guarded(model.where.device):
            if self._plain is None:
                runner = self._backend.runner(self._ends, model.layout)
                columns = model.action_names, model.state_names
                self._plain = Recomputation(runner, model.preprocess, model.layout, model.head, *columns)
            return self._plain.agreement(answer, observation, ids, self._tunables)

    def end_comparing(self) -> None:
        """Free what `compare` keeps."""
        self._plain = None

    @torch.inference_mode()
    def outputs(self, image: NDArray[np.uint8], ids: tuple[int, ...]) -> Tensor:
        """What the last rows of a prompt put out [R, V], logits or actions, float32; begins a new episode.

        All cameras see `image`; ids: the text, without BOS; the state is zero.
        """
        self.reset()
        layout, names = self.model.layout, self.model.state_names
        with self._at_work():
            frames = self.model.preprocess.frames([image] * self.info.cameras)
            embedded = self._runner.embed_images(frames, np.zeros(len(names)))
            plan = layout.prefill(np.arange(layout.visual), ids, NO_ANSWERS, start=True, left_out={})
            states = self._eager.states(plan, embedded)
            self.reset()
            return self.model.head.outputs(states).float()

    def self_test(self) -> None:
        """Raise CheckpointError unless a black and a white image give different outputs; begins a new episode."""
        size = self.info.image_size
        black, white = (self.outputs(np.full((size, size, 3), level, np.uint8), PROBE_IDS) for level in (0, 255))
        if not bool((black - white).abs().max() > 0):  # also when an output is not a number
            raise CheckpointError("a black and a white image give the same outputs: the policy does not see")

    @torch.inference_mode()
    def warm_up(self, ticks: int = 2) -> None:
        """Run ticks over noise so that the first real one is as fast as the others; begins a new episode."""
        random, size, cameras = np.random.default_rng(0), self.info.image_size, self.info.cameras
        self.reset()
        for number in range(ticks):
            seen = noise(random, size, cameras, self.model.state_names, float(number))
            with contextlib.suppress(ActionError), self._at_work():  # what it would do does not matter here
                self._tick(seen, Prompt(PROBE_IDS, ()))
            self.settle()
        self.reset()

    def _calibrate(self) -> None:
        """Let the head measure passes over noise: of a whole prompt first, then of a part as ticks have it."""
        layout, frames = self.model.layout, np.random.default_rng(0).integers(0, 256, self._ends.frames, np.uint8)
        embedded = self._runner.embed_images(frames, np.zeros(len(self.model.state_names)))
        self._runner.run(layout.prefill(np.arange(layout.visual), PROBE_IDS, NO_ANSWERS, True, {}), embedded)
        part = np.arange(0, layout.visual, 4)

        def prefill(draft: Draft) -> Table:
            return self._runner.run(layout.prefill(part, PROBE_IDS, draft.answers, False, {}), embedded)

        self.model.head.calibrate(prefill, self._extension(Prompt(PROBE_IDS, ())), PROBE_IDS[-1])
        self._cache.clear()

    def _extension(self, prompt: Prompt) -> Extend:
        """How the head runs tokens behind `prompt`."""
        layout, area = self.model.layout, self.model.layout.first_text + len(prompt.ids)
        return lambda rows: self._runner.run(layout.answer_rows(rows, area))
