"""The identity of requests: all kinds of sessions, and all cases of anonymous users."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import flasksite
import pytest
import redis
from flask import Flask, current_app, request, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner
from markupsafe import Markup

from wsredis import ANONYMOUS, Identity
from wsredis.adapters.flask import identity_of
from wsredis.adapters.flask.identity import HANDSHAKE

Make = Callable[..., Flask]

LIFETIME = 1000
"""Seconds that a session lasts here."""

ENGINES = ["signed", "redis", "files", "store"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def app(make: Make, engine: str, tmp_path: Path, redis_client: redis.Redis) -> Iterator[Flask]:
    """Give the site with each kind of session."""
    from cachelib import FileSystemCache

    options: dict[str, dict[str, Any]] = {
        "signed": {},
        "redis": {"SESSION_TYPE": "redis", "SESSION_REDIS": redis_client},
        "files": {
            "SESSION_TYPE": "cachelib",
            "SESSION_CACHELIB": FileSystemCache(str(tmp_path / "sessions")),
        },
        "store": {"STORE": True},
    }
    return make(PERMANENT_SESSION_LIFETIME=timedelta(seconds=LIFETIME), **options[engine])


def cookies(client: Any) -> dict[str, str]:
    return {name: cookie.value for (_, _, name), cookie in client._cookies.items()}


def seen(app: Flask, who: Any = None, path: str = "/ws/news", **headers: str) -> Identity:
    """Return who sends a request with the cookies of a client, or with those given."""
    brought = who if isinstance(who, dict) else cookies(who) if who else {}
    headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in brought.items())
    here = {"REMOTE_ADDR": "127.0.0.1", HANDSHAKE: None}  # the address is that of the client
    with app.test_request_context(path, headers=headers, environ_base=here) as context:
        return identity_of(context.request)


def entered(app: Flask, name: str = "alice", **more: str) -> Any:
    """Return a client that has logged in."""
    client = app.test_client()
    assert client.get("/enter", query_string={"name": name, **more}).status_code == 200
    return client


def test_a_login_brings_user_groups_and_key(app: Flask) -> None:
    client = entered(app)
    identity = seen(app, client)
    assert identity.user == "alice"
    assert identity.groups == ("editors", "authors")
    assert identity.session
    assert len(identity.session) == 32
    for value in cookies(client).values():
        assert identity.session not in value
        assert value not in identity.session


def test_names_that_are_numbers_become_text(app: Flask) -> None:
    identity = seen(app, entered(app, "7"))
    assert (identity.user, identity.groups) == ("7", ("1", "2"))


def test_without_a_cookie_there_is_nobody(app: Flask) -> None:
    assert seen(app) == ANONYMOUS


def test_a_session_has_a_key_once_a_page_has_asked(app: Flask) -> None:
    client = app.test_client()
    client.get("/put?basket=7")
    assert not seen(app, client)
    key = client.get("/key").text
    identity = seen(app, client)
    assert (identity.user, identity.groups, identity.session) == (None, (), key)


def test_a_key_stays_while_the_session_changes(app: Flask, engine: str) -> None:
    client = entered(app)
    before, brought = seen(app, client), cookies(client)
    client.get("/put?basket=7")
    assert seen(app, client).session == before.session == client.get("/key").text
    assert (cookies(client) != brought) == (engine == "signed")


def test_a_login_a_logout_and_an_empty_session_begin_a_new_key(app: Flask) -> None:
    client = app.test_client()
    keys = [client.get("/key").text]
    for path in ("/enter?name=alice", "/enter?name=alice", "/leave", "/clear"):
        client.get(path)
        keys.append(client.get("/key").text)
    assert len(set(keys)) == 5


def test_the_cookie_of_before_a_login_does_not_listen_after_it(app: Flask) -> None:
    """Somebody may have given another person a cookie to log in with, and kept a copy."""
    planted = app.test_client()
    before = planted.get("/key").text
    victim = app.test_client()
    for name, value in cookies(planted).items():
        victim.set_cookie(name, value)
    victim.get("/enter?name=alice")
    after = seen(app, victim).session
    assert after not in (None, before)


def test_two_logins_of_one_user_are_two_sessions(app: Flask) -> None:
    assert len({seen(app, entered(app)).session for _ in range(3)}) == 3


def test_after_a_logout_there_is_nobody(app: Flask, engine: str) -> None:
    client = entered(app)
    brought = cookies(client)
    client.get("/leave")
    assert not seen(app, client)
    if engine == "signed":  # nobody but the browser forgets a signed cookie
        assert seen(app, brought).user == "alice"
    else:
        assert not seen(app, brought)


def test_a_deleted_user_is_nobody(app: Flask) -> None:
    client = entered(app)
    del app.config["PEOPLE"]["alice"]
    assert seen(app, client) == ANONYMOUS


@pytest.mark.parametrize(
    "state",
    [
        {"is_active": False},
        {"is_active": False, "is_authenticated": True},
        {"is_authenticated": False},
    ],
)
def test_an_inactive_user_is_nobody(app: Flask, state: dict[str, bool]) -> None:
    client = entered(app)
    person = type("Inactive", (flasksite.Person,), state)
    app.config["PEOPLE"]["alice"] = person("alice", "editors")
    assert seen(app, client) == ANONYMOUS


def test_a_stolen_session_is_nobody_where_flask_login_protects_it(app: Flask) -> None:
    app.config["SESSION_PROTECTION"] = "strong"
    vars(app.session_interface)["permanent"] = False  # Flask-Session's would be protected weakly
    client = app.test_client()
    client.get("/enter?name=alice", headers={"User-Agent": "a browser"})
    assert seen(app, client, **{"User-Agent": "a browser"}).user == "alice"
    assert seen(app, client, **{"User-Agent": "another"}) == ANONYMOUS


def test_a_user_may_come_with_the_request_instead(app: Flask) -> None:
    identity = seen(app, path="/ws/news?token=alice")
    assert identity == Identity("alice", ("editors", "authors"))
    assert not seen(app, path="/ws/news?token=nobody")


@pytest.mark.parametrize("junk", ["a" * 32, "", ".", "e30.x.y", "../../etc/passwd", "%00%0d", '"'])
def test_a_forged_cookie_is_nobody(app: Flask, junk: str, tmp_path: Path) -> None:
    assert seen(app, {"session": junk, "token": junk, "remember_token": junk}) == ANONYMOUS
    assert seen(app, {"remember_token": f"alice|{junk}"}) == ANONYMOUS
    with app.test_request_context(headers={"Cookie": f"session={junk}"}):
        assert not session


def test_a_session_expires_with_its_cookie(app: Flask, engine: str) -> None:
    before = time.time()
    identity = seen(app, entered(app))
    after = time.time()
    if engine == "store":  # of which nothing is known
        assert identity.expires is None
    else:
        assert identity.expires is not None
        assert int(before) + LIFETIME <= identity.expires <= after + LIFETIME + 1


def test_what_brings_no_session_does_not_expire(app: Flask) -> None:
    assert seen(app, path="/ws/news?token=alice").expires is None
    assert seen(app).expires is None


# Sessions that live in their cookie

signed_only = pytest.mark.parametrize("engine", ["signed"], indirect=True)


@signed_only
def test_equal_sessions_of_one_second_have_different_keys(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: int(time.time()) // 99 * 99)
    one, other = app.test_client(), app.test_client()
    for client in (one, other):
        client.get("/put?language=en")
    assert cookies(one) == cookies(other)
    assert one.get("/key").text != other.get("/key").text
    assert seen(app, one).session != seen(app, other).session


@signed_only
def test_a_cookie_with_one_letter_changed_is_nobody(app: Flask) -> None:
    cookie = cookies(entered(app))["session"]
    for place in range(len(cookie) - 1):  # the last letter has bits that mean nothing
        other = "A" if cookie[place] != "A" else "B"
        changed = cookie[:place] + other + cookie[place + 1 :]
        assert seen(app, {"session": changed}) == ANONYMOUS, place


@signed_only
def test_the_content_of_one_cookie_with_the_signature_of_another_is_nobody(app: Flask) -> None:
    alice, bob = (cookies(entered(app, name))["session"] for name in ("alice", "bob"))
    content, _, signature = alice.rpartition(".")
    for mixed in (f"{content}.{bob.rpartition('.')[2]}", f"{content}.", content, signature):
        assert seen(app, {"session": mixed}) == ANONYMOUS


@signed_only
def test_a_key_that_the_session_did_not_get_from_us_is_none(app: Flask) -> None:
    for odd in (7, "", ["x"], None):
        client = app.test_client()
        with client.session_transaction() as content:
            content["_wsredis_session"] = odd
            content["basket"] = 7
        assert seen(app, client).session is None
        assert len(client.get("/key").text) == 32


@signed_only
def test_the_cookie_of_another_secret_key_is_nobody(app: Flask) -> None:
    client = entered(app, remember="1")
    app.config["SECRET_KEY"] = "another"
    assert {"session", "remember_token"} <= set(cookies(client))
    assert seen(app, client) == ANONYMOUS


@signed_only
def test_a_fallback_key_leaves_user_and_key_as_they_are(app: Flask) -> None:
    client = entered(app)
    before = seen(app, client)
    app.config["SECRET_KEY_FALLBACKS"] = [app.config["SECRET_KEY"]]
    app.config["SECRET_KEY"] = "another"
    assert seen(app, client) == before
    client.get("/put?basket=7")  # signs with the new key
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert seen(app, client).session == before.session


@signed_only
def test_an_expired_session_is_nobody(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = int(time.time()) - LIFETIME // 2
    with monkeypatch.context() as patch:
        patch.setattr(TimestampSigner, "get_timestamp", lambda self: signed)
        client = entered(app)
    assert seen(app, client).expires == signed + LIFETIME + 1
    app.permanent_session_lifetime = timedelta(seconds=LIFETIME // 3)
    assert seen(app, client) == ANONYMOUS


@signed_only
def test_the_remember_cookie_alone_brings_the_user_and_no_session(app: Flask) -> None:
    client = entered(app, remember="1")
    remembered = {"remember_token": cookies(client)["remember_token"]}
    identity = seen(app, remembered)
    assert identity == Identity("alice", ("editors", "authors"))
    forged = {"remember_token": remembered["remember_token"].replace("alice", "bob")}
    assert seen(app, forged) == ANONYMOUS
    del app.config["PEOPLE"]["alice"]
    assert seen(app, remembered) == ANONYMOUS


def test_a_session_without_flask_login(make: Make) -> None:
    app = make(WSREDIS_USER=lambda request: session.get("user"), WSREDIS_GROUPS=None)
    del app.login_manager  # type: ignore[attr-defined]
    client = app.test_client()
    client.get("/put?user=carol")
    client.get("/key")
    identity = seen(app, client)
    assert (identity.user, identity.groups) == ("carol", ())
    assert identity.session
    app = make(WSREDIS_GROUPS=None)
    del app.login_manager  # type: ignore[attr-defined]
    assert seen(app, client).user is None


def test_a_name_of_ones_own_instead_of_the_id(make: Make) -> None:
    app = make(WSREDIS_USER="flasksite.shown_name", WSREDIS_GROUPS=lambda request: None)
    identity = seen(app, entered(app))
    assert (identity.user, identity.groups) == ("Alice", ())


@pytest.mark.parametrize(
    ("user", "name"), [(0, "0"), (None, None), ("", None), (False, None), (Markup(""), None)]
)
def test_only_none_and_the_empty_name_are_nobody(make: Make, user: Any, name: str | None) -> None:
    app = make(WSREDIS_USER=lambda request: user, WSREDIS_GROUPS=lambda request: ["editors"])
    with app.test_request_context():
        known = identity_of(request)
    assert (known.user, known.groups) == (name, ("editors",) if name else ())


def test_groups_are_not_asked_for_nobody(make: Make) -> None:
    asked: list[object] = []

    def groups(request: Any) -> list[str]:
        asked.append(request)
        return ["editors"]

    app = make(WSREDIS_GROUPS=groups)
    client = app.test_client()
    client.get("/key")
    assert seen(app, client).groups == ()
    assert not asked
    assert seen(app, entered(app)).groups == ("editors",)


def test_a_bare_string_is_no_list_of_groups(make: Make) -> None:
    app = make(WSREDIS_GROUPS=lambda request: "editors")
    client = entered(app)
    with pytest.raises(TypeError, match=r"write groups=\('editors',\)"):
        seen(app, client)


@signed_only
def test_a_subclass_that_reads_cookies_in_its_own_way_has_no_date(app: Flask) -> None:
    class Own(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: Any) -> Any:
            return self.session_class({"_wsredis_session": "own"})

    app.session_interface = Own()
    assert seen(app, {"session": "whatever"}) == Identity(session="own")


def test_the_site_uses_the_engine_that_is_meant(app: Flask, engine: str) -> None:
    with app.test_request_context():
        kind = type(current_app.session_interface).__name__
    assert (
        kind
        == {
            "signed": "SecureCookieSessionInterface",
            "redis": "RedisSessionInterface",
            "files": "CacheLibSessionInterface",
            "store": "Store",
        }[engine]
    )
