"""Starlette, FastAPI and Strawberry, unmodified, on WSGI servers; and the same on uvicorn."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from .support import SECONDS, SETUPS, Setup, Site, closed, each, eventually, new_room

pytestmark = pytest.mark.servers

APP = "frameworks.py"

UVICORN = Setup(
    "uvicorn",
    (
        sys.executable,
        "-m",
        "uvicorn",
        "--app-dir",
        "{here}",
        "--port",
        "{port}",
        "frameworks:routes",
    ),
)
NAMES = ("uwsgi-gevent", "uwsgi-threads", "gunicorn-gthread", "gunicorn-gevent", "pywsgi")
ALWAYS = ("uwsgi-gevent", "gunicorn-gthread")


def marks(name: str) -> list[pytest.MarkDecorator]:
    matrix = [] if name in ALWAYS else [pytest.mark.matrix]
    return [*matrix, pytest.mark.xdist_group(f"f-{name}")]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=marks(name)) for name in (*NAMES, "uvicorn")],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    setup = UVICORN if request.param == "uvicorn" else SETUPS[request.param]
    site = Site(setup, tmp_path_factory.mktemp("site"), redis_server.url, app=APP)
    site.start()
    try:
        yield site
    finally:
        site.stop()


def refused(site: Site, path: str) -> Any:
    with pytest.raises(InvalidStatus) as info, site.connect(path):
        pass
    return info.value.response


def noted(site: Site, name: str, count: int) -> Any:
    """Return what the routes have noted, once there is enough of it."""

    def look() -> Any:
        found = json.loads(site.get(f"/seen/{name}")[1])
        return found if len(found) >= count else None

    return eventually(look, "the route has noted enough")


# FastAPI and Starlette


def test_a_route_has_parameters_dependencies_and_state(site: Site) -> None:
    url = site.url("rooms/7", "q=x")
    headers = {"Cookie": "theme=dark", "Origin": f"http://127.0.0.1:{site.port}"}
    offers = [Subprotocol("one"), Subprotocol("two")]
    with connect(url, additional_headers=headers, subprotocols=offers, proxy=None) as ws:
        assert ws.subprotocol == "two"
        assert ws.response is not None
        assert ws.response.headers["X-Room"] == "7"
        assert json.loads(ws.recv(timeout=SECONDS)) == ["hello", 7, "x False", "dark"]
        name = new_room()
        ws.send(name)
        assert ws.recv(timeout=SECONDS) == name.encode()
    assert noted(site, name, 3) == ["received", "ended", "finally"]


@pytest.mark.parametrize("path", ["rooms/x", "no-such-route"])
def test_what_is_not_found_or_not_valid_is_refused(site: Site, path: str) -> None:
    assert refused(site, path).status_code == 403


def test_a_client_says_goodbye_with_a_code(site: Site) -> None:
    name = new_room()
    with site.connect(f"codes/{name}") as ws:
        ws.close(3333, "done")
    assert noted(site, name, 1) == [[3333, "done"]]


def test_a_denial_has_a_response_of_its_own(site: Site) -> None:
    response = refused(site, "denied")
    assert response.status_code == 402
    assert response.headers["X-Quota"] == "3"
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body) == {"why": "quota"}


def test_an_http_exception_refuses(site: Site) -> None:
    response = refused(site, "raised")
    assert response.status_code == 418
    assert json.loads(response.body) == {"detail": "short and stout"}


def test_a_websocket_exception_refuses_or_closes(site: Site) -> None:
    assert refused(site, "policy/early").status_code == 403
    with site.connect("policy/late") as ws:
        assert closed(ws) == 4003
        assert ws.close_reason == "no"


def test_task_groups_threads_and_deadlines_of_anyio(site: Site) -> None:
    with site.connect("groups") as ws:
        assert sorted(str(ws.recv(timeout=SECONDS)) for _ in range(5)) == list("01234")
        assert ws.recv(timeout=SECONDS) == "cancelled: True"
        assert closed(ws) == 4000


def test_starlette_mounts(site: Site) -> None:
    with site.connect("starlette/below/news") as ws:
        said = json.loads(ws.recv(timeout=SECONDS))
        assert said == {"path": "/ws/starlette/below/news", "name": "news"}
        ws.send(b"\x00\xff" * 50_000)
        assert ws.recv(timeout=SECONDS) == b"\x00\xff" * 50_000


def test_pages_remain_those_of_the_wsgi_application(site: Site) -> None:
    assert site.get("/ws/starlette/page")[0] == (200 if site.setup is UVICORN else 400)


@each(*NAMES, always=ALWAYS)
def test_its_lifespan_ends(start: Callable[..., Site], setup: Setup) -> None:
    site = start(setup, app=APP)
    with site.connect("codes/x") as ws:
        site.signal(signal.SIGTERM)
        assert closed(ws) == 1012
    site.wait()
    assert "lifespan: shut down" in site.log()


# GraphQL


class GraphQLClient:
    """A client of the protocol graphql-transport-ws."""

    def __init__(self, ws: Any) -> None:
        self.ws = ws
        self.tell(type="connection_init")
        assert self.next() == {"type": "connection_ack"}

    def tell(self, **message: Any) -> None:
        self.ws.send(json.dumps(message))

    def subscribe(self, name: str, query: str) -> None:
        self.tell(type="subscribe", id=name, payload={"query": f"subscription {{ {query} }}"})

    def next(self) -> Any:
        return json.loads(self.ws.recv(timeout=SECONDS))


@pytest.fixture
def graphql(site: Site) -> Iterator[GraphQLClient]:
    with site.connect("graphql/", subprotocols=["graphql-transport-ws"]) as ws:
        assert ws.subprotocol == "graphql-transport-ws"
        yield GraphQLClient(ws)


def test_a_subscription(graphql: GraphQLClient) -> None:
    graphql.subscribe("one", "count(target: 3)")
    assert [graphql.next() for _ in range(4)] == [
        *(
            {"type": "next", "id": "one", "payload": {"data": {"count": number}}}
            for number in range(3)
        ),
        {"type": "complete", "id": "one"},
    ]


def test_several_subscriptions_of_one_websocket(site: Site, graphql: GraphQLClient) -> None:
    name = new_room()
    graphql.subscribe("one", f'watch(name: "{name}")')
    assert graphql.next()["payload"] == {"data": {"watch": "watching"}}
    graphql.subscribe("two", "count(target: 1)")
    assert [graphql.next()["type"] for _ in range(2)] == ["next", "complete"]
    graphql.tell(type="complete", id="one")
    graphql.tell(type="ping")
    assert graphql.next() == {"type": "pong"}
    assert noted(site, name, 1) == ["ended"]


def test_subscriptions_end_with_their_websocket(site: Site) -> None:
    name = new_room()
    with site.connect("graphql/", subprotocols=["graphql-transport-ws"]) as ws:
        client = GraphQLClient(ws)
        client.subscribe("one", f'watch(name: "{name}")')
        assert client.next()["type"] == "next"
    assert noted(site, name, 1) == ["ended"]


def test_an_error_in_a_subscription_ends_it_only(graphql: GraphQLClient) -> None:
    graphql.subscribe("one", "broken")
    assert graphql.next()["payload"] == {"data": {"broken": 1}}
    said = graphql.next()
    assert "broken by the test" in json.dumps(said)
    while said["type"] != "complete" and said["type"] != "error":
        said = graphql.next()
    graphql.tell(type="ping")
    assert graphql.next() == {"type": "pong"}


def test_what_breaks_the_protocol_is_closed(graphql: GraphQLClient) -> None:
    graphql.ws.send("not json")
    assert closed(graphql.ws) == 4400
