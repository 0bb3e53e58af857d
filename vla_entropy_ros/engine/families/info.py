"""What a loaded policy is, as those see it who use it."""

from __future__ import annotations

from dataclasses import dataclass

from ..device import name_of
from ..model.quantise import widened
from .family import Model


@dataclass(frozen=True)
class PolicyInfo:
    """What a loaded policy is: its family, sizes, action, state and statistics."""

    family: str
    vision_backbone_id: str
    image_size: int
    grid: tuple[int, int]  # rows, columns
    visual_tokens: int
    cameras: int
    action_names: tuple[str, ...]
    chunk: int
    tokens: int
    state_names: tuple[str, ...]
    unnorm_key: str
    unnorm_keys: tuple[str, ...]
    action_range: tuple[tuple[float, ...], tuple[float, ...]] | None  # q01, q99 of the actions in SI units
    remarks: tuple[str, ...]  # a line each about what of the folder was left aside, or runs otherwise than asked
    parameters: int
    device: str
    dtype: str
    backend: str  # how passes run: compiled (and for what), NumPy, eager, CUDA graphs
    backend_remark: str | None  # why it is not a faster one, where nobody chose that

    @classmethod
    def of(cls, model: Model, backend: str = "eager", remark: str | None = None) -> PolicyInfo:
        """The facts of a model whose passes a backend runs; remark: a line about that, None for none."""
        same = (
            "family", "grid", "cameras", "action_names", "chunk", "tokens", "state_names", "unnorm_key", "unnorm_keys",
            "action_range",
        )  # fmt: skip
        return cls(
            vision_backbone_id=model.backbone,
            image_size=model.preprocess.size,
            visual_tokens=model.layout.visual,
            parameters=model.parameters,
            device=str(model.where.device),
            dtype=name_of(model.where.dtype),
            backend=backend,
            backend_remark=remark,
            remarks=(*model.remarks, *([line] if (line := widened(model.where)) else [])),
            **{name: getattr(model, name) for name in same},
        )
