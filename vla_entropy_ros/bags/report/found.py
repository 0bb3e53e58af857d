"""Which topics of a bag tell of a policy's run, by the endings of their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import BagError
from ..messages import COMPRESSED, RAW, STRING

FACTS, EVENTS = "diagnostic_msgs/msg/DiagnosticArray", "rcl_interfaces/msg/ParameterEvent"
FLOAT, INTEGER = "std_msgs/msg/Float64", "std_msgs/msg/Int32"
STATUS, GOAL, SELECTION, OVERLAY, WHY = "/status", "/goal/status", "/selection", "/overlay", "/tokens/why"
STATE, INSTRUCTION, DIAGNOSTICS, PARAMETER_EVENTS = "/state", "/instruction", "/diagnostics", "/parameter_events"
TOTAL, PASSES = "latency/total", "decoder_passes"
SINGLE = re.compile(r"/(?:latency|tokens|schedule|scene)/\w+$|/decoder_passes$")
OWN = {STATUS: FACTS, GOAL: FACTS, SELECTION: RAW, OVERLAY: RAW, WHY: STRING, f"/{TOTAL}": FLOAT}  # of a policy
TELLING = (GOAL, WHY, f"/{TOTAL}")  # what nobody else publishes under such a name; of `~/status` that is less sure
ALL = "vla-entropy record BAG --run"


@dataclass(frozen=True)
class Topics:
    """Names of the topics that tell of one policy's run; None where the bag has none.

    policy: the node's full name; singles: topics of one number each, by the key that `~/status` has for it; command:
    the command node's full name; images: of cameras.
    """

    policy: str
    status: str | None
    goal: str | None
    selection: str | None
    overlay: str | None
    why: str | None
    singles: Mapping[str, str]
    command: str | None
    instruction: str | None
    diagnostics: str | None
    events: str | None
    images: tuple[str, ...]

    @property
    def state(self) -> str | None:
        """Where the command node says what it does."""
        return None if self.command is None else self.command + STATE

    @property
    def told(self) -> list[str]:
        """Those whose messages are read whole."""
        named = (self.status, self.goal, self.why, self.state, self.instruction, self.diagnostics, self.events)
        singles = () if self.status else self.singles.values()
        return [topic for topic in (*named, *singles) if topic is not None]

    @property
    def pictures(self) -> list[str]:
        """Those of images."""
        return [topic for topic in (self.selection, self.overlay, *self.images) if topic is not None]


def find(kinds: Mapping[str, str], asked: str | None = None) -> Topics:
    """The topics of the policy that is `asked` for, of the only one without; raises BagError. kinds: types by topic."""
    policy = _policy(kinds, asked)

    def own(ending: str) -> str | None:
        return policy + ending if kinds.get(policy + ending) == OWN[ending] else None

    singles = {
        topic.removeprefix(f"{policy}/"): topic
        for topic, kind in kinds.items()
        if topic.startswith(f"{policy}/") and kind in (FLOAT, INTEGER) and SINGLE.fullmatch(topic[len(policy) :])
    }
    space = policy.rpartition("/")[0]
    states = [name for name in _ending(kinds, STATE, STRING) if not name.startswith(f"{policy}/")]
    asks = [name for name in _ending(kinds, INSTRUCTION, STRING) if not name.endswith(f"/simulator{INSTRUCTION}")]
    state = _nearest(states, f"{space}/command{STATE}")
    return Topics(
        policy,
        status=own(STATUS),
        goal=own(GOAL),
        selection=own(SELECTION),
        overlay=own(OVERLAY),
        why=own(WHY),
        singles=singles,
        command=None if state is None else state.removesuffix(STATE),
        instruction=_nearest(asks, space + INSTRUCTION),
        diagnostics=DIAGNOSTICS if kinds.get(DIAGNOSTICS) == FACTS else None,
        events=PARAMETER_EVENTS if kinds.get(PARAMETER_EVENTS) == EVENTS else None,
        images=tuple(
            sorted(
                topic
                for topic, kind in kinds.items()
                if kind in (RAW, COMPRESSED) and not topic.endswith((SELECTION, OVERLAY))
            )
        ),
    )


def policies(kinds: Mapping[str, str]) -> list[str]:
    """Full names of the policy nodes that topics, of these types, tell of."""
    return sorted({name.removesuffix(end) for end in TELLING for name in _ending(kinds, end, OWN[end])} - {""})


def _unsure(kinds: Mapping[str, str]) -> list[str]:
    """Full names of nodes that may be policies."""
    names = _ending(kinds, STATUS, FACTS)
    return sorted({name.removesuffix(STATUS) for name in names if not name.endswith(GOAL)} - {""})


def _policy(kinds: Mapping[str, str], asked: str | None) -> str:
    """The policy that is meant; raises BagError."""
    sure, unsure = policies(kinds), _unsure(kinds)
    names = sure or unsure
    if asked is not None:
        names = sorted({*sure, *unsure})
        name = "/" + asked.strip("/")
        if name not in names:
            raise BagError(f"no policy '{asked}' in the bag: valid are {', '.join(names) or 'none'}")
        return name
    if len(names) > 1:
        raise BagError(f"the bag has {len(names)} policies: choose one with --policy; valid are {', '.join(names)}")
    if names:
        return names[0]
    states = _ending(kinds, f"/command{STATE}", STRING)
    if len(states) == 1:
        return states[0].removesuffix(f"/command{STATE}") + "/policy"
    there = ", ".join(sorted(kinds)) or "none"
    raise BagError(f"the bag tells nothing of a policy's run: its topics are {there}; record one with {ALL}")


def _ending(kinds: Mapping[str, str], ending: str, wanted: str) -> list[str]:
    return sorted(topic for topic, kind in kinds.items() if kind == wanted and topic.endswith(ending))


def _nearest(names: Iterable[str], usual: str) -> str | None:
    """The one of the usual name, else the only one."""
    there = list(names)
    return usual if usual in there else there[0] if len(there) == 1 else None
