"""What the graph shows where something is missing: who publishes a topic, and which image topics there are."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from ..common.listen import RELIABLE, listed, publisher_names, type_name

SHOWN = 6  # topics or nodes in one line
IMAGES = (type_name(Image), type_name(CompressedImage))


def publishers(
    node: Node, topic: str, kind: type, asked: ReliabilityPolicy | None = None, heard: str | None = None
) -> str:
    """Who publishes `topic` (a full name), and why nothing is heard of it.

    asked: the subscription's reliability; heard: what is known of what they send, where that is not a stream.
    """
    infos = node.get_publishers_info_by_topic(topic)
    if not infos:
        return "nobody publishes there"
    names = listed(publisher_names(infos), SHOWN)
    others = sorted({info.topic_type for info in infos} - {type_name(kind)})
    if others and len(others) == len({info.topic_type for info in infos}):
        return f"{names} publishes {', '.join(others)} there, expected {type_name(kind)}"
    offered = {info.qos_profile.reliability for info in infos}
    if asked == RELIABLE and RELIABLE not in offered:
        return (
            f"{names} publishes there best effort, observation.reliability asks for reliable, so nothing is heard: "
            "start with observation.reliability:=auto"
        )
    said = " and ".join(sorted(policy.name.lower().replace("_", " ") for policy in offered))
    return f"{names} publishes there ({said}) and {heard or f'nothing comes: see ros2 topic hz {topic}'}"


def image_topics(node: Node, but: set[str]) -> list[str]:
    """Topics with images that somebody else publishes, except those named in `but`."""
    own = f"{node.get_fully_qualified_name()}/"
    return sorted(
        name
        for name, kinds in node.get_topic_names_and_types()
        if set(kinds) & set(IMAGES)
        and name not in but
        and not name.startswith(own)
        and node.get_publishers_info_by_topic(name)
    )


def elsewhere(node: Node, topic: str, but: set[str]) -> str:
    """Where images can be had instead of `topic` (a relative name), and what to type."""
    found = image_topics(node, but)
    if not found:
        return (
            "no other topic has images: start the camera's driver, with this node's ROS_DOMAIN_ID "
            "(see ros2 topic list -t)"
        )
    raw = [name for name in found if not name.endswith("/compressed")]
    base = raw[0] if raw else found[0].removesuffix("/compressed")
    return f"images are on {listed(found, SHOWN)}: start with {topic}:={base}"
