"""cv_bridge, which other ROS nodes decode by, wherever it works: tried out in a process of its own, then used."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .encodings import ENCODINGS, PLANAR, Converter, Samples, to_rgb

BRIDGED = tuple(name for name in ENCODINGS if name not in (*PLANAR, "rgb8"))  # it knows no planes; rgb8 needs nothing
AGREE = 2  # grey levels between its OpenCV and Python's
PATIENCE = 20.0  # seconds for the try-out
SOUND = "cv_bridge decodes "
TRY = "from vla_entropy_ros.images.bridge import agreeing, bridged; print('{}' + ' '.join(agreeing(bridged())))"


def find_converter(info: Callable[[str], object], warn: Callable[[str], object]) -> Converter:
    """What decodes raw images from now on, told in a line: cv_bridge where it works and agrees with cv2, else cv2.

    Takes a second where there is a cv_bridge, which is first tried in another process: built for another NumPy it may
    end the process that uses it.
    """
    ours = f"cv2 {cv2.__version__}"
    if not _there():
        info(f"raw images are decoded by {ours}: cv_bridge is not installed")
        return to_rgb
    try:
        sound = _tried()
        bridge = bridged()
        if not sound:
            raise RuntimeError("it decodes nothing as cv2 does")
    except Exception as error:  # noqa: BLE001  (whatever a broken build raises)
        warn(f"raw images are decoded by {ours}: cv_bridge does not work here ({_last_line(str(error))}): rebuild it")
        return to_rgb
    if lacking := [name for name in BRIDGED if name not in sound]:
        warn(f"{', '.join(lacking)} images are decoded by {ours}: cv_bridge fails on them or gives other colours")
    info(f"raw images are decoded by cv_bridge; {', '.join(PLANAR)} and compressed ones by {ours}")

    def convert(samples: Samples, encoding: str) -> NDArray[np.uint8]:
        if encoding in sound:
            try:
                return bridge(samples, encoding)
            except Exception as error:  # noqa: BLE001
                sound.discard(encoding)
                warn(
                    f"{encoding} images are decoded by {ours} from now on: cv_bridge failed ({_last_line(str(error))})"
                )
        return to_rgb(samples, encoding)

    return convert


def bridged() -> Converter:
    """What decodes BRIDGED by cv_bridge, which is imported here; raises whatever that raises."""
    from cv_bridge import CvBridge

    bridge = CvBridge()

    def convert(samples: Samples, encoding: str) -> NDArray[np.uint8]:
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(_plain(samples, encoding), "rgb8"))

    return convert


def _plain(samples: Samples, encoding: str) -> Any:
    """An image message without padding and in this machine's byte order: cv_bridge's Python trips over either."""
    height, width = samples.shape[:2]
    data = np.ascontiguousarray(samples)
    big, step = int(sys.byteorder == "big"), data.nbytes // height
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=big, step=step, data=data.view(np.uint8).reshape(-1)
    )


def agreeing(convert: Converter) -> list[str]:
    """Those of BRIDGED that `convert` decodes as cv2 does."""
    return [name for name in BRIDGED if _agrees(convert, name)]


def _agrees(convert: Converter, name: str) -> bool:
    encoding, noise = ENCODINGS[name], np.random.default_rng(0)
    shape = (8, 12) if encoding.samples == 1 else (8, 12, encoding.samples)
    highest = 256**encoding.depth
    samples: Samples = noise.integers(0, highest, shape, np.uint16 if encoding.depth == 2 else np.uint8)
    try:
        made = convert(samples, name)
    except Exception:  # noqa: BLE001  (an encoding that it does not know, or that its build can't convert)
        return False
    ours = to_rgb(samples, name)
    alike = made.shape == ours.shape and made.dtype == np.uint8
    return alike and int(np.abs(made.astype(int) - ours).max()) <= AGREE


def _there() -> bool:
    try:
        return importlib.util.find_spec("cv_bridge") is not None
    except (ImportError, ValueError):
        return False


def _tried() -> set[str]:
    """What agrees in a process of its own; RuntimeError says how that ended where it failed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    command = [sys.executable, "-c", TRY.format(SOUND)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    said = [line for line in ended.stdout.splitlines() if line.startswith(SOUND)]
    if ended.returncode or not said:
        raise RuntimeError(f"{ended.stderr}\nstatus {ended.returncode}" if ended.returncode < 0 else ended.stderr)
    return set(said[-1].removeprefix(SOUND).split())


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
