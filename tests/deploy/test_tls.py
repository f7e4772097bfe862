"""Deployments with TLS: their additional behaviour."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import closing

import pytest

from ..servers.support import SECONDS
from ..servers.wire import TEXT
from .herd import Herd
from .support import HOST, RECIPES, Deployment, deployments

pytestmark = pytest.mark.servers

BROADCAST = "subscribe-broadcast"
TLS = [name for name, recipe in RECIPES.items() if recipe.tls]


@pytest.mark.parametrize("deployment", deployments(*TLS), indirect=True)
def test_an_http_page_cannot_open_a_websocket_to_an_https_site(
    deployment: Deployment, room: str
) -> None:
    for host in (deployment.address, HOST):
        assert deployment.refused(room, BROADCAST, origin=f"http://{host}", host=host) == 403
    with deployment.open(room, BROADCAST, origin=f"https://{HOST}", host=HOST):
        pass


@pytest.mark.parametrize("deployment", deployments("nginx-uwsgi-tls"), indirect=True)
def test_who_comes_without_tls_is_led_to_it(deployment: Deployment) -> None:
    with closing(http.client.HTTPConnection(HOST, deployment.plain_port, SECONDS)) as client:
        client.request("GET", "/some/page?and=query")
        answer = client.getresponse()
        assert answer.status == 301
        assert answer.headers["Location"] == f"https://{HOST}/some/page?and=query"


def test_gunicorn_with_threads_ends_tls_too(deploy: Callable[..., Deployment], room: str) -> None:
    running = deploy("gunicorn-tls", "-k", "gthread", "--threads", "8")
    talk = (BROADCAST, "publish-broadcast")
    with running.open(room, *talk) as alice, running.open(room, *talk) as bob:
        alice.send_frame(TEXT, b"hello")
        assert bob.receive_text() == "hello"
        assert running.request("GET", "/")[0] == 200
    with Herd(running, room) as herd:
        running.reload(f"kill -HUP $(cat {running.folder}/run/gunicorn.pid)")
        assert {event["code"] for event in herd.lost()} == {1012}
        herd.wait_until_all_hear("after")
