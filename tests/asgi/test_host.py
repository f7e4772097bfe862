"""The host in this process: with the asyncio loop in a thread, and in a greenlet."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import greenlet
import pytest

from wsredis import Identity, WebSocketMiddleware
from wsredis import process as process_module
from wsredis.asgi import loop as loop_module
from wsredis.asgi import run as run_module
from wsredis.asgi.endpoint import MAX_QUEUED, OVERHEAD, AsgiEndpoint
from wsredis.asgi.lending import lent
from wsredis.asgi.loop import AsyncioLoop, _HidingSelector, _Runner
from wsredis.runtime.loop import Loop
from wsredis.runtime.owner import channel_owner

from ..gate import Gate, page
from ..servers import hosted as app_module
from ..servers.hosted import hosted
from ..servers.support import SECONDS, closed, eventually
from .support import ended, refused


def test_what_the_client_reads_when_the_application_closes_before_it_accepts(
    gate: Callable[..., Gate], room: str
) -> None:
    text = "The application has refused this websocket.\n"
    assert refused(gate(), f"/ws/denies/{room}") == (403, text)


def test_messages_and_pages(gate: Callable[..., Gate], room: str) -> None:
    site = gate()
    with site.connect(f"/ws/echo/{room}") as ws:
        for message in ("hello", b"\x00\xff", "x" * 100_000):
            ws.send(message)
            assert ws.recv(timeout=SECONDS) == message
        assert site.get("/page") == (200, "the page /page")
    assert ended(room)[-2]["code"] == 1000


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("denies", 403),
        ("raises", 500),
        ("sends_early", 500),
        ("returns", 500),
        ("not_offered", 500),
        ("bad_header", 500),
        ("answers_twice", 500),
        ("responds", 402),
        ("responds_badly", 500),
    ],
)
def test_refusals(gate: Callable[..., Gate], room: str, path: str, code: int) -> None:
    assert refused(gate(), f"/ws/{path}/{room}")[0] == code
    ended(room)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("raises_later", 1011),
        ("exits_later", 1011),
        ("returns_later", 1000),
        ("cancels_itself", 1011),
        ("sends_nothing", 1011),
        ("sends_surrogates", 1011),
        ("closes_badly", 1011),
        ("accepts_again", 1011),
        ("closes", 4002),
        ("closes_plainly", 1000),
    ],
)
def test_ends(gate: Callable[..., Gate], room: str, path: str, code: int) -> None:
    with gate().connect(f"/ws/{path}/{room}") as ws:
        if path.endswith("later"):
            ws.send("now")
        assert closed(ws) == code
    ended(room)


def test_a_message_of_the_client_wakes_the_application(
    gate: Callable[..., Gate], room: str
) -> None:
    with gate().connect(f"/ws/echo/{room}") as ws:
        eventually(lambda: app_module.seen.get(room), "it waits for a message")
        ws.send("one")
        assert ws.recv(timeout=SECONDS) == "one"
        ws.send("two")
        assert ws.recv(timeout=SECONDS) == "two"


def test_send_waits_for_a_slow_reader(gate: Callable[..., Gate]) -> None:
    with gate().connect("/ws/pours", max_size=None) as ws:
        for number in range(160):
            assert ws.recv(timeout=SECONDS) == bytes([number]) * 65_536
        for number in range(5):
            assert ws.recv(timeout=SECONDS) == bytes([number]) * 2_000_000
        assert ws.recv(timeout=SECONDS) == "all sent"


def test_messages_that_are_sent_at_once_keep_their_order(
    gate: Callable[..., Gate], room: str
) -> None:
    """And the close frame comes after all that the application has sent before."""
    with gate().connect(f"/ws/sends_at_once/{room}", max_size=None, max_queue=1) as ws:
        ws.send("now")
        eventually(waiting, "messages wait")
        for number in range(12):
            assert ws.recv(timeout=SECONDS) == bytes([number]) * 2_000_000
        assert closed(ws) == 4000
    ended(room)


def test_a_send_that_waits_ends_with_the_websocket(gate: Callable[..., Gate], room: str) -> None:
    with gate().connect(f"/ws/sends_until_the_end/{room}", max_size=None, max_queue=1) as ws:
        eventually(waiting, "messages wait")
        ws.send("now")
        assert closed(ws) == 4000
    assert ended(room)[-2] in ("OSError", "RuntimeError")


@pytest.mark.parametrize("held", [True, False])
def test_a_held_client_is_read_again_at_half_of_the_limit(held: bool) -> None:
    size, number = MAX_QUEUED // 8, 10
    released: list[int] = []

    def release() -> None:
        released.append(run.received)
        endpoint.held = False

    endpoint: Any = SimpleNamespace(scope={"path": "/"}, held=held, queued=number * size)
    endpoint.release = release
    endpoint.call = lambda function: function()
    run = run_module.Run(endpoint, None)  # type: ignore[arg-type]
    for _ in range(number):
        run._put({"type": "websocket.receive"}, size)

    async def receive() -> None:
        for _ in range(number + 1):  # the first one is "websocket.connect"
            await run.receive()

    asyncio.run(receive())
    assert run.received == number * size
    assert released == ([7 * size] if held else [])  # less than half of the limit is left


def waiting() -> Any:
    """Return an endpoint of this process whose application must wait."""
    endpoints = [each for each in gc.get_objects() if type(each) is AsgiEndpoint]
    return next((each for each in endpoints if each.full), None)


def test_a_client_that_goes_while_send_waits(gate: Callable[..., Gate], room: str) -> None:
    with gate().connect(f"/ws/pours/{room}", max_size=None) as ws:
        ws.recv(timeout=SECONDS)
        eventually(lambda: app_module.seen.get(room), "it sends")
        ws.socket.close()
    assert ended(room)[-2:] == ["OSError", "end"]


def test_a_client_that_pours_is_not_read(gate: Callable[..., Gate], room: str) -> None:
    app_module.seen.pop("wake", None)
    site = gate()
    with site.connect(f"/ws/sleeps/{room}") as ws:
        for _ in range(10):
            ws.send(b"x" * 80_000)
        endpoint = site.endpoint
        eventually(lambda: endpoint.held, "the client is not read")
        # Besides the message with which the limit was passed, nothing has been taken in.
        assert endpoint.queued <= MAX_QUEUED + 80_000 + OVERHEAD
        app_module.seen["wake"] = []
        ws.send("size?")
        assert ws.recv(timeout=SECONDS) == "800000"


def test_a_client_that_goes_before_the_answer(gate: Callable[..., Gate], room: str) -> None:
    site = gate(handshake_timeout=2)
    assert refused(site, f"/ws/silent/{room}")[0] == 503
    assert ended(room)[1]["code"] == 1006


@pytest.mark.parametrize("path", ["accepts_late", "denies_late", "responds_late"])
def test_an_answer_that_comes_too_late(gate: Callable[..., Gate], room: str, path: str) -> None:
    assert refused(gate(handshake_timeout=2), f"/ws/{path}/{room}")[0] == 503
    assert ended(room)[-3:-1] == ["ClientDisconnected", "OSError"]


def test_an_application_that_returns_in_time_is_not_cancelled_later(
    gate: Callable[..., Gate], room: str
) -> None:
    site = gate()
    with site.connect(f"/ws/echo/{room}") as ws:
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
        run = site.endpoint._run
    eventually(lambda: run._deadline and run._deadline.cancelled(), "the deadline is cancelled")
    ended(room)


def test_an_application_that_does_not_return_is_cancelled(
    gate: Callable[..., Gate],
    room: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(run_module, "CANCEL_AFTER", 0.1)
    with gate().connect(f"/ws/stays/{room}"):
        pass
    assert ended(room)[-2:] == ["CancelledError", "end"]
    assert "so it is cancelled" in caplog.text


def test_an_application_that_is_still_there_at_the_end_is_cancelled(
    gate: Callable[..., Gate], room: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = gate(shutdown_timeout=0.1)
    with site.connect(f"/ws/stays/{room}"):
        eventually(lambda: room in app_module.seen, "it runs")
        site.stop()
        site.stop = lambda: None
    assert ended(room)[-2:] == ["CancelledError", "end"]
    assert "still ran at the end of the process" in caplog.text


# Lifespan


def without_lifespan(app: Any) -> Any:
    """Return an application that refuses the scope of the lifespan."""

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await app(scope, receive, send)

    return refuse


async def echo_once(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "hello"})
    await receive()


@pytest.mark.parametrize("how", ["raises", "returns", "raises later", "returns later"])
def test_applications_without_a_complete_lifespan(
    gate: Callable[..., Gate], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await echo_once(receive, send)
            return
        if how.endswith("later"):
            await receive()
            await send({"type": "lifespan.startup.complete"})
        if how.startswith("raises"):
            raise ValueError("no lifespan")

    with gate(app).connect("/ws/x") as ws:
        assert ws.recv(timeout=SECONDS) == "hello"
    assert ("failed in its lifespan" in caplog.text) == (how == "raises later")


def test_a_failed_startup_refuses_all(
    gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise SystemExit

    site = gate(app)
    assert refused(site, "/ws/x")[0] == 500
    assert "startup of the application failed: no database" in caplog.text
    # It is logged behind the response.
    eventually(lambda: "is not run, as its startup failed" in caplog.text, "it is logged")


def test_a_failed_shutdown_is_logged(
    gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await echo_once(receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no way"})

    site = gate(app)
    with site.connect("/ws/x") as ws:
        assert ws.recv(timeout=SECONDS) == "hello"
    site.stop()
    site.stop = lambda: None
    assert "shutdown of the application failed: no way" in caplog.text


def test_the_lifespan_does_not_see_the_context_of_a_request(gate: Callable[..., Gate]) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await hosted(scope, receive, send)
        seen.append(client.get())
        raise ValueError("no lifespan")

    def identity(request: Any) -> None:
        client.set("alice")

    with gate(app, identity=identity).connect("/ws/echo"):
        assert seen == ["nobody"]


client: contextvars.ContextVar[str] = contextvars.ContextVar("client", default="nobody")


def test_a_lifespan_that_is_cancelled(gate: Callable[..., Gate]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await echo_once(receive, send)
            return
        raise asyncio.CancelledError

    with gate(app).connect("/ws/x") as ws:
        assert ws.recv(timeout=SECONDS) == "hello"


# Hosts


def test_one_process_hosts_several_applications(gate: Callable[..., Gate]) -> None:
    """Middleware objects with equal options and one broker share hub and asyncio loop."""
    site = gate(without_lifespan(lambda scope, receive, send: echo_once(receive, send)))
    other = WebSocketMiddleware(
        page, config=site.config, broker=site.middleware.broker, asgi=hosted
    )
    with site.connect("/ws/x") as ws:
        assert ws.recv(timeout=SECONDS) == "hello"
        process = site.middleware._process
        assert process is not None
        first = process.host(site.middleware.asgi)
        second = process.host(other.asgi)
        assert first is not second
        assert first.loop is second.loop
        assert process.host(hosted) is second
    other.close()


def test_an_application_that_is_imported_twice_at_once_has_one_host(
    gate: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = gate()
    with site.connect("/ws/echo"):
        process = site.middleware._process
        assert process is not None
        during: list[Any] = []

        def load(value: Any) -> Any:
            if not during:
                during.append(None)
                during.append(process.host(value))  # another handshake is faster
            return hosted

        monkeypatch.setattr(process_module, "load_application", load)
        assert process.host("mysite.asgi.application") is during[1]


def test_a_websocket_beyond_a_limit_runs_no_application(
    gate: Callable[..., Gate], room: str
) -> None:
    site = gate(identity=lambda request: Identity("alice"), max_connections_per_user=1)
    with site.connect(f"/ws/echo/{room}") as ws:
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
        assert refused(site, f"/ws/denies/{room}2")[0] == 429
    ended(room)
    assert f"{room}2" not in app_module.seen


# Prefixes


def test_the_longer_prefix_wins(gate: Callable[..., Gate]) -> None:
    site = gate(asgi_prefix="/ws/live/")
    with site.connect("/ws/news?subscribe-broadcast") as ws:
        site.publisher("news").publish("published")
        assert ws.recv(timeout=SECONDS) == "published"
    assert refused(site, "/ws/live/unknown")[0] == 500


def test_every_handshake(gate: Callable[..., Gate]) -> None:
    site = gate(asgi_prefix="/")
    with site.connect("/ws/news?subscribe-broadcast") as ws:
        site.publisher("news").publish("published")
        assert ws.recv(timeout=SECONDS) == "published"
    assert site.get("/elsewhere") == (200, "the page /elsewhere")
    assert refused(site, "/elsewhere")[0] == 500
    assert site.get("/ws/")[0] == 400


@pytest.mark.parametrize("path", ["/ws/scoped/x", "/ws/scoped/%FF"])
def test_the_path_is_utf_8(gate: Callable[..., Gate], path: str) -> None:
    site = gate()
    if "%" in path:
        assert refused(site, path) == (400, "The path of the URL is not valid UTF-8.\n")
    else:
        with site.connect(path, content_type="text/plain") as ws:
            scope = json.loads(ws.recv(timeout=SECONDS))
        assert [repr(b"content-type"), repr(b"text/plain")] in scope["headers"]


# Views and synchronous code


@pytest.mark.parametrize("used", ["in the view", "in the response", "not imported"])
def test_async_to_sync_in_a_page(kind: str, monkeypatch: pytest.MonkeyPatch, used: str) -> None:
    """It runs on the loop of the applications, so what is used there can be used here."""
    import asgiref.sync

    loops: list[Any] = []

    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    def view(environ: Any, start_response: Any) -> Iterable[bytes]:
        if used == "in the view":
            asgiref.sync.async_to_sync(note)()
        body = page(environ, start_response)
        return streamed(body) if used == "in the response" else body

    def streamed(body: list[bytes]) -> Iterator[bytes]:
        asgiref.sync.async_to_sync(note)()
        yield from body

    imported = used != "not imported"
    if not imported:
        monkeypatch.delitem(sys.modules, "asgiref.sync")
    site = Gate("threads", view, asgi=hosted)  # in which a view may block
    try:
        assert site.get("/before")[0] == 200  # there is no asyncio loop yet
        with site.connect("/ws/echo") as ws:
            ws.send("hello")
            assert ws.recv(timeout=SECONDS) == "hello"
            assert site.get("/while")[0] == 200
            assert site.middleware._process is not None
            ours = site.middleware._process.asyncio
            assert ours is not None
            if imported:
                assert loops[-1] is ours.asyncio
    finally:
        site.stop()


def test_a_loan_inside_of_another_keeps_the_outer_loop(kind: str) -> None:
    import asgiref.sync

    local = asgiref.sync.SyncToAsync.threadlocal
    outer = SimpleNamespace(is_running=lambda: True)
    local.main_event_loop, local.main_event_loop_pid = outer, os.getpid()
    loop: Any = SimpleNamespace(asyncio=None)
    try:
        assert lent(loop, lambda: [local.main_event_loop]) == [outer]
    finally:
        del local.main_event_loop, local.main_event_loop_pid


@pytest.mark.parametrize("stale", ["stopped", "of the parent process"])
def test_a_loan_that_asgiref_would_ignore_is_replaced(stale: str) -> None:
    import asgiref.sync

    local = asgiref.sync.SyncToAsync.threadlocal
    local.main_event_loop = SimpleNamespace(is_running=lambda: stale != "stopped")
    local.main_event_loop_pid = os.getpid() if stale == "stopped" else os.getppid()
    ours = object()
    loop: Any = SimpleNamespace(asyncio=ours)
    try:
        assert lent(loop, lambda: [local.main_event_loop]) == [ours]
        assert local.main_event_loop_pid == os.getpid()
    finally:
        del local.main_event_loop, local.main_event_loop_pid


def test_the_handlers_of_websockets_run_in_threads_of_their_own(gate: Callable[..., Gate]) -> None:
    from asgiref.sync import sync_to_async

    ready = threading.Barrier(2)

    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await sync_to_async(ready.wait)(SECONDS)  # both are there at the same time
        await send({"type": "websocket.send", "text": "passed"})

    site = gate(app, handler_threads=2)
    with site.connect("/ws/x") as one, site.connect("/ws/x") as two:
        one.send("go")
        two.send("go")
        assert one.recv(timeout=SECONDS) == two.recv(timeout=SECONDS) == "passed"


# Channel layers


@pytest.mark.parametrize("on_gap", ["close", "keep"])
def test_a_gap_closes_applications_that_use_a_layer(gate: Callable[..., Gate], on_gap: str) -> None:
    owners: list[Any] = []

    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        owners.append(channel_owner.get())
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "still here"})

    ends: list[str] = []
    with gate(app, on_gap=on_gap).connect("/ws/x") as ws:
        eventually(lambda: owners, "the application runs")
        owners[0].add(lambda: ends.append("ended"))
        owners[0].on_gap()
        if on_gap == "close":
            assert closed(ws) == 1012
        else:
            ws.send("hello")
            assert ws.recv(timeout=SECONDS) == "still here"
            assert not ends
    eventually(lambda: ends == ["ended"], "its channels have ended")


# The loop


def test_a_call_of_an_application_that_fails_is_logged(
    gate: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    site = gate()
    with site.connect("/ws/echo") as ws:
        assert site.middleware._process is not None
        host = site.middleware._process.host(hosted)
        host.call_hub(int, "x")
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
    eventually(lambda: "a call between the loops failed" in caplog.text, "it is logged")


@pytest.fixture
def running(kind: str) -> Iterator[AsyncioLoop]:
    hub = Loop()
    loop = AsyncioLoop(hub)
    loop.hub = hub  # type: ignore[attr-defined]
    yield loop
    loop.stop()


def test_a_call_that_fails_is_logged_and_the_next_is_made(
    running: AsyncioLoop, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[int] = []

    def calls() -> None:
        running.call(made.append, 2)

    running.call(calls)
    running.call(int, "x")
    running.call(made.append, 1)
    eventually(lambda: sorted(made) == [1, 2], "all calls are made")
    assert "a call between the loops failed" in caplog.text


@pytest.mark.parametrize("how", ["exit", "stop"])
def test_an_application_cannot_end_the_loop(
    running: AsyncioLoop, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    async def exits() -> None:
        sys.exit(3)

    if how == "exit":
        running.call(start, exits)
        text = "a task of an application tried to end the process"
    else:
        running.call(running.asyncio.stop)
        text = "an application stopped the asyncio loop"
    eventually(lambda: text in caplog.text, "it is logged")
    made: list[int] = []
    running.call(made.append, 1)
    eventually(lambda: made, "the loop goes on")


def start(function: Callable[[], Any]) -> None:
    """Start a coroutine; called on the asyncio loop."""
    tasks.append(asyncio.get_running_loop().create_task(function()))


tasks: list[Any] = []


def test_other_greenlets_do_not_see_the_running_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A coroutine that blocks cooperatively shows its loop to itself only."""
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: True)
    hub = Loop()
    loop = AsyncioLoop(hub)
    seen: list[Any] = []
    traced: list[str] = []

    async def blocks() -> None:
        task = asyncio.current_task()
        for _ in range(3):
            gevent.sleep(0.01)
            await asyncio.sleep(0.01)
            assert asyncio.get_running_loop() is loop.asyncio
            assert asyncio.current_task() is task
        seen.append("done")

    def other() -> None:
        before = greenlet.settrace(lambda event, args: traced.append(event))
        while "done" not in seen:
            seen.append(asyncio._get_running_loop())
            gevent.sleep(0.001)
        greenlet.settrace(before)

    hub.run(hub.spawn, other)
    eventually(lambda: seen, "the other greenlet looks")
    loop.call(start, blocks)
    eventually(lambda: "done" in seen, "the coroutine has ended")
    assert set(seen) == {None, "done"}
    assert traced
    loop.stop()


def test_a_trace_function_that_is_set_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls the one that it has found, as gevent's monitor does."""
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: True)
    hub = Loop()
    loop = AsyncioLoop(hub)
    blocked, go_on, traced = gevent.event.Event(), gevent.event.Event(), []
    done: list[Any] = []

    async def blocks() -> None:
        blocked.set()
        go_on.wait()
        done.append(asyncio.get_running_loop())

    def other() -> None:
        blocked.wait()
        before = greenlet.gettrace()

        def trace(event: str, switch: Any) -> None:
            traced.append(event)
            before(event, switch)

        greenlet.settrace(trace)
        go_on.set()
        while not done:
            gevent.sleep(0.001)
        assert greenlet.gettrace() is trace
        greenlet.settrace(None)

    loop.call(start, blocks)
    hub.run(other)
    assert done == [loop.asyncio]
    assert traced
    loop.stop()


def test_a_loop_of_another_greenlet_stays_visible_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: True)
    hub = Loop()
    loop = AsyncioLoop(hub)
    done: list[Any] = []

    async def works() -> None:
        for _ in range(10):
            await asyncio.sleep(0.001)
        done.append(True)

    def other() -> None:
        mine = asyncio.SelectorEventLoop(loop_module.GeventSelector())

        async def main() -> None:
            for _ in range(10):
                await asyncio.sleep(0.001)
                assert asyncio.get_running_loop() is mine

        mine.run_until_complete(main())
        mine.close()

    loop.call(start, works)
    hub.run(other)
    eventually(lambda: done, "both have ended")
    loop.stop()


def test_a_hidden_task_is_not_seen_outside_but_by_the_watch() -> None:
    selector = _HidingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    runner = _Runner(selector, loop, threading.Event())

    async def blocks() -> None:
        task, hooks = asyncio.current_task(), sys.get_asyncgen_hooks()
        assert runner.task is None
        runner.hide()
        assert asyncio.current_task(loop) is None
        assert asyncio._get_running_loop() is None
        assert sys.get_asyncgen_hooks() == (None, None)
        assert runner.hidden
        assert runner.task is task
        runner.show()
        assert asyncio.current_task() is task
        assert asyncio.get_running_loop() is loop
        assert sys.get_asyncgen_hooks() == hooks
        assert not runner.hidden

    runner.hidden = False
    loop.run_until_complete(blocks())
    loop.close()


def test_the_trace_function_shows_the_loop_to_its_own_greenlet_only() -> None:
    """greenlet lets nothing observe its trace functions, so they are called here by hand."""
    selector = _HidingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    runner = _Runner(selector, loop, threading.Event())
    calls: list[str] = []
    other = greenlet.greenlet()

    def before(event: str, switch: Any) -> None:
        calls.append(event)

    runner.hidden = False
    greenlet.settrace(before)
    try:
        runner.switch_out()
        assert greenlet.gettrace() == runner._trace
        runner.switch_out()  # it is hidden already
        runner._trace("switch", (runner, other))
        assert runner.hidden
        runner._trace("switch", (other, runner))
        assert not runner.hidden
        assert asyncio._get_running_loop() is loop
        assert greenlet.gettrace() is before
    finally:
        asyncio._set_running_loop(None)
        greenlet.settrace(None)
    assert "switch" in calls
    runner.switch_out()
    greenlet.settrace(None)
    runner._trace("switch", (other, runner))
    asyncio._set_running_loop(None)
    assert not runner.hidden
    loop.close()
