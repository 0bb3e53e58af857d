"""Start the simulated arm together with the policy; every argument of policy.launch.py may be given too."""

import os
import runpy
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "vla_entropy_ros"
SHARE = Path(get_package_share_directory(PACKAGE))
POLICY = SHARE / "launch" / "policy.launch.py"
reading = runpy.run_path(str(Path(__file__).with_name("arguments.py")))
SHIPPED = SHARE / "config" / "policy.yaml"
# The simulator, and rqt, share the cores with a small policy, whose threads then wait for each other.
THREADS = "OMP_NUM_THREADS"

# argument: (default, what it is for)
ARGUMENTS = {
    "params_file": (str(SHIPPED), "file with the parameters of all nodes"),
    "task": ("", "task of the first episode; `ros2 param describe simulator task` lists them (pick_red if unset)"),
    "seed": ("", "seed of the first episode: fixes where everything stands (0 if unset)"),
    "instruction": ("", "what the policy is asked to do from the start on (pick up the red cube if unset)"),
    "checkpoint": ("", "folder of another checkpoint than small_policy, which is made for this arm"),
    "enabled": ("", "true: the command node moves the simulated arm at once (true if unset)"),
    "action_scale": ("", "factor on the actions; a simulated arm needs no caution (1.0 if unset)"),
    "namespace": ("", "namespace of the nodes"),
    "enclave": ("/robot", "SROS 2: each node has the keys of <enclave>/<its name>"),
    "use_sim_time": ("", "true: time comes from /clock, which the simulator publishes"),
    "respawn": ("false", "true: a policy that was killed or crashed is started, configured and activated again"),
    "rqt": ("false", "true: rqt opens with the docks of config/policy.perspective once the policy is active"),
}
EPISODE = ("task", "seed")  # the simulator's alone
# argument: (parameter, value in the demo), for those that neither an argument nor a file of the user's gives
DEMO = {
    "instruction": ("default_instruction", "pick up the red cube"),
    "checkpoint": ("checkpoint", "small_policy"),
    "enabled": ("enabled", "true"),
    "action_scale": ("action_scale", "1.0"),
}


def _after_exit(event, context):
    """Shut all down with the simulator, unless that is what ended it; RuntimeError, so status 1, if it failed."""
    if context.is_shutdown:
        return None  # launch fails when it is told a second time
    if event.returncode:
        raise RuntimeError(f"the simulator has ended with status {event.returncode}; its log says why")
    return Shutdown(reason="the simulator has ended")


def names_in(file):
    """Return the names of the parameters that a file of the user's gives a value; none in the shipped one."""
    if Path(file) == SHIPPED:
        return set()
    try:
        documents = list(yaml.safe_load_all(Path(file).read_text(encoding="utf-8")))
    except (UnicodeDecodeError, yaml.YAMLError):
        return set()  # the nodes refuse it, and say why
    return {name for document in documents for name in _names(document)}


def _names(content):
    """Return all keys below which there is a value, however nested."""
    groups = content.items() if isinstance(content, dict) else ()
    below = {name for _, value in groups for name in _names(value)}
    return below | {name for name, value in groups if value not in (None, "")}


def nodes(context):
    """Build the simulator and what policy.launch.py builds."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    reading["check_file"](value["params_file"])
    given = names_in(value["params_file"])
    for name, (parameter, default) in DEMO.items():
        if not value[name] and parameter not in given:
            value[name] = default
    episode = {"task": reading["text"](value["task"])} if value["task"] else {}
    if value["seed"]:
        episode["seed"] = reading["number"](value, "seed", int, "whole numbers, such as 40")
    if value["use_sim_time"]:
        episode["use_sim_time"] = reading["flag"](value, "use_sim_time")
    simulator = Node(
        package=PACKAGE,
        executable="simulator_node",
        name="simulator",
        ros_arguments=["--enclave", value["enclave"] + "/simulator"],
        namespace=value["namespace"],
        output="screen",
        on_exit=_after_exit,
        parameters=[value["params_file"], episode],
    )
    passed = {name: text for name, text in value.items() if name not in EPISODE}
    policy = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(POLICY)), launch_arguments=passed.items())
    return [policy, simulator]  # the policy's file first: it refuses names that are taken


def generate_launch_description():
    """Return the launch description."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    known = tuple({**ARGUMENTS, **runpy.run_path(str(POLICY))["ARGUMENTS"]})
    check = OpaqueFunction(function=reading["check_arguments"], args=[__file__, known])
    threads = SetEnvironmentVariable(THREADS, os.environ.get(THREADS) or "1")
    return LaunchDescription([check, *arguments, threads, OpaqueFunction(function=nodes)])
