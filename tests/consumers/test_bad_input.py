"""What handlers, events and layers do wrong: what the client gets, and what the log says.

Each row runs with plain and with async consumers, in threads and in greenlets.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from websockets.exceptions import InvalidStatus

from wsredis.asgi import loop as loop_module
from wsredis.config import sources
from wsredis.consumers import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
    shared,
)
from wsredis.consumers import host as host_module
from wsredis.consumers.routing import URLRouter
from wsredis.exceptions import BrokerUnavailable
from wsredis.layers import RedisChannelLayer, configure_layers, get_channel_layer, registry

from ..gate import Gate, page, status
from ..servers.support import SECONDS, closed, eventually

SECRET = "a secret"


class Act:
    """What handlers do; a call of the consumer is awaited if its methods are coroutines."""

    @staticmethod
    async def nothing(do: Any) -> None:
        await do("send")

    @staticmethod
    async def number(do: Any) -> None:
        await do("send", 5)

    @staticmethod
    async def dictionary(do: Any) -> None:
        await do("send", {"key": "value"})

    @staticmethod
    async def text_as_bytes(do: Any) -> None:
        await do("send", bytes_data="text")

    @staticmethod
    async def surrogate(do: Any) -> None:
        await do("send", "ab\ud800")

    @staticmethod
    async def after_close(do: Any) -> None:
        await do("close", 4001)
        await do("send", "late")

    @staticmethod
    async def close_twice(do: Any) -> None:
        await do("close", 4001)
        await do("close", 4002)

    @staticmethod
    async def accept_again(do: Any) -> None:
        await do("accept")

    @staticmethod
    async def close_code(do: Any) -> None:
        await do("close", 1005)

    @staticmethod
    async def close_type(do: Any) -> None:
        await do("close", [1000])

    @staticmethod
    async def accept_headers(do: Any) -> None:
        await do("accept", headers=[("X-Name", "value")])

    @staticmethod
    async def close_reason(do: Any) -> None:
        await do("close", 4000, 5)

    @staticmethod
    async def close_surrogate(do: Any) -> None:
        await do("close", 4000, "\udfff")

    @staticmethod
    async def group_name(do: Any) -> None:
        await do("group_add", "a b")

    @staticmethod
    async def group_type(do: Any) -> None:
        await do("group_add", 5)

    @staticmethod
    async def group_length(do: Any) -> None:
        await do("group_add", "x" * 100)

    @staticmethod
    async def group_discard(do: Any) -> None:
        await do("group_discard", "é")

    @staticmethod
    async def sent_to(do: Any) -> None:
        await do("group_send", "a!b", {"type": "said"})

    @staticmethod
    async def no_dict(do: Any) -> None:
        await do("group_send", "all", "said")

    @staticmethod
    async def no_type(do: Any) -> None:
        await do("group_send", "all", {"text": "x"})

    @staticmethod
    async def private(do: Any) -> None:
        await do("group_send", "all", {"type": "_send"})

    @staticmethod
    async def unserialisable(do: Any) -> None:
        await do("group_send", "all", {"type": "said", "value": object()})

    @staticmethod
    async def event_surrogate(do: Any) -> None:
        await do("group_send", "all", {"type": "said", "text": "\ud800"})

    @staticmethod
    async def oversized(do: Any) -> None:
        await do("group_send", "all", {"type": "said", "text": "x" * (2 << 20)})

    @staticmethod
    async def groups(do: Any) -> None:
        for number in range(10_000):
            await do("group_add", str(number))

    @staticmethod
    async def raises(do: Any) -> None:
        raise LookupError(SECRET)

    @staticmethod
    async def exits(do: Any) -> None:
        raise SystemExit(SECRET)

    @staticmethod
    async def recursion(do: Any) -> None:
        await Act.recursion(do)

    @staticmethod
    async def unavailable(do: Any) -> None:
        raise BrokerUnavailable("Redis at HOST:PORT: refused")


class Plain(WebsocketConsumer):
    groups = ("all",)
    ends: list[int]

    def connect(self) -> None:
        self.act(self.scope["url_route"]["kwargs"]["word"])
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.act(text_data or "")

    def act(self, word: str) -> None:
        async def do(name: str, *args: Any, **kwargs: Any) -> None:
            getattr(self, name)(*args, **kwargs)

        if word != "ok":
            with pytest.raises(StopIteration):  # nothing of it waits
                getattr(Act, word)(do).send(None)

    def said(self, event: Any) -> None:
        self.send(event["text"])

    def disconnect(self, code: int) -> None:
        self.ends.append(code)


class Async(AsyncWebsocketConsumer):
    groups = ("all",)
    ends: list[int]

    async def connect(self) -> None:
        await self.act(self.scope["url_route"]["kwargs"]["word"])
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.act(text_data or "")

    async def act(self, word: str) -> None:
        async def do(name: str, *args: Any, **kwargs: Any) -> None:
            await getattr(self, name)(*args, **kwargs)

        if word != "ok":
            await getattr(Act, word)(do)

    async def said(self, event: Any) -> None:
        await self.send(event["text"])

    async def disconnect(self, code: int) -> None:
        self.ends.append(code)


CLASSES: dict[str, Any] = {"plain": Plain, "async": Async}


@pytest.fixture(scope="module", params=["thread", "greenlet"])
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """Run consumers in threads, or as in a patched process."""
    is_patched = request.param == "greenlet"
    with pytest.MonkeyPatch.context() as patch:
        for module in (host_module, loop_module):
            patch.setattr(module, "is_module_patched", lambda name: is_patched)
        configure_layers(None)
        patch.setattr(registry, "_source", None)  # that of a Django site in this process
        routes = [(f"ws/{name}/<str:word>", each) for name, each in CLASSES.items()]
        gate = Gate("greenlets" if is_patched else "threads", page, routes=routes)
        patch.setattr(sources, "_current", gate.config)
        yield gate
        gate.stop()
        configure_layers(None)


@pytest.fixture(params=CLASSES)
def name(request: pytest.FixtureRequest) -> str:
    CLASSES[request.param].ends = []
    return str(request.param)


def refused(gate: Gate, path: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as info, gate.connect(path):
        pass
    return status(info)


CLOSED = "is closed: send nothing more"
NAMES = "write a str of less than 100 ASCII letters, digits, hyphens, underscores and periods"
ANYTIME = [
    ("number", "text_data must be a str, not int: encode it, for example with send_json"),
    ("dictionary", "text_data must be a str, not dict: encode it, for example with send_json"),
    ("text_as_bytes", "bytes_data must be bytes, not str: send a str as text_data"),
    ("nothing", "send needs a message: pass text_data or bytes_data"),
    ("group_name", f"'a b' is not a valid group name: {NAMES}"),
    ("group_type", f"5 is not a valid group name: {NAMES}"),
    ("group_length", f"xx' is not a valid group name: {NAMES}"),
    ("group_discard", f"'é' is not a valid group name: {NAMES}"),
    ("sent_to", f"'a!b' is not a valid group name: {NAMES}"),
    ("no_dict", "an event must be a dict, not str"),
    ("no_type", "an event needs a type, such as 'chat.message'; this one has the keys ['text']"),
    ("private", "the type '_send' is empty, or begins with an underscore or a period"),
    ("unserialisable", "this message cannot be sent: a message consists of dicts with str keys"),
    ("event_surrogate", "this message cannot be sent: a message consists of dicts with str keys"),
    ("oversized", "bytes is too large: shorten it to 2097152 bytes, or send where to find it"),
    ("groups", "cannot be a member of more than 1000 groups (option max_handshake_channels)"),
    ("raises", SECRET),
    ("exits", SECRET),
    ("recursion", "RecursionError"),
]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        *ANYTIME,
        ("surrogate", "'websocket.send' cannot be sent while the websocket is connecting: send"),
        (
            "accept_headers",
            "The headers of websocket.accept are not valid: write pairs of bytes",
        ),
        ("close_twice", f"'websocket.close' cannot be sent while the websocket {CLOSED}"),
        ("after_close", f"'websocket.send' cannot be sent while the websocket {CLOSED}"),
    ],
)
def test_before_the_websocket_is_open(
    gate: Gate, name: str, word: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    code, text = refused(gate, f"/ws/{name}/{word}")
    assert code == (403 if "close" in word else 500)
    assert SECRET not in text
    eventually(lambda: says in caplog.text, "it is logged")


@pytest.mark.parametrize(
    ("word", "code", "says"),
    [
        *((word, 1011, says) for word, says in ANYTIME),
        ("surrogate", 1011, "the text has a lone surrogate, '\\ud800' at index 2, which UTF-8"),
        ("accept_again", 1011, "'websocket.accept' cannot be sent while the websocket is open"),
        ("close_twice", 4001, f"'websocket.close' cannot be sent while the websocket {CLOSED}"),
        ("after_close", 4001, f"'websocket.send' cannot be sent while the websocket {CLOSED}"),
        ("close_code", 1011, "1005 is not a close code that a server may send: use 1000 to 1003"),
        ("close_type", 1011, "[1000] is not a close code that a server may send: use 1000 to 1003"),
        ("close_reason", 1011, "The reason of websocket.close is not a str"),
        ("close_surrogate", 1011, "the reason has a lone surrogate, '\\udfff' at index 0"),
    ],
)
def test_while_it_is_open(
    gate: Gate, name: str, word: str, code: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with gate.connect(f"/ws/{name}/ok") as ws, gate.connect(f"/ws/{name}/ok") as other:
        ws.send(word)
        assert closed(ws) == code
        eventually(lambda: says in caplog.text, "it is logged")
        get_channel_layer().group_send("all", {"type": "said", "text": "to the others"})
        assert other.recv(timeout=SECONDS) == "to the others"
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1


def test_a_layer_that_is_unavailable(
    gate: Gate, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    code, text = refused(gate, f"/ws/{name}/unavailable")
    assert (code, text.strip()) == (
        503,
        "This websocket cannot be opened at the moment; try again.",
    )
    with gate.connect(f"/ws/{name}/ok") as ws:
        ws.send("unavailable")
        assert closed(ws) == 1013
        assert (ws.close_reason or "").startswith("not-published")
    assert "cannot use its channel layer: Redis at HOST:PORT: refused" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_layer_that_is_unavailable_before_any_handler(
    gate: Gate, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> Any:
        raise BrokerUnavailable("Redis at HOST:PORT: refused")

    for method in ("new_channel", "join"):
        monkeypatch.setattr(RedisChannelLayer, method, fails)
    assert refused(gate, f"/ws/{name}/ok")[0] == 503


EVENTS = [
    (
        {"type": "old.news"},
        "has no handler for events of type 'old.news': write the method old_news",
    ),
    ({"type": "ends"}, "has no handler for events of type 'ends'"),
    ({"text": "x"}, "an event needs a type, such as 'chat.message'"),
    ({"type": 5}, "the type of an event must be a str, not 5"),
    ({"type": "_x"}, "the type '_x' is empty, or begins with an underscore or a period"),
]


@pytest.mark.parametrize(("event", "says"), EVENTS)
def test_events_without_a_handler(
    gate: Gate, name: str, event: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with gate.connect(f"/ws/{name}/ok") as ws:
        get_channel_layer().group_send("all", event)
        assert closed(ws) == 1011
    assert says in caplog.text
    if "no handler" in says:
        assert "It has: act, said, websocket_receive." in caplog.text


def test_an_event_without_a_handler_is_logged_once_for_all_members(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    Plain.ends = []
    with ExitStack() as stack:
        clients = [stack.enter_context(gate.connect("/ws/plain/ok")) for _ in range(5)]
        get_channel_layer().group_send("all", {"type": "x" * 100_000})
        assert [closed(ws) for ws in clients] == [1011] * 5
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.exc_info is not None
    assert len(str(record.exc_info[1])) < 1000


def test_events_that_could_command_a_websocket_are_logged_once(
    gate: Gate, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with gate.connect(f"/ws/{name}/ok") as ws:
        for kind in ("close", "send", "accept", "websocket.disconnect", "group.add", "ends") * 3:
            if kind != "ends":
                get_channel_layer().group_send("all", {"type": kind, "code": 4000})
        get_channel_layer().group_send("all", {"type": "said", "text": "still here"})
        assert ws.recv(timeout=SECONDS) == "still here"
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "an event of type 'close' was sent to a group or channel of" in record.getMessage()


class Busy(WebsocketConsumer):
    """Is busy with the first message until `free` is set; the second one closes."""

    groups = ("busy",)
    free: threading.Event
    got: list[Any]

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.got.append(text_data)
        if text_data == "close":
            self.close(4001)
            return
        self.send("busy")
        while not self.free.wait(0.01):
            gevent.sleep(0.01)

    def said(self, event: Any) -> None:
        self.got.append(event)

    def disconnect(self, code: int) -> None:
        self.got.append(code)

    @shared
    @staticmethod
    def price(event: Any) -> Any:
        return event["price"]


@pytest.fixture
def busy(gate: Gate) -> Iterator[Any]:
    """Give a websocket whose consumer is busy."""
    Busy.free, Busy.got = threading.Event(), []
    gate.middleware._destinations._routes._router.routes += URLRouter([("busy", Busy)]).routes
    with gate.connect("/busy") as ws:
        ws.send("x")
        assert ws.recv(timeout=SECONDS) == "busy"
        yield ws
        Busy.free.set()


def test_after_its_close_only_the_end_is_handled(busy: Any) -> None:
    """What the client and others sent before they knew cannot make the consumer fail."""
    for word in ("close", "late", "too late"):
        busy.send(word)
    busy.ping().wait(SECONDS)  # they have arrived
    get_channel_layer().group_send("busy", {"type": "said", "text": "late"})
    Busy.free.set()
    assert closed(busy) == 4001
    eventually(lambda: len(Busy.got) >= 3, "it has handled its end")
    assert Busy.got == ["x", "close", 4001]


def test_results_of_shared_handlers_that_wait_are_bounded(busy: Any) -> None:
    layer = get_channel_layer()
    layer.dropped = 0
    for number in range(layer.capacity + 5):
        layer.group_send("busy", {"type": "price", "price": str(number)})
    eventually(lambda: layer.dropped == 5, "the others were dropped")
    Busy.free.set()
    got = [busy.recv(timeout=SECONDS) for _ in range(layer.capacity)]
    assert got == [str(number) for number in range(layer.capacity)]


@pytest.mark.parametrize(
    ("price", "says"),
    [
        (5, "a shared handler returns text or bytes, not int"),
        (None, "a shared handler returns text or bytes, not NoneType"),
    ],
)
def test_a_shared_handler_that_fails_closes_also_a_websocket_whose_consumer_is_busy(
    busy: Any, price: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    get_channel_layer().group_send("busy", {"type": "price", "price": price})
    assert closed(busy) == 1011
    assert says in caplog.text
