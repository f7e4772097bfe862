"""What asyncio offers works in a hosted application, and in pages beside it.

In a monkey-patched process the loop runs in a greenlet; the pages do not see it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .asyncio_checks import CHECKS, PAGES
from .support import HTTP_SOCKET, SECONDS, SETUPS, Setup, Site, _uwsgi

pytestmark = pytest.mark.servers

PATCHED = {
    "pywsgi-patched": Setup(
        "pywsgi-patched",
        (sys.executable, "-m", "gevent.monkey", "{here}/run.py", "pywsgi", "{port}", "{app}"),
    ),
    "uwsgi-patched": Setup(
        "uwsgi-patched",
        _uwsgi(*HTTP_SOCKET, "--gevent", "10", "--gevent-early-monkey-patch"),
    ),
}

NAMES = ("pywsgi-patched", "uwsgi-gevent", "uwsgi-patched", "gunicorn-gevent", "gunicorn-gthread")
ALWAYS = NAMES[:3]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name,
            marks=[
                pytest.mark.xdist_group(f"y-{name}"),
                *([] if name in ALWAYS else [pytest.mark.matrix]),
            ],
        )
        for name in NAMES
    ],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    setup = {**SETUPS, **PATCHED}[request.param]
    folder = tmp_path_factory.mktemp("site")
    site = Site(setup, folder, redis_server.url, app="asyncio_checks.py")
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.mark.parametrize("check", CHECKS)
def test_in_an_application(site: Site, check: str) -> None:
    """Three at once, while pages look for a running loop."""
    pages: list[str] = []
    looking = threading.Thread(target=lambda: pages.append(site.get("/no_loop")[1]))
    with ExitStack() as stack:
        clients = [stack.enter_context(site.connect(f"x{number}")) for number in range(3)]
        looking.start()
        for client in clients:
            client.send(check)
        assert [client.recv(timeout=SECONDS) for client in clients] == ["True"] * 3
    looking.join()
    assert pages == ["True"]


@pytest.mark.parametrize("page", PAGES)
def test_in_pages(site: Site, page: str) -> None:
    """Eight at once, while an application blocks its greenlet and takes a lock."""
    found: list[str] = []
    with site.connect("x") as ws:
        ws.send("context")  # the asyncio loop has been started
        assert ws.recv(timeout=SECONDS) == "True"
        threads = [
            threading.Thread(target=lambda: found.append(site.get(f"/{page}")[1])) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for check in ("locks", "sleeps_cooperatively"):
            ws.send(check)
            assert ws.recv(timeout=SECONDS) == "True"
        for thread in threads:
            thread.join()
    assert found == ["True"] * 8
