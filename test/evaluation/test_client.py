"""The client of the nodes: an arm whose pose comes late is enabled late, one without a pose never."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rclpy.context import Context
from std_srvs.srv import SetBool

from vla_entropy_ros.evaluation import client as module
from vla_entropy_ros.evaluation.client import Client
from vla_entropy_ros.evaluation.errors import RunError

REFUSAL = SetBool.Response(success=False, message="not enabled: no current_pose yet")


@pytest.fixture
def client() -> Iterator[Client]:
    context = Context()
    context.init()
    made = Client(context, lambda: None, keep_images=False)
    yield made
    made.close()
    context.try_shutdown()


def test_a_refusal_is_followed_by_another_question(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [SetBool.Response(success=True), REFUSAL, REFUSAL]
    monkeypatch.setattr(client, "_call", lambda *_: answers.pop())
    client.enable()
    assert answers == []


def test_refusals_without_end_are_an_error_with_their_reason(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    monkeypatch.setattr(client, "_call", lambda *_: REFUSAL)
    with pytest.raises(RunError, match="command/enable: not enabled: no current_pose yet"):
        client.enable()
