"""What resizing a camera's image costs a tick, Pillow's way and ours, and by how much the two differ.

python -m tools.resize                   # at the cameras' usual sizes, for a policy of 224 x 224 pixels
python -m tools.resize --size 384 --repeats 50

The two take turns on one thread, so the ratio is of one run. Milliseconds are the least of all repeats: what other work
adds is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vla_entropy_ros.engine.model.resize import bicubic

SIZES = ((256, 256), (640, 480), (1280, 720), (1920, 1080), (1080, 1920), (3840, 2160))  # width, height
BLUR = 3.0  # pixels: of the noise that stands for a camera's picture


@dataclass(frozen=True)
class Cost:
    """One size of image: least milliseconds by Pillow and by ours, largest difference in grey levels, share of it."""

    width: int
    height: int
    pillow: float
    ours: float
    difference: int
    share: float


def pillow(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The reference."""
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def pictures(height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Images [H, W, 3] to compare on: noise, only black and white, and blurred with hard edges."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    yield noise
    yield np.where(noise < 128, 0, 255).astype(np.uint8)
    smooth: Any = cv2.GaussianBlur(noise, (0, 0), BLUR).astype(np.int64)
    yield np.clip((smooth - 128) * 8 + 128, 0, 255).astype(np.uint8)


def costs(size: int, repeats: int) -> Iterator[Cost]:
    """What is measured, size by size."""
    for width, height in SIZES:
        seen = list(pictures(height, width))
        apart = [np.abs(pillow(image, size).astype(int) - bicubic(image, size)) for image in seen]
        taken: dict[Callable[..., Any], list[float]] = {pillow: [], bicubic: []}
        for _ in range(repeats):
            for function, times in taken.items():
                began = time.perf_counter()
                function(seen[-1], size)
                times.append(1e3 * (time.perf_counter() - began))
        largest, share = max(int(one.max()) for one in apart), float(np.mean([np.mean(one > 0) for one in apart]))
        theirs, ours = (min(taken[function]) for function in (pillow, bicubic))
        yield Cost(width, height, theirs, ours, largest, share)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="pixels of the policy's image")
    parser.add_argument("--repeats", type=int, default=30)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| image | Pillow [ms] | ours [ms] | x | largest difference | share of values |\n|---|---|---|---|---|---|")
    for cost in costs(asked.size, asked.repeats):
        print(
            f"| {cost.width} x {cost.height} | {cost.pillow:.2f} | {cost.ours:.2f} | {cost.pillow / cost.ours:.1f} "
            f"| {cost.difference} | {cost.share:.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
