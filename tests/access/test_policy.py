from __future__ import annotations

import logging
from typing import Any

import pytest

from wsredis.access.policy import default_policy, granted
from wsredis.exceptions import HandshakeError, PermissionDenied

REQUESTABLE = ("subscribe-broadcast", "publish-broadcast", "subscribe-user", "publish-user")


def test_by_default_all_may_listen_and_nobody_may_publish() -> None:
    assert granted(default_policy, None, REQUESTABLE) == ("subscribe-broadcast", "subscribe-user")


def test_a_policy_sees_the_request_and_what_is_requested() -> None:
    seen: list[Any] = []

    def policy(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
        seen.append((request, requested))
        return requested

    assert granted(policy, "the request", REQUESTABLE) == REQUESTABLE
    assert seen == [("the request", REQUESTABLE)]


@pytest.mark.parametrize("kind", [list, set, dict.fromkeys, iter])
def test_a_policy_can_only_take_away_and_order_stays(kind: Any) -> None:
    answer = ["publish-user", "subscribe-session", "subscribe-broadcast", "anything"]
    assert granted(lambda request, requested: kind(answer), None, REQUESTABLE) == (
        "subscribe-broadcast",
        "publish-user",
    )


def test_a_policy_that_grants_nothing_grants_nothing() -> None:
    assert granted(lambda request, requested: [], None, REQUESTABLE) == ()


@pytest.mark.parametrize("answer", [None, True, 5, "subscribe-broadcast", [["publish-user"]]])
def test_a_policy_that_answers_nonsense_denies(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PermissionDenied), caplog.at_level(logging.ERROR, "wsredis.access"):
        granted(lambda request, requested: answer, None, REQUESTABLE)
    assert "nothing is granted" in caplog.text
    assert [record.name for record in caplog.records] == ["wsredis.access"]


def test_a_policy_that_forgets_the_brackets_is_told_where_they_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(PermissionDenied):
        granted(lambda request, requested: "publish-user", None, REQUESTABLE)
    assert caplog.text.rstrip().endswith("write ['publish-user']")


def test_a_policy_that_raises_denies_and_the_client_does_not_hear_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def policy(request: Any, requested: tuple[str, ...]) -> list[str]:
        raise RuntimeError("the password of the database is wrong")

    with pytest.raises(PermissionDenied) as denied:
        granted(policy, None, REQUESTABLE)
    assert "password" not in denied.value.text
    assert "password" in caplog.text


@pytest.mark.parametrize("error", [PermissionDenied("Log in first."), HandshakeError(429, "Wait.")])
def test_a_policy_may_refuse_in_its_own_words(
    error: HandshakeError, caplog: pytest.LogCaptureFixture
) -> None:
    def policy(request: Any, requested: tuple[str, ...]) -> list[str]:
        raise error

    with pytest.raises(HandshakeError) as refused:
        granted(policy, None, REQUESTABLE)
    assert refused.value is error
    assert caplog.text == ""
