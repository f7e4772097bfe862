"""Faults of uWSGI: its router, its timeouts, its harakiri, the wrong kind of socket."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

import pytest

from wsredis.doctor.address import Address
from wsredis.doctor.client import Client
from wsredis.doctor.examination import Examination
from wsredis.doctor.report import Diagnosis, Report

from ..servers.support import HOST, SETUPS, Site
from .conftest import Seen, running

pytestmark = pytest.mark.servers

Doctor = Callable[..., Seen]
Start = Callable[..., Site]

ROUTER = SETUPS["uwsgi-router"]
DEAF = replace(ROUTER, command=tuple(w for w in ROUTER.command if w != "--http-websockets"))


def test_nothing_is_wrong_behind_the_router(start: Start, doctor: Doctor) -> None:
    site = start(ROUTER, ping_interval=1, pong_timeout=1)
    assert doctor(site.port, "--publish", "--wait", "60").fault is None


def test_the_router_does_not_know_of_websockets(start: Start, doctor: Doctor) -> None:
    site = start(DEAF, ping_interval=1, pong_timeout=1)
    seen = doctor(site.port, "--timeout", "3", "--wait", "60")
    assert (seen.fault, seen.lines) == ("one-way", "http-websockets = true")
    assert seen.last == ("frames", False)


def test_it_is_suspected_where_nobody_waits_for_the_servers_ping(
    start: Start, doctor: Doctor
) -> None:
    seen = doctor(start(DEAF).port, "--timeout", "3", "--wait", "0")
    assert seen.fault == "no-frames"
    assert seen.lines.startswith("http-websockets = true")


def test_the_router_cuts_silence_before_the_ping(start: Start, doctor: Doctor) -> None:
    site = start(ROUTER, options=["--http-timeout", "2"])
    seen = doctor(site.port, "--wait", "60")
    assert seen.fault == "read-timeout"
    assert "http-timeout = 75" in seen.lines


def look_while(site: Site, do: Callable[[], object]) -> Diagnosis | None:
    """Do something whenever all three websockets of the last step are open."""
    over = threading.Event()

    def lie_in_wait() -> None:
        while not over.wait(0.05):
            with suppress(OSError, HTTPException, ValueError):
                if site.stats()["connections"] == 3:
                    do()

    other = threading.Thread(target=lie_in_wait)
    client = Client(Address.parse(f"ws://{HOST}:{site.port}"), f"http://{HOST}:{site.port}")
    report = Report("", lambda line: None)
    try:
        Examination(client, 60, False, lambda line: other.start()).run(report)
    finally:
        over.set()
        other.join()
    return report.diagnosis


def test_harakiri_kills_the_worker_for_the_sake_of_a_page(tmp_path: Path, redis_url: str) -> None:
    options = ["--harakiri", "2"]
    with running(Site(SETUPS["uwsgi-gevent"], tmp_path, redis_url, options=options)) as site:
        # A request that ends after the page has begun calls its harakiri off; then once more.
        found = look_while(site, lambda: site.get("/hang/8"))
    assert found is not None
    assert found.fault == "worker-killed"
    assert "HARAKIRI" in found.remedies[0].where
    assert found.remedies[0].lines[0].startswith("harakiri = ")
    assert site.lines("HARAKIRI")


def test_a_restart_is_told_from_a_fault(start: Start) -> None:
    site = start("uwsgi-gevent")
    found = look_while(site, site.reload)
    assert found is not None
    assert found.fault == "restarted"


def test_its_socket_speaks_no_http(start: Start, doctor: Doctor) -> None:
    site = start("uwsgi-gevent", options=["--socket", f"{HOST}:0"])
    (line,) = site.lines("port auto-assigned")
    port = re.search(r"TCP address 127\.0\.0\.1:(\d+)", line)
    assert port is not None
    seen = doctor(int(port[1]), "--timeout", "10")
    assert seen.fault == "no-answer"
    assert seen.lines.startswith("http-socket = ")
