"""The files of the browser client, served by the middleware itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wsredis
from wsredis import Publisher, WebSocketMiddleware
from wsredis.handshake.client_files import MAX_AGE

from ..gate import Gate

FOLDER = Path(wsredis.__file__).parent / "static" / "wsredis"
SCRIPTS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".js", ".mjs"))


def ask(
    path: str, method: str = "GET", serve: bool = True, **environ: Any
) -> tuple[str, dict[str, str], bytes]:
    """Return status, headers and body of the answer to a plain request."""
    app = WebSocketMiddleware(None, redis="memory://", serve_client=serve, prefix="/live/")
    answers: list[Any] = []
    body = app(
        {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", **environ},
        lambda *answer: answers.append(answer),
    )
    (status, headers) = answers[0]
    return status, dict(headers), b"".join(body)


def test_there_are_scripts() -> None:
    assert {"wsredis.esm.js", "wsredis.js", "wsredis.mjs"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_file_is_served_whole_and_as_javascript(name: str) -> None:
    status, headers, body = ask(f"/live/{name}")
    assert status == "200 OK"
    assert body == (FOLDER / name).read_bytes()
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert headers["Content-Length"] == str(len(body))
    assert headers["Cache-Control"] == f"public, max-age={MAX_AGE}"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_head_has_the_headers_of_get_and_no_body() -> None:
    status, headers, body = ask("/live/wsredis.js", "HEAD")
    assert (status, headers, body) == ("200 OK", ask("/live/wsredis.js")[1], b"")


@pytest.mark.parametrize("condition", ["{}", "W/{}", '"old", {}', "*"])
def test_a_file_that_the_browser_has_is_not_sent_again(condition: str) -> None:
    tag = ask("/live/wsredis.js")[1]["ETag"]
    status, headers, body = ask("/live/wsredis.js", HTTP_IF_NONE_MATCH=condition.format(tag))
    assert (status, body) == ("304 Not Modified", b"")
    assert headers["ETag"] == tag
    assert "Content-Length" not in headers


def test_a_file_that_has_changed_is_sent_and_each_has_its_tag() -> None:
    tags = {ask(f"/live/{name}")[1]["ETag"] for name in SCRIPTS}
    assert len(tags) == len(SCRIPTS)
    assert ask("/live/wsredis.js", HTTP_IF_NONE_MATCH='"old"')[0] == "200 OK"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/live/wsredis.d.ts", {}),
        ("/live/", {}),
        ("/live/../wsredis.js", {}),
        ("/live/x/wsredis.js", {}),
        ("/live/wsredis.js", {"method": "POST"}),
        ("/live/wsredis.js", {"HTTP_UPGRADE": "websocket"}),
        ("/live/wsredis.js", {"serve": False}),
    ],
)
def test_other_requests_are_refused_as_before(path: str, options: dict[str, Any]) -> None:
    status, headers, _ = ask(path, **options)
    assert status[:3] in ("400", "501")
    assert headers["X-Refused-By"] == "wsredis"


def test_a_facility_may_have_the_name_of_a_file(gate: Any) -> None:
    here: Gate = gate(serve_client=True)
    with here.connect("/ws/wsredis.js?subscribe-broadcast") as client:
        Publisher("wsredis.js", config=here.config, broadcast=True).publish("hello")
        assert client.recv(5) == "hello"
    code, text = here.get("/ws/wsredis.js")
    assert code == 200
    assert "WSRedis" in text
