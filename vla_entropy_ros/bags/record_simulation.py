"""A bag of the simulated arm at work, made without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..engine import Policy
from ..evaluation import inprocess
from ..evaluation.configurations import named
from ..evaluation.plan import Silent, Trial
from ..images import JPEG_FORMAT, encode_jpeg
from .bag import COMPRESSED, STRING, Recorder

IMAGES, INSTRUCTION = "/image/compressed", "/instruction"
BEGIN = 1.0  # seconds: simulated time of the first image in the bag; a time of zero means "unknown" to many


def record_simulated(folder: Path, policy: Policy, task: str, seed: int, seconds: float) -> int:
    """Let the policy act in the simulator, episode after episode, and record what the camera saw; its images.

    `seconds` of simulated time are recorded; each episode has the next seed.
    """
    (full,) = named(["full"], "default", policy.info.visual_tokens)
    arm, count, begin = inprocess.SimulatedArm(policy), 0, BEGIN
    with Recorder(folder, [(IMAGES, COMPRESSED), (INSTRUCTION, STRING)]) as bag:
        while begin < BEGIN + seconds:
            trial = Trial(full, task, seed)
            (episode,) = inprocess.run_in_process(arm, [trial], Silent(), BEGIN + seconds - begin, keep_images=True)
            bag.add(INSTRUCTION, _nanoseconds(begin), bag.types.types[STRING](data=episode.instruction))
            for tick in episode.ticks:
                assert tick.image is not None
                stamp = _nanoseconds(begin + tick.stamp)
                data = np.frombuffer(encode_jpeg(tick.image), np.uint8)
                bag.add(IMAGES, stamp, bag.types.types[COMPRESSED](_header(bag, stamp), JPEG_FORMAT, data))
            count += len(episode.ticks)
            begin, seed = begin + episode.duration, seed + 1
    arm.close()
    return count


def _header(bag: Recorder, stamp: int) -> Any:
    time = bag.types.types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    return bag.types.types["std_msgs/msg/Header"](time, "camera_link")


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
