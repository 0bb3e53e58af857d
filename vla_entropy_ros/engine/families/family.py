"""What a model family tells of a checkpoint: the seam between the engine and a kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..decoding.sequence import Layout
from ..files import Progress, no_progress
from ..model.prompt import Encoder, Prompt
from .description import Description

if TYPE_CHECKING:  # they bring torch, which takes seconds, and a folder may be refused before
    from ..actions.head import Head
    from ..decoding.runner import Network
    from ..device import Placement
    from ..model.preprocess import Preprocessor

Config = Mapping[str, Any]


@dataclass(frozen=True)
class LoadOptions:
    """How a folder is loaded; unnorm_key: data set of the action statistics, empty where there is one.

    preprocess: "resize" or "centre_crop". encoder: prompt -> token ids that begin with BOS, in place of the folder's
    tokenizer. progress: told bytes done and due.
    """

    where: Placement
    unnorm_key: str = ""
    preprocess: str = "resize"
    encoder: Encoder | None = None
    progress: Progress = no_progress


@dataclass(frozen=True)
class Model:
    """One loaded policy as its family describes it: the parts that a tick goes through, in their order, and its facts.

    preprocess: images -> frames -> pixels; prompt: instruction -> ids; network: pixels and state -> rows, decoder;
    layout: which position holds what, and which row sees which; head: states -> actions. grid: rows and columns of one
    camera's visual tokens; patch: pixels along a side of one; vision_flops: true operations before the decoder, for one
    camera; action_names: of each column of an action [chunk, A] in SI units; tokens: action tokens of a tick,
    0 where actions are regressed; state_names: the robot's state that it needs, in order; action_range: least and
    greatest value of each column in SI units, as the statistics of the data set tell them, None where nothing does;
    remarks: a line each about what of the folder was left aside.
    """

    family: str
    backbone: str
    preprocess: Preprocessor
    prompt: Callable[[str], Prompt]
    network: Network
    layout: Layout
    head: Head
    where: Placement
    cameras: int
    grid: tuple[int, int]
    patch: int
    parameters: int
    vision_flops: int
    action_names: tuple[str, ...]
    chunk: int = 1
    tokens: int = 0
    state_names: tuple[str, ...] = ()
    unnorm_key: str = ""
    unnorm_keys: tuple[str, ...] = ()
    action_range: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    remarks: tuple[str, ...] = ()


class Family(Protocol):
    """Knows one kind of checkpoint folder."""

    name: str

    def recognises(self, config: Config) -> bool:
        """Whether config.json is of this family."""
        ...

    def visual_tokens(self, folder: Path) -> int:
        """Visual tokens of all cameras, without loading any weights; raises CheckpointError."""
        ...

    def describe(self, folder: Path) -> Description:
        """What the folder holds and what of it is refused, without loading any weights."""
        ...

    def load(self, folder: Path, options: LoadOptions) -> Model:
        """Load the folder; raises CheckpointError, DeviceError: one line with the valid choices."""
        ...
