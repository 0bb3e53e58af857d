"""Parameters of the simulator node; their defaults come from config/policy.yaml alone."""

from __future__ import annotations

from ...settings import Setting
from ..common.parameters import ACTION_FRAME

SIMULATOR_SETTINGS: tuple[Setting, ...] = (
    Setting("task", "str", "task of the next episode; a reset starts it"),
    Setting("seed", "int", "seed of the next episode: fixes where everything stands", 0, 2**31 - 1),
    Setting("camera.rate", "float", "images per second [Hz], shown at steps of 20 ms", 1.0, 50.0),
    Setting("camera.size", "int", "width and height of the image [pixels]", 16, 1024, read_only=True),
    ACTION_FRAME,
    Setting("camera.frame", "str", "frame of the images", read_only=True),
)
