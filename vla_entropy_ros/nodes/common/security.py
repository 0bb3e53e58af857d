"""Whether the environment's settings of SROS 2 mean what they say: rcl takes a misspelt one for off, without a word."""

from __future__ import annotations

from collections.abc import Mapping

ENABLE, STRATEGY, KEYSTORE = "ROS_SECURITY_ENABLE", "ROS_SECURITY_STRATEGY", "ROS_SECURITY_KEYSTORE"


class SecurityError(ValueError):
    """A setting would leave the node unprotected although protection was asked for; the message is one line."""


def check_security(environment: Mapping[str, str]) -> str | None:
    """What to warn of when nodes are started under `environment`; None where there is nothing to say.

    Raises SecurityError where a node would start without the protection that was meant.
    """
    enable = environment.get(ENABLE, "")
    if enable not in ("", "true", "false"):
        raise SecurityError(
            f"{ENABLE} is {enable!r}, which ROS takes for off: valid are true and false; type export {ENABLE}=true"
        )
    if enable != "true":
        return None
    strategy = environment.get(STRATEGY, "")
    if strategy not in ("", "Permissive", "Enforce"):
        raise SecurityError(
            f"{STRATEGY} is {strategy!r}, which ROS takes for Permissive: valid are Enforce and Permissive; "
            f"type export {STRATEGY}=Enforce"
        )
    if not environment.get(KEYSTORE):
        raise SecurityError(
            f"{ENABLE} is true and {KEYSTORE} is empty: expected is the folder of `ros2 security create_keystore`; "
            f"type export {KEYSTORE}=FOLDER"
        )
    if strategy != "Enforce":
        return (
            f"{STRATEGY} is not Enforce: without the keys of its enclave this node runs unprotected, and anybody is "
            f"heard; type export {STRATEGY}=Enforce"
        )
    return None
