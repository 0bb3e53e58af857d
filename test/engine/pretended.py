"""A second GPU where there is none: tensors that say they lie there, and a torch.cuda that notes who was current."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

GPU, CPU = torch.device("cuda", 1), torch.device("cpu")


class OnGPU(TorchFunctionMode):
    """Every tensor says that it lies on GPU, and lies in host memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func` in host memory."""
        if func == torch.Tensor.device.__get__:
            return GPU
        if func == torch.Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return True
        named = {name: _here(value) for name, value in (kwargs or {}).items() if name != "pin_memory"}
        return func(*map(_here, args), **named)


def _here(value: Any) -> Any:
    return CPU if isinstance(value, torch.device) else value


class CUDA:
    """Stands in for torch.cuda: `made` is what was made or done, each with the number of the device that got it."""

    def __init__(self) -> None:
        self.current = 0
        self.made: list[tuple[str, int]] = []
        self.fault: Exception | None = None  # what synchronize raises

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it in torch.cuda's place."""
        names = ("device", "stream", "graph", "current_stream", "synchronize", "graph_pool_handle")
        for name in names:
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
        monkeypatch.setattr(torch.cuda, "Stream", self.current_stream)
        monkeypatch.setattr(torch.cuda, "Event", self._event)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", self._graph)

    def taken(self) -> dict[str, set[int]]:
        """The devices of each kind of thing since this was asked last."""
        made, self.made = self.made, []
        return {kind: {device for one, device in made if one == kind} for kind, _ in made}

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        """Make it the current one."""
        before, self.current = self.current, self._number(device)
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        """Work in a stream, and on its device."""
        with self.device(torch.device("cuda", stream.number)):
            yield

    @contextlib.contextmanager
    def graph(self, graph: Any, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        """Capture into `graph` what runs in `stream`."""
        self._note("capture", stream.number)
        with self.stream(stream):
            yield

    def current_stream(self, device: torch.device | None = None) -> Any:
        """A stream of the device, of the current one where none is named."""
        number = self._note("stream", self._number(device))
        return SimpleNamespace(number=number, wait_stream=lambda other: None, synchronize=self._doer("wait", number))

    def synchronize(self, device: torch.device | None = None) -> None:
        """Wait for a device, or hear that it failed."""
        self._note("wait", self._number(device))
        if self.fault is not None:
            raise self.fault

    def graph_pool_handle(self) -> int:
        """Memory that graphs share."""
        return self._note("pool", self.current)

    def _event(self, enable_timing: bool) -> Any:
        record = lambda: self._note("event", self.current)  # noqa: E731
        return SimpleNamespace(record=record, synchronize=lambda: None, elapsed_time=lambda other: 1.0)

    def _graph(self) -> Any:
        self._note("graph", self.current)
        return SimpleNamespace(replay=lambda: self._note("replay", self.current))

    def _doer(self, kind: str, number: int) -> Callable[[], int]:
        return lambda: self._note(kind, number)

    def _number(self, device: torch.device | None) -> int:
        return self.current if device is None or device.index is None else device.index

    def _note(self, kind: str, number: int) -> int:
        self.made.append((kind, number))
        return number
