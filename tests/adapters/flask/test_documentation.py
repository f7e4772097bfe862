"""The examples of docs/flask.md work: its files make a site, its Python runs."""

from __future__ import annotations

import re
import sys
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import flask
import pytest
from flask_sqlalchemy import SQLAlchemy

from wsredis.adapters.flask import conf, session_key

from ..support import SECONDS, environment, running

TEXT = (Path(__file__).parents[3] / "docs" / "flask.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|html|js)\n(.*?)```", TEXT, re.DOTALL)
FILES = {text.split()[1]: text for _, text in BLOCKS[:3]}


@pytest.mark.servers
def test_the_three_files_make_a_site(tmp_path: Path) -> None:
    assert list(FILES) == ["app.py", "templates/index.html", "static/news.js"]
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    environ = environment(tmp_path, tmp_path, WSREDIS_REDIS="memory://")
    command = [sys.executable, "-P", "-m", "flask", "run", "--debug", "-p", "{port}"]
    with running(command, tmp_path / "log", environ, tmp_path) as server:
        _, page = server.get("/")
        address = re.findall(r'data-news="ws://[^/]+(/[^"]+)"', unescape(page))[0]
        for source in re.findall(r'<script src="([^"]+)"', page):
            assert server.get(unescape(source))[0] == 200
        with server.open(address) as ws:
            form = HTTPConnection(server.host, timeout=SECONDS)
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            form.request("POST", "/say", "text=hello", kind)
            assert form.getresponse().status == 302
            form.close()
            assert ws.recv(timeout=SECONDS) == "hello"
        with server.open(address) as late:
            assert late.recv(timeout=SECONDS) == "hello"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what all Python of the page defines, one piece after the other."""
    monkeypatch.setenv("WSREDIS_REDIS", "memory://documentation")
    pieces = [text for language, text in BLOCKS if language == "python"]
    assert len(pieces) == 8
    names: dict[str, Any] = {
        "__name__": "app",
        "session": flask.session,
        "session_key": session_key,
    }
    for piece in pieces[:-1]:
        exec(piece, names)
    app = names["app"]
    del app.config["WSREDIS_ALLOWED_CHANNELS"]  # of a module that is not there
    del app.config["WSREDIS_REDIS"]
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    SQLAlchemy(app)
    with app.test_request_context():
        flask.session["username"] = "7"
        exec(pieces[-1], names)
    return names


def test_its_python_runs(names: dict[str, Any]) -> None:
    app = names["app"]
    assert app.extensions["wsredis"].options.asgi == "mysite.asgi.application"
    assert names["ws"]._routes == [("ws/chat/<slug:room>", names["Chat"])]
    with app.test_request_context():
        assert names["ws"].publisher("news", broadcast=True).publish("hello") == 0
    client = app.test_client()
    assert client.post("/leave").status_code == 302
    assert client.post("/lock/alice").status_code == 204


def test_its_callbacks_decide(names: dict[str, Any]) -> None:
    requested = ("subscribe-broadcast",)
    with names["app"].test_request_context("/ws/staff") as context:
        context.request.identity = flask.g  # only looked at for its groups
        flask.g.groups = ["staff"]
        assert names["allowed_channels"](context.request, requested) == requested
        flask.g.groups = []
        with pytest.raises(Exception, match="403"):
            names["allowed_channels"](context.request, requested)


def test_it_names_every_callback() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", TEXT, re.MULTILINE)) == {
        name.upper() for name in conf.CALLBACKS if name not in ("asgi", "routes")
    }
