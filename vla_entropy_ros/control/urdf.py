"""A serial chain of joints out of a robot description (URDF)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Transform = NDArray[np.float64]  # [4, 4]
Element = ElementTree.Element
MOVING = ("revolute", "continuous", "prismatic")
MAX_SIZE = 4 << 20  # characters; a description without meshes is a hundred times smaller
MOST_JOINTS = 100  # that move
LONGEST = 1e3  # metres from one joint to the next
SHOWN = 60  # characters of what came; names of links
COMPARED = 2000  # names of links among which the likest are looked for


class DescriptionError(ValueError):
    """A robot description that can't be used; the message is one line with what came and what is valid."""


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
    """Chain from link `base` to link `tip` of the URDF `text`; DescriptionError in one line if there is none.

    Only joints of the chain are judged.
    """
    if len(text) > MAX_SIZE or "<!DOCTYPE" in text:  # entities could unfold to any size
        raise DescriptionError(
            f"it has {len(text)} characters (up to {MAX_SIZE} are valid) or declares a document type"
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DescriptionError(f"robot description can't be read: {_shown(str(error))}; expected URDF") from None
    links = {name for link in root.iter("link") if (name := link.get("name"))}
    for frame in (base, tip):
        if frame not in links:
            raise DescriptionError(f"no link '{frame}' in the robot description: valid are {_some(frame, links)}")
    elements = [joint for joint in root.iter("joint") if _end(joint, "parent") and _end(joint, "child")]
    path = _path(elements, base, tip)
    _check_names(path, [*root.findall("joint"), *elements])
    chain = Chain(tuple(_joint(element) for element in path))
    if not 1 <= len(chain.moving) <= MOST_JOINTS:
        moves = f"{len(chain.moving)} joints move" if chain.moving else "nothing moves"
        raise DescriptionError(f"{moves} between link '{base}' and link '{tip}': valid are 1 to {MOST_JOINTS} joints")
    return chain


def _path(elements: list[Element], base: str, tip: str) -> list[Element]:
    """Joint elements from `base` to `tip`."""
    ending: dict[str, list[Element]] = {}  # by the link they end at
    for element in elements:
        ending.setdefault(_end(element, "child"), []).append(element)
    path: list[Element] = []
    link = tip
    while link != base:
        if link not in ending or len(path) > len(ending):  # the root, or a circle
            raise DescriptionError(
                f"the robot description has no chain from link '{base}' to link '{tip}': going back from '{tip}' it "
                f"{'goes in a circle' if link in ending else f'ends at {_shown(link)!r}'} (action_frame, tool_frame)"
            )
        if len(ending[link]) > 1:
            names = " and ".join(f"'{_name(joint)}'" for joint in ending[link][:2])
            raise DescriptionError(
                f"joints {names} both end at link '{_shown(link)}': a link has one joint it hangs on"
            )
        path.append(ending[link][0])
        link = _end(path[-1], "parent")
    return path[::-1]


def _check_names(path: list[Element], everything: Iterable[Element]) -> None:
    """Every joint of the chain needs a name that no other joint has."""
    owners: dict[str, set[int]] = {}
    for element in everything:
        owners.setdefault(element.get("name") or "", set()).add(id(element))
    for element in path:
        between = f"from link '{_shown(_end(element, 'parent'))}' to link '{_shown(_end(element, 'child'))}'"
        if not (element.get("name") or "").strip():
            raise DescriptionError(f'the joint {between} has no name: give it one that no other joint has (name="...")')
        if len(owners[element.get("name") or ""]) > 1:
            raise DescriptionError(f"joint '{_name(element)}' {between} shares its name with another: names are unique")


def _joint(element: Element) -> Joint:
    name, kind = _name(element), element.get("type")
    if kind not in (*MOVING, "fixed"):
        came = "no type" if kind is None else f"type '{_shown(kind)}'"
        raise DescriptionError(f"joint '{name}' is of {came}: valid are {', '.join(MOVING)}, fixed")
    axis, low, high, speed = np.array([1.0, 0.0, 0.0]), -math.inf, math.inf, math.inf
    if kind != "fixed":
        if (mimic := element.find("mimic")) is not None:
            raise DescriptionError(
                f"joint '{name}' mimics '{_shown(mimic.get('joint') or '')}': it can't be commanded on its own; let "
                "the chain end before it (tool_frame), or take its <mimic> away"
            )
        axis = _direction(element, name)
        low, high, speed = _range(element, kind, name)
    return Joint(
        element.get("name") or "", kind, _transform(element, name), axis, low, high, speed,
        _end(element, "child"), _end(element, "parent"),
    )  # fmt: skip


def _range(element: Element, kind: str, name: str) -> tuple[float, float, float]:
    """Lowest and highest position (rad or m) and speed of a joint that moves; infinite where it has none."""
    limit = element.find("limit")
    if limit is None:
        if kind == "continuous":
            return -math.inf, math.inf, math.inf
        raise DescriptionError(f"joint '{name}' is {kind} and has no <limit>: lower, upper and velocity are needed")
    speed = _number(limit, "velocity", name, "a finite number from 0 on, 0 for no limit")
    if speed < 0.0:
        raise DescriptionError(f"joint '{name}': <limit> velocity={speed:g}, valid is 0 (no limit) or more")
    low, high = -math.inf, math.inf
    if kind != "continuous":
        low, high = (_number(limit, side, name, "a finite number") for side in ("lower", "upper"))
    if low > high:
        raise DescriptionError(f"joint '{name}': <limit> lower={low:g} is above upper={high:g}, valid is at most upper")
    return low, high, speed or math.inf


def _direction(element: Element, name: str) -> NDArray[np.float64]:
    """The axis of a joint that moves, of length 1."""
    vector = _numbers(element.find("axis"), "axis", "xyz", (1.0, 0.0, 0.0), name)
    if not vector.any():
        raise DescriptionError(f"joint '{name}': <axis> xyz=\"0 0 0\" has no direction, valid is one such as 0 0 1")
    vector = vector / np.abs(vector).max()  # squares of what is very small or large would be none
    return np.asarray(vector / np.linalg.norm(vector))


def _transform(element: Element, name: str) -> Transform:
    origin, result = element.find("origin"), np.eye(4)
    result[:3, 3] = _numbers(origin, "origin", "xyz", (0.0, 0.0, 0.0), name)
    if np.abs(result[:3, 3]).max() > LONGEST:
        far = np.abs(result[:3, 3]).max()
        raise DescriptionError(f"joint '{name}': <origin> xyz is {far:g} m away, valid is up to {LONGEST:g} m")
    result[:3, :3] = Rotation.from_euler("xyz", _numbers(origin, "origin", "rpy", (0.0, 0.0, 0.0), name)).as_matrix()
    return result


def _number(limit: Element, side: str, name: str, valid: str) -> float:
    """A finite number of <limit>, 0 where it is not given."""
    text = limit.get(side)
    number = 0.0 if text is None else _float(text)
    if number is None or not math.isfinite(number):
        wrong = "can't be read" if number is None else "is not finite"
        raise DescriptionError(f"joint '{name}': <limit> {side}=\"{_shown(text or '')}\" {wrong}, valid is {valid}")
    return number


def _numbers(
    element: Element | None, tag: str, attribute: str, default: tuple[float, ...], name: str
) -> NDArray[np.float64]:
    """Three finite numbers of an attribute of the joint `name`."""
    text = None if element is None else element.get(attribute)
    numbers = list(default) if text is None else [_float(word) for word in text.split()]
    if len(numbers) != 3 or not all(number is not None and math.isfinite(number) for number in numbers):
        came = f'<{tag}> {attribute}="{_shown(text or "")}"'
        raise DescriptionError(f"joint '{name}': {came} is not three numbers, valid is such as 0 0 1")
    return np.array(numbers, np.float64)


def _float(text: str) -> float | None:
    """The number that `text` says, None when it says none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _end(joint: Element, tag: str) -> str:
    """Link that a joint's <parent> or <child> names; empty for joints of other sections, which name none."""
    end = joint.find(tag)
    return "" if end is None else end.get("link") or ""


def _name(joint: Element) -> str:
    return _shown(joint.get("name") or "")


def _shown(text: str) -> str:
    """What came, fit for one line of a log."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: SHOWN + 1])
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def _some(wanted: str, names: set[str]) -> str:
    """The names, or those that look most like the wanted one where there are many."""
    ordered = sorted(names)
    if len(ordered) > SHOWN:
        ordered = difflib.get_close_matches(wanted, ordered[:COMPARED], 12, 0.0)
    more = f" and {len(names) - len(ordered)} more" if len(ordered) < len(names) else ""
    return ", ".join(map(_shown, ordered)) + more
