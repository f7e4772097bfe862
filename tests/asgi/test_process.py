"""The process object of middleware, which closes its hosts and its asyncio loop once."""

from __future__ import annotations

from collections.abc import Callable

from ..gate import Gate
from ..servers.hosted import hosted
from ..servers.support import SECONDS, closed


def test_each_middleware_that_shares_it_may_close_it(gate: Callable[..., Gate], room: str) -> None:
    site = gate(asgi=hosted)
    for _ in range(2):
        with site.connect(f"/ws/echo/{room}") as ws:
            ws.send("hello")
            assert ws.recv(timeout=SECONDS) == "hello"
            process = site.middleware._process
            assert process is not None
            for _ in range(2):
                process.close()
            assert closed(ws) is None
