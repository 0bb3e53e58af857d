"""Start the policy node and the command node; configures and activates the policy.

Every argument is optional: one that is left empty leaves the value of the parameter file as it is. One that does not
exist is refused by name.
"""

import difflib
import itertools
import os
import sys
from pathlib import Path

import lifecycle_msgs.msg
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState

PACKAGE = "vla_entropy_ros"
SHARE = Path(get_package_share_directory(PACKAGE))
PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"

# argument: (default, what it is for)
ARGUMENTS = {
    "params_file": (str(SHARE / "config" / "policy.yaml"), "file with the parameters of all nodes"),
    "checkpoint": ("", "folder of an OpenVLA-layout checkpoint (the small policy of this package if unset)"),
    "unnorm_key": ("", "data set whose action statistics are used (the only one of the checkpoint if unset)"),
    "device": ("", "cpu, cuda, cuda:<index> or auto"),
    "dtype": ("", "float32, bfloat16 or float16"),
    "quantisation": ("", "none or int8: the decoder's weights in 8 bits"),
    "mode": ("", "full, vla_cache, visual_only, attention_only, static_union or info_entropy"),
    "k1": ("", "smaller of the two token budgets"),
    "k2": ("", "larger of the two token budgets"),
    "T": ("", "ticks over which mode info_entropy moves its budget from image entropy to attention entropy"),
    "instruction": ("", "instruction to follow from the start on (otherwise the topic `instruction` gives it)"),
    "action_frame": ("", "frame in which actions and poses are expressed"),
    "image": ("image", "image topic; compressed images are read from <image>/compressed"),
    "enabled": ("false", "true: the command node moves the arm at once; false: after a call of command/enable"),
    "command_type": ("", "pose_stamped, twist_stamped, joint_trajectory or chunk"),
    "action_scale": ("", "factor on the actions, 0 to 2 (0.2 if unset: begin small on a real arm)"),
    "dry_run": ("", "true: nothing is sent to the arm but command/preview"),
    "namespace": ("", "namespace of the nodes"),
    "enclave": ("/robot", "SROS 2: the nodes have the keys of <enclave>/policy and <enclave>/command"),
    "use_sim_time": ("false", "true: time comes from /clock"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}
POLICY_PARAMETERS = {  # launch argument: parameter of the policy node
    "checkpoint": "checkpoint",
    "unnorm_key": "unnorm_key",
    "device": "device",
    "dtype": "dtype",
    "quantisation": "quantisation",
    "mode": "mode",
    "instruction": "default_instruction",
    "action_frame": "action_frame",
}
COUNTS = ("k1", "k2", "T")  # launch arguments that are parameters of the policy node, as integers


def nodes(context):
    """Build both nodes, with the arguments that are set, and the handlers that bring the policy up."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    common = {
        "package": PACKAGE,
        "namespace": value["namespace"],
        "output": "screen",
        "on_exit": _after_exit,
        "arguments": ["--ros-args", "--log-level", value["log_level"]],
    }
    clock = {"use_sim_time": _flag(value, "use_sim_time")}
    given = {parameter: value[name] for name, parameter in POLICY_PARAMETERS.items() if value[name]}
    given.update({name: _number(value, name, int, "whole numbers, such as 40") for name in COUNTS if value[name]})
    policy = LifecycleNode(
        **common,
        executable="policy_node",
        name="policy",
        ros_arguments=["--enclave", value["enclave"] + "/policy"],
        parameters=[value["params_file"], clock, given],
        remappings=[("image", value["image"]), ("image/compressed", value["image"] + "/compressed")],
    )
    command = Node(
        **common,
        executable="command_node",
        name="command",
        ros_arguments=["--enclave", value["enclave"] + "/command"],
        parameters=[value["params_file"], clock, _command_parameters(value)],
    )
    return [*_bring_up(policy), policy, command]


def _command_parameters(value):
    """Return the parameters of the command node that arguments were given for."""
    given = {name: value[name] for name in ("action_frame", "command_type") if value[name]}
    if value["action_scale"]:
        given["action_scale"] = _number(value, "action_scale", float, "numbers, such as 0.2")
    if value["dry_run"]:
        given["dry_run"] = _flag(value, "dry_run")
    return {"enabled": _flag(value, "enabled"), **given}


def _number(value, name, kind, valid):
    """Return the argument `name` as a `kind`; RuntimeError unless it is one. Its range is the node's concern."""
    try:
        return kind(value[name])
    except ValueError:
        raise RuntimeError(f"{name}:={value[name]}: valid are {valid}") from None


def _flag(value, name):
    """Return the argument `name` as a bool; RuntimeError unless it is true or false."""
    if value[name].lower() not in ("true", "false"):
        raise RuntimeError(f"{name}:={value[name]}: valid are true, false")
    return value[name].lower() == "true"


def _bring_up(policy):
    """Return the handlers: configure once it runs, then activate; shut all down if the policy can't be configured.

    Each acts once: who changes the state by hand later shall not be overtaken by the launch.
    """
    transition = lifecycle_msgs.msg.Transition

    def change(transition_id):
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(policy), transition_id=transition_id))

    def configured(context):
        if context.locals.event.goal_state == "inactive":
            return [change(transition.TRANSITION_ACTIVATE)]
        return _give_up(context, "the policy could not be configured; its log says why")

    configure = change(transition.TRANSITION_CONFIGURE)
    return [
        RegisterEventHandler(OnProcessStart(target_action=policy, on_start=[configure], handle_once=True)),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=policy,
                start_state="configuring",
                entities=[OpaqueFunction(function=configured)],
                handle_once=True,
            )
        ),
    ]


def _after_exit(event, context):
    """Shut all down after a node that could not start or gave up; after one that was killed the other holds the arm."""
    return _give_up(context, f"{event.process_name} has ended; its log says why") if event.returncode > 0 else None


def _give_up(context, reason):
    """Return what ends the launch and says why; nothing where it ends already, since launch fails at a second time."""
    return [] if context.is_shutdown else [LogInfo(msg=reason), Shutdown(reason=reason)]


def refuse_unknown(typed, known):
    """Raise RuntimeError in one line for the first of the arguments `typed` (name:=value) that is not `known`."""
    for argument in typed:
        name = argument.partition(":=")[0]
        if name not in known:
            (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise RuntimeError(
                f"{argument}: there is no argument {name}, the nearest is {nearest}; valid are {', '.join(known)}"
            )


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


def generate_launch_description():
    """Return the launch description."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    profile = os.environ.get(PROFILE) or str(SHARE / "config" / "fastdds.xml")
    check = OpaqueFunction(function=check_arguments, args=[__file__, tuple(ARGUMENTS)])
    environment = SetEnvironmentVariable(PROFILE, profile)
    return LaunchDescription([check, *arguments, environment, OpaqueFunction(function=nodes)])
