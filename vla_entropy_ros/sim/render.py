"""Offscreen rendering; one renderer belongs to one thread, since it owns a GL context."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import sys

import numpy as np
from numpy.typing import NDArray

GL_PACKAGE = "libosmesa6"
GL_LIBRARIES = {"osmesa": "OSMesa", "egl": "EGL"}  # by MUJOCO_GL: on the CPU where that is there, else on a GPU


def find_gl() -> str:
    """The value of MUJOCO_GL whose library is here; where none is, the one that can be installed."""
    return next((name for name, library in GL_LIBRARIES.items() if ctypes.util.find_library(library)), "osmesa")


if not os.environ.get("MUJOCO_GL"):
    os.environ["MUJOCO_GL"] = find_gl()
if "OpenGL" not in sys.modules:  # too late otherwise
    # Mesa's LLVM is loaded for the whole process: a triton that comes later binds to it, not to its own, and crashes.
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401

import mujoco  # noqa: E402  (after MUJOCO_GL is set: it loads the GL library)


class RenderError(RuntimeError):
    """The machine can't render; the message is one line and names what to install."""


class SceneCamera:
    """The fixed camera of the scene as RGB images."""

    def __init__(self, model: mujoco.MjModel, name: str, size: int) -> None:
        try:
            self._renderer = mujoco.Renderer(model, size, size)
        except (
            Exception
        ) as error:  # MuJoCo raises whatever its GL loader meets: ImportError, AttributeError, RuntimeError
            raise RenderError(
                f"no offscreen rendering with MUJOCO_GL={os.environ['MUJOCO_GL']} ({type(error).__name__}): "
                f"install Debian's {GL_PACKAGE} (apt-get install {GL_PACKAGE})"
            ) from error
        self._name = name

    def render(self, data: mujoco.MjData) -> NDArray[np.uint8]:
        """Image [size, size, 3], RGB, of the current state."""
        self._renderer.update_scene(data, camera=self._name)
        return self._renderer.render()

    def close(self) -> None:
        """Release the GL context; safe to call twice."""
        with contextlib.suppress(Exception):  # at interpreter exit the GL library may be gone already
            self._renderer.close()
