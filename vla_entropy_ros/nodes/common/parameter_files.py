"""Parameter files as people write them: which sections are for a node, and what of them rcl is given to read."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .process import StartError, one_line

PARAMETERS = "ros__parameters"
EXPECTED = f"expected is <node>: {{{PARAMETERS}: {{<parameter>: <value>}}}}"
WILDCARDS = {"*": "[^/]+", "**": ".*"}
LONGEST = 2**18  # bytes: all defaults of all nodes take 4000
MOST = 10_000  # values, each alias counted as what it stands for: rcl is given them written out


@dataclass(frozen=True)
class Section:
    """One section of a file: its key as written, with those around it, and its values by dotted name."""

    key: str
    values: Mapping[str, yaml.Node]

    @property
    def bare(self) -> bool:
        """Whether the key is a plain name, which stands for a node in whatever namespace."""
        return "/" not in self.key and self.key not in WILDCARDS

    @property
    def last(self) -> str:
        """Name of the node it is about: * or ** where it is about several."""
        return self.key.rpartition("/")[2]

    @property
    def general(self) -> bool:
        """Whether it is about all nodes of a namespace."""
        return self.last in WILDCARDS

    def is_for(self, kind: str, node: str) -> bool:
        """Whether it is for the node with the full name `node`, one of that kind; else as rcl decides."""
        if self.bare:
            return self.key in (kind, node.rpartition("/")[2])
        tokens = self.key.strip("/").split("/")
        pattern = "".join(
            "(/.*)?" if token == "**" else "/" + WILDCARDS.get(token, re.escape(token)) for token in tokens
        )
        return re.fullmatch(pattern, node) is not None


@dataclass(frozen=True)
class ParameterFile:
    """A file by the path that was given, and its sections in their order."""

    path: str
    sections: tuple[Section, ...]

    def text_for(self, kind: str, node: str) -> str:
        """Write what the node takes of it for rcl: one section for every name, in which the last value counts."""
        values = {
            name: value
            for section in self.sections
            if section.is_for(kind, node)
            for name, value in section.values.items()
        }
        return yaml.serialize(_mapping({"/**": _mapping({PARAMETERS: _mapping(values)})}))


def read(path: str) -> ParameterFile:
    """Read a parameter file; StartError in one line that names it and what is wrong."""
    text = _text(path)
    try:
        documents = [document for document in yaml.compose_all(text, yaml.SafeLoader) if document is not None]
        if sum(_size(document, {}) for document in documents) > MOST:
            raise StartError(f"parameter file {path} holds more than {MOST} values, aliases written out; {EXPECTED}")
        sections = tuple(section for document in documents for section in _sections(path, document, ()))
    except yaml.YAMLError as error:
        raise StartError(f"parameter file {path} is not YAML: {one_line(error)}; {EXPECTED}") from error
    except RecursionError as error:
        raise StartError(f"parameter file {path} contains itself, or is nested too deeply; {EXPECTED}") from error
    if not sections:
        raise StartError(f"parameter file {path} has no section with {PARAMETERS}; {EXPECTED}")
    return ParameterFile(path, sections)


def _text(path: str) -> str:
    """Content of the file at `path`; StartError where it has none, or so much that it can be no parameter file."""
    try:
        if not stat.S_ISREG((told := Path(path).stat()).st_mode):
            why = "it is a folder" if stat.S_ISDIR(told.st_mode) else "it is no plain file"
        elif told.st_size > LONGEST:
            why = f"it is {told.st_size} bytes long, at most {LONGEST} are read"
        else:
            return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no text, or no path
        why = (error.strerror if isinstance(error, OSError) else None) or "it is not text"
    raise StartError(f"parameter file {path} can't be read: {why}; check the path after --params-file")


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Values at and below `node` with all aliases written out, which are counted once here; sizes: of nodes by id."""
    if id(node) not in sizes:
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        below = (part for each in parts for part in (each if isinstance(each, tuple) else (each,)))
        sizes[id(node)] = 1 + sum(_size(part, sizes) for part in below)
    return sizes[id(node)]


def _sections(path: str, node: yaml.Node, keys: tuple[str, ...]) -> Iterator[Section]:
    """Sections at and below `node`, which lies under `keys`: namespaces may be nested around a node."""
    where = "/".join(keys).replace("//", "/")
    if not isinstance(node, yaml.MappingNode) or (keys and not node.value):
        raise StartError(f"parameter file {path}: {where or 'its content'} has no {PARAMETERS}; {EXPECTED}")
    for key, value in node.value:
        name = str(key.value)
        if name != PARAMETERS:
            yield from _sections(path, value, (*keys, name))
        elif not keys:
            raise StartError(f"parameter file {path}: {PARAMETERS} lies under no node's name; {EXPECTED}")
        else:
            yield Section(where, _values(f"parameter file {path}, section {where}", value))


def _values(where: str, node: yaml.Node) -> dict[str, yaml.Node]:
    """Values by dotted name; StartError for one that is given twice, of which rcl would take the last."""
    values = dict[str, yaml.Node]()
    for name, value in _flat(where, node):
        if name in values:
            line = int(value.start_mark.line) + 1
            raise StartError(f"{where}: {name} is given twice, the second time in line {line}; keep one")
        values[name] = value
    return values


def _flat(where: str, node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, yaml.Node]]:
    """Names and values of nested groups, a dot between group and name; StartError for a name without a value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _flat(where, value, f"{prefix}.{key.value}" if prefix else str(key.value))
    elif node.tag != "tag:yaml.org,2002:null":
        if not prefix:
            raise StartError(f"{where}: {PARAMETERS} is no group of parameters; {EXPECTED}")
        yield prefix, node
    elif prefix:
        raise StartError(f'{where}: {prefix} has no value; give one ("" for an empty text), or take the line out')


def _mapping(values: Mapping[str, yaml.Node]) -> yaml.MappingNode:
    """A YAML mapping; nodes are copied, since rcl reads no anchors."""
    pairs = [(yaml.ScalarNode("tag:yaml.org,2002:str", name), _copy(value)) for name, value in values.items()]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs)


def _copy(node: yaml.Node) -> yaml.Node:
    if isinstance(node, yaml.ScalarNode):
        return yaml.ScalarNode(node.tag, node.value, style=node.style)
    if isinstance(node, yaml.SequenceNode):
        return yaml.SequenceNode(node.tag, [_copy(value) for value in node.value], flow_style=True)
    return node
