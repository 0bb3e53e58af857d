"""What a node is given at start-up: where it comes from, what of it applies, and what nobody takes."""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .arguments import FILE, PARAMETER, full_name, options
from .listen import listed
from .parameter_files import ParameterFile, Section, read
from .process import StartError, one_line

RCLS_OWN = ("qos_overrides.", "use_sim_time", "start_type_description_service")
GUARDED = (  # a value that does not arrive here lets the arm move as nobody asked for
    "limits.", "workspace.", "chunk.", "action_scale", "enabled", "dry_run", "pose_timeout", "max_action_entropy",
    "observation.max_age", "checkpoint",
)  # fmt: skip
COMMON = "enabled"  # is the name of a parameter of many a node that is not ours
NEAR_KEY, NEAR_NAME = 0.7, 0.75  # share of equal characters from which one is meant for the other
_OWN = tuple(name.rstrip(".") for name in RCLS_OWN)
COMMAND_LINE = "the command line"
SHOWN = 3  # names in a line about a section that does not apply

Known = Mapping[str, Iterable[str]]  # names of the parameters of each kind of node


def guarded(name: str) -> bool:
    """Whether the arm's safety hangs on this parameter, or which policy drives it."""
    return name.startswith(GUARDED)


def likeness(written: str, meant: str) -> float:
    """How much two names are alike, 0 to 1; the groups before the last part may have been left out."""
    parts = meant.lower().replace("_", ".").split(".")
    text = written.lower().replace("_", ".").replace("-", ".").replace("/", ".")
    endings = (".".join(parts[begin:]) for begin in range(len(parts)))
    return max(difflib.SequenceMatcher(None, text, ending).ratio() for ending in endings)


def closest(written: str, valid: Iterable[str]) -> tuple[str, float]:
    """The valid name that is most like the written one, and how much; of equals the one most alike as a whole."""
    scores = {name: (likeness(written, name), difflib.SequenceMatcher(None, written, name).ratio()) for name in valid}
    best = max(scores, key=lambda name: scores[name])
    return best, scores[best][0]


@dataclass
class Verdict:
    """Lines about what was given: why the node must not start, what has no effect, what applies."""

    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def add(self, line: str, refused: bool, otherwise: str) -> None:
        """Refuse because of `line`, or warn of it, saying what happens `otherwise`."""
        (self.refusals if refused else self.warnings).append(line if refused else f"{line}: {otherwise}")


@dataclass(frozen=True)
class Given:
    """Arguments, files and overrides of the node of one `kind`; `node` is its full name."""

    kind: str
    node: str
    arguments: tuple[str, ...]
    files: tuple[ParameterFile, ...]
    typed: tuple[str, ...]  # names given by -p
    overrides: tuple[str, ...]  # names given by the program that makes the node

    @classmethod
    def to(cls, kind: str, namespace: str | None, arguments: Sequence[str], overrides: Iterable[str] = ()) -> Given:
        """Read all files that `arguments` name; StartError in one line for one that can't be read."""
        node = full_name(kind, namespace, arguments)
        addressed, files, typed = list(arguments), [], []
        for place, option, value in options(arguments):
            if option in FILE:
                files.append(read(value))
            elif option in PARAMETER:
                addressed[place + 1] = _address(value, (kind, node.rpartition("/")[2]))
                typed.append(addressed[place + 1].partition(":=")[0])
        return cls(kind, node, tuple(addressed), tuple(files), tuple(typed), tuple(overrides))

    @contextlib.contextmanager
    def for_rcl(self) -> Iterator[list[str]]:
        """Arguments as rcl applies them to this node, in whatever namespace, in the order given; files for a while."""
        arguments, paths = list(self.arguments), dict[str, str]()
        with tempfile.TemporaryDirectory(prefix="vla_entropy_ros_") as folder:
            for place, option, _ in options(self.arguments):
                if option in FILE:
                    source, file = self.files[len(paths)], Path(folder) / f"{len(paths)}.yaml"
                    file.write_text(source.text_for(self.kind, self.node), encoding="utf-8")
                    arguments[place + 1] = str(file)
                    paths[str(file)] = source.path
            try:
                yield arguments
            except Exception as error:
                text = one_line(error)
                for file_of_rcl, given in paths.items():
                    text = text.replace(file_of_rcl, given)
                if folder in str(error):
                    raise StartError(text) from error
                raise

    def verdict(self, known: Known) -> Verdict:
        """Judge everything that was given; `known`: the names of all kinds of nodes."""
        verdict = Verdict()
        if self.kind not in known:
            return verdict
        for file in self.files:
            self._judge_file(file, known, verdict)
        for name in self.typed:
            if ":" in name:
                self._judge_addressed(name, known, verdict)
            else:
                self._judge_name(COMMAND_LINE, name, known, verdict, sure=NEAR_NAME)
        for name in self.overrides:
            self._judge_name("the program that makes the node", name, known, verdict)
        if self.typed:
            verdict.facts.append(f"parameters from {COMMAND_LINE}: {', '.join(self.typed)}")
        if not self.files and not self.typed and not self.overrides:
            verdict.facts.append("no parameters are given: all have the defaults of config/policy.yaml")
        return verdict

    def _judge_file(self, file: ParameterFile, known: Known, verdict: Verdict) -> None:
        applied = [section for section in file.sections if section.is_for(self.kind, self.node)]
        named = any(not section.general and section.key != self.kind for section in applied)
        spoken_to = any(not section.general for section in applied)
        others, siblings = [], False
        for section in file.sections:
            if section in applied:
                sure, where = NEAR_NAME if section.general else 0.0, f"{file.path}, section {section.key}"
                for name in section.values:
                    self._judge_name(where, name, known, verdict, sure, section.general)
            elif _meant(section.last, known) not in (None, self.kind):
                siblings = True  # such a node speaks of it
            elif section.general or not (
                self._judge_stray(file, section, named, known, verdict)
                or (not spoken_to and self._judge_neighbour(file, section, known[self.kind], verdict))
            ):
                others.append(section.key)
        told = [f"section {section.key}: {', '.join(section.values) or 'nothing'}" for section in applied]
        rest = f"; not for this node: {', '.join(others)}" if others else ""
        if applied and not siblings and not others and not any(section.values for section in applied):
            return  # as launch writes it for a node without arguments
        if applied or siblings:
            verdict.facts.append(f"parameters from {file.path}: {'; '.join(told) or 'none'}{rest}")
        elif others:
            verdict.warnings.append(
                f"{file.path} has nothing for {self.node}: its sections are {', '.join(others)}; expected is a section "
                f"{self.kind} or /**"
            )

    def _judge_stray(self, file: ParameterFile, section: Section, named: bool, known: Known, verdict: Verdict) -> bool:
        """Judge a section that does not apply; False where it belongs to a node that this package does not know.

        named: whether the file has a section with this very node's name: it then tells nodes of a kind apart.
        """
        name = self.node.rpartition("/")[2]
        typo = section.last != self.kind and _meant(section.last, known) == self.kind
        elsewhere = section.last in (self.kind, name) or likeness(section.last, name) >= NEAR_KEY
        if not typo and (named or not elsewhere):
            return False
        lost = [given for given in section.values if _may_be_guarded(given, known[self.kind])]
        line = f"{file.path}: section {section.key} is not for {self.node}, the nearest is {self.kind}"
        if lost:
            line += f": its {listed(lost, SHOWN)} would be lost; write {self.kind} (in any namespace) or {self.node}"
        verdict.add(line, bool(lost), "it has no effect")
        return True

    def _judge_neighbour(self, file: ParameterFile, section: Section, mine: Iterable[str], verdict: Verdict) -> bool:
        """Refuse a section of this namespace that can only be for a node of this kind, of another name; False if not.

        Its names are this kind's without exception, and among them are some that guard the arm.
        """
        valid = [*mine, *_OWN]
        here = section.key.removesuffix(section.last) + self.node.rpartition("/")[2]
        lost = [given for given in section.values if given != COMMON and _may_be_guarded(given, mine)]
        alien = any(not given.startswith(RCLS_OWN) and closest(given, valid)[1] < NEAR_NAME for given in section.values)
        if not lost or alien or not Section(here, {}).is_for(self.kind, self.node):
            return False
        line = f"{file.path}: section {section.key} is not for {self.node}: its {listed(lost, SHOWN)} would be lost; "
        line += (
            f"start the node as {section.last} (-r __node:={section.last}), or write {self.kind} (in any namespace) or "
        )
        verdict.refusals.append(line + self.node)
        return True

    def _judge_addressed(self, typed: str, known: Known, verdict: Verdict) -> None:
        """Judge a name given by -p for a node (`node:name`) that is not this one, the only one of its process."""
        target, _, name = typed.partition(":")
        own = self.node.rpartition("/")[2]
        near = _meant(target, known) == self.kind or likeness(target, own) >= NEAR_KEY
        line = f"-p {typed}: is for another node than {self.node}"
        if _may_be_guarded(name, known[self.kind]) and (near or name != COMMON):
            best, _ = closest(name, known[self.kind])
            verdict.refusals.append(f"{line}, and {name} would be lost; write -p {best}:=..., or take it out")
        elif near and guarded(name):
            best, _ = closest(name, [other for names in known.values() for other in names])
            owner = next(kind for kind, names in known.items() if best in names)
            verdict.refusals.append(
                f"{line}, and {best} is a parameter of {owner}; give it to that node, or take it out"
            )
        else:
            verdict.warnings.append(f"{line}: it has no effect")

    def _judge_name(
        self, where: str, name: str, known: Known, verdict: Verdict, sure: float = 0.0, shared: bool = False
    ) -> None:
        """Judge the name of a parameter.

        sure: likeness from which a name is meant for one that guards the arm; shared: other nodes are given it, too.
        """
        mine = list(known[self.kind])
        if name in mine or name.startswith(RCLS_OWN):
            return
        owners = [kind for kind, names in known.items() if name in names]
        best, score = closest(name, [*mine, *_OWN])
        if shared and (owners or any(closest(name, names)[1] > score for names in known.values())):
            return  # that node takes it, or speaks of it
        if owners:
            line = f"{where}: {name} is a parameter of {owners[0]}, not of {self.kind}; move it to section {owners[0]}"
            verdict.add(line, guarded(name) and not sure, "it has no effect")
            return
        line = f"{where}: there is no parameter {name}, the nearest is {best}"
        if guarded(best) and score >= sure:
            verdict.refusals.append(f"{line}; write that, or take {name} out")
        else:
            verdict.warnings.append(f"{line}: it has no effect")


def _meant(key: str, known: Known) -> str | None:
    """The kind of node that the last part of a section's key names, or nearly."""
    kind, score = closest(key, known)
    return kind if score >= NEAR_KEY else None


def _address(rule: str, names: Iterable[str]) -> str:
    """A rule of -p without the node's name in front, where it is one of `names`: so rcl takes it in any namespace."""
    target, colon, rest = rule.partition(":=")[0].partition(":")
    return rule[len(target) + 1 :] if colon and rest and target in names else rule


def _may_be_guarded(name: str, valid: Iterable[str]) -> bool:
    best, score = closest(name, valid)
    return guarded(best) and score >= NEAR_NAME
