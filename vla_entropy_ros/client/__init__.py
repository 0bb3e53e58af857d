"""Drive a policy from Python: run an instruction until it is done, watch it, stop it.

`client` is VlaClient; `answers` is what it returns; `following` keeps track of the goal it gave; `link` reaches the
nodes.
"""

from ..nodes.common.goals import CANCELLED, DONE, HELD, RUNNING, TIMED_OUT, Until
from .answers import Answer, Feedback, Result
from .client import VlaClient
from .link import ClientError, find_policies, namesakes, shared_context

__all__ = [
    "CANCELLED",
    "DONE",
    "HELD",
    "RUNNING",
    "TIMED_OUT",
    "Answer",
    "ClientError",
    "Feedback",
    "Result",
    "Until",
    "VlaClient",
    "find_policies",
    "namesakes",
    "shared_context",
]
