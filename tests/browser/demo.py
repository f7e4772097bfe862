"""A demo of the command line, and browser windows for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from playwright.sync_api import Page, expect

from wsredis.embedded import free_port

from ..processes import kill_group, with_variable

WSREDIS = str(Path(sys.executable).parent / "wsredis")

REFUSALS = ("400 (BAD REQUEST)", "403 (FORBIDDEN)")
"""What a browser says of an answer that a test has asked for."""

RETURNS = ("RESPONSE CODE: 403", "CLOSED BEFORE THE CONNECTION IS ESTABLISHED")
"""What it says where a websocket comes back after a logout before its page has been loaded anew."""


class Demo:
    """A running ``wsredis demo`` on one port: uWSGI, and an initially empty Redis."""

    def __init__(self, framework: str, facility: str) -> None:
        self.facility = facility
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [WSREDIS, "demo", f"--{framework}", "--port", str(self.port)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "WSREDIS_TEST_DEMO": str(self.port)},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.said = ""
        self.redis = ""
        while "Ctrl-C" not in self.said:
            line = self.process.stdout.readline()
            assert line, f"the demo ended: {self.said}"
            self.said += line
        if found := re.search(r"--redis (\S+)", self.said):
            self.redis = found[1]

    def publish(self, text: str) -> None:
        """Publish as the demo says one may from a second terminal."""
        where = [self.facility, text, "--broadcast", "--redis", self.redis]
        subprocess.run([WSREDIS, "publish", *where], check=True, stdout=subprocess.DEVNULL)

    def forget(self) -> None:
        """Let no message of another test be retained."""
        with redis.Redis.from_url(self.redis) as client:
            client.flushall()

    def stop(self) -> None:
        """Press Ctrl-C, and fail if a process is left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.communicate(timeout=30)
            deadline = time.monotonic() + 30
            while left := with_variable("WSREDIS_TEST_DEMO", str(self.port)):
                assert time.monotonic() < deadline, left
                time.sleep(0.05)
        finally:
            kill_group(self.process)


@contextmanager
def windows(chromium: Any, excused: Sequence[str] = ()) -> Iterator[Callable[..., Page]]:
    """Give a function that opens a window with a memory of its own; no page may have a trouble.

    Args:
        chromium: the browser.
        excused: words of what is none, beside those of a refused websocket.
    """
    contexts: list[Any] = []
    troubles: list[str] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", complain)

    def complain(said: Any) -> None:
        if said.type == "error" and not any(
            word in said.text.upper() for word in (*REFUSALS, *excused)
        ):
            troubles.append(said.text)

    def open_window(**options: Any) -> Page:
        context = chromium.new_context(viewport={"width": 900, "height": 640}, **options)
        contexts.append(context)
        context.on("page", watch)
        page: Page = context.new_page()
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert not troubles, troubles


def connected(page: Page) -> None:
    """Wait until the websocket of a page is open."""
    expect(page.locator("#state")).to_have_attribute("data-state", "open")


def shows_only(page: Page, *texts: str) -> None:
    """Wait for the last of the texts and see that no other has come."""
    expect(page.locator("#messages .text")).to_have_text(list(texts))


def picture(page: Page, name: str) -> None:
    """Keep what a page looks like, where one wants to look at it."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"))
