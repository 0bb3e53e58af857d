"""What both launch files do with their arguments: read them, and refuse in one line what can't be read."""

import difflib
import itertools
import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = "vla_entropy_ros"
SHIPPED = Path(get_package_share_directory(PACKAGE)) / "config" / "policy.yaml"


def text(argument):
    """Return the argument as a parameter that stays text: `yes` or `a: b` in it is no YAML."""
    return ParameterValue(argument, value_type=str)


def number(value, name, kind, valid):
    """Return the argument `name` as a `kind`; RuntimeError unless it is one. Its range is the node's concern."""
    try:
        return kind(value[name])
    except ValueError:
        raise RuntimeError(f"{name}:={value[name]}: valid are {valid}") from None


def flag(value, name):
    """Return the argument `name` as a bool; RuntimeError unless it is true or false."""
    if value[name].lower() not in ("true", "false"):
        raise RuntimeError(f"{name}:={value[name]}: valid are true, false")
    return value[name].lower() == "true"


def refuse_unknown(typed, known):
    """Raise RuntimeError in one line for the first of the arguments `typed` (name:=value) that is not `known`."""
    for argument in typed:
        name = argument.partition(":=")[0]
        if name not in known:
            (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise RuntimeError(
                f"{argument}: there is no argument {name}, the nearest is {nearest}; valid are {', '.join(known)}"
            )


def check_file(path):
    """Raise RuntimeError in one line unless the parameter file exists: launch would only warn and go on without."""
    if not Path(path).is_file():
        raise RuntimeError(f"params_file:={path}: there is no such file; the shipped one is {SHIPPED}")


def is_typed(file, command):
    """Whether `command` (sys.argv of `ros2 launch`) names the launch file `file`, by its package or by its path.

    Only then are the arguments typed there meant for `file`: who includes it has arguments of their own.
    """
    file = Path(file)
    by_path = (Path(word) for word in command if Path(word).name == file.name)
    by_package = (PACKAGE, file.name) in itertools.pairwise(command)
    return by_package or any(word.exists() and word.samefile(file) for word in by_path)


def check_arguments(context, file, known):
    """Refuse what was typed on the command line and is not `known`, where the line is about the launch file `file`."""
    if is_typed(file, sys.argv):
        refuse_unknown(context.argv, known)
