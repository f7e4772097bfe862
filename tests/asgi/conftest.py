"""Servers with the site of the folder ``project``, which uses the package channels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..servers.conftest import room, start
from ..servers.support import SETUPS, Setup, Site, in_matrix
from .support import gate, kind

__all__ = ["gate", "kind", "room", "start"]

PROJECT = Path(__file__).parent / "project"

RUNSERVER = (sys.executable, "-m", "django", "runserver", "--noreload", "127.0.0.1:{port}")
PATCHED = (*SETUPS["uwsgi-gevent"].command, "--gevent-early-monkey-patch")
OTHERS = {
    "runserver": Setup("runserver", RUNSERVER),
    "uwsgi-patched": Setup("uwsgi-patched", PATCHED),
    "uwsgi-router": SETUPS["uwsgi-router"],
}
"""More servers for the matrix."""

NAMES = ("uwsgi-gevent", "uwsgi-threads", "gunicorn-gevent", "gunicorn-gthread", "pywsgi")


class DjangoSite(Site):
    """A server with the Django site of ``project``."""

    def get_with(self, path: str, cookie: str = "") -> tuple[int, str, str]:
        """Request a page; return its status, its text and the cookie of its session."""
        response: Any = self.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        given = response.headers.get("Set-Cookie", "").partition(";")[0]
        return response.status, response.text, given


@contextmanager
def serving(setup: Setup, folder: Path, redis: str, **environ: str) -> Iterator[DjangoSite]:
    """Run the site on a server, with more variables of the environment that its settings read."""
    environ |= {"SITE_DATABASE": str(folder / "db.sqlite3"), "DJANGO_SETTINGS_MODULE": "settings"}
    # The matrix has other versions of packages on the path.
    environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])
    )
    migrate = [sys.executable, "-m", "django", "migrate", "-v", "0"]
    subprocess.run(migrate, env={**os.environ, **environ}, cwd=PROJECT, check=True)
    site = DjangoSite(setup, folder, redis, app=str(PROJECT / "wsgi.py"))
    site._environ |= environ
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[*in_matrix(name, NAMES), pytest.mark.xdist_group(f"c-{name}")])
        for name in NAMES
    ]
    + [
        pytest.param(name, marks=[pytest.mark.matrix, pytest.mark.xdist_group(f"c-{name}")])
        for name in OTHERS
    ],
)
def site(
    request: pytest.FixtureRequest, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DjangoSite]:
    setup = OTHERS.get(request.param) or SETUPS[request.param]
    with serving(setup, tmp_path_factory.mktemp("site"), redis_server.url) as site:
        yield site
