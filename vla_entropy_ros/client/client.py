"""VlaClient: the ten verbs of whoever drives a policy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from ..nodes.common import goals
from ..nodes.common.facts import facts
from ..nodes.common.goals import EMERGENCY, Request, Until
from ..nodes.common.listen import LATCHED, Speakers, subscribe
from .answers import Answer, Feedback, Result
from .following import Following
from .link import CLOSED, ClientError, Link, namesakes, parameter_messages
from .starting import Starting, own_number

PATIENCE = 5.0  # seconds that a node may take to answer
LOADING = 180.0  # seconds: a large checkpoint from a slow disk
LOOK = 0.1  # seconds between two looks how the policy comes up
AGAIN = 1.0  # seconds after which what may be asked twice is asked again
SOON = 0.02  # seconds between two questions whether the arm may move
STEPS = {  # lifecycle states on the way up, and what leads on from each
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_CONFIGURE,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_ACTIVATE,
}


class VlaClient:
    """Gives a policy goals, one at a time, and reaches what else its nodes offer.

    namespace: of the robot's nodes. Without `node` it has a node and a thread of its own; a given one is spun by the
    caller, on another thread than calls from here. Every command returns an Answer within `patience` seconds, false
    and in words where a robot refuses or nobody is there; only `check`, which is asked meanwhile, may raise. A name
    that no node can have is a ClientError, and so is a patience that is no time.
    """

    def __init__(
        self,
        namespace: str = "",
        *,
        node: Node | None = None,
        context: Context | None = None,
        check: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
        name: str = "vla_client",
    ) -> None:
        if not isinstance(patience, (int, float)) or not 0.0 <= patience < math.inf:
            raise ClientError(f"patience is {patience!r}, expected seconds")
        self.patience = patience
        self.link = Link(name, namespace, node, context, check)
        self.node, path = self.link.node, self.link.path
        self._policy = path("policy")
        self._following = Following(self._policy)
        self.arm = ""  # what the command node said last about itself
        self._instructions = self.node.create_publisher(String, path("instruction"), 10)
        self._stops = self.node.create_publisher(Bool, path("emergency_stop"), 10)
        self._starting = Starting(self.link, self._following, self._policy)
        status = f"{self._policy}/{goals.STATUS}"
        self._speakers = Speakers(self.node, status)
        self._subscriptions = [
            subscribe(self.node, DiagnosticArray, status, self._on_status, LATCHED),
            self.node.create_subscription(String, path("command/state"), self._on_arm, LATCHED),
        ]
        self.link.prepare(SetBool, "command/enable")

    def __enter__(self) -> VlaClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the graph; a goal that asked for a heartbeat is cancelled, and the arm stops."""
        if self._starting.beating:
            self.patience = min(self.patience, AGAIN)
            if self.cancel():
                self.link.wait(lambda: self.is_done, AGAIN)
        self._starting.close(AGAIN)
        if not self.link.owned:
            for subscription in self._subscriptions:
                self.node.destroy_subscription(subscription)
            for publisher in (self._instructions, self._stops):
                self.node.destroy_publisher(publisher)
        self.link.close()

    def run(
        self, instruction: str, timeout: float = 60.0, until: Until | str | None = None, heartbeat: float = 0.5
    ) -> Answer:
        """Have the policy follow `instruction` until it is done; returns as soon as that is known.

        timeout: seconds after which it ends, 0: never. until: when it is done (Until.topic, Until.still, Until.time);
        without it, it ends by its timeout or `cancel`. heartbeat: seconds of this client's silence after which the arm
        is stopped, 0: never. A goal that runs already is replaced where the parameter goal.preempt allows it.
        """
        end = until.text if isinstance(until, Until) else "" if until is None else until
        try:
            given = {"instruction": instruction, "timeout": timeout, "until": end, "heartbeat": heartbeat}
            request = Request.of({**given, "client": own_number()})
            self.link.check_open()
            if self.several is not None:
                raise ClientError(self.several)
            answer = self._starting.start(request, self.patience)
        except (ValueError, ClientError) as error:
            answer = Answer(False, str(error))
        if not answer:
            self._following.refused()
        return answer

    @property
    def is_done(self) -> bool:
        """Whether no goal of this client runs."""
        return self._following.goal is None

    @property
    def feedback(self) -> Feedback:
        """How the goal fares, as the policy told within the last 0.2 s; of any client's, where this one has none."""
        return self._following.feedback

    @property
    def result(self) -> Result | None:
        """How the last goal ended; None while it runs, or before the first one."""
        return self._following.result

    @property
    def number(self) -> int:
        """The number of this client's last goal, 0 before the first."""
        return self._following.number

    @property
    def several(self) -> str | None:
        """That more than one policy of this name speaks, in words; None where it is one. Asks for living ones."""
        said = namesakes(self._speakers, self._policy)
        return None if said is None else f"{said}, or give each a namespace"

    @property
    def silent(self) -> float:
        """Seconds since the policy was heard last; infinite before."""
        return self._following.silent

    def wait(self, patience: float) -> Result | None:
        """Wait for the end of the goal, at most `patience` seconds; its result, None where it still runs."""
        self.link.wait(lambda: self.is_done, patience)
        return self.result

    def cancel(self) -> Answer:
        """End the goal that runs, and stop the arm; false in words where none runs."""
        return self.trigger(f"policy/{goals.CANCEL}")

    def enable(self, patience: float | None = None) -> Answer:
        """Let the arm move; asked again until the command node consents, since the arm's pose may come late."""
        due = time.monotonic() + (self.patience if patience is None else patience)
        while not (answer := self._switch(True)) and time.monotonic() < due:
            if self.arm.startswith(EMERGENCY) or self.link.closed:
                break  # asking again does not help
            self.link.pause(SOON)
        return answer

    def disable(self) -> Answer:
        """Hold the arm where it is, and send it nothing more."""
        return self._switch(False)

    def emergency_stop(self) -> Answer:
        """Hold the arm until `release`; repeated until the command node says that it does."""
        if self.link.closed:
            return Answer(False, CLOSED)

        def stopped() -> bool:
            self._stops.publish(Bool(data=True))
            return self.arm.startswith(EMERGENCY)

        stopped()
        if self.link.wait(stopped, AGAIN):
            return Answer(True, self.arm)
        return Answer(False, f"{self.link.path('command')} does not confirm the stop: use the robot's own")

    def release(self) -> Answer:
        """Undo the emergency stop; the arm moves after the next `enable`."""
        return self.trigger("command/release")

    def reset(self) -> Answer:
        """Begin a new episode: everything is computed afresh at the next tick."""
        return self.trigger("policy/reset")

    def instruct(self, text: str) -> Answer:
        """Publish an instruction without a goal, once somebody listens; an empty one stops the actions."""
        try:
            self.link.check_open()
            goals.sendable("an instruction", text)
        except (ClientError, ValueError) as error:
            return Answer(False, str(error))
        if not self.link.wait(self._instructions.get_subscription_count, self.patience):
            return Answer(False, f"{self.link.path('instruction')}: nobody listens{self.link.others()}")
        self._instructions.publish(String(data=text))
        return Answer(True, "published")

    def set(self, values: Mapping[str, Any] | None = None, /, *, node: str = "policy", **more: Any) -> Answer:
        """Set parameters of a node, all or none; the words say what has no effect, or why they are refused."""
        try:
            asked = SetParametersAtomically.Request(parameters=parameter_messages(values or {}, more))
            service = f"{node}/set_parameters_atomically"
            answer = self.link.call(SetParametersAtomically, service, asked, self.patience, AGAIN).result
        except ClientError as error:
            return Answer(False, str(error))
        return Answer(
            answer.successful, answer.reason or ("set" if answer.successful else f"{node} refused: see its log")
        )

    def trigger(self, service: str) -> Answer:
        """Call a std_srvs/Trigger service of the namespace."""
        try:
            answer = self.link.call(Trigger, service, Trigger.Request(), self.patience)
        except ClientError as error:
            return Answer(False, str(error))
        return Answer(answer.success, answer.message)

    def bring_up(self, patience: float = LOADING) -> Answer:
        """Configure and activate the policy, from whatever state it is in."""
        due, state, refused = time.monotonic() + patience, None, None
        try:
            while time.monotonic() < due:
                left = min(self.patience, due - time.monotonic())
                state = self.link.call(GetState, "policy/get_state", GetState.Request(), left, AGAIN).current_state
                if state.id == State.PRIMARY_STATE_ACTIVE:
                    return Answer(True, "the policy is active")
                if state.id == State.PRIMARY_STATE_FINALIZED:
                    break
                if state.id == refused:
                    return Answer(False, f"{self._policy} refused to {_verb(STEPS[state.id])}: its log says why")
                if state.id in STEPS and not self._change(STEPS[state.id], due - time.monotonic()):
                    refused = state.id  # unless somebody else has led it on
                self.link.pause(LOOK)
        except ClientError as error:
            return Answer(False, str(error))
        return Answer(False, f"{self._policy} is {state.label if state else 'not there'} after {patience:g} s")

    def _change(self, transition: int, patience: float) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.link.call(ChangeState, "policy/change_state", request, max(patience, 0.0)).success)

    def _switch(self, on: bool) -> Answer:
        try:
            answer = self.link.call(SetBool, "command/enable", SetBool.Request(data=on), self.patience, AGAIN)
        except ClientError as error:
            return Answer(False, str(error))
        return Answer(answer.success, answer.message or ("enabled" if on else "disabled"))

    def _on_status(self, message: DiagnosticArray, info: Mapping[str, Any]) -> None:
        self._speakers.note(info)
        told = facts(message)
        self._starting.hear(told)
        self._following.hear(told, alone=self._speakers.several is None)

    def _on_arm(self, message: String) -> None:
        self.arm = str(message.data)


def _verb(transition: int) -> str:
    return "configure" if transition == Transition.TRANSITION_CONFIGURE else "activate"
