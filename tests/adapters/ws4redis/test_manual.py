"""A site as the manual of django-websocket-redis sets it up, on the servers it names."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from wsredis.embedded import EmbeddedRedis

from .support import PROJECT, SECONDS, Process, environment, manage, uwsgi

pytestmark = pytest.mark.servers

REFUSED = 'django.server "GET /ws/foobar HTTP/1.1" 400'
"""What Django's server says of the plain request below, at a time of its own."""

BUSY = "wsredis.watchdog A handshake held the loop"
"""What is said of code that does not block, too, if the machine is busy."""

LOUD = re.compile(
    rf"^(?:WARNING|ERROR|CRITICAL) (?!{REFUSED}|{BUSY}).*|.*(?:Traceback|Exception (?:occ|happ)).*",
    re.M,
)
SENDABLE = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Path:
    """Give a folder with the site's database."""
    folder = tmp_path_factory.mktemp("myapp")
    manage(folder, redis_server.port, "migrate", "--verbosity", "0")
    return folder


ONE_UWSGI = uwsgi("--gevent", "100", "--http-websockets", "--module", "wsgi")
SERVERS = {
    "uwsgi": [[*ONE_UWSGI, "--http", "127.0.0.1:{port}"]],
    "uwsgi-http-socket": [[*ONE_UWSGI, "--http-socket", "127.0.0.1:{port}", "--master"]],
    "two-uwsgis": [
        uwsgi(
            "--http-socket", "127.0.0.1:{port}", "--workers", "2", "--master", "--buffer-size",
            "32768", "--module", "wsgi_django",
        ),
        uwsgi(
            "--http-socket", "127.0.0.1:{port}", "--gevent", "1000", "--http-websockets",
            "--workers", "2", "--master", "--module", "wsgi_websocket",
        ),
    ],
    "runserver": [
        [sys.executable, str(PROJECT / "manage.py"), "runserver", "--noreload", "127.0.0.1:{port}"]
    ],
    "runserver-plain": [
        [sys.executable, str(PROJECT / "manage.py"), "runserver", "--noreload", "--nostatic",
         "--nothreading", "127.0.0.1:{port}"]
    ],
}  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, id=name, marks=pytest.mark.xdist_group(f"ws4redis-{name}"))
        for name in SERVERS
    ],
)
def servers(
    request: pytest.FixtureRequest, folder: Path, redis_server: EmbeddedRedis
) -> Iterator[tuple[Process, Process]]:
    """Give the process of the pages and that of the websockets; often they are one."""
    more = {"MYAPP_DEBUG": "1"} if "runserver" in request.param else {}
    env = environment(folder, redis_server.port, **more)
    with ExitStack() as stack:
        started = [
            stack.enter_context(Process(command, folder, env)) for command in SERVERS[request.param]
        ]
        yield started[0], started[-1]


def enter(pages: Process, name: str) -> str:
    status, key = pages.get(f"/login/{name}")
    assert status == 200, pages.log()
    return f"sessionid={key}"


def hear(ws: ClientConnection) -> Any:
    """Return the next message that is no heartbeat."""
    return next(iter(lambda: beatless(ws), None))


def beatless(ws: ClientConnection) -> Any:
    while (message := ws.recv(timeout=SECONDS)) == "--heartbeat--":
        pass
    return message


def test_a_page_names_the_websocket_and_the_heartbeat(servers: tuple[Process, Process]) -> None:
    pages, _ = servers
    status, text = pages.get("/")
    assert status == 200
    assert f"uri: 'ws://127.0.0.1:{pages.port}/ws/foobar?" in text
    assert 'heartbeat_msg: "--heartbeat--"' in text


def test_messages_reach_whom_they_are_for(
    servers: tuple[Process, Process], redis_server: EmbeddedRedis
) -> None:
    pages, websockets = servers
    john, mary = enter(pages, "john"), enter(pages, "mary")
    subscribe = "subscribe-broadcast&subscribe-user&subscribe-group&subscribe-session"
    with websockets.open("subscribe-broadcast") as nobody:
        with ExitStack() as stack:
            own = []
            for kind in ("user", "session", "group"):
                own.append(stack.enter_context(websockets.open(f"subscribe-{kind}", john)))
            other = stack.enter_context(websockets.open("subscribe-group&subscribe-user", mary))
            for ws, kind in zip(own, ("users", "sessions", "groups"), strict=True):
                assert pages.get(f"/send?to={kind}&message=for+{kind}", john) == (200, "sent")
                while hear(ws) != f"for {kind}":
                    pass
            while hear(other) != "for groups":
                pass
        pages.get("/send?to=broadcast&message=for+all")
        while hear(nobody) != "for all":
            pass
    for kind in ("users", "sessions", "groups"):
        retained = pages.get(f"/last?of={kind[:-1]}", john)[1]
        assert retained == f"for {kind}"
    with websockets.open(subscribe, john) as again:
        first = {hear(again) for _ in range(4)}
    assert first == {"for users", "for sessions", "for groups", "for all"}


def test_a_login_as_somebody_else_closes_the_websockets_of_the_first(
    servers: tuple[Process, Process],
) -> None:
    pages, websockets = servers
    john = enter(pages, "john")
    enter(pages, "mary")  # she is in her group then
    with websockets.open("subscribe-user&subscribe-session", john) as ws:
        assert pages.get("/login/mary", john)[0] == 200
        with pytest.raises(ConnectionClosed) as closed:
            list(iter(lambda: hear(ws), None))  # until it is closed
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


def test_a_websocket_publishes_and_a_page_fetches(servers: tuple[Process, Process]) -> None:
    pages, websockets = servers
    john = enter(pages, "john")
    query = "subscribe-user&publish-user&echo"
    with websockets.open(query, john) as ws:
        ws.send("of the page")
        while hear(ws) != "of the page":
            pass
    assert pages.get("/last?of=user", john) == (200, "of the page")
    assert pages.get("/last?of=user")[1] != "of the page"


def test_a_plain_request_is_told_to_upgrade(servers: tuple[Process, Process]) -> None:
    status, text = servers[1].get("/ws/foobar")
    assert status == 400
    assert "serves websockets only" in text


def test_closing_with_any_code_is_quiet(servers: tuple[Process, Process]) -> None:
    _, websockets = servers
    seen = len(websockets.log())
    for code in SENDABLE:
        with websockets.open("subscribe-broadcast&publish-broadcast") as ws:
            ws.close(code)
    websockets.eventually(
        lambda: (
            len(re.findall(r"INFO wsredis\S* close ", websockets.log()[seen:])) >= len(SENDABLE)
        ),
        "every websocket has been logged as closed",
    )
    assert not LOUD.findall(websockets.log()[seen:])


def test_the_heartbeat_arrives(servers: tuple[Process, Process]) -> None:
    with servers[1].open("") as ws:
        ws.send("--heartbeat--")
        assert ws.recv(timeout=SECONDS) == "--heartbeat--"


@pytest.mark.parametrize("more", [[], ["--gevent-early-monkey-patch"]], ids=["", "patched"])
def test_a_subscriber_may_publish_its_own_way_under_gevent(
    folder: Path, redis_server: EmbeddedRedis, more: list[str]
) -> None:
    env = environment(folder, redis_server.port, MYAPP_SUBSCRIBER="myapp.subscribers.Counting")
    with (
        Process([*SERVERS["uwsgi-http-socket"][0], *more], folder, env) as server,
        server.open("subscribe-broadcast&publish-broadcast&echo") as ws,
    ):
        for text in ("one", "two"):
            ws.send(text)
            while not (message := hear(ws)).startswith(f"{text} to "):
                pass
            assert message.removeprefix(f"{text} to ").isdecimal()
    assert not LOUD.findall(server.log())


@pytest.mark.xdist_group("ws4redis-runserver")
@pytest.mark.parametrize("servers", ["runserver"], indirect=True)
def test_djangos_server_serves_the_script(servers: tuple[Process, Process]) -> None:
    status, text = servers[0].get("/static/js/ws4redis.js")
    assert status == 200
    assert "function WS4Redis(" in text


def test_the_sites_own_tests_pass(tmp_path: Path, redis_server: EmbeddedRedis) -> None:
    said = manage(
        tmp_path, redis_server.port, "test", "--pattern", "live_tests.py", "--parallel", "1",
        MYAPP_DB=":memory:",
    )  # fmt: skip
    assert "Ran 4 tests" in said
    assert "\nOK" in said


def test_collectstatic_and_checks_know_the_application(
    tmp_path: Path, redis_server: EmbeddedRedis
) -> None:
    assert "js/ws4redis.js" in manage(tmp_path, redis_server.port, "findstatic", "js/ws4redis.js")
    assert "no issues" in manage(tmp_path, redis_server.port, "check")
    assert "ws4redis.W001" in manage(
        tmp_path, redis_server.port, "check", "--deploy", "--tag", "security"
    )
