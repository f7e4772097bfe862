"""Faults on the network: name, port, TLS, and servers that are not web servers."""

from __future__ import annotations

import errno
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from wsredis.doctor.address import Address
from wsredis.doctor.connection import judge_connection, judge_name, judge_tls
from wsredis.embedded import free_port

from ..proxies import needs_nginx, start_nginx
from ..servers.support import HOST, SECONDS, Site
from .conftest import Seen

pytestmark = pytest.mark.servers

Doctor = Callable[..., Seen]

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="there is no openssl on this machine"
)

NAME = "localhost"
HERE = Address.parse("ws://example.com")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine trust the test's authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path, site: Site) -> Iterator[Callable[..., int]]:
    """Start an nginx with TLS before the site and return its port; arguments for trustme."""
    proxies = []

    def start(name: str = NAME, **options: object) -> int:
        pem = tmp_path / "site.pem"
        certificate = authority.issue_cert(name, **options)  # type: ignore[arg-type]
        certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
        conf = f"""
            server {{
                listen {HOST}:@port@ ssl;
                ssl_certificate {pem};
                ssl_certificate_key {pem};
                location / {{
                    proxy_pass http://{HOST}:{site.port};
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                    proxy_set_header Host $http_host;
                }}
            }}
        """
        proxies.append(start_nginx(tmp_path / "nginx", conf))
        return proxies[-1].port

    yield start
    for proxy in proxies:
        proxy.stop()


# Name and port


def test_a_name_that_nobody_has(doctor: Doctor) -> None:
    seen = doctor("wss://no-such-host.invalid/ws/")
    # Without a way to a name server that is what is wrong.
    assert seen.fault in ("unknown-name", "no-dns")
    assert seen.last == ("name", False)


def test_a_name_server_that_is_away_is_another_fault() -> None:
    fault = judge_name(HERE, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert fault.diagnosis.fault == "unknown-name"
    fault = judge_name(HERE, socket.gaierror(socket.EAI_AGAIN, "Temporary failure"))
    assert fault.diagnosis.fault == "no-dns"


def test_nobody_listens(doctor: Doctor) -> None:
    port = free_port()
    seen = doctor(port)
    assert seen.fault == "refused"
    assert seen.lines.startswith(f"http-socket = :{port}\n")
    assert "listen" not in seen.lines  # a proxy does not listen there


@pytest.mark.parametrize(
    ("url", "line"),
    [("ws://example.com/ws/", "listen 80;"), ("wss://example.com/ws/", "listen 443 ssl;")],
)
def test_no_proxy_listens(url: str, line: str) -> None:
    error = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    remedies = judge_connection(Address.parse(url), error).diagnosis.remedies
    assert [remedy.lines[0] for remedy in remedies][1:2] == [line]
    assert remedies[0].lines[0].startswith("systemctl status nginx")


def test_nobody_answers_the_door(doctor: Doctor) -> None:
    """A full queue of connections swallows what comes, as a firewall does."""
    with socket.create_server((HOST, 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((HOST, port))
        seen = doctor(port, "--timeout", "0.5")
        for one in waiting:
            one.close()
    assert seen.fault == "filtered"


def test_there_is_no_way() -> None:
    fault = judge_connection(HERE, OSError(errno.ENETUNREACH, "Network is unreachable"))
    assert fault.diagnosis.fault == "unreachable"


# Not a web server, or a strange one


def test_what_speaks_first_is_no_web_server(doctor: Doctor) -> None:
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(SECONDS)

        def greet() -> None:
            for _ in ("a look at the port", "HTTP", "TLS"):
                one, _ = server.accept()
                with one, suppress(OSError):
                    one.sendall(b"220 mail.example.com\r\n")
                    one.recv(1 << 16)

        other = threading.Thread(target=greet)
        other.start()
        seen = doctor(server.getsockname()[1])
        other.join()
    assert seen.fault == "no-http"
    assert "220 mail" in seen.steps["handshake"]


def test_a_server_that_never_answers(doctor: Doctor) -> None:
    with socket.create_server((HOST, 0)) as mute:
        assert doctor(mute.getsockname()[1], "--timeout", "0.5").fault == "silent"


class Hoarder:
    """A proxy that forwards a response only when it is complete, as some filters do."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.port: int = self._listener.getsockname()[1]

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection((HOST, self._target))
            self._sockets += [near, far]
            for function in (self._hoard, self._pass):
                thread = threading.Thread(target=function, args=(far, near))
                self._threads.append(thread)
                thread.start()

    def _hoard(self, far: socket.socket, near: socket.socket) -> None:
        try:
            near.sendall(b"".join(iter(lambda: far.recv(65536), b"")))
            near.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _pass(self, far: socket.socket, near: socket.socket) -> None:
        try:
            while data := near.recv(65536):
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        for thread in self._threads[1:]:
            thread.join()


def test_a_filter_waits_for_the_end_of_the_answer(site: Site, doctor: Doctor) -> None:
    filter_ = Hoarder(site.port)
    try:
        seen = doctor(filter_.port, "--timeout", "3")
    finally:
        filter_.close()
    assert seen.fault == "buffered"


# TLS


@needs_nginx
@pytest.mark.usefixtures("trusted")
def test_nothing_is_wrong_with_tls(tls: Callable[..., int], doctor: Doctor) -> None:
    seen = doctor(f"wss://{NAME}:{tls()}/ws/")
    assert seen.fault is None
    assert "trusted until" in seen.steps["TLS"]


@needs_nginx
def test_nobody_knows_who_has_signed(tls: Callable[..., int], doctor: Doctor) -> None:
    seen = doctor(f"wss://{NAME}:{tls()}/ws/")
    assert seen.fault == "untrusted"
    assert "fullchain.pem" in seen.lines


@needs_nginx
@pytest.mark.usefixtures("trusted")
def test_a_certificate_that_does_not_hold_now(tls: Callable[..., int], doctor: Doctor) -> None:
    now = datetime.now(UTC)
    port = tls(not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    assert doctor(f"wss://{NAME}:{port}/ws/").fault == "expired"


@needs_nginx
@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_later(tls: Callable[..., int], doctor: Doctor) -> None:
    now = datetime.now(UTC)
    port = tls(not_before=now + timedelta(days=1), not_after=now + timedelta(days=9))
    assert doctor(f"wss://{NAME}:{port}/ws/").fault == "not-yet-valid"


@needs_nginx
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("asked", [NAME, HOST])
def test_a_certificate_of_somebody_else(
    tls: Callable[..., int], doctor: Doctor, asked: str
) -> None:
    seen = doctor(f"wss://{asked}:{tls('www.example.com')}/ws/")
    assert seen.fault == "other-host"


@needs_nginx
def test_plain_http_at_a_port_with_tls(tls: Callable[..., int], doctor: Doctor) -> None:
    port = tls()
    seen = doctor(f"ws://{NAME}:{port}/ws/")
    assert seen.fault == "needs-tls"
    assert seen.lines == f'new WebSocket("wss://{NAME}:{port}/ws/...")'


def test_tls_at_a_port_without_it(site: Site, doctor: Doctor) -> None:
    seen = doctor(f"wss://{HOST}:{site.port}/ws/")
    assert seen.fault == "no-tls"
    assert seen.lines == (
        f'new WebSocket("ws://{HOST}:{site.port}/ws/...")\nlisten {site.port} ssl;'
    )


def test_at_the_port_of_https_the_server_is_to_change_first() -> None:
    error = ssl.SSLError()
    error.reason = "WRONG_VERSION_NUMBER"
    remedies = judge_tls(Address.parse("wss://example.com/ws/"), error).diagnosis.remedies
    assert [remedy.lines for remedy in remedies] == [
        ("listen 443 ssl;",),
        ('new WebSocket("ws://example.com/ws/...")',),
    ]


@needs_openssl
def test_plain_http_at_a_port_with_tls_that_gives_no_answer(
    http2_server: int, doctor: Doctor
) -> None:
    assert doctor(f"ws://{NAME}:{http2_server}/ws/").fault == "needs-tls"


@pytest.fixture
def http2_server(authority: trustme.CA, tmp_path: Path) -> Iterator[int]:
    """Run OpenSSL's server, which agrees upon nothing but HTTP/2."""
    pem = str(tmp_path / "site.pem")
    authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(pem)
    command = ["openssl", "s_server", "-alpn", "h2", "-cert", pem, "-accept", f"{HOST}:0", "-4"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.startswith("ACCEPT"))
        yield int(line.rpartition(":")[2])
        server.kill()


@needs_openssl
@pytest.mark.usefixtures("trusted")
def test_only_http2_is_agreed_upon(http2_server: int, doctor: Doctor) -> None:
    seen = doctor(f"wss://{NAME}:{http2_server}/ws/")
    assert seen.fault == "http2-only"
    assert "Protocols h2 http/1.1" in seen.lines


def test_a_server_hangs_up_in_the_middle_of_tls(doctor: Doctor) -> None:
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(SECONDS)

        def hang_up() -> None:
            one, _ = server.accept()  # a look at the port
            one.close()
            one, _ = server.accept()
            one.recv(5)
            one.close()

        other = threading.Thread(target=hang_up)
        other.start()
        seen = doctor(f"wss://{HOST}:{server.getsockname()[1]}/ws/")
        other.join()
    assert seen.fault == "tls-failed"
