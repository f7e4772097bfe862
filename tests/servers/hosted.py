"""An ASGI application that behaves in all possible ways; the path selects one.

``application`` hosts it on a WSGI server; uvicorn runs ``hosted`` itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from wsredis import Publisher, WebSocketMiddleware

SECRET = "the session store has a secret problem"

seen: dict[str, list[Any]] = {}
"""The events and errors that each path has seen, by its last word."""

Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]
BEHAVIOURS: dict[str, Callable[[dict[str, Any], Receive, Send], Any]] = {}


def behaviour(function: Callable[[dict[str, Any], Receive, Send], Any]) -> Any:
    BEHAVIOURS[function.__name__] = function
    return function


async def hosted(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    if scope["type"] == "http":  # of uvicorn; on a WSGI server `page` answers
        if scope["path"] == "/wake":
            seen["wake"] = []
        headers = [(b"content-type", b"text/plain")]
        body = json.dumps(seen.get(scope["path"].rpartition("/")[2], []), default=repr).encode()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    name, _, rest = scope["path"].removeprefix("/ws/").partition("/")
    log = seen.setdefault(rest or name, [])

    async def noted() -> Any:
        event = await receive()
        log.append(event["type"] if event["type"] != "websocket.disconnect" else event)
        return event

    try:
        await BEHAVIOURS[name](scope, noted, send)
    except BaseException as exc:
        log.append(type(exc).__name__)
        if isinstance(exc, OSError):
            log.append("OSError")
        raise
    finally:
        log.append("end")


async def lifespan(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["started"] = "yes"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    print("lifespan: shut down", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def opened(receive: Receive, send: Send, **accept: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", **accept})


@behaviour
async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


@behaviour
async def scoped(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await send({"type": "websocket.send", "text": json.dumps(scope, default=repr)})
    await receive()


@behaviour
async def answers(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    offered = scope["subprotocols"]
    headers = [(b"X-Answered", b"by the application")]
    await opened(receive, send, subprotocol=offered[-1], headers=headers)
    await receive()


@behaviour
async def not_offered(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send, subprotocol=SECRET)


@behaviour
async def bad_header(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send, headers=[(b"X-Bad", b"a\r\nX-Forged: " + SECRET.encode())])


@behaviour
async def denies(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4123})
    await receive()


@behaviour
async def responds(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"x-quota", b"3")]
    await send({"type": "websocket.http.response.start", "status": 402, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b'{"pay":', "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b" true}"})


@behaviour
async def raises(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    raise LookupError(SECRET)


@behaviour
async def sends_early(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    try:
        await send({"type": "websocket.send", "text": "too early"})
    except RuntimeError as exc:
        raise RuntimeError(SECRET) from exc


@behaviour
async def returns(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()


@behaviour
async def silent(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await receive()


@behaviour
async def raises_later(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await receive()
    raise LookupError(SECRET)


@behaviour
async def exits_later(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await receive()
    raise SystemExit(SECRET)


@behaviour
async def returns_later(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await receive()


@behaviour
async def closes(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await send({"type": "websocket.close", "code": 4002, "reason": "why"})
    await receive()
    await receive()
    await send({"type": "websocket.send", "text": SECRET})


@behaviour
async def sends_after_the_client(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    while (await receive())["type"] != "websocket.disconnect":
        pass
    await send({"type": "websocket.send", "text": "nobody there"})


@behaviour
async def pours(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Send twenty megabytes, some of it in messages larger than the send buffer."""
    await opened(receive, send)
    for number in range(160):
        await send({"type": "websocket.send", "bytes": bytes([number]) * 65_536})
    for number in range(5):
        await send({"type": "websocket.send", "bytes": bytes([number]) * 2_000_000})
    await send({"type": "websocket.send", "text": "all sent"})
    await receive()


@behaviour
async def sleeps(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Receive nothing until the page ``/wake`` has been requested."""
    await opened(receive, send)
    while "wake" not in seen:
        await asyncio.sleep(0.02)
    size = 0
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "size?":
            await send({"type": "websocket.send", "text": str(size)})
        size += len(event.get("bytes") or b"")


@behaviour
async def says_goodbye(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    while (event := await receive())["type"] != "websocket.disconnect":
        pass
    await asyncio.sleep(0.5)
    print(f"goodbye: {event['code']}", flush=True)


@behaviour
async def blocks(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Hold the asyncio loop, as a synchronous query does."""
    await opened(receive, send)
    await receive()
    time.sleep(0.6)
    await send({"type": "websocket.send", "text": "done"})
    await receive()


SENT = {
    "accept": {"type": "websocket.accept"},
    "send": {"type": "websocket.send", "text": "sent"},
    "close": {"type": "websocket.close", "code": 4000},
    "start": {"type": "websocket.http.response.start", "status": 402},
    "more": {"type": "websocket.http.response.body", "body": b"pay", "more_body": True},
    "body": {"type": "websocket.http.response.body", "body": b" here"},
    "unknown": {"type": "websocket.unknown"},
}
"""Events by the words of `steps`."""


@behaviour
async def steps(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Do what the words of the query say, and note what each of them has raised."""
    log = seen[scope["path"].rpartition("/")[2]]
    for word in scope["query_string"].decode().split(","):
        try:
            await (receive() if word == "receive" else send(SENT[word]))
        except OSError:
            log.append(f"{word}: OSError")
        except Exception as exc:
            log.append(f"{word}: {type(exc).__name__}")
        else:
            log.append(word)


@behaviour
async def answers_twice(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 402})
    await send({"type": "websocket.accept"})


@behaviour
async def responds_badly(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    headers = [(b"x-quota", b"a\r\nb: c"), (b"content-length", b"3"), (b"connection", b"x")]
    await send({"type": "websocket.http.response.start", "status": 402, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"pay"})


@behaviour
async def cancels_itself(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    raise asyncio.CancelledError


@behaviour
async def sends_nothing(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await send({"type": "websocket.send"})


@behaviour
async def sends_surrogates(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await send({"type": "websocket.send", "text": "\ud800"})


@behaviour
async def closes_badly(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await send({"type": "websocket.close", "code": 1005})


@behaviour
async def closes_plainly(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await send({"type": "websocket.close", "code": None, "reason": None})


@behaviour
async def accepts_again(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    await send({"type": "websocket.accept"})


async def too_late(receive: Receive) -> None:
    await receive()
    assert (await receive())["type"] == "websocket.disconnect"


@behaviour
async def accepts_late(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await too_late(receive)
    await send({"type": "websocket.accept"})


@behaviour
async def denies_late(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await too_late(receive)
    await send({"type": "websocket.close"})


@behaviour
async def responds_late(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await too_late(receive)
    await send({"type": "websocket.http.response.start", "status": 402})


@behaviour
async def sends_at_once(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Send more than the sockets take in concurrent calls, and close behind them."""
    await opened(receive, send)
    messages = [{"type": "websocket.send", "bytes": bytes([n]) * 2_000_000} for n in range(12)]
    await receive()
    sending = [asyncio.ensure_future(send(message)) for message in messages]
    await asyncio.sleep(0)
    await send({"type": "websocket.close", "code": 4000})
    await asyncio.gather(*sending)


@behaviour
async def sends_until_the_end(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Close while another task waits for room."""
    await opened(receive, send)

    async def pour() -> None:
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 2_000_000})

    pouring = asyncio.ensure_future(pour())
    await receive()
    await send({"type": "websocket.close", "code": 4000})
    await pouring


@behaviour
async def stays(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await opened(receive, send)
    while True:
        await asyncio.sleep(1)


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer ``/stats`` and ``/seen/WORD``; ``/wake`` wakes ``sleeps``."""
    path = environ.get("PATH_INFO", "")
    if path == "/stats":
        body = json.dumps({**application.stats(), "pid": os.getpid()}).encode()
    elif path.startswith("/hang/"):
        time.sleep(float(path.removeprefix("/hang/")))
        body = b"late"
    elif path == "/wake":
        seen["wake"] = []
        body = b"awake"
    elif path.startswith("/publish/"):
        body = str(Publisher(path.removeprefix("/publish/"), broadcast=True).publish("hi")).encode()
    else:
        body = json.dumps(seen.get(path.rpartition("/")[2], []), default=repr).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = WebSocketMiddleware(page, asgi=hosted)
