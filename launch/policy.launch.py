"""Start the policy node and the command node; configures and activates the policy.

Every argument is optional: one that is left empty leaves the value of the parameter file as it is. One that does not
exist is refused by name.
"""

import os
import runpy
import shutil
import time
from pathlib import Path

import lifecycle_msgs.msg
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.ros_adapters import get_ros_node
from launch_ros.substitutions import ExecutableInPackage
from rcl_interfaces.srv import GetParameters

PACKAGE = "vla_entropy_ros"
SHARE = Path(get_package_share_directory(PACKAGE))
PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
reading = runpy.run_path(str(Path(__file__).with_name("arguments.py")))
flag, number, text = reading["flag"], reading["number"], reading["text"]
RESPAWN_DELAY = 1.0  # seconds between the end of a policy and its next start
RESPAWN_ASK = 3.0  # seconds: a policy needs as long to be there
LOOK = 3.0  # seconds: on two busy cores a living node was found after up to 2.7
ANSWER = 1.0  # seconds: a living node answers within some 0.1, while it loads a checkpoint, too

CAMERAS = 8  # as many as a checkpoint may have
IMAGES = ("image", *(f"image_{number}" for number in range(2, CAMERAS + 1)))
# argument: (default, what it is for)
ARGUMENTS = {
    "params_file": (str(SHARE / "config" / "policy.yaml"), "file with the parameters of all nodes"),
    "checkpoint": (
        "",
        "folder of an OpenVLA-layout checkpoint, org/name of the hub, or small_policy, which drives the simulated arm "
        "only; must be given here or in params_file",
    ),
    "unnorm_key": ("", "data set whose action statistics are used (the only one of the checkpoint if unset)"),
    "device": ("", "cpu, cuda, cuda:<index> or auto"),
    "dtype": ("", "float32, bfloat16 or float16"),
    "quantisation": ("", "none, int8 or fp8: the decoder's weights in 8 bits"),
    "mode": ("", "full, place_entropy, info_entropy, vla_cache, visual_only, attention_only or static_union"),
    "k1": ("", "smaller of the two token budgets"),
    "k2": ("", "larger of the two token budgets"),
    "T": ("", "ticks over which the larger budget moves from visual to attention information"),
    "instruction": ("", "instruction to follow from the start on (otherwise the topic `instruction` gives it)"),
    "action_frame": ("", "frame in which actions and poses are expressed"),
    "image": ("image", "image topic; compressed images are read from <image>/compressed"),
    **{name: (name, f"image topic of camera {name[6:]}, where the checkpoint has as many") for name in IMAGES[1:]},
    "enabled": ("", "true: the command node moves the arm at once; false: after a call of command/enable"),
    "command_type": ("", "pose_stamped, twist_stamped, joint_trajectory or chunk"),
    "action_scale": ("", "factor on the actions, 0 to 2 (0.2 if unset: begin small on a real arm)"),
    "dry_run": ("", "true: nothing is sent to the arm but command/preview"),
    "namespace": ("", "namespace of the nodes"),
    "enclave": ("/robot", "SROS 2: the nodes have the keys of <enclave>/policy and <enclave>/command"),
    "use_sim_time": ("", "true: time comes from /clock"),
    "respawn": ("false", "true: a policy that was killed or crashed is started, configured and activated again"),
    "rqt": ("false", "true: rqt opens with the docks of config/policy.perspective once the policy is active"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}
POLICY_PARAMETERS = {  # launch argument: parameter of the policy node
    "instruction": "default_instruction",
    **{name: name for name in ("checkpoint", "unnorm_key", "device", "dtype", "quantisation", "mode", "action_frame")},
}
RQT = ("rqt-common-plugins", "rqt-runtime-monitor")  # packages with what the perspective shows, without ros-<distro>-
COUNTS = ("k1", "k2", "T")  # launch arguments that are parameters of the policy node, as integers


def nodes(context):
    """Build both nodes, with the arguments that are set, and the handlers that bring the policy up."""
    value = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    reading["check_file"](value["params_file"])
    common = {
        "package": PACKAGE,
        "namespace": value["namespace"],
        "output": "screen",
        "arguments": ["--ros-args", "--log-level", value["log_level"]],
    }
    clock = {"use_sim_time": flag(value, "use_sim_time")} if value["use_sim_time"] else {}
    given = {parameter: text(value[name]) for name, parameter in POLICY_PARAMETERS.items() if value[name]}
    given.update({name: number(value, name, int, "whole numbers, such as 40") for name in COUNTS if value[name]})
    bring_up = BringUp(flag(value, "respawn"))
    policy = LifecycleNode(
        **common,
        on_exit=bring_up.after_exit,
        respawn=bring_up.respawn,
        respawn_delay=RESPAWN_DELAY,
        executable="policy_node",
        name="policy",
        ros_arguments=["--enclave", value["enclave"] + "/policy"],
        parameters=[value["params_file"], clock, given],
        remappings=[(name + kind, value[name] + kind) for name in IMAGES for kind in ("", "/compressed")],
    )
    command = Node(
        **common,
        on_exit=_after_exit,
        executable="command_node",
        name="command",
        ros_arguments=["--enclave", value["enclave"] + "/command"],
        parameters=[value["params_file"], clock, _command_parameters(value)],
    )
    seen = rqt(policy, full_names(context.launch_configurations)[0]) if flag(value, "rqt") else []
    return [OpaqueFunction(function=refuse_running), *bring_up.handlers(policy), *seen, policy, command]


def _command_parameters(value):
    """Return the parameters of the command node that arguments were given for."""
    given = {name: text(value[name]) for name in ("action_frame", "command_type") if value[name]}
    if value["action_scale"]:
        given["action_scale"] = number(value, "action_scale", float, "numbers, such as 0.2")
    return given | {name: flag(value, name) for name in ("enabled", "dry_run") if value[name]}


def rqt(policy, name):
    """Return what opens rqt for the policy called `name` when it is active for the first time.

    Not before: what rqt_plot and rqt_reconfigure don't find when they are opened, they don't show.
    """
    if not shutil.which("rqt"):
        packages = " ".join(f"ros-{os.environ.get('ROS_DISTRO', '<distro>')}-{name}" for name in RQT)
        return [LogInfo(msg=f"rqt:=true, but rqt is not installed: sudo apt install {packages}; the rest goes on")]
    command = [ExecutableInPackage(package=PACKAGE, executable="rqt_policy"), "--namespace", name.rpartition("/")[0]]
    window = ExecuteProcess(cmd=command, name="rqt", output="screen")
    active = {"target_lifecycle_node": policy, "goal_state": "active", "handle_once": True}
    return [RegisterEventHandler(OnStateTransition(**active, entities=[window]))]


class BringUp:
    """Configures the policy once it runs, then activates it; shuts all down if it can't be configured.

    Once, so that who changes the state by hand later is not overtaken by the launch; with `respawn` after every start.
    """

    def __init__(self, respawn):
        """respawn: whether the policy is started again when it ends."""
        self.respawn = respawn
        self._starts = 0
        self._unheard = self._due = False  # whether it has not begun to configure yet; whether it shall be activated
        self._worked = False

    def handlers(self, policy):
        """Return the event handlers."""
        transition = lifecycle_msgs.msg.Transition

        def change(transition_id):
            matcher = matches_action(policy)
            return EmitEvent(event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition_id))

        configure = change(transition.TRANSITION_CONFIGURE)

        def started(_event, _context):
            self._starts += 1
            self._unheard = self._due = True
            return [configure] if self._starts == 1 else [later(self._starts)]

        def later(start):
            """Ask soon and until it is heard: for seconds the service of the killed policy seems to be there."""
            return TimerAction(period=RESPAWN_ASK, actions=[OpaqueFunction(function=lambda _: ask(start))])

        def ask(start):
            return [configure, later(start)] if self._unheard and self._starts == start else []

        def heard(_context):
            self._unheard = False

        def configured(context):
            if context.locals.event.goal_state != "inactive":
                return _give_up(context, "the policy could not be configured; its log says why")
            due, self._due, self._worked = self._due, False, True
            return [change(transition.TRANSITION_ACTIVATE)] if due or not self.respawn else []

        once = {"handle_once": not self.respawn}
        begun = {"target_lifecycle_node": policy, "goal_state": "configuring"}
        done = {"target_lifecycle_node": policy, "start_state": "configuring"}
        on_start = started if self.respawn else [configure]
        return [
            RegisterEventHandler(OnProcessStart(target_action=policy, on_start=on_start, **once)),
            RegisterEventHandler(OnStateTransition(**begun, entities=[OpaqueFunction(function=heard)], **once)),
            RegisterEventHandler(OnStateTransition(**done, entities=[OpaqueFunction(function=configured)], **once)),
        ]

    def after_exit(self, event, context):
        """Shut all down after a policy that gave up, unless it has worked before and is started again."""
        return None if self.respawn and self._worked else _after_exit(event, context)


def _after_exit(event, context):
    """End all after a node that could not start or gave up; after one that was killed the other holds the arm."""
    return _give_up(context, f"{event.process_name} has ended; its log says why") if event.returncode > 0 else None


def _give_up(context, reason):
    """Return what ends the launch with status 1 and says why; nothing where it ends already."""
    return [] if context.is_shutdown else [OpaqueFunction(function=_fail, args=[reason])]


def _fail(_context, reason):
    """Raise RuntimeError: after Shutdown the launch would end with status 0."""
    raise RuntimeError(reason)


def refuse_running(context):
    """Raise RuntimeError in one line if a living node has the name of one that is about to be started.

    Else configure would reach the policy that runs already, while the new one still imports. Only an answer counts:
    one that was killed can stay in the graph for 20 s.
    """
    node = get_ros_node(context)
    names = full_names(context.launch_configurations)
    clients = {name: node.create_client(GetParameters, f"{name}/get_parameters") for name in names}
    answers, end = {}, time.monotonic() + LOOK
    try:
        while time.monotonic() < end:
            for name, client in clients.items():
                if name not in answers and client.service_is_ready():
                    answers[name] = client.call_async(GetParameters.Request())
                    end = max(end, time.monotonic() + ANSWER)
            living = [name for name, answer in answers.items() if answer.done()]
            if living:
                other = "end it, or give this one another namespace (namespace:=...)"
                raise RuntimeError(f"a node {living[0]} is running already: {other}")
            time.sleep(0.02)
    finally:
        for client in clients.values():
            node.destroy_client(client)


def full_names(configurations):
    """Return the full names of both nodes; the launch file around this one may have pushed a namespace."""
    inner, outer = configurations["namespace"], configurations.get("ros_namespace") or ""
    below = (inner if inner.startswith("/") else f"{outer}/{inner}").strip("/")
    return [f"/{below}/{name}".replace("//", "/") for name in ("policy", "command")]


def generate_launch_description():
    """Return the launch description."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    profile = os.environ.get(PROFILE) or str(SHARE / "config" / "fastdds.xml")
    check = OpaqueFunction(function=reading["check_arguments"], args=[__file__, tuple(ARGUMENTS)])
    environment = SetEnvironmentVariable(PROFILE, profile)
    return LaunchDescription([check, *arguments, environment, OpaqueFunction(function=nodes)])
