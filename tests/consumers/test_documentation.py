"""docs/consumers.md is correct: its files make sites, its names and its table are the real ones."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from wsredis import WebSocketMiddleware, consumers
from wsredis.config import Config, sources
from wsredis.consumers import (
    AsyncJsonWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from wsredis.consumers.routing import router
from wsredis.embedded import free_port
from wsredis.layers import InMemoryChannelLayer, RedisChannelLayer, configure_layers

from ..gate import Gate, page
from ..servers.consuming import Acts
from ..servers.support import BIN, SECONDS, Setup, Site, closed

PAGE = (Path(__file__).parents[2] / "docs" / "consumers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|html|js)\n(.*?)```", PAGE, re.DOTALL)
FILES = {
    name[1]: text
    for _, text in BLOCKS
    if (name := re.match(r"(?:#|//|<!--) ([\w/]+\.\w+)", text)) is not None
}
OTHERS = [text for kind, text in BLOCKS if kind == "python" and not text.startswith("# ")]
FROM_A_SHELL, PLAIN, SHARED, ROUTES = OTHERS
COMMANDS = re.findall(r"^ {4}(\S(?:.*\\\n)*.*)", PAGE, re.MULTILINE)

LOGIN = """
from django.contrib.auth import get_user_model, login
from django.http import HttpResponse

def enter(request):
    login(request, get_user_model().objects.get_or_create(username="alice")[0])
    return HttpResponse()
"""


def commands(*words: str) -> list[str]:
    """Return the first command of the page that begins with some words."""
    text = next(each for each in COMMANDS if each.startswith(" ".join(words)))
    found = shlex.split(text.replace("\\\n", ""))
    return [sys.executable, *found[1:]] if found[0] == "python" else found


UWSGI = commands("uwsgi")[1:]
SERVERS = {
    "runserver": (*commands("python", "manage.py", "runserver"), "--noreload", "{host}:{port}"),
    "uwsgi": (
        *(str(BIN / "uwsgi"), "--binary-path", sys.executable),
        *(word.replace(":8000", "{host}:{port}") for word in UWSGI[:-2]),
    ),
    "uvicorn": (sys.executable, "-m", "uvicorn", "--port", "{port}", "mysite.asgi:application"),
    "flask": (sys.executable, "-m", "flask", "run", "--port", "{port}"),
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("settings.py"):
            text = path.read_text(encoding="utf-8") + text
        path.write_text(text, encoding="utf-8")


def started(name: str, folder: Path, url: str) -> Site:
    site = Site(Setup(f"{name}-consumers", SERVERS[name]), folder, url)
    site._environ["PYTHONPATH"] = str(folder)
    return site


def run(site: Site, folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, env=site._environ, check=True, timeout=SECONDS)


def opened(site: Site, cookie: str = "") -> Any:
    headers = {"Origin": f"http://127.0.0.1:{site.port}", "Cookie": cookie}
    url = f"ws://127.0.0.1:{site.port}/ws/chat/lobby/"
    return connect(url, additional_headers=headers, proxy=None, open_timeout=SECONDS)


def assert_chat(site: Site) -> None:
    with ExitStack() as stack:
        alice, bob = (stack.enter_context(opened(site)) for _ in range(2))
        alice.send(json.dumps({"text": "hello"}))
        for ws in (alice, bob):
            assert json.loads(ws.recv(timeout=SECONDS)) == {"from": "guest", "text": "hello"}


@pytest.mark.servers
@pytest.mark.parametrize("server", ["runserver", "uwsgi", "uvicorn"])
def test_a_chat_in_django_from_nothing(server: str, redis_server: Any, tmp_path: Path) -> None:
    site = started(server, tmp_path / "mysite", redis_server.url)
    admin = commands("django-admin")
    run(site, tmp_path, str(BIN / admin[0]), *admin[1:])
    folder = tmp_path / "mysite"
    run(site, folder, *commands("python", "manage.py", "startapp"))
    assert (folder / "mysite/wsgi.py").exists()
    assert (folder / "chat/views.py").exists()
    written = {name: text for name, text in FILES.items() if name.startswith(("mysite", "chat"))}
    assert len(written) == 9
    write(folder, written)
    with open(folder / "chat/views.py", "a", encoding="utf-8") as file:
        file.write(LOGIN)
    with open(folder / "mysite/urls.py", "a", encoding="utf-8") as file:
        file.write('urlpatterns += [path("enter/", views.enter)]')
    run(site, folder, *commands("python", "manage.py", "migrate"))
    site._environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    run(site, folder, sys.executable, "-m", "django", "check", "--fail-level", "WARNING")
    site.start()
    try:
        found = site.request("GET", "/chat/lobby/")
        assert 'data-room="lobby"' in found.text
        assert "wsredis/wsredis.js" in found.text
        assert "chat/room.js" in found.text
        assert_chat(site)
        answer = site.request("GET", "/enter/")
        cookies = answer.headers.get_all("Set-Cookie")
        cookie = "; ".join(each.partition(";")[0] for each in cookies)
        with opened(site, cookie) as ws:
            ws.send(json.dumps({"text": "it is me"}))
            assert json.loads(ws.recv(timeout=SECONDS))["from"] == "alice"
            run(site, folder, sys.executable, "manage.py", "shell", "-c", FROM_A_SHELL)
            assert json.loads(ws.recv(timeout=SECONDS)) == {"from": "server", "text": "hello"}
    finally:
        site.stop()


@pytest.mark.servers
def test_a_chat_in_flask(redis_server: Any, tmp_path: Path) -> None:
    written = {name: FILES[name] for name in ("app.py", "templates/room.html")}
    write(tmp_path, {**written, "static/room.js": FILES["chat/static/chat/room.js"]})
    site = started("flask", tmp_path, redis_server.url)
    site.start()
    try:
        text = site.request("GET", "/chat/lobby/").text
        assert 'data-room="lobby"' in text
        for source in re.findall(r'<script src="([^"]+)"', text):
            assert site.get(source)[0] == 200
        assert_chat(site)
    finally:
        site.stop()


@pytest.fixture
def layer() -> Iterator[InMemoryChannelLayer]:
    layer = InMemoryChannelLayer()
    configure_layers({"default": layer})
    yield layer
    configure_layers(None)


def test_the_other_blocks(layer: InMemoryChannelLayer) -> None:
    names: dict[str, Any] = {
        "WebSocketMiddleware": WebSocketMiddleware,
        "ChatConsumer": JsonWebsocketConsumer,
        "application": page,
    }
    exec(PLAIN, names)
    names["application"].close()
    exec(SHARED, names)
    exec(ROUTES, names)
    found = router(names["routes"])
    for path, kwargs in (
        ("ws/chat/lobby/", {"room": "lobby"}),
        ("live/5", {"number": 5, "room": "live"}),
        ("ws/shop/prices/", {}),
    ):
        match = found.match(path)
        assert match is not None
        assert match.kwargs == kwargs
    gate = Gate("threads", page, routes=names["routes"])
    try:
        with gate.connect("/ws/shop/prices/") as ws:
            layer.group_send("prices", {"type": "price.changed", "price": 5})
            assert ws.recv(timeout=SECONDS) == "5"
    finally:
        gate.stop()


def public(kind: type) -> dict[str, Any]:
    """Return the public members of a class of consumers, also the annotated ones."""
    found = {}
    for each in kind.__mro__[:-1]:
        for name in (*vars(each), *vars(each).get("__annotations__", ())):
            if not name.startswith("_"):
                found[name] = getattr(kind, name, None)
    return found


@pytest.mark.parametrize("kind", [JsonWebsocketConsumer, AsyncJsonWebsocketConsumer])
def test_every_member_is_documented_with_its_arguments(kind: type) -> None:
    reference = PAGE.partition("## Scope")[0]
    rare = reference.partition("Less common ones")[2]
    documented = dict(
        [
            *re.findall(r"`(\w+)\(([\w*]*)\)`", rare),
            *re.findall(r"^\| `(\w+)\((.*?)\)` \|", reference, re.MULTILINE),
        ]
    )
    members = public(kind)
    assert members.pop("handlers")  # of the implementation
    for name, member in members.items():
        if name in documented and callable(member):
            signature = inspect.signature(member).parameters.values()
            real = [str(each.replace(annotation=each.empty)) for each in signature]
            unnamed = {"self"} if name != "receive" else {"self", "**kwargs"}  # for subclasses
            real = [each for each in real if each not in unnamed]
            assert documented[name] == ", ".join(real).replace(" = ", "="), name
        else:
            assert not callable(member)
            assert re.search(rf"^\| `{name}` \|", reference, re.MULTILINE), name


def test_every_class_is_documented() -> None:
    for name in consumers.__all__:
        assert name in PAGE


def test_the_defaults_are_the_real_ones() -> None:
    named = dict(re.findall(r"`(\w+_threads|\w+_timeout|capacity)`\s\((\d+)", PAGE))
    assert named.pop("capacity") == str(InMemoryChannelLayer().capacity)
    assert named == {
        name: f"{getattr(Config(), name):g}"
        for name in ("handler_threads", "handshake_timeout", "shutdown_timeout")
    }


class Documented(Acts):
    """Does what the rows of the table need, beside what `Acts` does."""

    def act(self, word: str) -> None:
        match word:
            case "unknown":
                self.dispatch({"type": "no.such.event"})
            case "early" if self.is_accepted:
                self.accept()
            case "offered":
                self.accept("chat")
            case "plain_close":
                self.close()
            case _:
                super().act(word)

    is_accepted = False

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.is_accepted = True
        super().receive_json(content, **kwargs)


ROWS = {
    "`close()`, `DenyConnection`": "plain_close",
    '`close(4001, "bye")`': "close",
    "an exception in a method": "raise",
    "`StopConsumer`": "stop",
    "an event for which there is no method": "unknown",
    "`send()` before `accept()`, or `accept()` again": "early",
    "a subprotocol that the client does not offer": "offered",
    "neither `accept()` nor `close()`": "silent",
}
"""The rows of the table, and the word for it; of the others: `ELSEWHERE`, and the next tests."""

UNAVAILABLE = "Redis does not answer (`BrokerUnavailable`)"

ELSEWHERE = {
    "events may be lost",  # tests/consumers/test_run.py
    "the server stops",  # tests/servers/test_consumers.py
}

NOT_JSON = {
    "a binary message to a JSON consumer": b"{}",
    "a message that is not JSON to a JSON consumer": "{",
}

TABLE = {
    title: (before, after)
    for title, before, after in re.findall(
        r"^\| (.+?) \| (.*?) ?\| (.*?) ?\|$", PAGE.partition("## Errors")[2], re.MULTILINE
    )[1:]
}


def test_each_row_of_the_table_is_known() -> None:
    assert set(TABLE) - {"---"} == {*ROWS, *NOT_JSON, *ELSEWHERE, UNAVAILABLE}


@pytest.fixture(scope="module", params=["threads", "greenlets"])
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    configure_layers({"default": InMemoryChannelLayer()})
    patched = pytest.MonkeyPatch()
    patched.setattr(
        "wsredis.consumers.host.is_module_patched", lambda name: request.param == "greenlets"
    )
    gate = Gate(request.param, page, routes=[("ws/<str:word>", Documented)], handshake_timeout=0.5)
    yield gate
    gate.stop()
    patched.undo()
    configure_layers(None)


@pytest.mark.parametrize("title", ROWS)
def test_a_row_before_it_is_accepted(gate: Gate, title: str) -> None:
    with pytest.raises(InvalidStatus) as info, gate.connect(f"/ws/{ROWS[title]}"):
        pass
    assert str(info.value.response.status_code) == TABLE[title][0]


@pytest.mark.parametrize("title", [title for title in ROWS if TABLE[title][1]])
def test_a_row_after_it_was_accepted(gate: Gate, title: str) -> None:
    with gate.connect("/ws/ok") as ws:
        ws.send(json.dumps(ROWS[title]))
        assert str(closed(ws)) == TABLE[title][1]


@pytest.mark.parametrize("title", NOT_JSON)
def test_a_message_that_is_not_json(gate: Gate, title: str) -> None:
    with gate.connect("/ws/ok") as ws:
        ws.send(NOT_JSON[title])
        code, word = TABLE[title][1].split()
        assert str(closed(ws)) == code
        assert f"`{(ws.close_reason or '').split()[0]}`" == word


class Asks(WebsocketConsumer):
    """Uses its layer where the path or a message says so."""

    def connect(self) -> None:
        if self.scope["path"] == "/ws/early":
            self.group_send("all", {"type": "event"})
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.group_send("all", {"type": "event"})


def test_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    unused = f"redis://127.0.0.1:{free_port()}"
    monkeypatch.setattr(sources, "_current", Config(redis=unused))
    configure_layers({"default": RedisChannelLayer()})
    gate = Gate("threads", page, routes=[("ws/<str:word>", Asks)])
    try:
        with pytest.raises(InvalidStatus) as info, gate.connect("/ws/early"):
            pass
        assert str(info.value.response.status_code) == TABLE[UNAVAILABLE][0]
        with gate.connect("/ws/later") as ws:
            ws.send("now")
            code = str(closed(ws))
            word = (ws.close_reason or "").split()[0]
        assert f"{code} `{word}`" == TABLE[UNAVAILABLE][1]
    finally:
        gate.stop()
        configure_layers(None)
