from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from wsredis.access.policy import default_policy, granted, not_granted
from wsredis.exceptions import HandshakeError, PermissionDenied
from wsredis.identity import Identity

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
        granted(policy, None, ("subscribe-user",))
    assert denied.value.text == (
        "Not granted to an anonymous client: subscribe-user."
        " Log in if allowed_channels grants it to users, or grant it there."
    )
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


def request_of(identity: Identity) -> Any:
    return SimpleNamespace(identity=identity)


@pytest.mark.parametrize("error", [PermissionDenied, PermissionDenied()])
def test_a_policy_that_refuses_without_words_is_given_some(error: Any) -> None:
    def policy(request: Any, requested: tuple[str, ...]) -> list[str]:
        raise error

    with pytest.raises(PermissionDenied) as refused:
        granted(policy, request_of(Identity("alice")), ("subscribe-user",))
    text = "Not granted to alice: subscribe-user. Grant it in allowed_channels."
    assert refused.value.text == text


@pytest.mark.parametrize(
    ("identity", "who"),
    [
        (Identity(), "an anonymous client"),
        (Identity(session="a-secret-key"), "an anonymous client"),
        (Identity("anonymous"), "anonymous"),
        (Identity("alice"), "alice"),
        (Identity("Zo\u00eb"), "Zo\u00eb"),
        (Identity("a\r\nb: \u202ec"), "a%0D%0Ab%3A%20%E2%80%AEc"),
        (Identity("a" * 64), "a" * 64),
        (Identity("a" * 65), "a" * 61 + "..."),
    ],
)
def test_a_refusal_names_who_asked_in_one_short_line(identity: Identity, who: str) -> None:
    refusal = not_granted(request_of(identity), ("subscribe-user", "publish-user"))
    assert refusal.status == 403
    advice = "Grant them in allowed_channels."
    if identity.user is None:
        advice = "Log in if allowed_channels grants them to users, or grant them there."
    assert refusal.text == f"Not granted to {who}: subscribe-user, publish-user. {advice}"


def test_who_lacks_a_group_or_session_is_told_so() -> None:
    keys = ("subscribe-group", "publish-group", "subscribe-session", "publish-broadcast")
    refusal = not_granted(request_of(Identity("alice")), keys, keys[:3])
    assert refusal.text == (
        f"Not granted to alice: {', '.join(keys)}. This client has no group and no session."
    )


def test_an_anonymous_client_that_asks_for_its_own_channels_is_told_to_log_in() -> None:
    keys = ("subscribe-user", "subscribe-group")
    assert not_granted(request_of(Identity()), keys, keys).text == (
        "Not granted to an anonymous client: subscribe-user, subscribe-group."
        " This client has no user and no group. Log in."
    )
