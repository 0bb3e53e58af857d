"""Device and number type by name; where weights go, how data gets there, and how long it takes."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from .errors import DeviceError, DeviceLostError
from .tunables import DTYPE_BYTES, load_setting

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_BYTES}
GB = 1e9
BFLOAT16_FROM = (8, 0)  # compute capability: Ampere
FP8_FROM = (8, 9)  # Ada
TRITON_FROM = (7, 0)  # Volta


@dataclass(frozen=True)
class Placement:
    """Where weights go, and as what; quantisation: "int8" for the decoder's in 8 bits, "none" to leave them."""

    device: torch.device
    dtype: torch.dtype
    quantisation: str = "none"


def find_placement(device: torch.device, dtype: str, quantisation: str) -> Placement:
    """Placement on `device` by names; raises DeviceError or SettingError that lists those which are valid there."""
    kind = find_dtype(dtype, device)
    load_setting("quantisation").check(quantisation)
    check_quantisation(quantisation, device)
    return Placement(device, kind, quantisation)


def find_device(name: str) -> torch.device:
    """Device called `name` ("cpu", "cuda", "cuda:<index>", "auto"); raises DeviceError that lists those here."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    if name in ("cpu", *cuda, *(["cuda"] if cuda else [])):
        return torch.device(name)
    raise DeviceError(f"device {name!r} is not available: available are {', '.join(['auto', 'cpu', *cuda])}")


def find_dtype(name: str, device: torch.device | None = None) -> torch.dtype:
    """Number type called `name`; raises DeviceError that lists the valid ones, on `device` where it is given."""
    valid = [kind for kind in DTYPES if kind != "bfloat16" or _has_bfloat16(device)]
    if name not in valid:
        raise DeviceError(
            f"dtype {name!r} is not valid{f' on {device}' if name in DTYPES else ''}: valid are {', '.join(valid)}"
        )
    return DTYPES[name]


def _has_bfloat16(device: torch.device | None) -> bool:
    return device is None or device.type != "cuda" or torch.cuda.get_device_capability(device) >= BFLOAT16_FROM


def half_dtype(device: torch.device) -> torch.dtype:
    """The number type of 16 bits that suits `device`."""
    return torch.bfloat16 if _has_bfloat16(device) else torch.float16


def name_of(dtype: torch.dtype) -> str:
    """The name by which `find_dtype` finds it."""
    return str(dtype).removeprefix("torch.")


def check_quantisation(name: str, device: torch.device) -> None:
    """Raise DeviceError unless `device` can multiply in what `name` stands for."""
    if name != "fp8" or device.type != "cuda" or torch.cuda.get_device_capability(device) >= FP8_FROM:
        return
    has = _dotted(torch.cuda.get_device_capability(device))
    raise DeviceError(
        f"quantisation 'fp8' needs compute capability {_dotted(FP8_FROM)}, {device} has {has}: valid are none, int8"
    )


@functools.cache
def kernels_available(device: torch.device) -> str | None:
    """Why Triton's kernels cannot run on `device`, in a few words with what helps; None where they can."""
    if device.type != "cuda":
        return "Triton's kernels need CUDA"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (pip install triton)"
    if (capability := torch.cuda.get_device_capability(device)) < TRITON_FROM:
        return f"Triton needs compute capability {_dotted(TRITON_FROM)}, this GPU has {_dotted(capability)}"
    if reason := _no_compiler():
        return reason
    try:
        with torch.cuda.device(device):
            importlib.import_module("triton.runtime").driver.active.get_current_target()  # builds what starts kernels
    except Exception as error:  # noqa: BLE001 - of Triton, a compiler, a driver: whatever it is, no kernel runs
        return f"Triton does not start here ({type(error).__name__}: {' '.join(str(error).split())})"
    return None


def _no_compiler() -> str | None:
    """What Triton lacks to build what starts its kernels; it looks for a compiler in the same order."""
    chosen = os.environ.get("CC")
    if chosen is not None and shutil.which(chosen) is None:
        return f"CC={chosen} is no compiler here, and Triton needs one (unset CC, or name gcc or clang)"
    if chosen is None and not (shutil.which("gcc") or shutil.which("clang")):
        return "there is no C compiler, which Triton needs (apt-get install gcc libc6-dev)"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    if not (header := Path(sysconfig.get_paths(scheme)["include"], "Python.h")).exists():
        return f"{header} is missing, which Triton needs (apt-get install python3-dev)"
    return None


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def check_memory(need: int, device: torch.device, instead: Mapping[str, int]) -> None:
    """Raise DeviceError if `need` bytes are more than is free on a CUDA device.

    instead: bytes that are needed with other settings; the line says which of them fit, or which needs least.
    """
    if device.type != "cuda" or need <= (free := free_memory(device)):
        return
    line = f"{need / GB:.1f} GB of GPU memory are needed, {free / GB:.1f} GB are free on {device}"
    less = {settings: size for settings, size in instead.items() if size < need}
    fits = [f"{settings} needs {size / GB:.1f} GB" for settings, size in less.items() if size <= free]
    if fits:
        line += f"; what fits: {', or '.join(fits)}"
    elif less:
        least = min(less, key=less.__getitem__)
        line += f"; even {least} needs {less[least] / GB:.1f} GB: free some, or use a larger GPU"
    raise DeviceError(line)


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on a CUDA device, what torch holds in reserve among them."""
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reserve


@contextlib.contextmanager
def active(device: torch.device) -> Iterator[None]:
    """Make `device` the current one of this thread: what names none, a stream or an event, is then of this one."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            yield
    else:
        yield


@contextlib.contextmanager
def guarded(device: torch.device, undo: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Work with `device` `active`; where that fails, `undo` what is half done.

    Raises what failed, or DeviceLostError where the device fails in undoing, too: after an illegal memory access, say,
    every call of the process does.
    """
    try:
        with active(device):
            yield
    except DeviceLostError:
        raise
    except BaseException as error:
        try:
            with active(device):
                undo()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
        except RuntimeError as another:
            first = error if isinstance(error, RuntimeError) else another
            cause = next(iter(str(first).splitlines()), type(first).__name__)  # what follows is advice on debugging
            raise DeviceLostError(
                f"the device {device} failed: {cause}; only a new process helps: restart this one"
            ) from error
        raise


class Upload:
    """A buffer on `device` with a twin in host memory, pinned for CUDA, that is filled and sent."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._staging = torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")
        self.host: NDArray[Any] = self._staging.numpy()
        self.device = torch.zeros(shape, dtype=dtype, device=device)

    def send(self, count: int) -> None:
        """Copy the first `count` rows, in stream order; the host may write them again once that is done."""
        self.device[:count].copy_(self._staging[:count], non_blocking=True)


class Stopwatch:
    """Times the stages of a tick; on CUDA by events in the stream, so that nothing waits at their boundaries."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._stages: list[str] = []
        self.start = time.perf_counter()
        self._marks = [self._mark()]

    def lap(self, stage: str) -> None:
        """End the stage of that name."""
        self._stages.append(stage)
        self._marks.append(self._mark())

    def timings(self) -> dict[str, float]:
        """Seconds of all stages by name; `total` runs on the host's clock from construction to now."""
        total = time.perf_counter() - self.start
        between = zip(self._stages, self._marks, self._marks[1:], strict=False)
        return {stage: self._seconds(one, other) for stage, one, other in between} | {"total": total}

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, one: Any, other: Any) -> float:
        if not self._cuda:
            return float(other - one)
        other.synchronize()  # long past: the tokens have been waited for
        return float(one.elapsed_time(other)) * 1e-3
