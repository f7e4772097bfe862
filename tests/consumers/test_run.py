"""Synchronous consumers in this process: in threads, and in greenlets as in a patched process."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, ClassVar

import gevent
import pytest
from websockets.exceptions import InvalidStatus

from wsredis.asgi import loop as loop_module
from wsredis.consumers import (
    AcceptConnection,
    AsyncWebsocketConsumer,
    DenyConnection,
    JsonWebsocketConsumer,
    StopConsumer,
    SyncConsumer,
    WebsocketConsumer,
    shared,
)
from wsredis.consumers import host as host_module
from wsredis.endpoints import Endpoint
from wsredis.exceptions import BrokerUnavailable
from wsredis.handshake import refusal
from wsredis.layers import InMemoryChannelLayer, configure_layers
from wsredis.runtime.logs import Seldom

from ..gate import Gate, page, status
from ..servers.support import SECONDS, closed, eventually

KINDS = {"thread": "threads", "greenlet": "greenlets"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Say where the handlers run: in threads, or as in a patched process."""
    patched = request.param == "greenlet"
    monkeypatch.setattr(host_module, "is_module_patched", lambda name: patched)
    return KINDS[request.param]


def host_of(gate: Gate) -> Any:
    """Return the host of the consumers."""
    process: Any = gate.middleware._process
    return process._shared[host_module.ConsumerHost]


@pytest.fixture
def site(kind: str, layer: InMemoryChannelLayer) -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def make(consumer: Any, path: str = "ws/<str:word>", **options: Any) -> Gate:
        gates.append(Gate(kind, page, routes=[(path, consumer)], **options))
        return gates[-1]

    yield make
    for made in gates:
        made.stop()


def refused(gate: Gate, path: str = "/ws/a") -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as info, gate.connect(path):
        pass
    return status(info)


class Echo(WebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(text_data=text_data, bytes_data=bytes_data)


def test_messages_and_pages(site: Callable[..., Gate]) -> None:
    gate = site(Echo)
    with gate.connect("/ws/a") as ws:
        for message in ("hello", b"\x00\xff", "", "x" * 100_000):
            ws.send(message)
            assert ws.recv(timeout=SECONDS) == message
        assert gate.get("/page") == (200, "the page /page")


class Chat(WebsocketConsumer):
    ends: list[int]

    def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["word"]
        self.channel_layer.group_add(self.room, self.channel_name)
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.group_send(self.room, {"type": "chat.message", "text": text_data})

    def chat_message(self, event: Any) -> None:
        self.send(text_data=event["text"])

    def disconnect(self, code: int) -> None:
        self.ends.append(code)


def test_a_group(site: Callable[..., Gate], layer: InMemoryChannelLayer) -> None:
    Chat.ends = []
    gate = site(Chat)
    with gate.connect("/ws/a") as one, gate.connect("/ws/a") as two, gate.connect("/ws/b") as three:
        one.send("hello")
        assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["hello", "hello"]
        layer.group_send("b", {"type": "chat.message", "text": "from a view"})
        assert three.recv(timeout=SECONDS) == "from a view"
        two.close(3456)
        eventually(lambda: Chat.ends == [3456], "its consumer has handled the end")
    eventually(lambda: len(Chat.ends) == 3, "all have ended")
    eventually(lambda: not layer._members, "and have left their groups")
    assert not layer._own


class Steps(WebsocketConsumer):
    blocked: threading.Event

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "block":
            self.send("blocked")
            while not self.blocked.wait(0.01):
                gevent.sleep(0.01)
        self.send(text_data=text_data)


def test_a_handler_that_blocks_delays_no_other_consumer(site: Callable[..., Gate]) -> None:
    Steps.blocked = threading.Event()
    gate = site(Steps)
    with gate.connect("/ws/a") as one, gate.connect("/ws/b") as two:
        one.send("block")
        one.send("after")
        assert one.recv(timeout=SECONDS) == "blocked"
        for number in range(3):
            two.send(str(number))
            assert two.recv(timeout=SECONDS) == str(number)
        Steps.blocked.set()
        assert [one.recv(timeout=SECONDS), one.recv(timeout=SECONDS)] == ["block", "after"]


class Asked(WebsocketConsumer):
    """Answers the handshake as the path says."""

    def connect(self) -> None:
        getattr(self, "connect_" + self.scope["url_route"]["kwargs"]["word"])()

    def connect_close(self) -> None:
        self.close()

    def connect_code(self) -> None:
        self.close(code=4123)

    def connect_deny(self) -> None:
        raise DenyConnection

    def connect_raise(self) -> None:
        raise LookupError("a secret")

    def connect_early(self) -> None:
        self.send("too early")

    def connect_stop(self) -> None:
        raise StopConsumer

    def connect_offered(self) -> None:
        self.accept("chat")

    def connect_header(self) -> None:
        self.accept(headers=[(b"x-name", b"a\r\nx-other: b")])

    def connect_accepted(self) -> None:
        raise AcceptConnection

    def connect_named(self) -> None:
        self.accept(headers=[(b"x-name", b"value")])

    def connect_twice(self) -> None:
        self.accept()
        self.accept()


@pytest.mark.parametrize(
    ("word", "code"),
    [
        *(("close", 403), ("code", 403), ("deny", 403), ("raise", 500), ("early", 500)),
        *(("stop", 500), ("offered", 500), ("header", 500)),
    ],
)
def test_refusals(site: Callable[..., Gate], word: str, code: int) -> None:
    assert refused(site(Asked), f"/ws/{word}")[0] == code


def test_answers(site: Callable[..., Gate]) -> None:
    gate = site(Asked)
    with gate.connect("/ws/accepted"), gate.connect("/ws/named") as ws:
        assert ws.response is not None
        assert ws.response.headers["x-name"] == "value"
    with gate.connect("/ws/twice") as ws:
        assert closed(ws) == 1011


class Ends(WebsocketConsumer):
    """Does what a message says."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        assert text_data is not None
        getattr(self, f"do_{text_data}")()

    def do_raise(self) -> None:
        raise LookupError("a secret")

    def do_exit(self) -> None:
        raise SystemExit

    def do_stop(self) -> None:
        raise StopConsumer

    def do_close(self) -> None:
        self.close(4001, "bye")

    def do_last(self) -> None:
        self.send("last", close=4002)

    def do_nothing(self) -> None:
        self.send()

    def do_surrogate(self) -> None:
        self.send("\ud800")

    def do_code(self) -> None:
        self.close(1005)

    def do_recursion(self) -> None:
        self.do_recursion()

    def do_after(self) -> None:
        self.close()
        self.send("after the end")


@pytest.mark.parametrize(
    ("word", "code"),
    [
        *(("raise", 1011), ("exit", 1011), ("stop", 1000), ("close", 4001), ("last", 4002)),
        *(("nothing", 1011), ("surrogate", 1011), ("code", 1011), ("recursion", 1011)),
        ("after", 1000),
    ],
)
def test_ends(site: Callable[..., Gate], word: str, code: int) -> None:
    with site(Ends).connect("/ws/a") as ws:
        ws.send(word)
        if word == "last":
            assert ws.recv(timeout=SECONDS) == "last"
        assert closed(ws) == code


class Json(JsonWebsocketConsumer):
    def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.send_json({"got": content})


def test_json(site: Callable[..., Gate]) -> None:
    gate = site(Json)
    with gate.connect("/ws/a") as ws:
        ws.send('{"number": 1}')
        assert json.loads(ws.recv(timeout=SECONDS)) == {"got": {"number": 1}}
        ws.send("{")
        assert closed(ws) == 1007
    for message, code in (("", 1007), ("[" * 100_000, 1007), (b"{}", 1003)):
        with gate.connect("/ws/a") as ws:
            ws.send(message)
            assert closed(ws) == code


class Low(SyncConsumer):
    seen: list[Any]

    def websocket_connect(self, message: Any) -> None:
        self.send({"type": "websocket.accept"})

    def websocket_receive(self, message: Any) -> None:
        self.seen.append(message)
        self.send({"type": "websocket.send", "text": "yes"})

    def websocket_disconnect(self, message: Any) -> None:
        self.seen.append(message)
        raise StopConsumer


def test_a_consumer_of_events(site: Callable[..., Gate]) -> None:
    Low.seen = []
    with site(Low).connect("/ws/a") as ws:
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "yes"
    eventually(lambda: len(Low.seen) == 2, "it has seen the end")
    assert Low.seen[0] == {"type": "websocket.receive", "text": "hello", "bytes": None}
    assert Low.seen[1]["code"] == 1000


class Endless(SyncConsumer):
    """Handles its end as any other event."""

    seen: list[Any]

    def websocket_connect(self, message: Any) -> None:
        self.group_add("all")
        self.send({"type": "websocket.accept"})

    def websocket_disconnect(self, message: Any) -> None:
        self.seen.append(message["code"])


def test_a_consumer_ends_with_its_websocket(
    site: Callable[..., Gate], layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    """Without StopConsumer, too: it would stay in memory, and in its groups."""
    Endless.seen = []
    gate = site(Endless)
    with gate.connect("/ws/a"):
        host = host_of(gate)
        assert len(host.runs) == 1
    eventually(lambda: not host.runs, "it has ended")
    assert Endless.seen == [1000]
    assert not layer._members
    assert "Endless" not in caplog.text


class Stuck(WebsocketConsumer):
    """Stops when it is told to, and leaves the messages that wait."""

    go: threading.Event

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        while not self.go.wait(0.01):
            gevent.sleep(0.01)
        raise StopConsumer


def test_messages_that_a_consumer_has_left_are_freed(site: Callable[..., Gate]) -> None:
    """At once, not when the garbage collector finds them."""
    Stuck.go = threading.Event()
    gate = site(Stuck)
    with gate.connect("/ws/a") as ws:
        (run,) = host_of(gate).runs
        for _ in range(10):
            ws.send(b"x" * 10_000)
        eventually(lambda: len(run._events) == 9, "one is being handled, the others wait")
        Stuck.go.set()
        assert closed(ws) == 1000
    assert not run._events
    run.put(b"late", 4)
    assert not run._events


class Twice(WebsocketConsumer):
    """Sends from two threads or greenlets of its own."""

    ended: list[str]

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        for name in "ab":
            if text_data == "greenlets":
                gevent.spawn(self.pour, name)
            else:
                threading.Thread(target=self.pour, args=[name], daemon=True).start()

    def pour(self, name: str) -> None:
        for _ in range(200):
            self.send(name * 50_000)
        self.ended.append(name)


def test_two_threads_that_wait_for_a_slow_reader_go_on(
    site: Callable[..., Gate], kind: str
) -> None:
    Twice.ended = []
    gate = site(Twice)
    with gate.connect("/ws/a", max_queue=1) as ws:
        (run,) = host_of(gate).runs
        ws.send(kind)
        eventually(lambda: len(run._waiters) == 2, "both wait")
        messages = [ws.recv(timeout=SECONDS) for _ in range(400)]
        assert {name: messages.count(name * 50_000) for name in "ab"} == {"a": 200, "b": 200}
        eventually(lambda: sorted(Twice.ended) == ["a", "b"], "both have gone on")
    assert run._waiters == ()


def test_groups_of_a_layer_of_channels(
    site: Callable[..., Gate], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its methods are coroutine functions, and the consumer is hosted as an application."""
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: kind == "greenlets")

    class Grouped(WebsocketConsumer):
        groups = ("all",)

        def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            if text_data == "leave":
                self.group_discard("all")
                self.send("left")
            self.group_send("all", {"type": "say", "text": text_data})

        def say(self, event: Any) -> None:
            self.send(event["text"])

    backend = "channels.layers.InMemoryChannelLayer"
    configure_layers({"default": {"BACKEND": backend}})
    gate = site(Grouped)
    with gate.connect("/ws/a") as one, gate.connect("/ws/b") as two:
        one.send("hello")
        assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["hello", "hello"]
        one.send("leave")
        assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["left", "leave"]


class Listener(WebsocketConsumer):
    groups = ("all",)

    def news(self, event: Any) -> None:
        event["list"].append(1)
        self.send(json.dumps(event["list"]))


@pytest.mark.parametrize(
    "kind_of_event", ["close", "send", "accept", "dispatch", "websocket.connect"]
)
def test_an_event_cannot_command_the_websocket(
    site: Callable[..., Gate],
    layer: InMemoryChannelLayer,
    caplog: pytest.LogCaptureFixture,
    kind_of_event: str,
) -> None:
    with site(Listener).connect("/ws/a") as ws:
        layer.group_send("all", {"type": kind_of_event, "code": 4000, "text_data": "x"})
        layer.group_send("all", {"type": "news", "list": []})
        assert ws.recv(timeout=SECONDS) == "[1]"
    assert "could command the websocket" in caplog.text


def test_an_event_without_a_handler_is_an_error(
    site: Callable[..., Gate], layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    with site(Listener).connect("/ws/a") as ws:
        layer.group_send("all", {"type": "old.news"})
        assert closed(ws) == 1011
    assert "write the method old_news. It has: news, websocket_receive." in caplog.text


def test_each_member_gets_a_copy_of_an_event(
    site: Callable[..., Gate], layer: InMemoryChannelLayer
) -> None:
    gate = site(Listener)
    with gate.connect("/ws/a") as one, gate.connect("/ws/a") as two:
        layer.group_send("all", {"type": "news", "list": []})
        assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["[1]", "[1]"]


class Shares(WebsocketConsumer):
    groups = ("all",)
    calls: list[Any]
    blocked: threading.Event

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send("blocked")
        while not self.blocked.wait(0.01):
            gevent.sleep(0.01)
        self.send("not blocked")

    @shared
    @classmethod
    def price(cls, event: Any) -> Any:
        cls.calls.append(event["price"])
        if event["price"] in (0, -1):
            raise SystemExit if event["price"] else LookupError("no price")
        return event["price"]


def test_a_shared_handler_is_called_once(
    site: Callable[..., Gate], layer: InMemoryChannelLayer
) -> None:
    Shares.calls, Shares.blocked = [], threading.Event()
    gate = site(Shares)
    with gate.connect("/ws/a") as one, gate.connect("/ws/a") as two:
        one.send("block")
        assert one.recv(timeout=SECONDS) == "blocked"
        layer.group_send("all", {"type": "price", "price": "5"})
        layer.group_send("all", {"type": "price", "price": b"6"})
        assert [two.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["5", b"6"]
        Shares.blocked.set()
        assert [one.recv(timeout=SECONDS) for _ in range(3)] == ["not blocked", "5", b"6"]
        assert Shares.calls == ["5", b"6"]
        layer.group_send("all", {"type": "price", "price": 0})
        assert [closed(one), closed(two)] == [1011, 1011]
    with gate.connect("/ws/a") as ws:
        layer.group_send("all", {"type": "price", "price": -1})
        assert closed(ws) == 1011


def test_too_many_events_are_dropped(
    site: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    layer = InMemoryChannelLayer(capacity=2)
    configure_layers({"default": layer})

    class Slow(Steps):
        groups = ("all",)

        def news(self, event: Any) -> None:
            self.send(event["text"])

    Steps.blocked = threading.Event()
    with site(Slow).connect("/ws/a") as ws:
        ws.send("block")
        assert ws.recv(timeout=SECONDS) == "blocked"
        layer.group_send("all", {"type": "news", "text": "first"})
        for number in range(4):
            layer.group_send("all", {"type": "news", "text": str(number)})
        eventually(lambda: layer.dropped, "events were dropped")
        Steps.blocked.set()
        assert ws.recv(timeout=SECONDS) == "block"
        assert ws.recv(timeout=SECONDS) == "first"
    assert "2 events wait already" in caplog.text


class Pours(WebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        for number in range(100):
            self.send(bytes_data=bytes([number]) * 100_000)
        self.send("all sent")


def test_send_waits_for_a_slow_reader(site: Callable[..., Gate]) -> None:
    with site(Pours).connect("/ws/a", max_size=None) as ws:
        ws.send("pour")
        for number in range(100):
            assert ws.recv(timeout=SECONDS) == bytes([number]) * 100_000
        assert ws.recv(timeout=SECONDS) == "all sent"


def test_a_reader_that_goes_ends_a_handler_that_waits(site: Callable[..., Gate]) -> None:
    gate = site(Pours)
    with gate.connect("/ws/a", max_size=None) as ws:
        ws.send("pour")
        ws.recv(timeout=SECONDS)
        ws.socket.close()
    eventually(lambda: gate.middleware.stats()["connections"] == 0, "it has ended")


class PoursThreads(WebsocketConsumer):
    """Sends in two threads at once, or greenlets in a patched process."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if host_module.is_module_patched("threading"):
            both = [gevent.spawn(self.pour) for _ in range(2)]
        else:
            both = [threading.Thread(target=self.pour, daemon=True) for _ in range(2)]
            for thread in both:
                thread.start()
        for one in both:
            one.join()
        self.send("all sent")

    def pour(self) -> None:
        for number in range(100):
            self.send(bytes_data=bytes([number]) * 100_000)


class Floods(Echo):
    """Sends more than a client takes that does not read, if it is asked to."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        for _ in range(400 if text_data == "flood" else 0):
            self.send(bytes_data=bytes(100_000))
        super().receive(text_data, bytes_data)


def waiting(gate: Gate) -> int:
    """Return the number of consumers of which a handler waits for the client."""
    return sum(bool(run._waiters) for run in host_of(gate).runs)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "PATIENCE", 0.05)


@pytest.mark.usefixtures("impatient")
def test_slow_readers_leave_threads_to_others(site: Callable[..., Gate], kind: str) -> None:
    gate = site(Floods, handler_threads=4)
    with ExitStack() as stack:
        slow = [stack.enter_context(gate.connect("/ws/a", max_queue=1)) for _ in range(6)]
        stack.callback(lambda: [ws.socket.close() for ws in slow])  # without a close handshake
        host = host_of(gate)
        runs = list(host.runs)
        closed_ones = 0 if kind == "greenlets" else 4  # greenlets are made as needed
        for number, ws in enumerate(slow, 1):
            ws.send("flood")
            least = number if kind == "greenlets" else min(number, 2)
            eventually(lambda least=least: waiting(gate) == least, "it waits")
        eventually(lambda: gate.middleware.stats()["slow_consumers"] == closed_ones, "some close")
        assert len(host._waiting) == (0 if kind == "greenlets" else 2)
        with gate.connect("/ws/b") as ws:
            ws.send("hello")
            assert ws.recv(timeout=SECONDS) == "hello"
        assert gate.middleware.stats()["slow_consumers"] == closed_ones
        codes = [run._endpoint.connection.close_code for run in runs]
        assert codes.count(1013) == closed_ones


class PoursAside(WebsocketConsumer):
    """Sends in a thread of its own, or in a greenlet in a patched process."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if host_module.is_module_patched("threading"):
            gevent.spawn(self.pour)
        else:
            threading.Thread(target=self.pour, daemon=True).start()

    def pour(self) -> None:
        with suppress(OSError):
            for _ in range(400):
                self.send(bytes_data=bytes(100_000))


@pytest.mark.usefixtures("impatient")
def test_a_slow_reader_does_not_keep_the_only_thread(site: Callable[..., Gate]) -> None:
    gate = site(Floods, handler_threads=1)
    with gate.connect("/ws/a", max_queue=1) as slow, gate.connect("/ws/b") as ws:
        slow.send("flood")
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
        slow.socket.close()


def test_readers_at_full_speed_are_not_slow(
    site: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers wait for a moment, as they hand messages over faster than the loop sends them."""
    monkeypatch.setattr(host_module, "PATIENCE", SECONDS)
    gate = site(Pours, handler_threads=4)

    def read(_: int) -> int:
        with gate.connect("/ws/a", max_size=None) as ws:
            ws.send("pour")
            received = 0
            while ws.recv(timeout=SECONDS) != "all sent":
                received += 1
            return received

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(8))) == [100] * 8
    assert gate.middleware.stats()["slow_consumers"] == 0


@pytest.mark.usefixtures("impatient")
def test_threads_of_consumers_may_all_wait_for_slow_readers(site: Callable[..., Gate]) -> None:
    gate = site(PoursAside, handler_threads=1)
    with ExitStack() as stack:
        slow = [stack.enter_context(gate.connect("/ws/a", max_queue=1)) for _ in range(3)]
        stack.callback(lambda: [ws.socket.close() for ws in slow])
        for ws in slow:
            ws.send("pour")
        eventually(lambda: waiting(gate) == 3, "all wait")
        assert gate.middleware.stats()["slow_consumers"] == 0


class Answers(WebsocketConsumer):
    """Answers each message with a large one, and says in a list what it has received."""

    received: ClassVar[list[str | None]] = []

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.received.append(text_data)
        self.send(bytes_data=bytes(100_000))


def test_a_client_that_reads_slowly_holds_no_thread_between_messages(
    site: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "received", received := [])
    gate = site(Answers, handler_threads=1)
    with gate.connect("/ws/a", max_queue=1) as slow, gate.connect("/ws/b") as other:
        for number in range(400):
            slow.send(str(number))
        host = host_of(gate)
        eventually(lambda: any(run._paused for run in host.runs), "it is paused")
        assert waiting(gate) == 0
        other.send("other")
        assert len(other.recv(timeout=SECONDS)) == 100_000
        handled = len(received)
        assert handled < 400
        for _ in range(400):
            assert len(slow.recv(timeout=SECONDS)) == 100_000
        received.remove("other")
        assert received == [str(number) for number in range(400)]
        assert gate.middleware.stats()["slow_consumers"] == 0


def test_room_that_two_threads_notice_lets_one_step_be_done(
    site: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = site(Echo)
    with gate.connect("/ws/a"):
        host = host_of(gate)
        (run,) = host.runs
        eventually(lambda: not run._scheduled, "it is idle")
        added: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setattr(host.runner, "add", added.append)
            run._paused = True
            run._resume()
            run._resume()
        assert added == [run]


def test_a_paused_consumer_handles_what_waits_when_its_client_has_gone(
    site: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "received", received := [])
    gate = site(Answers)
    with gate.connect("/ws/a", max_queue=1) as slow:
        for number in range(400):
            slow.send(str(number))
        host = host_of(gate)
        eventually(lambda: any(run._paused for run in host.runs), "it is paused")
        slow.socket.close()
    eventually(lambda: not host.runs, "it has ended")
    assert received == [str(number) for number in range(len(received))]


def test_a_slow_reader_holds_no_thread_forever(site: Callable[..., Gate]) -> None:
    with site(PoursThreads).connect("/ws/a", max_size=None) as ws:
        ws.send("pour")
        for _ in range(200):
            assert len(ws.recv(timeout=SECONDS)) == 100_000
        assert ws.recv(timeout=SECONDS) == "all sent"


class Lasting(WebsocketConsumer):
    """Goes on in a thread of its own after the end."""

    consumer: Any = None

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        type(self).consumer = self


def test_nothing_is_joined_after_the_end(
    site: Callable[..., Gate], layer: InMemoryChannelLayer
) -> None:
    gate = site(Lasting)
    with gate.connect("/ws/a") as ws:
        ws.send("keep")
        eventually(lambda: Lasting.consumer, "it is known")
    consumer, Lasting.consumer = Lasting.consumer, None
    assert consumer is not None
    eventually(lambda: consumer._wsredis_run.ended, "it has ended")
    consumer.group_add("all")
    assert layer._members == {}
    assert consumer.channel_name
    assert layer._own == {}


HANDSHAKE = "\r\n".join(
    [
        "GET /ws/b HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "\r\n",
    ]
).encode()


def test_a_client_that_has_gone_meanwhile_gets_no_consumer(
    monkeypatch: pytest.MonkeyPatch, site: Callable[..., Gate]
) -> None:
    steps: list[Any] = []
    made: list[Any] = []

    class Counted(Echo):
        def __init__(self) -> None:
            made.append(self)

    gate = site(Counted)
    with gate.connect("/ws/a"):
        assert len(made) == 1
        host = host_of(gate)
        monkeypatch.setattr(host.runner, "add", steps.append)  # as if all threads were busy
        with socket.create_connection(("127.0.0.1", gate.port)) as client:
            client.sendall(HANDSHAKE)
            eventually(lambda: steps, "its handshake waits")
        eventually(lambda: steps[0]._conversation.disconnect, "it has gone")
        monkeypatch.undo()
        steps[0].step()
        assert len(made) == 1
        assert steps[0] not in host.runs


class Late(WebsocketConsumer):
    """Sends to a client that has gone, and at the end."""

    gone: threading.Event
    ends: list[int]

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send("started")
        while self._wsredis_run._conversation.disconnect is None:  # type: ignore[attr-defined]
            gevent.sleep(0.01)
        self.send("too late")

    def disconnect(self, code: int) -> None:
        self.ends.append(code)
        self.send("far too late")


def test_its_end_is_handled_although_it_sends_to_a_client_that_has_gone(
    site: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    Late.ends = []
    gate = site(Late)
    with gate.connect("/ws/a") as ws:
        ws.send("go")
        assert ws.recv(timeout=SECONDS) == "started"
    eventually(lambda: gate.middleware.stats()["connections"] == 0, "it has ended")
    eventually(lambda: Late.ends == [1000], "its consumer has handled the end")
    assert "failed" not in caplog.text


def test_a_gap_closes_the_websocket(site: Callable[..., Gate], layer: InMemoryChannelLayer) -> None:
    with site(Listener).connect("/ws/a") as ws:
        ((members,),) = [each.values() for each in layer._members.values()]
        (member,) = members
        member.on_gap()
        assert closed(ws) == 1012


def test_routes_and_other_destinations(
    site: Callable[..., Gate], caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = site(Echo, "chat/<int:number>/")
    with gate.connect("/chat/5/") as ws:
        ws.send("x")
        assert ws.recv(timeout=SECONDS) == "x"
    with gate.connect("/ws/news?subscribe-broadcast") as ws:
        gate.publisher().publish("plain")
        assert ws.recv(timeout=SECONDS) == "plain"
    assert gate.get("/chat/5/")[0] == 200  # the page, as it is no handshake
    monkeypatch.setattr(refusal, "_seldom", Seldom())
    nothing = (404, "There is no websocket at this path.\n")
    for path in ("/chat/5", "/chat/x/", "/ws/news", "/elsewhere?subscribe-broadcast", "/%ff"):
        assert refused(gate, path) == nothing, path
    assert refused(gate, "/ws/news?subscribe-brodcast")[0] == 400
    assert "Paths of websockets are those of `routes`, and below `prefix`" in caplog.text
    assert "there is no route for 'chat/5', but there is one for 'chat/5/'" in caplog.text


class Async(AsyncWebsocketConsumer):
    groups = ("all",)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.group_send("all", {"type": "say", "text": text_data})

    async def say(self, event: Any) -> None:
        await self.send(event["text"])


class Sync(WebsocketConsumer):
    groups = ("all",)

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.group_send("all", {"type": "say", "text": text_data})

    def say(self, event: Any) -> None:
        self.send(event["text"])


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(scope["url_route"])})
    await receive()


class Own(Endpoint):
    def __init__(self, request: Any, context: Any) -> None:
        self.route = request.url_route

    def opened(self, connection: Any) -> None:
        connection.send(json.dumps(self.route))


@pytest.fixture
def mixed(
    kind: str, layer: InMemoryChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gate]:
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: kind == "greenlets")
    routes = [
        *(("ws/async", Async), ("ws/sync", Sync.as_asgi()), ("ws/plain/<int:number>", plain)),
        ("ws/own/<int:number>", Own),
    ]
    gate = Gate(kind, page, routes=routes)
    yield gate
    gate.stop()


def test_all_kinds_of_routes(mixed: Gate) -> None:
    with mixed.connect("/ws/async") as one, mixed.connect("/ws/sync") as two:
        for sender, text in ((one, "from async"), (two, "from sync")):
            sender.send(text)
            assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == [text, text]
    for path in ("/ws/plain/5", "/ws/own/5"):
        with mixed.connect(path) as ws:
            assert json.loads(ws.recv(timeout=SECONDS))["kwargs"] == {"number": 5}


def test_the_scope(site: Callable[..., Gate]) -> None:
    scopes: list[Any] = []

    class Scope(WebsocketConsumer):
        def connect(self) -> None:
            scopes.append(self.scope)
            self.accept()

    gate = site(Scope)
    origin = f"http://127.0.0.1:{gate.port}"
    with gate.connect("/ws/a?x=1", Cookie="theme=dark", Origin=origin):
        (scope,) = scopes
    assert (scope["type"], scope["path"], scope["query_string"]) == ("websocket", "/ws/a", b"x=1")
    assert scope["cookies"] == {"theme": "dark"}
    assert (scope["user"], scope["session"], scope["subprotocols"]) == (None, None, [])
    assert scope["wsredis"].user is None
    assert (b"cookie", b"theme=dark") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"


class Unavailable(WebsocketConsumer):
    def connect(self) -> None:
        if self.scope["url_route"]["kwargs"]["word"] == "early":
            raise BrokerUnavailable("Redis at HOST:PORT: refused")
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        raise BrokerUnavailable("Redis at HOST:PORT: refused")


def test_without_its_layer_a_consumer_asks_to_come_back(
    site: Callable[..., Gate], caplog: pytest.LogCaptureFixture
) -> None:
    gate = site(Unavailable)
    assert refused(gate, "/ws/early")[0] == 503
    with gate.connect("/ws/late") as ws:
        ws.send("x")
        assert closed(ws) == 1013
    assert "cannot use its channel layer: Redis at HOST:PORT: refused" in caplog.text


def test_functions_around_handlers(
    site: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(host_module, "around_handlers", [lambda: calls.append("around")])
    monkeypatch.setattr(host_module, "after_handlers", [lambda: calls.append("end")])
    gate = site(Ends)
    with gate.connect("/ws/a") as ws:
        ws.send("raise")
        assert closed(ws) == 1011
    gate.middleware.close()
    eventually(lambda: calls.count("end"), "the greenlet or the thread has ended")
    assert calls.count("around") == 4


def test_gaps_may_be_kept(site: Callable[..., Gate], layer: InMemoryChannelLayer) -> None:
    with site(Listener, on_gap="keep").connect("/ws/a") as ws:
        ((members,),) = [each.values() for each in layer._members.values()]
        (member,) = members
        member.on_gap()
        layer.group_send("all", {"type": "news", "list": []})
        assert ws.recv(timeout=SECONDS) == "[1]"


class Slowly(WebsocketConsumer):
    blocked: threading.Event
    ended: list[int]

    def connect(self) -> None:
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send("taken")
        while not self.blocked.wait(0.01):
            gevent.sleep(0.01)

    def disconnect(self, code: int) -> None:
        self.ended.append(code)


@pytest.mark.parametrize("in_time", [True, False])
def test_the_end_of_the_process_waits_for_handlers(
    site: Callable[..., Gate], in_time: bool, caplog: pytest.LogCaptureFixture
) -> None:
    Slowly.blocked, Slowly.ended = threading.Event(), []
    gate = site(Slowly, shutdown_timeout=20 if in_time else 0.05)
    with gate.connect("/ws/a") as ws:
        ws.send("x")
        assert ws.recv(timeout=SECONDS) == "taken"
        host = host_of(gate)
        if in_time:
            threading.Timer(0.1, Slowly.blocked.set).start()
        gate.middleware.close()
        assert Slowly.ended == ([1006] if in_time else [])
        assert not host.runs  # a second drain does not wait again
        said = "at the end of the process, 1 of its consumers had not ended, such as Slowly at"
        assert (said in caplog.text) is not in_time
        Slowly.blocked.set()


def test_a_client_that_pours_is_not_read(site: Callable[..., Gate]) -> None:
    Slowly.blocked, Slowly.ended = threading.Event(), []
    gate = site(Slowly)
    with gate.connect("/ws/a") as ws:
        ws.send("x")
        assert ws.recv(timeout=SECONDS) == "taken"
        for _ in range(8):
            ws.send(bytes(60_000))
        (run,) = host_of(gate).runs
        eventually(lambda: run._endpoint.held, "it is not read")
        Slowly.blocked.set()
        for _ in range(8):
            assert ws.recv(timeout=SECONDS) == "taken"
        assert not run._endpoint.held


def test_bad_json_after_the_end_is_ignored(site: Callable[..., Gate]) -> None:
    class Closes(JsonWebsocketConsumer):
        def receive_json(self, content: Any, **kwargs: Any) -> None:
            self.close(4001)
            self.decode("{")

        def decode(self, text: str) -> None:
            self.receive(text)

    with site(Closes).connect("/ws/a") as ws:
        ws.send("1")
        assert closed(ws) == 4001


def test_plain_consumers_need_no_asyncio_loop(
    site: Callable[..., Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "asgiref.sync", raising=False)
    gate = site(Echo)
    with gate.connect("/ws/a") as ws:
        ws.send("x")
        assert ws.recv(timeout=SECONDS) == "x"
        assert gate.middleware._process.asyncio is None


def test_a_constructor_that_fails(site: Callable[..., Gate], caplog: Any) -> None:
    class Broken(WebsocketConsumer):
        def __init__(self) -> None:
            raise LookupError("no table")

    assert refused(site(Broken))[0] == 500
    assert "no table" in caplog.text


def test_a_consumer_has_one_channel(site: Callable[..., Gate], layer: InMemoryChannelLayer) -> None:
    class Named(WebsocketConsumer):
        def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            self.send(self.channel_name)

    with site(Named).connect("/ws/a") as ws:
        ws.send("x")
        ws.send("x")
        first = ws.recv(timeout=SECONDS)
        assert ws.recv(timeout=SECONDS) == first
        assert [*layer._own] == [first]
