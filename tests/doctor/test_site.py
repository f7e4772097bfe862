"""Faults of the site itself: origins, Redis, policies, a server without access to sockets."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from websockets.server import ServerProtocol

import wsredis.doctor.examination
from wsredis.doctor.silence import Outcome, Verdict
from wsredis.embedded import EmbeddedRedis

from ..servers.support import HOST, SECONDS, SETUPS, Setup, Site
from .conftest import Seen, running

pytestmark = pytest.mark.servers

Doctor = Callable[..., Seen]
Start = Callable[..., Site]

WAITRESS = Setup("waitress", (sys.executable, "{here}/run.py", "waitress", "{port}", "{app}"))


def test_a_foreign_origin_is_to_be_listed_beside_the_sites_own(site: Site, doctor: Doctor) -> None:
    seen = doctor(site.port, "--origin", "https://pages.example.com")
    assert seen.fault == "origin"
    own = f"http://{HOST}:{site.port}"
    line = f'WebSocketMiddleware(app, origins=["{own}", "https://pages.example.com"])'
    assert seen.lines == line


def test_an_origin_is_missing_in_the_list(start: Start, doctor: Doctor) -> None:
    site = start("pywsgi", origins="https://pages.example.com")
    seen = doctor(site.port)
    assert seen.fault == "origin"
    assert seen.lines == f'WebSocketMiddleware(app, origins=["http://{HOST}:{site.port}", ...])'
    assert doctor(site.port, "--origin", "https://pages.example.com").fault is None


def test_redis_is_unavailable(start: Start, doctor: Doctor, own_redis: EmbeddedRedis) -> None:
    site = start("pywsgi", redis=own_redis.url)
    assert doctor(site.port).fault is None
    own_redis.kill()
    seen = doctor(site.port)
    assert seen.fault == "redis-away"
    assert "redis-cli -u $WSREDIS_REDIS ping" in seen.lines


def test_redis_takes_no_message(start: Start, doctor: Doctor, own_redis: EmbeddedRedis) -> None:
    site = start("pywsgi", redis=own_redis.url)
    with Redis.from_url(own_redis.url) as client:
        client.acl_setuser("default", enabled=True, nopass=True, commands=["-publish"])
    assert doctor(site.port).fault is None
    seen = doctor(site.port, "--publish")
    assert seen.fault == "not-published"
    assert seen.last == ("message", False)


def test_the_process_is_full(start: Start, doctor: Doctor) -> None:
    site = start("pywsgi", max_connections=1)
    with site.wire("/ws/x?subscribe-broadcast"):
        seen = doctor(site.port)
    assert seen.fault == "full"
    assert "max_connections=" in seen.lines


def test_the_server_has_no_sockets(start: Start, doctor: Doctor) -> None:
    seen = doctor(start(WAITRESS).port)
    assert seen.fault == "no-socket"
    assert "uwsgi --http-socket" in seen.lines
    assert 'pip install "gunicorn[gevent]"\ngunicorn --worker-class gevent' in seen.lines


def test_a_rule_of_the_site_refuses(site: Site, doctor: Doctor) -> None:
    """The test's site lets nobody in whose session store fails."""
    seen = doctor(site.port, "--header", "X-Fail: yes")
    assert seen.fault == "not-allowed"
    assert "--cookie" in seen.lines


CODE = """
from wsredis import PubSubEndpoint, WebSocketMiddleware

class Mine(PubSubEndpoint):
    {body}

application = WebSocketMiddleware(None, endpoint=Mine)
"""


@pytest.mark.parametrize(
    ("body", "fault", "says"),
    [
        ("def opened(self, connection): connection.close(4000, 'not today')", "closed", "4000"),
        ("def opened(self, connection): connection.abort()", "cut", "without a close frame"),
        ("def __init__(self, request, context): raise LookupError('no')", "site-failed", "500"),
    ],
)
def test_what_the_sites_own_code_does(
    doctor: Doctor, tmp_path: Path, redis_url: str, body: str, fault: str, says: str
) -> None:
    (tmp_path / "code.py").write_text(CODE.format(body=body))
    setup = SETUPS["pywsgi"]
    with running(Site(setup, tmp_path, redis_url, app=str(tmp_path / "code.py"))) as site:
        seen = doctor(site.port)
    assert seen.fault == fault
    assert any(says in text for text in seen.steps.values())


def test_bytes_that_are_no_frames(doctor: Doctor) -> None:
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(SECONDS)

        def accept() -> None:
            for _ in range(3):  # the first is a look at the port
                one, _ = server.accept()
                with one:
                    protocol = ServerProtocol()
                    while not (asked := protocol.events_received()) and (data := one.recv(9999)):
                        protocol.receive_data(data)
                    for request in asked:
                        protocol.send_response(protocol.accept(request))
                        one.sendall(b"".join(protocol.data_to_send()) + b"\x83\x00")

        other = threading.Thread(target=accept)
        other.start()
        seen = doctor(server.getsockname()[1])
        other.join()
    assert seen.fault == "mangled"
    assert seen.last == ("frames", False)


def test_who_could_not_find_out_says_so(
    site: Site, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    unclear = Verdict(Outcome.UNCLEAR, 5.0)
    monkeypatch.setattr(wsredis.doctor.examination, "watch", lambda *_: unclear)
    seen = doctor(site.port, "--wait", "5")
    assert (seen.fault, seen.last) == ("cut-late", ("silence", False))


def test_a_websocket_without_a_site_tells_its_prefix(start: Start, doctor: Doctor) -> None:
    site = start("pywsgi", app="bare.py")
    assert doctor(site.port).fault is None
    assert doctor(f"ws://{HOST}:{site.port}/socket/").fault == "other-prefix"
    other = start("pywsgi", app="bare.py", prefix="/live/")
    seen = doctor(other.port)
    assert seen.fault == "other-prefix"
    assert f'new WebSocket("ws://{HOST}:{other.port}/live/' in seen.lines


def test_who_may_not_publish_is_told_so_without_a_fault(site: Site, doctor: Doctor) -> None:
    seen = doctor(site.port, "--publish", "--facility", "readonly")
    assert seen.fault is None
    assert seen.skipped >= {"message"}
    assert seen.steps["message"] == (
        "not tested: the site does not let this client publish (closed with 1008)"
    )
