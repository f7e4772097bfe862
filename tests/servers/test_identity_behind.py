"""The handling of headers by nginx and Apache that resemble those with which they name the user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wsredis.embedded import EmbeddedRedis

from ..proxies import Proxy, needs_apache, needs_nginx, start_apache, start_nginx
from .support import SETUPS, Site
from .wire import Wire

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("identity-behind")]

SECRET = "a secret of the tests that has more than 32 bytes"
ASK = "subscribe-broadcast"

NGINX = """
server {
    listen 127.0.0.1:@port@;
    location / {
        proxy_pass http://127.0.0.1:%d;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection Upgrade;
        proxy_set_header X-Forwarded-User $arg_login;
        proxy_set_header Remoteuser $arg_login;
    }
}
"""

APACHE = """
ProxyPreserveHost On
RequestHeader unset X-Forwarded-User
RequestHeader unset Remoteuser
RequestHeader set Remoteuser alice "expr=%%{QUERY_STRING} =~ /login=alice/"
# uWSGI closes a connection after an answer; one that is used again would be a 502.
ProxyPass / http://127.0.0.1:%d/ upgrade=websocket disablereuse=on
"""

TWINS = (
    ("X_Forwarded_User", "mallory"),
    ("X-Forwarded_User", "mallory"),
    ("Remote_user", "mallory"),
    ("X-Forwarded-User", "mallory"),
    ("Remoteuser", "mallory"),
)


@pytest.fixture(scope="module")
def site(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give the server that folds the names of headers."""
    folder = tmp_path_factory.mktemp("known")
    site = Site(
        SETUPS["uwsgi-gevent"],
        folder,
        redis_server.url,
        app="known.py",
        config={"secret": SECRET},
    )
    site.start()
    yield site
    site.stop()


def knows(
    proxy: Proxy, gate: str, login: str, more: tuple[tuple[str, str], ...] = TWINS
) -> str | None:
    """Come in by a gate with headers that look like the proxy's; return who is known there."""
    with Wire(proxy.port) as wire:
        wire.send(wire.request(f"/{gate}/news?{ASK}&login={login}", more=more))
        answer = wire.answer()
        if answer.status != 101:
            return f"refused: {answer.body}"
        user: str | None = json.loads(wire.receive_text())["user"]
        return user


@needs_nginx
def test_nginx_drops_headers_with_underscores_and_those_of_the_client(
    site: Site, tmp_path: Path
) -> None:
    with start_nginx(tmp_path / "nginx", NGINX % site.port) as proxy:
        assert knows(proxy, "nginx", "alice") == "alice"
        assert knows(proxy, "dashless", "alice") == "alice"
        assert knows(proxy, "nginx", "") is None
        assert knows(proxy, "dashless", "") is None


@needs_apache
def test_apache_forwards_headers_with_underscores_so_a_dash_is_refused(
    site: Site, tmp_path: Path
) -> None:
    with start_apache(tmp_path / "apache", APACHE % site.port) as proxy:
        assert knows(proxy, "dashless", "alice") == "alice"
        assert knows(proxy, "dashless", "") is None
        assert str(knows(proxy, "header", "alice")).startswith("refused")
        # That refusal is needed: where a twin is said to be dropped, and is not, it is believed.
        assert knows(proxy, "nginx", "", TWINS[:1]) == "mallory"


@needs_nginx
@needs_apache
def test_a_ticket_passes_both(site: Site, tmp_path: Path) -> None:
    for start, conf in ((start_nginx, NGINX), (start_apache, APACHE)):
        with start(tmp_path / start.__name__, conf % site.port) as proxy, Wire(proxy.port) as wire:
            answer: Any = site.request("POST", "/ticket")
            offer = f"wsredis.ticket, {answer.text}"
            chosen = wire.upgrade(f"/ticket/news?{ASK}", sec_websocket_protocol=offer).headers
            assert chosen["sec-websocket-protocol"] == "wsredis.ticket"
            assert json.loads(wire.receive_text())["user"] == "alice"
