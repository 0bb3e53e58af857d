"""Start the simulated arm together with the policy; every argument of policy.launch.py may be given too."""

import runpy
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = "vla_entropy_ros"
SHARE = Path(get_package_share_directory(PACKAGE))
POLICY = SHARE / "launch" / "policy.launch.py"

# argument: (default, what it is for)
ARGUMENTS = {
    "params_file": (str(SHARE / "config" / "policy.yaml"), "file with the parameters of all nodes"),
    "task": ("pick_red", "task of the first episode; `ros2 param describe simulator task` lists them"),
    "seed": ("0", "seed of the first episode: fixes where everything stands"),
    "instruction": ("pick up the red cube", "what the policy is asked to do from the start on"),
    "enabled": ("true", "true: the command node moves the simulated arm at once"),
    "action_scale": ("1.0", "factor on the actions; a simulated arm needs no caution"),
    "namespace": ("", "namespace of the nodes"),
    "enclave": ("/robot", "SROS 2: each node has the keys of <enclave>/<its name>"),
}


def _after_exit(_event, context):
    """Shut all down with the simulator, unless that is what ended it: launch fails when it is told a second time."""
    return None if context.is_shutdown else Shutdown(reason="the simulator has ended")


def generate_launch_description():
    """Return the launch description."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    episode = {
        "task": ParameterValue(value["task"], value_type=str),
        "seed": ParameterValue(value["seed"], value_type=int),
    }
    simulator = Node(
        package=PACKAGE,
        executable="simulator_node",
        name="simulator",
        ros_arguments=["--enclave", [value["enclave"], "/simulator"]],
        namespace=value["namespace"],
        output="screen",
        on_exit=_after_exit,
        parameters=[value["params_file"], episode],
    )
    given = ("params_file", "instruction", "enabled", "action_scale", "namespace", "enclave")
    passed = {name: value[name] for name in given}
    policy = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(POLICY)), launch_arguments=passed.items())
    included = runpy.run_path(str(POLICY))
    known = tuple({**ARGUMENTS, **included["ARGUMENTS"]})
    check = OpaqueFunction(function=included["check_arguments"], args=[__file__, known])
    return LaunchDescription([check, *arguments, simulator, policy])
