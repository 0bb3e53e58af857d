"""Whether weights were changed in place, by what torch counts itself."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


class Watch:
    """Tensors whose changes in place are noticed; those of inference mode count none."""

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        self._tensors: list[Tensor] = []
        self._versions: list[int] = []
        self.add(tensors)

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Watch these, too, as they are now."""
        counting = [tensor for tensor in tensors if not tensor.is_inference()]
        self._tensors += counting
        self._versions += [tensor._version for tensor in counting]

    def changed(self) -> bool:
        """Whether any of them was changed since this was asked last."""
        now = [tensor._version for tensor in self._tensors]
        before, self._versions = self._versions, now
        return now != before
