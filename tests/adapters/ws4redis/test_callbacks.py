"""``WS4REDIS_ALLOWED_CHANNELS`` and ``WS4REDIS_PROCESS_REQUEST``: their results and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from ws4redis import names
from ws4redis.publisher import RedisPublisher

from .conftest import Live
from .talk import BOTH, SECONDS, hear, in_silence, refusal

Site = Callable[..., None]


def test_a_callback_takes_away_but_adds_nothing(site: Site, live: Live, room: str) -> None:
    asked = []

    def allowed(request: Any, channels: list[str]) -> Any:
        asked.append((request.path_info, channels, request.user.is_authenticated, request.session))
        return {"subscribe-broadcast", "publish-broadcast", "subscribe-user"}

    site(WS4REDIS_ALLOWED_CHANNELS=allowed)
    with live.open(f"/ws/{room}?subscribe-broadcast&publish-user&echo") as ws:
        ws.send("nobody gets this")
        ws.ping().wait(SECONDS)
        in_silence(live, room, ws)
    ((path, channels, known, session),) = asked
    assert (path, channels) == (f"/ws/{room}", ["subscribe-broadcast", "publish-user"])
    assert known is False
    assert dict(session.items()) == {}


def raising(request: Any, channels: list[str]) -> list[str]:
    return request.no_such_attribute  # type: ignore[no-any-return]


def returning_none(request: Any, channels: list[str]) -> None:
    return None


def returning_a_string(request: Any, channels: list[str]) -> str:
    return "subscribe-broadcast"


def asking_the_session(request: Any, channels: list[str]) -> list[str]:
    return channels if request.session.get("member") or request.user.is_superuser else []


@pytest.mark.parametrize("name", ["raising", "returning_none", "returning_a_string"])
@pytest.mark.parametrize("path", ["ws4redis.names.{}", "ws4redis.names:{}", ""])
def test_any_error_of_the_callback_refuses(
    site: Site, live: Live, room: str, name: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = globals()[name]
    monkeypatch.setattr(names, name, function, raising=False)
    site(WS4REDIS_ALLOWED_CHANNELS=path.format(name) or function)
    answer = refusal(live, f"/ws/{room}?subscribe-broadcast")
    assert answer.status_code == 403
    assert b"attribute" not in answer.body


def test_a_callback_that_cannot_be_imported_any_more_refuses(
    site: Site, live: Live, room: str
) -> None:
    site(WS4REDIS_ALLOWED_CHANNELS="no.such.callback")
    assert refusal(live, f"/ws/{room}?subscribe-broadcast").status_code == 403


def test_an_anonymous_request_has_a_user_and_a_session_to_ask(
    site: Site, live: Live, room: str
) -> None:
    site(WS4REDIS_ALLOWED_CHANNELS=asking_the_session)
    with live.open(f"/ws/{room}?{BOTH}") as ws:
        ws.send("nobody gets this")
        ws.ping().wait(SECONDS)


def test_process_request_may_be_a_function_of_the_site(site: Site, live: Live, room: str) -> None:
    class Token:
        is_authenticated = True

        def __init__(self, name: str) -> None:
            self.get_username = lambda: name

    def process(request: Any) -> None:
        request.user = Token(request.GET["token"])
        request.session = {"ws4redis:memberof": ["staff"]}

    site(WS4REDIS_PROCESS_REQUEST=process)
    with live.open(f"/ws/{room}?token=john&subscribe-user&subscribe-group") as ws:
        for to in ({"users": ["mary"]}, {"users": ["john"]}, {"groups": ["staff"]}):
            RedisPublisher(facility=room, **to).publish_message(str(to), 0)
        assert (hear(ws), hear(ws)) == ("{'users': ['john']}", "{'groups': ['staff']}")


@pytest.mark.parametrize(("error", "status"), [(KeyError, 403), (PermissionDenied, 403)])
def test_a_process_request_that_fails_lets_nobody_in(
    site: Site, live: Live, room: str, error: type[Exception], status: int
) -> None:
    def process(request: Any) -> None:
        raise error

    site(WS4REDIS_PROCESS_REQUEST=process)
    assert refusal(live, f"/ws/{room}?subscribe-broadcast").status_code == status


def test_a_process_request_that_sets_nothing_leaves_nobody(
    site: Site, live: Live, room: str
) -> None:
    site(WS4REDIS_PROCESS_REQUEST=lambda request: None)
    with live.open(f"/ws/{room}?subscribe-user&subscribe-broadcast") as ws:
        in_silence(live, room, ws)
