"""The process object of middleware, which closes its hosts and its asyncio loop once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..gate import Gate, page
from ..servers.hosted import hosted
from ..servers.support import SECONDS, closed


@pytest.fixture(params=["threads", "greenlets"])
def site(request: pytest.FixtureRequest) -> Iterator[Gate]:
    site = Gate(request.param, page, asgi=hosted)
    yield site
    site.stop()


def test_each_middleware_that_shares_it_may_close_it(site: Gate, room: str) -> None:
    for _ in range(2):
        with site.connect(f"/ws/echo/{room}") as ws:
            ws.send("hello")
            assert ws.recv(timeout=SECONDS) == "hello"
            process = site.middleware._process
            assert process is not None
            for _ in range(2):
                process.close()
            assert closed(ws) is None
