"""Device and number type by name."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from .errors import DeviceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def find_device(name: str) -> torch.device:
    """Device called `name` ("cpu", "cuda", "cuda:<index>", "auto"); raises DeviceError that lists those here."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    if name in ("cpu", *cuda, *(["cuda"] if cuda else [])):
        return torch.device(name)
    raise DeviceError(f"device {name!r} is not available: available are {', '.join(['auto', 'cpu', *cuda])}")


def find_dtype(name: str) -> torch.dtype:
    """Number type called `name`; raises DeviceError that lists the valid ones."""
    if name not in DTYPES:
        raise DeviceError(f"dtype {name!r} is not valid: valid are {', '.join(DTYPES)}")
    return DTYPES[name]


class Upload:
    """A buffer on `device` with a twin in host memory, pinned for CUDA, that is filled and sent."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._staging = torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")
        self.host: NDArray[Any] = self._staging.numpy()
        self.device = torch.zeros(shape, dtype=dtype, device=device)

    def send(self, count: int) -> None:
        """Copy the first `count` rows, in stream order; the host may write them again once that is done."""
        self.device[:count].copy_(self._staging[:count], non_blocking=True)
