"""rqt with the shipped perspective, for the policy of any namespace.

rqt on its own is hasty: rqt_reconfigure lists the nodes that are known when it is made, rqt_plot leaves out topics that
are not known yet, and after one plugin that is not installed no other is given its settings.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import rclpy
from ament_index_python.packages import get_packages_with_prefixes
from rclpy.exceptions import InvalidNamespaceException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_namespace import validate_namespace

from .resources import share_path

SHIPPED = "config/policy.perspective"
POLICY = "/policy"  # the policy's name there
PATIENCE = 6.0  # seconds: on two busy cores all was known after up to 2.5
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")  # where one of them is set, Qt finds a screen

Perspective = dict[str, Any]  # as rqt exports it: groups in groups, of keys, each with the repr of its value


def read(path: Path) -> Perspective:
    """The perspective in a file; ValueError in one line unless it is one."""
    try:
        perspective = json.loads(path.read_text(encoding="utf-8"))
        running = [value for _, key, value in settings(perspective) if key == "running-plugins"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no perspective as rqt exports it: {type(error).__name__}: {error}") from None
    if not running or not isinstance(running[0], dict):
        raise ValueError(f"{path} is no perspective as rqt exports it: it has no running-plugins")
    return perspective


def settings(group: Perspective) -> Iterator[tuple[dict[str, str], str, Any]]:
    """Every setting, its key and its value; without those that are no literals, such as where the docks are."""
    for key, setting in group["keys"].items():
        if setting["type"] == "repr":
            try:
                value = ast.literal_eval(setting["repr"])
            except (ValueError, SyntaxError):
                continue
            yield setting, key, value
    for below in group["groups"].values():
        yield from settings(below)


def fit(perspective: Perspective, namespace: str) -> None:
    """Put the names of that namespace ("/" or "/left") in the place of the shipped ones."""
    for setting, key, value in settings(perspective):
        names = {"namespace": namespace} if key == "namespace" and value == "/" else {}
        setting["repr"] = repr(names.get(key, _below(value, namespace)))


def _below(value: Any, namespace: str) -> Any:
    if isinstance(value, list):
        return [_below(item, namespace) for item in value]
    if isinstance(value, str) and f"{value}/".startswith(f"{POLICY}/"):
        return namespace.rstrip("/") + value
    return value


def leave_out(perspective: Perspective, installed: set[str]) -> list[str]:
    """Take out the docks of packages that are not `installed`; returns those packages."""
    missing: list[str] = []
    for setting, key, value in settings(perspective):
        if key == "running-plugins":
            packages = {plugin: plugin.partition("/")[0] for plugin in value}
            missing += sorted(set(packages.values()) - installed)
            setting["repr"] = repr({plugin: value[plugin] for plugin in value if packages[plugin] not in missing})
    return missing


class Sought:
    """The nodes and topics that docks look for once, when they are opened."""

    def __init__(self, perspective: Perspective) -> None:
        values: dict[str, list[str]] = {"selected_nodes": [], "topics": []}
        for _, key, value in settings(perspective):
            if key in values and value:
                values[key] += [value] if isinstance(value, str) else value  # rqt_plot writes a single one so
        self.nodes, self.fields = values["selected_nodes"], values["topics"]

    def unknown(self, node: Node) -> list[str]:
        """Those that the graph, as `node` sees it, does not have yet."""
        topics = [name for name, _ in node.get_topic_names_and_types()]
        plotted = [field for field in self.fields if not any(field.startswith(f"{name}/") for name in topics)]
        known = {f"{space.rstrip('/')}/{name}": (name, space) for name, space in node.get_node_names_and_namespaces()}
        asked = [name for name in self.nodes if name not in known or not _has_parameters(node, *known[name])]
        return asked + plotted


def _has_parameters(node: Node, name: str, namespace: str) -> bool:
    """As rqt_reconfigure asks."""
    try:
        services = node.get_service_names_and_types_by_node(name, namespace)
    except RuntimeError:  # it has left meanwhile
        return False
    return any("rcl_interfaces/srv/ListParameters" in types for _, types in services)


def wait(sought: Sought, node: Node, patience: float = PATIENCE) -> list[str]:
    """Wait until all is known, for `patience` seconds at most; returns what is not."""
    end = time.monotonic() + patience
    while (unknown := sought.unknown(node)) and time.monotonic() < end:
        time.sleep(0.02)
    return unknown


def open_rqt(perspective: Perspective, name: str) -> int:
    """Show it in rqt and return rqt's exit status when its window is closed; `name` stands in the title."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing runs yet that would need an orderly end
    packages = leave_out(perspective, set(get_packages_with_prefixes()))
    if packages:
        click.echo(f"docks are left out, {', '.join(packages)} not being installed: {_install(*packages)}", err=True)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is rqt's: it closes in order
    # rqt's own nodes share what this one hears: all of a context do, as long as there is one
    node = rclpy.create_node(f"rqt_policy_{os.getpid()}", start_parameter_services=False)
    from rqt_gui.main import Main  # takes about as long as the others need to answer

    unknown = wait(Sought(perspective), node)
    if unknown:
        click.echo(f"not there after {PATIENCE:.0f} s, so not shown: {', '.join(unknown)}", err=True)
    with tempfile.TemporaryDirectory() as folder:

        def end(*_: object) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)  # rqt takes SIGINT over, and closes in order
        file = Path(folder) / f"{name}.perspective"
        file.write_text(json.dumps(perspective), encoding="utf-8")
        status = Main().main(["rqt", "--force-discover", "--perspective-file", str(file)])
    node.destroy_node()
    rclpy.try_shutdown()
    return int(status)


def _install(*packages: str) -> str:
    distribution = os.environ.get("ROS_DISTRO", "<distro>")
    return "sudo apt install " + " ".join(f"ros-{distribution}-{package.replace('_', '-')}" for package in packages)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--namespace", default="/", show_default=True, help="Namespace of the policy.")
@click.option(
    "--perspective-file",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another perspective than the shipped one, as rqt exports it.",
)
def main(namespace: str, path: Path | None) -> None:
    """Open rqt with the docks of config/policy.perspective, once what they show is there."""
    namespace = f"/{namespace.strip('/')}"
    try:
        validate_namespace(namespace)
        perspective = read(path or share_path(SHIPPED))
    except InvalidNamespaceException:
        raise click.ClickException(f"no namespace: {namespace}; valid are names such as /left or /cell/left") from None
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if not any(os.environ.get(name) for name in SCREENS):
        raise click.ClickException("rqt needs a screen, and DISPLAY is not set")
    fit(perspective, namespace)
    title = f"{namespace.strip('/')}/policy".strip("/").replace("/", "_") if path is None else path.stem
    try:
        sys.exit(open_rqt(perspective, title))
    except ImportError as error:
        raise click.ClickException(f"rqt can't start ({error}): {_install('rqt_common_plugins')}") from None
