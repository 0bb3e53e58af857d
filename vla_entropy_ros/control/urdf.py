"""A serial chain of joints out of a robot description (URDF)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Transform = NDArray[np.float64]  # [4, 4]
MOVING = ("revolute", "continuous", "prismatic")
MAX_SIZE = 4 << 20  # characters; a description without meshes is a hundred times smaller


class DescriptionError(ValueError):
    """A robot description that can't be used; the message is one line with the valid names."""


@dataclass(frozen=True)
class Joint:
    """One joint: its frame in the one before [4, 4], its axis [3] in its own, its range and speed (rad or m, per s)."""

    name: str
    kind: str
    origin: Transform
    axis: NDArray[np.float64]
    low: float
    high: float
    speed: float
    child: str
    parent: str


@dataclass(frozen=True)
class Chain:
    """Joints from a base frame to a tip frame, fixed ones among them."""

    joints: tuple[Joint, ...]

    @property
    def moving(self) -> tuple[Joint, ...]:
        """The joints that move, base first."""
        return tuple(joint for joint in self.joints if joint.kind in MOVING)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints that move."""
        return tuple(joint.name for joint in self.moving)


def read_chain(text: str, base: str, tip: str) -> Chain:
    """Chain from link `base` to link `tip` of the URDF `text`; DescriptionError in one line if there is none."""
    if len(text) > MAX_SIZE or "<!DOCTYPE" in text:  # entities could unfold to any size
        raise DescriptionError("robot description refused: too large, or it declares a document type")
    try:
        root = ElementTree.fromstring(text)
        joints = {joint.child: joint for joint in map(_joint, root.iter("joint")) if joint is not None}
    except (ElementTree.ParseError, ValueError) as error:
        if isinstance(error, DescriptionError):
            raise
        raise DescriptionError(f"robot description can't be read: {error}") from None
    links = {str(link.get("name")) for link in root.iter("link")}
    for frame in (base, tip):
        if frame not in links:
            raise DescriptionError(f"no link '{frame}' in the robot description: valid are {', '.join(sorted(links))}")
    chain = Chain(_path(joints, base, tip))
    if not chain.moving:
        raise DescriptionError(f"nothing moves between link '{base}' and link '{tip}'")
    return chain


def _path(joints: dict[str, Joint], base: str, tip: str) -> tuple[Joint, ...]:
    """Joints from `base` to `tip`; `joints` are by the link they end at."""
    path: list[Joint] = []
    link = tip
    while link != base:
        if link not in joints or len(path) > len(joints):  # the root, or a circle
            raise DescriptionError(f"the robot description has no chain from link '{base}' to link '{tip}'")
        path.append(joints[link])
        link = path[-1].parent
    return tuple(reversed(path))


def _joint(element: ElementTree.Element) -> Joint | None:
    """One joint element; None for those of other sections, which name no links."""
    parent, child = element.find("parent"), element.find("child")
    if parent is None or child is None:
        return None
    name, kind = str(element.get("name")), str(element.get("type"))
    if kind not in (*MOVING, "fixed"):
        raise DescriptionError(f"joint '{name}' is of type '{kind}': valid are {', '.join(MOVING)}, fixed")
    origin, axis, limit = element.find("origin"), element.find("axis"), element.find("limit")
    direction = _numbers(axis, "xyz", (1.0, 0.0, 0.0))
    if not direction.any():
        raise DescriptionError(f"joint '{name}': its axis has no direction")
    bounded = limit is not None and kind != "continuous"
    low, high = ((float(limit.get(side, 0.0)) for side in ("lower", "upper")) if bounded and limit is not None
                 else (-math.inf, math.inf))  # fmt: skip
    speed = math.inf if limit is None else float(limit.get("velocity", math.inf))
    return Joint(
        name, kind, _transform(origin), direction / np.linalg.norm(direction), low, high, speed or math.inf,
        str(child.get("link")), str(parent.get("link")),
    )  # fmt: skip


def _transform(origin: ElementTree.Element | None) -> Transform:
    result = np.eye(4)
    result[:3, 3] = _numbers(origin, "xyz", (0.0, 0.0, 0.0))
    result[:3, :3] = Rotation.from_euler("xyz", _numbers(origin, "rpy", (0.0, 0.0, 0.0))).as_matrix()
    return result


def _numbers(element: ElementTree.Element | None, name: str, default: tuple[float, ...]) -> NDArray[np.float64]:
    """Three finite numbers of an attribute."""
    text = None if element is None else element.get(name)
    numbers = np.array(default if text is None else [float(word) for word in text.split()])
    if numbers.shape != (3,) or not np.isfinite(numbers).all():
        raise DescriptionError(f'robot description: {name}="{text}" is not three numbers')
    return numbers
