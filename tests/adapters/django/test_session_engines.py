"""Session engines that see more of a request than a key, and middleware that makes sessions."""

from __future__ import annotations

from typing import Any

import pytest
from chatsite.models import Visit
from django.conf import settings
from django.test import Client, RequestFactory
from websockets.exceptions import InvalidStatus

from wsredis import ANONYMOUS, Identity
from wsredis.adapters.django import identity_of
from wsredis.adapters.django.request import handshake_request

from .conftest import Live
from .support import Person, Site, ended, found, only, stays

OTHERS = [name for name in settings.MIDDLEWARE if "SessionMiddleware" not in name]


@pytest.fixture(params=["visits", "new_visits"])
def engine(request: pytest.FixtureRequest, site: Site, db: None) -> str:
    """Let the site have an engine of its own, with its middleware."""
    name: str = request.param
    use(site, name, "SessionMiddleware")
    return name


def use(site: Site, engine: str, middleware: str) -> None:
    site(
        {"allowed_channels": "chatsite.channels.members"},
        SESSION_ENGINE=f"chatsite.{engine}",
        MIDDLEWARE=[f"chatsite.visits.{middleware}", *OTHERS],
    )


def entered(name: str) -> Client:
    """Return a browser in which a user has logged in."""
    browser = Client(HTTP_USER_AGENT="a browser")
    page = browser.get("/enter", {"username": name, "password": "secret"})
    assert page.status_code == 200
    return browser


def seen(cookie: str, agent: str = "a browser", **headers: str) -> Identity:
    """Return the identity of a handshake with this cookie."""
    headers = {"HTTP_COOKIE": f"sessionid={cookie}", "HTTP_USER_AGENT": agent, **headers}
    return identity_of(handshake_request(RequestFactory().get("/ws/news", **headers).environ))


@pytest.mark.parametrize("agent", ["a browser", "another"])
def test_a_session_that_is_modified_by_loading_is_known(
    engine: str, person: Person, agent: str
) -> None:
    person("alice", "editors")
    cookie = entered("alice").cookies["sessionid"].value
    assert seen(cookie, agent) == Identity("alice", ("editors",), cookie)
    assert Visit.objects.get().address == "a browser", "a handshake saves nothing"


def test_a_session_that_is_not_stored_is_nobodys(
    engine: str, revocations: list[dict[str, Any]]
) -> None:
    forged = RequestFactory().get("/ws/", HTTP_COOKIE="sessionid=none12345")
    request = handshake_request(forged.environ)
    assert identity_of(request) == ANONYMOUS
    assert request.session.is_empty()
    assert not Visit.objects.exists()
    assert revocations == []


def test_their_websockets_end_with_them(engine: str, live: Live, person: Person, room: str) -> None:
    person("alice")
    browsers = [entered("alice") for _ in range(3)]
    path = f"/ws/{room}?subscribe-user&subscribe-session"
    with (
        live.open(path, browsers[0]) as leaving,
        live.open(path, browsers[1]) as deleted,
        live.open(path, browsers[2]) as staying,
    ):
        browsers[0].get("/leave")
        assert ended(leaving) == 4401
        Visit.objects.filter(pk=browsers[1].cookies["sessionid"].value).delete()
        assert ended(deleted) == 4401
        assert stays(staying)


def test_middleware_may_find_the_session_elsewhere(site: Site, person: Person, db: None) -> None:
    use(site, "visits", "SessionMiddleware")
    person("alice")
    key = entered("alice").cookies["sessionid"].value
    use(site, "visits", "HeaderMiddleware")
    assert seen("", HTTP_X_SESSION=key).user == "alice"
    assert seen(key) == ANONYMOUS
    assert seen(key, HTTP_X_SESSION="no such key") == ANONYMOUS


def test_middleware_that_answers_itself_lets_no_websocket_in(
    site: Site, live: Live, room: str
) -> None:
    use(site, "visits", "ClosedMiddleware")
    with pytest.raises(InvalidStatus) as refused:
        live.open(f"/ws/{room}?subscribe-broadcast")
    assert refused.value.response.status_code == 403


def test_middleware_that_needs_a_whole_request_is_not_used(
    site: Site, person: Person, db: None
) -> None:
    person("alice")
    cookie = entered("alice").cookies["sessionid"].value
    site({}, MIDDLEWARE=["chatsite.visits.CallMiddleware", "no.such", *OTHERS])
    assert seen(cookie).user == "alice"
    assert "has no process_request()" in only("wsredis.W009").msg


def test_w009_an_engine_whose_sessions_only_its_middleware_can_make(site: Site) -> None:
    use(site, "visits", "SessionMiddleware")
    assert found() == {}
    middleware = "django.contrib.sessions.middleware.SessionMiddleware"
    site({}, SESSION_ENGINE="chatsite.visits", MIDDLEWARE=[middleware, *OTHERS])
    assert "All handshakes are refused" in only("wsredis.W009").msg
