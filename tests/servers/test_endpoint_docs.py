"""The endpoints of docs/endpoints.md, on a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import SECONDS, Site

pytestmark = pytest.mark.servers

PAGE = (Path(__file__).resolve().parents[2] / "docs/endpoints.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES = [re.findall(r"^class (\w+)", snippet, re.MULTILINE)[-1] for snippet in SNIPPETS]

SITE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

Serve = Callable[[str], Site]


@pytest.fixture
def serve(start: Callable[..., Site], tmp_path: Path) -> Serve:
    """Give a function that starts a site with one of the endpoints."""

    def serve(name: str) -> Site:
        snippet = SNIPPETS[NAMES.index(name)]
        if "application =" not in snippet:
            snippet += "\nfrom wsredis import WebSocketMiddleware\n"
            snippet += f"application = WebSocketMiddleware(application, endpoint={name})\n"
        (tmp_path / "site.py").write_text(SITE + snippet)
        return start("pywsgi", app=str(tmp_path / "site.py"))

    return serve


def test_each_is_tried() -> None:
    assert NAMES == ["Room", "Ticker", "Limited", "Members", "Download"]


def test_a_room_passes_messages_on(serve: Serve) -> None:
    site = serve("Room")
    with site.connect("tea") as alice, site.connect("tea") as bob:
        alice.send("hello")
        assert [ws.recv(timeout=SECONDS) for ws in (alice, bob)] == ["hello", "hello"]


def test_a_ticker_sends_heartbeats_to_those_that_ask(serve: Serve) -> None:
    site = serve("Ticker")
    with site.connect("x", "heartbeat") as ws:
        assert ws.recv(timeout=SECONDS) == "wsredis.heartbeat 25"


def test_a_closed_room_says_when_it_opens(serve: Serve) -> None:
    site = serve("Limited")
    with site.wire() as wire:
        answer = wire.refused("/ws/closed?subscribe-broadcast")
    assert (answer.status, answer.body) == (409, '{"error": "closed", "opens": "09:00"}')
    assert answer.headers["content-type"] == "application/json"
    with site.connect("open", "subscribe-broadcast"):
        pass


def test_a_room_of_members_asks_first(serve: Serve) -> None:
    site = serve("Members")
    with site.wire() as wire:
        answer = wire.refused("/ws/members")
    assert (answer.status, answer.body) == (403, "This room is for members.\n")
    with site.connect("lobby"):
        pass


def test_a_download_goes_as_fast_as_the_client_reads(serve: Serve) -> None:
    site = serve("Download")
    with site.connect("file") as ws:
        assert list(ws) == [f"line {number}" for number in range(100_000)]
    assert ws.close_code == 1000
