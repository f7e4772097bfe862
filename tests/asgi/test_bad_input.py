"""What is wrong with an application costs only its websockets, and the log says what it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from wsredis import destinations
from wsredis.asgi import host as host_module
from wsredis.asgi import run as run_module
from wsredis.asgi.host import AsgiHost
from wsredis.exceptions import BrokerUnavailable
from wsredis.runtime.logs import Seldom

from ..gate import Gate
from ..servers.support import SECONDS, closed, eventually
from .support import refused

MakeGate = Callable[..., Gate]

APPLICATION = """
async def application(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    await receive()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: str) -> Callable[[str], str]:
    """Give a function that writes a module and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    # What was compiled from an earlier text of equal size would be used within the same second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"module_{room}"

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


@pytest.fixture(autouse=True)
def every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test see the warnings that come once a minute."""
    monkeypatch.setattr(destinations, "_seldom", Seldom())


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


# The option


@pytest.mark.parametrize("what", ["raise LookupError('no table')", "raise SystemExit('no table')"])
def test_an_import_that_fails_is_tried_again_at_each_handshake(
    gate: MakeGate, module: Callable[[str], str], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """The cause may be gone by then, such as a database that was not running yet."""
    name = module(what)
    site = gate(f"{name}.application")
    for _ in range(3):
        assert refused(site, "/ws/x")[0] == 500
        assert site.get("/page") == (200, "the page /page")
    (line,) = errors(caplog)
    kind = what.split()[1].partition("(")[0]
    assert line.startswith(f"asgi='{name}.application' cannot be imported ({kind}): write an ASGI")
    assert "no table" in caplog.text  # the traceback
    module(APPLICATION)
    with site.connect("/ws/x") as ws:
        assert ws.recv(timeout=SECONDS) == "hello"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("no_such_module.application", "cannot be imported (ModuleNotFoundError)"),
        ("tests.servers.hosted.no_such_name", "cannot be imported (AttributeError)"),
        ("tests.servers.hosted.page", "takes 2 arguments, like a WSGI application"),
        ("tests.servers.hosted.SECRET", "is not a path"),
        ("tests.servers.hosted.seen", "is not callable"),
    ],
)
def test_a_path_of_something_else(
    gate: MakeGate, caplog: pytest.LogCaptureFixture, path: str, text: str
) -> None:
    site = gate(path)
    assert refused(site, "/ws/x")[0] == 500
    assert text in errors(caplog)[0]
    assert site.get("/page") == (200, "the page /page")


def test_an_application_need_not_be_hashable(gate: MakeGate) -> None:
    class Unhashable:
        def __eq__(self, other: object) -> bool:
            return False

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "websocket"
            await receive()
            await send({"type": "websocket.accept"})

    with gate(Unhashable()).connect("/ws/x") as ws:
        assert closed(ws) == 1000


# The lifespan


def test_a_startup_that_has_failed_is_tried_again(gate: MakeGate) -> None:
    """At the next handshake, as an import is."""
    states: list[str] = []
    ready: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": scope["state"]["number"]})
            return
        await receive()
        scope["state"]["number"] = "one"
        states.append("started")
        await send({"type": f"lifespan.startup.{'complete' if ready else 'failed'}"})
        await receive()
        states.append("shut down")

    site = gate(app)
    assert refused(site, "/ws/x")[0] == 500
    eventually(lambda: states[-1] == "shut down", "the first lifespan has ended")
    states.clear()
    ready.append(True)
    for _ in range(2):
        with site.connect("/ws/x") as ws:
            assert ws.recv(timeout=SECONDS) == "one"
            assert closed(ws) == 1000
    assert states == ["started"]


@pytest.mark.parametrize("error", [None, ValueError])
def test_an_application_that_does_not_shut_down_is_cancelled(
    gate: MakeGate, caplog: pytest.LogCaptureFixture, error: type[Exception] | None
) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if error is not None:
            raise error("cannot shut down")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    site = gate(app, shutdown_timeout=0.1)
    assert refused(site, "/ws/x")[0] == 500
    site.stop()
    site.stop = lambda: None
    assert seen == ([] if error else ["cancelled"])
    assert ("had not shut down at the end of the process" in caplog.text) == (error is None)
    assert ("the application failed in its lifespan" in caplog.text) == (error is not None)


# The application


async def ignoring(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and ignore being cancelled; `over` ends it."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while not over:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            cancelled.append(scope["path"])


over: list[bool] = []
cancelled: list[str] = []


def test_an_application_that_ignores_its_cancellation_ends_alone(
    gate: MakeGate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_module, "CANCEL_AFTER", 0.1)
    over.clear()
    cancelled.clear()
    site = gate(ignoring, shutdown_timeout=0.1)
    with site.connect("/ws/one"):
        pass
    eventually(lambda: cancelled == ["/ws/one"], "it is cancelled")
    with site.connect("/ws/two") as ws:
        ws.ping().wait(SECONDS)
        site.stop()
        site.stop = lambda: None
    assert cancelled.count("/ws/one") == 2  # at the end of the process, too
    assert "the application at '/ws/one' still ran at the end of the process" in caplog.text
    over.append(True)


async def receiving(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and receive events in a loop that does not end with the last one."""
    await receive()
    kind = "websocket.accept" if scope["type"] == "websocket" else "lifespan.startup.complete"
    await send({"type": kind})
    for _ in range(1_000_000):
        await receive()


def test_an_application_that_ignores_its_end_is_cancelled(
    gate: MakeGate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would otherwise hold the loop, and with it all others."""
    monkeypatch.setattr(run_module, "CANCEL_AFTER", 0)
    site = gate(receiving, shutdown_timeout=0.01)
    with site.connect("/ws/one"):
        pass
    eventually(lambda: "so it is cancelled" in caplog.text, "it is cancelled")
    site.stop()
    site.stop = lambda: None
    assert "the application had not shut down at the end of the process" in caplog.text


def test_events_that_an_application_has_left_are_freed(gate: MakeGate) -> None:
    """At once, not when the garbage collector finds them."""
    over.clear()
    site = gate(ignoring)
    with site.connect("/ws/one") as ws:
        endpoint = site.endpoint
        run = endpoint._run
        for _ in range(10):
            ws.send(b"x" * 10_000)
        eventually(lambda: len(run._events) == 10, "all have arrived")
        over.append(True)
        assert closed(ws) == 1000
    eventually(lambda: not run._events, "they are freed")
    run.put(b"late", 4)
    endpoint.full = True
    endpoint.send(b"late")
    run._loop.asyncio.call_soon_threadsafe(over.clear)
    eventually(lambda: not over, "the loop has put the message")
    assert not run._events
    assert not endpoint._unsent


def test_an_application_that_fails_to_send_to_another_websocket_has_failed(
    gate: MakeGate, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own websocket would stay open without it."""
    sends: list[Any] = []
    ends: list[asyncio.Event] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/ws/one":
            await receive()
            sends.append(send)
            ends.append(asyncio.Event())
            await ends[0].wait()
        else:
            try:
                await sends[0]({"type": "websocket.send", "text": "x"})
            finally:
                ends[0].set()

    site = gate(app)
    with site.connect("/ws/one"):
        pass
    eventually(lambda: ends, "its application knows that it has ended")
    with site.connect("/ws/two") as ws:
        assert closed(ws) == 1011
    assert "the application at '/ws/two' failed" in errors(caplog)


def test_a_drain_that_is_called_twice_waits_once(
    gate: MakeGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal and the end of the process both drain."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    waits: list[float] = []
    over.clear()
    site = gate(ignoring, shutdown_timeout=5)
    with site.connect("/ws/one"):
        assert site.middleware._process is not None
        host = site.middleware._process.host(ignoring)
        with monkeypatch.context() as patch:
            patch.setattr(host_module, "time", clock)
            patch.setattr(AsgiHost, "_wait", staticmethod(lambda until, _: waits.append(until)))
            host.drain()
            clock.now += 3
            host.drain()
        over.append(True)
    last = 10 * host_module.POLL
    assert waits == [1005, 1005, 1000 + last, 1005, 1005, 1003 + last]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "websocket.close", "reason": 3}, 1011),
        ({"type": "websocket.close", "reason": "\ud800"}, 1011),
        ({"type": "websocket.close", "reason": "x" * 200}, 1000),
        ({"type": "websocket.close", "code": "1000"}, 1011),
        ({"type": "websocket.send", "text": b"bytes"}, 1000),
        ({"type": "websocket.send", "text": 3}, 1011),
        ({"type": "websocket.send", "text": "a", "bytes": b"b"}, 1011),
        ({}, 1011),
        (None, 1011),
    ],
)
def test_an_event_that_is_not_valid_raises_in_the_application(
    gate: MakeGate, event: Any, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await send(event)

    with gate(app).connect("/ws/x") as ws:
        assert closed(ws) == code
    assert ("the application at '/ws/x' failed" in caplog.text) == (code == 1011)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "websocket.accept", "headers": [("x-a", "not bytes")]},
        {"type": "websocket.accept", "headers": [b"x-a"]},
        {"type": "websocket.accept", "subprotocol": b"one"},
        {"type": "websocket.http.response.start"},
        {"type": "websocket.http.response.start", "status": "402"},
        {"type": "websocket.http.response.start", "status": 200},
        {"type": "websocket.http.response.start", "status": 402, "body": "x", "headers": [(1, 2)]},
    ],
)
def test_an_answer_that_is_not_valid_raises_in_the_application(
    gate: MakeGate, event: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send(event)
        await send({"type": "websocket.http.response.body", "body": b"pay"})

    assert refused(gate(app), "/ws/x")[0] == 500
    assert "the application at '/ws/x' failed" in caplog.text


@pytest.mark.parametrize(
    ("before", "event", "text"),
    [
        (
            [],
            "websocket.send",
            "'websocket.send' cannot be sent while the websocket is connecting: send"
            " websocket.accept, websocket.close or websocket.http.response.start.",
        ),
        (
            [{"type": "websocket.http.response.start", "status": 402}],
            "websocket.accept",
            "'websocket.accept' cannot be sent while the websocket is refusing: send"
            " websocket.http.response.body.",
        ),
        (
            [{"type": "websocket.accept"}],
            "websocket.accept",
            "'websocket.accept' cannot be sent while the websocket is open: send websocket.send or"
            " websocket.close.",
        ),
        (
            [{"type": "websocket.close"}],
            "websocket.close",
            "'websocket.close' cannot be sent while the websocket is closed: send nothing more.",
        ),
    ],
)
def test_an_event_in_the_wrong_order_is_explained(
    gate: MakeGate, before: list[Any], event: str, text: str
) -> None:
    errors: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        for each in before:
            await send(each)
        try:
            await send({"type": event})
        except RuntimeError as exc:
            errors.append(str(exc))

    with suppress(InvalidStatus), gate(app).connect("/ws/x") as ws:
        closed(ws)
    assert eventually(lambda: errors, "it has sent the event") == [text]


@pytest.mark.parametrize("event", ["websocket.close", "websocket.receive", "websocket.disconnect"])
def test_an_application_that_ends_as_it_should_is_not_reported(
    gate: MakeGate, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        if event == "websocket.close":
            await send({"type": event})
            return
        if event == "websocket.receive":
            await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"

    site = gate(app, handshake_timeout=2)
    if event == "websocket.receive":
        with site.connect("/ws/x"):
            pass
    else:
        assert refused(site, "/ws/x")[0] == (503 if event == "websocket.disconnect" else 403)
    site.stop()
    site.stop = lambda: None
    assert errors(caplog) == []


def test_a_message_has_the_other_key_too(gate: MakeGate) -> None:
    """The protocol allows either key to be missing, but some applications read both."""
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        events.extend([await receive(), await receive()])

    with gate(app).connect("/ws/x") as ws:
        ws.send("text")
        ws.send(b"bytes")
        assert closed(ws) == 1000
    assert events == [
        {"type": "websocket.receive", "text": "text", "bytes": None},
        {"type": "websocket.receive", "bytes": b"bytes", "text": None},
    ]


def test_a_body_that_is_not_bytes_raises_in_the_application(gate: MakeGate) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.http.response.start", "status": 402})
        await send({"type": "websocket.http.response.body", "body": "pay"})

    assert refused(gate(app), "/ws/x")[0] == 500


def test_an_application_that_is_cancelled_before_it_answers(
    gate: MakeGate, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        task.cancel()
        await asyncio.sleep(3600)

    tasks: list[asyncio.Task[Any]] = []
    site = gate(app)
    for _ in range(2):
        assert refused(site, "/ws/x")[0] == 500
    eventually(lambda: [task.cancelled() for task in tasks] == [True, True], "they have ended")
    assert "the application at '/ws/x' was cancelled" in caplog.text


async def without_its_layer(scope: Any, receive: Any, send: Any) -> None:
    """Use a channel layer of wsredis, as a consumer of Channels does, without Redis."""
    assert scope["type"] == "websocket"
    await receive()
    if scope["path"] == "/ws/late":
        await send({"type": "websocket.accept"})
    raise BrokerUnavailable("Redis at HOST:PORT: refused")


def test_without_its_channel_layer_an_application_asks_to_come_back(
    gate: MakeGate, caplog: pytest.LogCaptureFixture
) -> None:
    site = gate(without_its_layer)
    assert refused(site, "/ws/early")[0] == 503
    with site.connect("/ws/late") as ws:
        assert closed(ws) == 1013
    assert "cannot use its channel layer: Redis at HOST:PORT: refused" in caplog.text
    assert "Traceback" not in caplog.text
