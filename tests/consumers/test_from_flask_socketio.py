"""docs/from-flask-socketio.md is correct: its application and its script do what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import playwright
import pytest

from ..servers.support import SECONDS, Setup, Site, closed
from ..test_js_client import STATIC

pytestmark = pytest.mark.servers

PAGE = (Path(__file__).parents[2] / "docs" / "from-flask-socketio.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:python|js)\n(.*?)```", PAGE, re.DOTALL)
FILES = {text.split()[1]: text for text in BLOCKS}

NODE = """
const { WSRedis } = await import(%s);
const at = (path) => new WSRedis(%s + path);
const page = () => new Function(%s)(at);
const [alice, bob] = [page(), page()];
bob.handlers.said = () => {};
const said = new Promise((resolve) => { alice.handlers.said = resolve; });
const entered = new Promise((resolve) => { alice.handlers.entered = resolve; });
console.log(JSON.stringify(await alice.emit("enter", { room: "tea", name: "alice" })));
await bob.emit("enter", { room: "tea", name: "bob" });
await bob.emit("say", { room: "tea", text: "hello" });
console.log(JSON.stringify([await entered, await said]));
for (const { ws } of [alice, bob]) ws.close();
"""


@pytest.fixture(scope="module")
def site(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert list(FILES) == ["events.py", "before.py", "app.py", "static/events.js"]
    folder = tmp_path_factory.mktemp("site")
    for name in ("events.py", "app.py"):
        (folder / name).write_text(FILES[name], encoding="utf-8")
    command = (sys.executable, "-m", "flask", "run", "--port", "{port}")
    site = Site(Setup("flask-events", command), folder, redis_server.url)
    site._environ["PYTHONPATH"] = str(folder)
    site.start()
    try:
        yield site
    finally:
        site.stop()


def received(ws: Any) -> Any:
    return json.loads(ws.recv(timeout=SECONDS))


def test_events_rooms_and_acknowledgements(site: Site) -> None:
    with ExitStack() as stack:
        alice, bob = (stack.enter_context(site.connect("chat")) for _ in range(2))
        alice.send(json.dumps(["enter", {"room": "r", "name": "alice"}, 1]))
        assert received(alice) == ["ack", {"ok": True}, 1]
        bob.send(json.dumps(["enter", {"room": "r", "name": "bob"}, 7]))
        assert received(alice) == ["entered", "bob"]
        assert received(bob) == ["ack", {"ok": True}, 7]
        bob.send(json.dumps(["say", {"room": "r", "text": "hello"}]))
        assert [received(alice), received(bob)] == [["said", "hello"]] * 2
        assert site.request("POST", "/announce/r").status == 204
        assert [received(alice), received(bob)] == [["said", "an announcement"]] * 2


@pytest.mark.parametrize("message", [["leave", {}], ["say"], 7, {"type": "room.event"}])
def test_other_messages_close_the_websocket(site: Site, message: Any) -> None:
    with site.connect("chat") as ws:
        ws.send(json.dumps(message))
        assert closed(ws) == 1011


def test_the_script(site: Site) -> None:
    source = FILES["static/events.js"].replace("new WSRedis(", "arguments[0](")
    assert source != FILES["static/events.js"]
    words = (
        (STATIC / "wsredis.esm.js").as_uri(),
        f"ws://127.0.0.1:{site.port}",
        f"{source}\nreturn {{ ws, emit, handlers }};",
    )
    node = Path(playwright.__file__).parent / "driver" / "node"
    ran = subprocess.run(
        [node, "--input-type=module"],
        input=NODE % tuple(map(json.dumps, words)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [
        {"ok": True},
        ["bob", "hello"],
    ]
