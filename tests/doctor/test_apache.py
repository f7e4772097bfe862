"""Faults of Apache: each is reproduced there, in front of a working site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..proxies import Proxy, needs_apache, start_apache
from ..servers.support import HOST, Site
from .conftest import Seen

pytestmark = [pytest.mark.servers, needs_apache]

Doctor = Callable[..., Seen]
Apache = Callable[..., Proxy]

PASS_HOST = "ProxyPreserveHost On"


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[Apache]:
    """Start an Apache from lines of its configuration."""
    with ExitStack() as stack:

        def start(*lines: str) -> Proxy:
            folder = tmp_path / f"apache{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(start_apache(folder, "\n".join(lines)))

        yield start


def proxy_pass(site: Site, option: str = "upgrade=websocket", *, to: str = "/ws/") -> str:
    return f'ProxyPass "/ws/" "http://{HOST}:{site.port}{to}" {option} disablereuse=on'


def tunnel(site: Site, *, to: str = "/ws/") -> str:
    return f'ProxyPass "/ws/" "ws://{HOST}:{site.port}{to}" disablereuse=on'


def test_nothing_is_wrong(apache: Apache, lively: Site, doctor: Doctor) -> None:
    seen = doctor(apache(PASS_HOST, proxy_pass(lively)).port, "--publish", "--wait", "60")
    assert seen.fault is None


def test_nothing_is_wrong_with_the_tunnel(apache: Apache, site: Site, doctor: Doctor) -> None:
    assert doctor(apache(PASS_HOST, tunnel(site)).port).fault is None


def test_the_upgrade_is_not_passed_on(apache: Apache, site: Site, doctor: Doctor) -> None:
    seen = doctor(apache(PASS_HOST, proxy_pass(site, "")).port)
    assert seen.fault == "no-upgrade"
    assert seen.lines == 'ProxyPass "/ws/" "http://127.0.0.1:8000/ws/" upgrade=websocket'
    assert doctor(apache(PASS_HOST, seen.mend(site)).port).fault is None


@pytest.mark.parametrize("how", [proxy_pass, tunnel])
def test_the_prefix_is_taken_off(
    apache: Apache, site: Site, doctor: Doctor, how: Callable[..., str]
) -> None:
    seen = doctor(apache(PASS_HOST, how(site, to="/")).port)
    assert seen.fault == "prefix-stripped"
    assert seen.lines == 'ProxyPass "/ws/" "http://127.0.0.1:8000/ws/" upgrade=websocket'


def test_the_host_is_not_passed_on(apache: Apache, site: Site, doctor: Doctor) -> None:
    seen = doctor(apache(proxy_pass(site)).port)
    assert (seen.fault, seen.lines) == ("host-hidden", PASS_HOST)


@pytest.mark.parametrize("how", [proxy_pass, tunnel])
def test_silence_is_cut_before_the_ping(
    apache: Apache, site: Site, doctor: Doctor, how: Callable[[Site], str]
) -> None:
    # The longer one of the client's time-out and that of the proxy holds.
    seen = doctor(apache(PASS_HOST, "Timeout 2", how(site)).port, "--wait", "60")
    assert seen.fault == "read-timeout"
    assert "timeout=75" in seen.lines


def test_a_password_is_asked_for(apache: Apache, site: Site, doctor: Doctor) -> None:
    guard = "AuthType Basic\nAuthName site\nAuthUserFile /dev/null\nRequire valid-user"
    lines = (PASS_HOST, proxy_pass(site), f"<Location />\n{guard}\n</Location>")
    seen = doctor(apache(*lines).port)
    assert seen.fault == "auth"
    assert '<Location "/ws/">' in seen.lines
    assert doctor(apache(*lines, seen.mend(site)).port).fault is None


def test_nobody_listens_behind(apache: Apache, doctor: Doctor) -> None:
    seen = doctor(apache('ProxyPass "/ws/" "http://127.0.0.1:1/ws/" upgrade=websocket').port)
    assert seen.fault == "no-backend"
