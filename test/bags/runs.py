"""A bag of a policy's run as a test wants it, without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_entropy_ros.bags.bag import COMPRESSED, RAW, STRING, Recorder
from vla_entropy_ros.bags.report.report import write_page
from vla_entropy_ros.images import JPEG_FORMAT, encode_jpeg

FACTS, EVENTS = "diagnostic_msgs/msg/DiagnosticArray", "rcl_interfaces/msg/ParameterEvent"
FLOAT, INTEGER = "std_msgs/msg/Float64", "std_msgs/msg/Int32"
BEGAN = 1_800_000_000.0  # when a test's time is 0 [s]
GRID = 16
TICK: dict[str, object] = {
    "episode": 1, "tick": 1, "instruction": "pick up the red cube", "mode": "place_entropy", "control_period": 100.0,
    "latency/capture_age": 4.0, "latency/preprocess": 1.0, "latency/vision": 8.0, "latency/select": 0.5,
    "latency/prefill": 7.0, "latency/decode": 3.0, "latency/total": 20.0, "tokens/fresh": 64, "tokens/reused": 192,
    "tokens/by_visual": 30, "tokens/by_attention": 20, "tokens/changed": 14, "tokens/old": 6, "tokens/filled": 4,
    "tokens/oldest": 9, "schedule/k_vis": 20, "schedule/k_attn": 12, "schedule/t": 3, "scene/noise": 1.2,
    "scene/exposure": 1.0, "decoder_passes": 2, "entropy": 0.12, "reason": "", "hold": "",
}  # fmt: skip


def values_of(kinds: Mapping[str, Any], value: object) -> Any:
    """A parameter's value as a message."""
    nothing = np.zeros(0, np.uint8)
    told = {bool: 1, int: 2, float: 3, str: 4, tuple: 9}[type(value)]
    fields = (told, value is True, value if told == 2 else 0, value if told == 3 else 0.0, value if told == 4 else "")
    listed = list(value) if isinstance(value, tuple) else []
    lists = (nothing, nothing.astype(bool), nothing.astype(np.int64), nothing.astype(float), listed)
    return kinds["rcl_interfaces/msg/ParameterValue"](*fields, *lists)


class RunBag:
    """Writes messages at times [s]; topics come with their first message. Used as a context."""

    def __init__(self, folder: Path, policy: str = "/policy") -> None:
        self.policy, self.space = policy, policy.rpartition("/")[0]
        self._recorder = Recorder(folder, [])
        self._kinds = self._recorder.types.types

    def __enter__(self) -> RunBag:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._recorder.__exit__()

    def tick(self, time: float, stamp: float | None = None, **changes: object) -> None:
        """A message of ~/status; changes: of TICK, `__` for a slash."""
        told = TICK | {key.replace("__", "/"): value for key, value in changes.items()}
        self.facts(f"{self.policy}/status", time, told, time if stamp is None else stamp)

    def goal(self, time: float, number: int, state: str, **more: object) -> None:
        """A message of ~/goal/status."""
        self.facts(f"{self.policy}/goal/status", time, {"goal": number, "state": state, **more}, time)

    def facts(self, topic: str, time: float, told: Mapping[str, object], stamp: float) -> None:
        """Facts as the nodes write them."""
        pair = self._kinds["diagnostic_msgs/msg/KeyValue"]
        pairs = [pair(key, f"{value:g}" if isinstance(value, float) else str(value)) for key, value in told.items()]
        self._statuses(topic, time, stamp, [("facts", 0, "", pairs)])

    def diagnostics(self, time: float, *told: tuple[str, int, str]) -> None:
        """A message of /diagnostics: of tasks their name, level and line."""
        self._statuses("/diagnostics", time, time, [(*one, []) for one in told])

    def state(self, time: float, line: str) -> None:
        """What the command node says."""
        self.text(f"{self.space}/command/state", time, line)

    def text(self, topic: str, time: float, text: str) -> None:
        """A string."""
        self._add(topic, STRING, time, self._kinds[STRING](data=text))

    def number(self, key: str, time: float, value: float) -> None:
        """A topic of one number below the policy's name."""
        kind = FLOAT if key.startswith(("latency", "scene")) else INTEGER
        self._add(f"{self.policy}/{key}", kind, time, self._kinds[kind](value if kind == FLOAT else int(value)))

    def image(self, time: float, topic: str = "/image/compressed", stamp: float | None = None, grey: int = 128) -> None:
        """A camera's image."""
        data = np.frombuffer(encode_jpeg(np.full((32, 32, 3), grey, np.uint8)), np.uint8)
        message = self._kinds[COMPRESSED](self._header(time if stamp is None else stamp), JPEG_FORMAT, data)
        self._add(topic, COMPRESSED, time, message)

    def selection(self, time: float, codes: NDArray[np.uint8], stamp: float | None = None) -> None:
        """What was fresh [rows, columns]."""
        (rows, columns), header = codes.shape, self._header(time if stamp is None else stamp)
        message = self._kinds[RAW](header, rows, columns, "mono8", 0, columns, codes.reshape(-1))
        self._add(f"{self.policy}/selection", RAW, time, message)

    def parameters(self, time: float, node: str, new: Mapping[str, object] = {}, **changed: object) -> None:
        """Parameters of a node that are declared, and that are set."""
        parameter = self._kinds["rcl_interfaces/msg/Parameter"]
        lists = [
            [parameter(name, values_of(self._kinds, value)) for name, value in told.items()] for told in (new, changed)
        ]
        event = self._kinds[EVENTS](self._time(time), node, *lists, [])
        self._add("/parameter_events", EVENTS, time, event)

    def _statuses(self, topic: str, time: float, stamp: float, told: Any) -> None:
        status = self._kinds["diagnostic_msgs/msg/DiagnosticStatus"]
        made = [status(level, name, line, "", pairs) for name, level, line, pairs in told]
        self._add(topic, FACTS, time, self._kinds[FACTS](self._header(stamp), made))

    def _add(self, topic: str, kind: str, time: float, message: Any) -> None:
        self._recorder.offer(topic, kind)
        self._recorder.add(topic, round((BEGAN + time) * 1e9), message)

    def _header(self, stamp: float) -> Any:
        return self._kinds["std_msgs/msg/Header"](self._time(stamp), "")

    def _time(self, time: float) -> Any:
        return self._kinds["builtin_interfaces/msg/Time"](*divmod(round((BEGAN + time) * 1e9), 10**9))


def ticks(bag: RunBag, *times: float, first: int = 1, **changes: object) -> None:
    """Ticks of one episode, numbered from `first`, each with its image and selection."""
    for number, time in enumerate(times, start=first):
        codes = np.zeros((GRID, GRID), np.uint8)
        codes[0, : number % GRID] = 3
        bag.image(time - 0.02, stamp=time - 0.03)
        bag.selection(time, codes, stamp=time - 0.03)
        bag.tick(time, stamp=time - 0.03, **{"tick": number, **changes})


def page(bag: Path, policy: str | None = None) -> tuple[dict[str, Any], str]:
    """Figures and text of a bag's page."""
    file = bag.with_suffix(".html")
    return write_page(bag, file, policy), file.read_text(encoding="utf-8")


def spans(figures: dict[str, Any], name: str) -> list[tuple[float, float, str, str]]:
    """Begin, end, who and words of spans."""
    return [(round(one["begin"], 2), round(one["end"], 2), one["who"], one["words"]) for one in figures[name]]


def steps(begin: float, count: int) -> list[float]:
    """Times of ticks at 10 Hz."""
    return [round(begin + 0.1 * number, 3) for number in range(count)]
