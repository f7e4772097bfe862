"""Identities on the wire: headers, tokens and tickets on a real server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from wsredis.embedded import EmbeddedRedis

from .support import SECONDS, SETUPS, Site, parameters
from .wire import Answer, Wire

pytestmark = pytest.mark.servers

SECRET = "a secret of the tests that has more than 32 bytes"
ASK = "subscribe-broadcast"
TWIN = ("X_Forwarded_User", "mallory")


class Known(Site):
    """The site of `known.py`, on a port and on a Unix socket."""

    def __init__(self, name: str, folder: Path, redis: str) -> None:
        self.path = str(folder / "sock")
        self.folds = name.startswith("uwsgi")
        where = ["--http-socket", self.path] if self.folds else ["-b", f"unix:{self.path}"]
        config = {"secret": SECRET, "trusted_proxies": "127.0.0.1 10.0.0.0/8 unix"}
        super().__init__(SETUPS[name], folder, redis, app="known.py", options=where, config=config)

    def knows(self, gate: str, **headers: Any) -> dict[str, Any]:
        """Come in by a gate and return what is known there."""
        with self.wire() as wire:
            return self._told(wire, gate, **headers)

    def knows_by_unix_socket(self, gate: str, **headers: Any) -> dict[str, Any]:
        with UnixWire(self.path) as wire:
            return self._told(wire, gate, **headers)

    def _told(self, wire: Wire, gate: str, **headers: Any) -> dict[str, Any]:
        wire.upgrade(f"/{gate}/news?{ASK}", **headers)
        told: dict[str, Any] = json.loads(wire.receive_text())
        return told

    def refuses(self, gate: str, **headers: Any) -> str:
        with self.wire() as wire:
            answer = wire.refused(f"/{gate}/news?{ASK}", **headers)
            assert answer.status == 403, answer
            return answer.body

    def ticket(self) -> str:
        answer: Any = self.request("POST", "/ticket")
        return str(answer.text)


class UnixWire(Wire):
    """A client on a Unix socket."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        self.socket.connect(path)
        self.port = 80
        self._held = b""


@pytest.fixture(scope="module", params=parameters("uwsgi-gevent", "gunicorn-gevent"))
def site(
    request: pytest.FixtureRequest,
    redis_server: EmbeddedRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Known]:
    site = Known(request.param.name, tmp_path_factory.mktemp("known"), redis_server.url)
    site.start()
    yield site
    site.stop()
    assert "Traceback" not in site.log()


# A header of a proxy


def test_a_header_of_a_listed_proxy_names_the_user(site: Known) -> None:
    assert site.knows("nginx", x_forwarded_user="alice")["user"] == "alice"
    assert site.knows("dashless", remoteuser="alice")["user"] == "alice"
    assert site.knows_by_unix_socket("dashless", remoteuser="alice")["user"] == "alice"
    assert site.knows("dashless")["user"] is None


def test_a_header_from_an_untrusted_peer_is_ignored(site: Known) -> None:
    assert site.knows("elsewhere", remoteuser="mallory")["user"] is None
    assert site.knows_by_unix_socket("elsewhere", remoteuser="mallory")["user"] is None


def test_a_repeated_user_header_is_refused(site: Known) -> None:
    twice = (("Remoteuser", "mallory"),)
    assert "could not be identified" in site.refuses("dashless", remoteuser="alice", more=twice)


def test_a_header_with_underscores_identifies_no_user(site: Known) -> None:
    """uWSGI folds the names of headers, so no such header is believed; gunicorn drops twins."""
    alone, beside = {"more": (TWIN,)}, {"more": (TWIN,), "x_forwarded_user": "alice"}
    if site.folds:
        for headers in (alone, beside, {"x_forwarded_user": "alice"}):
            assert "could not be identified" in site.refuses("header", **headers)
        assert "twins_dropped=True" in site.log()
        assert "could not be identified" in site.refuses("nginx", **beside)
    else:
        with site.wire() as wire:
            wire.send(wire.request(f"/header/news?{ASK}", **alone))  # type: ignore[arg-type]
            assert told(wire)["user"] is None
        with site.wire() as wire:
            wire.send(wire.request(f"/header/news?{ASK}", **beside))  # type: ignore[arg-type]
            assert told(wire)["user"] == "alice"
    assert "mallory" not in site.log()


def told(wire: Wire) -> dict[str, Any]:
    answer: Answer = wire.answer()
    assert answer.status == 101
    found: dict[str, Any] = json.loads(wire.receive_text())
    return found


# Where the client is


def test_the_client_is_whom_trusted_proxies_name(site: Known) -> None:
    for said, address in (
        (None, "127.0.0.1"),
        ("198.51.100.7", "198.51.100.7"),
        ("10.9.9.9, 203.0.113.5, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
    ):
        headers = {} if said is None else {"x_forwarded_for": said}
        assert site.knows("ticket", **headers)["address"] == address
        by_unix = site.knows_by_unix_socket("ticket", **headers)["address"]
        assert by_unix == ("unix" if said is None else address)


def test_the_log_names_the_client_that_was_refused(site: Known) -> None:
    site.mark()
    site.refuses("ticket", x_forwarded_for="198.51.100.7", origin="http://evil.example")
    assert "refused 403 client=198.51.100.7:" in site.news()


def test_the_own_origin_is_what_a_trusted_proxy_was_asked_for(site: Known) -> None:
    said = {"x_forwarded_host": "chat.example", "x_forwarded_proto": "https"}
    assert site.knows("ticket", origin="https://chat.example", **said)
    site.refuses("ticket", origin="http://chat.example", **said)
    site.refuses("ticket", origin=f"http://127.0.0.1:{site.port}", **said)
    site.refuses("ticket", origin="https://chat.example")


# A token


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "alice", "exp": int(time.time()) + 3600, **claims}, SECRET, "HS256")


def test_a_token_names_the_user(site: Known) -> None:
    end = int(time.time()) + 3600
    signed = token(exp=end)
    own = f"http://127.0.0.1:{site.port}"
    for way in (
        {"authorization": f"Bearer {signed}"},
        {"sec_websocket_protocol": f"wsredis.token, {signed}"},
        {"cookie": f"token={signed}", "origin": own},
    ):
        known = site.knows("jwt", **way)
        assert (known["user"], known["expires"]) == ("alice", end)
    assert site.knows("jwt")["user"] is None


def test_the_socket_ends_when_the_token_does(site: Known) -> None:
    with site.wire() as wire:
        end = int(time.time()) + 5
        wire.upgrade(f"/jwt/news?{ASK}", authorization=f"Bearer {token(exp=end)}")
        assert wire.close_code() == 4401
        assert time.time() >= end


def test_an_invalid_token_is_refused(site: Known) -> None:
    for text, words in ((token(exp=1), "expired"), (token() + "AAAA", "not accepted")):
        assert words in site.refuses("jwt", authorization=f"Bearer {text}")
        assert text not in site.log()


def test_a_token_in_a_cookie_needs_the_own_origin(site: Known) -> None:
    site.refuses("jwt", cookie=f"token={token()}")
    site.refuses("jwt", cookie=f"token={token()}", origin="http://evil.example")


# A ticket


def test_a_ticket_identifies_one_handshake(site: Known) -> None:
    offered, asked = site.ticket(), site.ticket()
    with site.wire() as wire:
        answer = wire.upgrade(
            f"/ticket/news?{ASK}", sec_websocket_protocol=f"wsredis.ticket, {offered}"
        )
        assert answer.headers["sec-websocket-protocol"] == "wsredis.ticket"
        assert json.loads(wire.receive_text())["user"] == "alice"
    with site.wire() as wire:
        wire.upgrade(f"/ticket/news?{ASK}&ticket={asked}")
        assert json.loads(wire.receive_text())["user"] == "alice"
    again = site.refuses("ticket", sec_websocket_protocol=f"wsredis.ticket, {offered}")
    assert "has already been used" in again
    assert offered not in site.log()
    forged = ("B" if offered[0] == "A" else "A") + offered[1:]
    wrong = site.refuses("ticket", sec_websocket_protocol=f"wsredis.ticket, {forged}")
    assert "not issued by this site" in wrong
