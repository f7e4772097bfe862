"""A client under test: ``python -P clients.py NAME ADDRESS``, with a name of `CLIENTS`.

Each asks the fuzzing server for its cases and echoes in all of them. Node and Chromium run
`drive.mjs` with the browser client, or for comparison with their own ``WebSocket`` alone.
`websockets` is the library with which our own tests connect.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent


def static() -> Path:
    """Return the folder of the browser client."""
    import wsredis

    return Path(wsredis.__file__).parent / "static" / "wsredis"


def node_program() -> str:
    """Return the Node that is part of Playwright."""
    import playwright

    return str(Path(playwright.__file__).parent / "driver" / "node")


def chromium_program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


def versions() -> dict[str, str]:
    """Return the name and the version of each client that this machine has, by its short name."""
    library = f"websockets {version('websockets')}"
    known = {"node": "Node " + _said(node_program()).lstrip("v"), "websockets": library}
    if program := chromium_program():
        known["chromium"] = " ".join(_said(program).split()[:2])
    return {name: known[kind] for name in CLIENTS if (kind := name.partition("-")[0]) in known}


def _said(program: str) -> str:
    words = [program, "--version"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _call(address: str, agent: str) -> str:
    return f"drive({json.dumps(address)}, {json.dumps(agent)})"


def node(agent: str, address: str) -> None:
    lines = [
        f"import {{ WSRedis }} from {json.dumps((static() / 'wsredis.mjs').as_uri())};",
        "globalThis.WSRedis = WSRedis;",
        f"await import({json.dumps((HERE / 'drive.mjs').as_uri())});",
        f"await {_call(address, agent)};",
    ]
    words = [node_program(), "--input-type=module", "--eval", "\n".join(lines)]
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True)


def chromium(agent: str, address: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium_program(), args=flags)
        page = browser.new_page()
        page.on("pageerror", lambda error: print(error, file=sys.stderr))
        page.add_script_tag(path=static() / "wsredis.js")
        page.add_script_tag(path=HERE / "drive.mjs")
        page.evaluate(f"() => {_call(address, agent)}")
        browser.close()


def websockets(agent: str, address: str) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import ClientConnection, connect

    def visit(path: str, received: Callable[[ClientConnection, str | bytes], None]) -> None:
        # The cases treat a ping as a wrong answer.
        ws = connect(f"{address}/{path}", max_size=None, ping_interval=None, proxy=None)
        with ws:
            try:
                while True:
                    received(ws, ws.recv())
            except ConnectionClosed:
                pass

    counts: list[int] = []
    visit("getCaseCount", lambda ws, message: counts.append(int(message)))
    for number in range(1, counts[0] + 1):
        visit(f"runCase?case={number}&agent={agent}", ClientConnection.send)
    visit(f"updateReports?agent={agent}", lambda ws, message: None)


CLIENTS: dict[str, Callable[[str], None]] = {
    "node": partial(node, "node"),
    "node-bare": partial(node, "node-bare"),
    "chromium": partial(chromium, "chromium"),
    "chromium-bare": partial(chromium, "chromium-bare"),
    "websockets": partial(websockets, "websockets"),
}

if __name__ == "__main__":
    CLIENTS[sys.argv[1]](sys.argv[2])
