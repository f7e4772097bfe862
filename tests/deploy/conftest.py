"""Deployments as fixtures: `deployment` is each of them, `deploy` starts one for a test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from wsredis.embedded import EmbeddedRedis

from ..servers.support import new_room
from .support import RECIPES, Deployment, deployments

TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*.*")


@pytest.fixture(scope="session", params=deployments())
def deployment(request: pytest.FixtureRequest, redis_server: EmbeddedRedis) -> Iterator[Deployment]:
    """Run each recipe once for all tests that take it, and then read its log."""
    running = Deployment(request.param, redis_server.url)
    try:
        yield running.start()
        assert_calm(running)
    finally:
        running.stop()


@pytest.fixture
def deploy(redis_server: EmbeddedRedis) -> Iterator[Callable[..., Deployment]]:
    """Start a deployment for this test, with more words on the command lines: ``deploy(name)``."""
    with ExitStack() as stack:

        def start(name: str, *options: str) -> Deployment:
            running = Deployment(RECIPES[name], redis_server.url, *options)
            stack.callback(running.stop)
            return running.start()

        yield start


def assert_calm(running: Deployment) -> None:
    """Find nothing in the log of our servers that went wrong, but for what is not ours.

    gunicorn's gevent worker has a traceback for whoever is in the TLS handshake when it ends.
    """
    text = running.log()
    for stack in TRACEBACK.findall(text):
        ours = "/wsredis/" in stack or str(running.site) in stack
        assert not ours, f"{running.recipe.name} has logged:\n{stack}"
    for word in ("Exception ignored", "Segmentation", "DAMN"):
        assert word not in text, f"{running.recipe.name} has logged:\n{text[-9000:]}"


@pytest.fixture
def room() -> str:
    """Return a facility that is this test's alone."""
    return new_room()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    """Show what the servers of a failed test have said."""
    report: Any = yield
    running = getattr(item, "funcargs", {}).get("deployment")
    if report.failed and isinstance(running, Deployment) and running.folder.is_dir():
        title = f"log of {running.recipe.name}"
        report.sections.append((title, running.log()[-20_000:]))
    return report
