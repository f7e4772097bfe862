"""docs/channels.md is correct: its files make a site, and clients see what its table says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from wsredis import WebSocketMiddleware
from wsredis.config import Config

from ..gate import Gate, page
from ..servers import hosted as hosted_module
from ..servers.support import BIN, SECONDS, Setup, Site, closed, eventually
from ..servers.test_hosting import UVICORN

PAGE = (Path(__file__).parents[2] / "docs" / "channels.md").read_text(encoding="utf-8")
BLOCKS = [dedent(text) for text in re.findall(r"^ *```python\n(.*?)```", PAGE, re.DOTALL | re.M)]
FILES = {text.split()[1]: text for text in BLOCKS if text.startswith("# ")}
(UWSGI,) = re.findall(r"^ {7}(uwsgi .*?)\n\n", PAGE, re.DOTALL | re.MULTILINE)

SETTINGS = """
SECRET_KEY = "not a secret, only for tests"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "chat.routing"
INSTALLED_APPS = [
    "wsredis.adapters.django",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "chat",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""

ROUTING = """
from channels.generic.websocket import AsyncWebsocketConsumer
from django.http import HttpResponse
from django.urls import path

class Chat(AsyncWebsocketConsumer):
    groups = ["chat"]

    async def receive(self, text_data):
        await self.channel_layer.group_send("chat", {"type": "chat.message", "text": text_data})

    async def chat_message(self, event):
        await self.send(event["text"] + " from " + (self.scope["user"].username or "anonymous"))

websocket_urlpatterns = [path("ws/chat/", Chat.as_asgi())]
urlpatterns = [path("", lambda request: HttpResponse("a page"))]
"""

LAYER = "wsredis.layers.RedisChannelLayer"
OTHERS = ("channels_redis.pubsub.RedisPubSubChannelLayer", "channels_redis.core.RedisChannelLayer")

SERVERS = {
    "uwsgi": (
        str(BIN / "uwsgi"),
        "--binary-path",
        sys.executable,
        *shlex.split(UWSGI.replace("\\\n", ""))[1:],
    ),
    "runserver": (
        *(sys.executable, "-m", "django", "runserver", "--noreload"),
        *("--settings", "mysite.settings", "{host}:{port}"),
    ),
}


def other_layer(layer: str, url: str) -> dict[str, Any]:
    return {"BACKEND": layer, "CONFIG": {"hosts": [url]}}


@pytest.mark.servers
@pytest.mark.parametrize(
    ("server", "layer"),
    [("uwsgi", LAYER), *(("uwsgi", each) for each in OTHERS), ("runserver", LAYER)],
)
def test_the_files_make_a_site(server: str, layer: str, redis_server: Any, tmp_path: Path) -> None:
    assert list(FILES) == ["mysite/asgi.py", "mysite/settings.py", "mysite/wsgi.py"]
    url = redis_server.url
    settings = FILES["mysite/settings.py"].replace("redis://127.0.0.1:6379/0", url)
    assert url in settings
    if layer != LAYER:
        settings += f"CHANNEL_LAYERS['default'] = {other_layer(layer, url)!r}\n"
    files = {
        **FILES,
        "mysite/settings.py": SETTINGS + settings,
        "chat/routing.py": ROUTING,
        "mysite/__init__.py": "",
        "chat/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [word.replace(":8000", "{host}:{port}") for word in SERVERS[server]]
    site = Site(Setup(f"{server}-docs", tuple(command)), tmp_path, url)
    site._environ["PYTHONPATH"] = str(tmp_path)
    migrate = [
        sys.executable,
        "-m",
        "django",
        "migrate",
        "--settings",
        "mysite.settings",
        "-v",
        "0",
    ]
    subprocess.run(migrate, cwd=tmp_path, env=site._environ, check=True)
    site.start()
    try:
        assert site.get("/")[1] == "a page"
        headers = {"Origin": f"http://127.0.0.1:{site.port}"}
        url = f"ws://127.0.0.1:{site.port}/ws/chat/"
        with (
            connect(url, additional_headers=headers, proxy=None) as alice,
            connect(url, additional_headers=headers, proxy=None) as bob,
        ):
            alice.send("hello")
            for ws in (alice, bob):
                assert ws.recv(timeout=SECONDS) == "hello from anonymous"
    finally:
        site.stop()


def test_the_other_blocks_are_valid() -> None:
    names: dict[str, Any] = {"WebSocketMiddleware": WebSocketMiddleware, "application": page}
    for block in BLOCKS:
        if not block.startswith("# "):
            exec(block, names)
    assert names["WSREDIS"] == {"asgi": "mysite.asgi.application"}
    names["application"].close()


def test_the_defaults_are_the_real_ones() -> None:
    named = dict(re.findall(r"`(\w+_threads|\w+_timeout)`\s\((\d+)", PAGE))
    assert named == {
        name: f"{getattr(Config(), name):g}"
        for name in ("handler_threads", "handshake_timeout", "shutdown_timeout")
    }


ROWS = {
    "closes before it accepts": "denies",
    "sends `websocket.http.response` before it accepts": "responds",
    "raises an exception before it accepts": "raises",
    "sends a message before it accepts": "sends_early",
    "returns before it accepts or closes": "returns",
    "neither accepts nor closes": "silent",
    "accepts with a subprotocol that the client does not offer": "not_offered",
    "closes with a code and a reason": "closes",
    "raises an exception after it has accepted": "raises_later",
    "returns after it has accepted": "returns_later",
    "sends after the client has gone": "sends_after_the_client",
    "is stopped with the server": "",  # of what is stopped: tests/servers/test_hosting.py
}
"""The rows of the table, and the application in ``hosted.py`` that does so."""

TABLE = {
    title.partition(",")[0]: (there, here)
    for title, there, here in re.findall(
        r"^\| (.+?) \| (.+?) \| (.+?) \|$", PAGE.partition("## What the client sees")[2], re.M
    )[1:]
}


def test_each_row_of_the_table_is_known() -> None:
    assert set(ROWS) <= set(TABLE)


@pytest.fixture(scope="module")
def sites(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    uvicorn = Site(UVICORN, tmp_path_factory.mktemp("site"), redis_server.url, app="hosted.py")
    uvicorn.start()
    gate = Gate("threads", page, asgi=hosted_module.hosted, handshake_timeout=2)
    try:
        yield uvicorn, gate
    finally:
        gate.stop()
        uvicorn.stop()


def outcome(site: Any, name: str) -> str:
    """Return what the client sees of an application, or the application of the client."""
    word = f"docs-{name}"
    try:
        with site.connect(
            f"/ws/{name}/{word}" if isinstance(site, Gate) else f"{name}/{word}"
        ) as ws:
            if name == "sends_after_the_client":
                ws.close()
                return f"`{seen(site, word)[-2]}` in the application"
            if name.endswith("later"):
                ws.send("now")
            return str(closed(ws) or 1006)
    except InvalidStatus as error:
        if error.response.body == b'{"pay": true}':
            return "this response"
        return str(error.response.status_code)


def seen(site: Any, word: str) -> list[Any]:
    def look() -> list[Any]:
        if isinstance(site, Gate):
            found: list[Any] = hosted_module.seen.get(word, [])
        else:
            found = json.loads(site.get(f"/seen/{word}")[1])
        return found if "end" in found else []

    return eventually(look, "the application has returned")


@pytest.mark.servers
@pytest.mark.parametrize("title", [title for title, name in ROWS.items() if name])
def test_a_row_of_the_table(sites: Any, title: str) -> None:
    uvicorn, gate = sites
    there, here = TABLE[title]
    assert here.startswith(outcome(gate, ROWS[title]))
    if there != "no answer" and ROWS[title] != "not_offered":
        assert there.startswith(outcome(uvicorn, ROWS[title]))
