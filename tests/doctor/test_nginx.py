"""Faults of nginx: each is reproduced there, in front of a working site."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..proxies import NGINX, Proxy, needs_nginx, start_nginx
from ..servers.support import HOST, Site
from .conftest import Seen

pytestmark = [pytest.mark.servers, needs_nginx]

Doctor = Callable[..., Seen]
Nginx = Callable[..., Proxy]

HTTP_1_1 = "proxy_http_version 1.1;"
UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
PASS_HOST = "proxy_set_header Host $http_host;"
ALL = f"{HTTP_1_1} {UPGRADE} {PASS_HOST}"


def speaks_http2_only() -> bool:
    """Tell whether nginx is older than 1.25.1, with which ``listen ... http2`` changed."""
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr if NGINX else ""
    version = re.search(r"nginx/(\d+)\.(\d+)", said)
    return version is not None and tuple(map(int, version.groups())) < (1, 25)


HTTP2_ONLY = speaks_http2_only()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Start an nginx from what stands in its ``server``."""
    with ExitStack() as stack:

        def start(inside: str, listen: str = "") -> Proxy:
            conf = f"server {{ listen {HOST}:@port@ {listen}; {inside} }}"
            folder = tmp_path / f"nginx{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(start_nginx(folder, conf))

        yield start


def location(site: Site, *lines: str, path: str = "/ws/", to: str = "") -> str:
    """Return a location that leads to a site."""
    return f"location {path} {{ proxy_pass http://{HOST}:{site.port}{to}; {' '.join(lines)} }}"


def test_nothing_is_wrong(nginx: Nginx, lively: Site, doctor: Doctor) -> None:
    seen = doctor(nginx(location(lively, ALL)).port, "--publish", "--wait", "60")
    assert seen.fault is None
    assert list(seen.steps) == [
        *("name", "connection", "handshake", "frames", "compression", "message"),
        *("script", "silence"),
    ]
    assert seen.steps["compression"] == "permessage-deflate"
    assert "came back through Redis" in seen.steps["message"]
    assert "pings every" in seen.steps["silence"]


@pytest.mark.parametrize(
    "lines",
    [
        PASS_HOST,
        f"{PASS_HOST} {HTTP_1_1}",
        f"{PASS_HOST} {HTTP_1_1} proxy_set_header Upgrade $http_upgrade;",
    ],
)
def test_the_upgrade_is_not_passed_on(nginx: Nginx, site: Site, doctor: Doctor, lines: str) -> None:
    seen = doctor(nginx(location(site, lines)).port)
    assert seen.fault == "no-upgrade"
    assert seen.lines.splitlines() == [
        "proxy_http_version 1.1;",
        "proxy_set_header Upgrade $http_upgrade;",
        'proxy_set_header Connection "upgrade";',
    ]
    assert doctor(nginx(location(site, PASS_HOST, seen.mend(site))).port).fault is None


def test_the_upgrade_goes_on_with_an_old_http(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    seen = doctor(nginx(location(site, PASS_HOST, UPGRADE, "proxy_http_version 1.0;")).port)
    assert (seen.fault, seen.lines) == ("http-1.0", HTTP_1_1)
    mended = location(site, PASS_HOST, UPGRADE, seen.mend(site))
    assert doctor(nginx(mended).port).fault is None


@pytest.mark.parametrize("path", ["/ws/", "/ws"])
def test_the_prefix_is_taken_off(nginx: Nginx, site: Site, doctor: Doctor, path: str) -> None:
    seen = doctor(nginx(location(site, ALL, path=path, to="/")).port)
    assert seen.fault == "prefix-stripped"
    assert seen.lines.startswith("proxy_pass http://127.0.0.1:8000;")
    mended = f"location {path} {{ {ALL} {seen.mend(site)}\n }}"
    assert doctor(nginx(mended).port).fault is None


def test_the_prefix_is_taken_off_and_the_upgrade_too(
    nginx: Nginx, site: Site, doctor: Doctor
) -> None:
    assert doctor(nginx(location(site, to="/")).port).fault == "prefix-stripped"


def test_the_prefix_is_taken_off_and_the_site_redirects_what_it_does_not_know(
    nginx: Nginx, site: Site, doctor: Doctor
) -> None:
    conf = f"""
        location /ws/ {{ rewrite ^/ws(/.*) $1 last; }}
        location /ws/ws/ {{
            rewrite ^/ws(/.*) $1 break; proxy_pass http://{HOST}:{site.port}; {ALL}
        }}
        location / {{ return 302 /login; }}
    """
    assert doctor(nginx(conf).port).fault == "prefix-stripped"


def test_the_host_is_not_passed_on(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    seen = doctor(nginx(location(site, HTTP_1_1, UPGRADE)).port)
    assert (seen.fault, seen.lines) == ("host-hidden", PASS_HOST)
    mended = location(site, HTTP_1_1, UPGRADE, seen.mend(site))
    assert doctor(nginx(mended).port).fault is None


def test_silence_is_cut_before_the_ping(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    proxy = nginx(location(site, ALL, "proxy_read_timeout 2s;"))
    seen = doctor(proxy.port, "--wait", "60")
    assert seen.fault == "read-timeout"
    assert seen.last == ("silence", False)
    assert "proxy_read_timeout 75s;" in seen.lines
    assert "ping_interval=1" in seen.lines


def test_nobody_listens_behind(nginx: Nginx, doctor: Doctor) -> None:
    seen = doctor(nginx("location / { proxy_pass http://127.0.0.1:1; }").port)
    assert seen.fault == "no-backend"
    assert "502" in seen.steps["handshake"]


def test_a_password_is_asked_for(nginx: Nginx, site: Site, doctor: Doctor, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("alice:{PLAIN}secret\n")
    guard = f"auth_basic site; auth_basic_user_file {users};"
    port = nginx(f"{guard} {location(site, ALL)}").port
    seen = doctor(port)
    assert seen.fault == "auth"
    mended = f"{guard} {location(site, ALL, seen.mend(site))}"
    assert doctor(nginx(mended).port).fault is None
    assert doctor(port, "--header", "Authorization: Basic YWxpY2U6c2VjcmV0").fault is None


def test_a_rule_forbids(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    assert doctor(nginx(location(site, ALL, "deny all;")).port).fault == "forbidden"


def test_whoever_is_not_logged_in_is_redirected(nginx: Nginx, doctor: Doctor) -> None:
    seen = doctor(nginx("location / { return 302 /login; }").port)
    assert seen.fault == "redirect"
    assert "/login" in seen.steps["handshake"]


def test_the_site_redirects_to_tls(nginx: Nginx, doctor: Doctor) -> None:
    seen = doctor(nginx("return 301 https://$host$request_uri;").port)
    assert seen.fault == "https-redirect"
    assert 'new WebSocket("wss://127.0.0.1/ws/' in seen.lines


def test_the_101_is_not_for_us(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    lines = "proxy_hide_header Sec-WebSocket-Accept; add_header Sec-WebSocket-Accept old always;"
    seen = doctor(nginx(location(site, ALL, lines)).port)
    assert seen.fault == "bad-101"
    assert "Sec-WebSocket-Accept" in seen.steps["handshake"]


def test_the_handshake_is_rewritten(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    seen = doctor(nginx(location(site, ALL, "proxy_set_header Sec-WebSocket-Version 8;")).port)
    assert seen.fault == "bad-handshake"
    assert "426" in seen.steps["handshake"]


def test_an_answer_that_nobody_knows_is_shown(nginx: Nginx, doctor: Doctor) -> None:
    seen = doctor(nginx("return 418 'short\x1b[2J and stout';").port)
    assert seen.fault == "strange"
    assert seen.steps["handshake"] == "418 from nginx: short [2J and stout"


@pytest.mark.parametrize("inside", ["", "location / { return 200 welcome; }"])
def test_there_are_no_websockets(nginx: Nginx, doctor: Doctor, inside: str) -> None:
    seen = doctor(nginx(inside).port)
    assert seen.fault == "no-websockets"
    assert "WebSocketMiddleware(application)" in seen.lines


def test_they_are_somewhere_else(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    port = nginx(location(site, ALL, path="/")).port
    seen = doctor(f"http://{HOST}:{port}/socket/news")
    assert seen.fault == "other-prefix"
    assert f'new WebSocket("ws://{HOST}:{port}/ws/' in seen.lines
    assert 'prefix="/socket/"' in seen.lines


@pytest.mark.parametrize(
    "line",
    [
        "proxy_hide_header Sec-WebSocket-Extensions;",
        "proxy_set_header Sec-WebSocket-Extensions permessage-deflate;",
        "proxy_hide_header Sec-WebSocket-Extensions;"
        " add_header Sec-WebSocket-Extensions permessage-deflate always;"
        ' proxy_set_header Sec-WebSocket-Extensions "";',
    ],
)
def test_only_one_end_compresses(nginx: Nginx, site: Site, doctor: Doctor, line: str) -> None:
    port = nginx(location(site, ALL, line)).port
    seen = doctor(port)
    assert seen.fault == "deflate-mangled"
    mended = location(site, ALL, seen.mend(site) + "\n")
    assert doctor(nginx(mended).port).fault is None


def test_compression_is_left_out_on_both_ways(nginx: Nginx, site: Site, doctor: Doctor) -> None:
    line = 'proxy_set_header Sec-WebSocket-Extensions "";'
    seen = doctor(nginx(location(site, ALL, line)).port)
    assert (seen.fault, seen.steps["compression"]) == (None, "none")


@pytest.mark.skipif(not HTTP2_ONLY, reason="this nginx accepts HTTP/1.1 on such a port too")
def test_only_http2_is_spoken(nginx: Nginx, doctor: Doctor) -> None:
    seen = doctor(nginx("", listen="http2").port)
    assert seen.fault == "http2-only"
    assert "without the word http2" in seen.lines
