"""The quick Autobahn cases; `make conformance` runs all cases, on all servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..servers.support import Setup, each
from .support import CASES, Results, cases_of_client, cases_of_server

pytestmark = [pytest.mark.conformance, pytest.mark.servers, pytest.mark.timeout(600)]

CORE = ("1", "2", "3", "4", "5", "6", "7", "10")


def best_of_three(run: Callable[..., Results], folder: Path, cases: Sequence[str]) -> Results:
    """Run cases, and repeat those that fail: each has a limit of a second, on a busy machine."""
    results: Results = {}
    for attempt in ("first", "second", "third"):
        results |= run(folder / attempt, cases, seconds=180)
        cases = [number for number, verdict in results.items() if verdict == "failed"]
        if not cases:
            break
    return results


@each("uwsgi-gevent", "gunicorn-gthread")  # the hub in the server's own loop, and in a thread
def test_no_case_of_the_core_sections_fails(
    setup: Setup, start: Callable[..., Any], tmp_path: Path
) -> None:
    site = start(setup, app="echo.py", redis="memory://echo")
    with site.wire("/") as wire:  # a server that hangs would cost the whole time limit
        wire.send_frame(1, b"there?")
        assert wire.receive_text() == "there?"
    results = best_of_three(partial(cases_of_server, site.port), tmp_path, CORE)
    assert len(results) == sum(CASES[section] for section in CORE)
    assert not {number: v for number, v in results.items() if v in ("failed", "unimplemented")}


def test_short_messages_are_sent_uncompressed_although_compression_was_negotiated(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    site = start("uwsgi-gevent", app="echo.py", redis="memory://echo")
    run = partial(cases_of_server, site.port)
    results = best_of_three(run, tmp_path, ["12.1.1", "12.1.3"])
    assert results == {"12.1.1": "passed", "12.1.3": "passed"}


def test_the_browser_client_passes_the_first_section_in_node(tmp_path: Path) -> None:
    results = best_of_three(partial(cases_of_client, "node"), tmp_path, ["1"])
    assert len(results) == CASES["1"]
    assert set(results.values()) == {"passed"}
