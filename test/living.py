"""A node that lives: in a participant of DDS of its own, as if it were in another process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

WAKE = 0.05  # seconds after which the thread that spins it looks whether it shall end


@contextmanager
def living(name: str, namespace: str = "") -> Iterator[Node]:
    """The node, which a thread spins."""
    context = Context()
    context.init(args=[])
    node, executor = Node(name, namespace=namespace, context=context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ending = threading.Event()

    def spin() -> None:
        while not ending.is_set():
            executor.spin_once(timeout_sec=WAKE)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield node
    finally:
        ending.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
