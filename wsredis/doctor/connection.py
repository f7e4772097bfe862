"""Diagnoses of failures before HTTP: name resolution, TCP connection, TLS."""

from __future__ import annotations

import socket
import ssl

from .address import Address
from .report import Fault, Remedy

__all__ = ["judge_connection", "judge_name", "judge_tls"]

# Values of OpenSSL's X509_V_ERR_* constants.
_NOT_YET, _EXPIRED, _HOST, _IP = 9, 10, 62, 64


def judge_name(address: Address, exc: OSError) -> Fault:
    """Return the fault that a failed name resolution indicates."""
    if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_AGAIN:
        return Fault(
            str(exc.strerror), "no-dns", "The name server of this machine does not answer."
        )
    return Fault(
        f"{address.host}: {exc.strerror}",
        "unknown-name",
        f"There is no host named {address.host}.",
        Remedy("the DNS zone of the domain", (f"{address.host}. A ADDRESS-OF-THE-PROXY",)),
    )


def judge_connection(address: Address, exc: OSError) -> Fault:
    """Return the fault that a failed TCP connection indicates."""
    where = f"{address.host} port {address.port}"
    if isinstance(exc, ConnectionRefusedError):
        return Fault(
            f"{where} refuses connections",
            "refused",
            f"No server listens on port {address.port} of {address.host}: start it, let it accept"
            " connections from this machine, or correct the port in the URL.",
            *_start(address),
        )
    if isinstance(exc, TimeoutError):
        return Fault(
            f"{where} does not answer",
            "filtered",
            f"A firewall drops packets to port {address.port}, or the host is down.",
        )
    return Fault(f"{where}: {exc.strerror or exc}", "unreachable", "There is no route to the host.")


def _start(address: Address) -> tuple[Remedy, ...]:
    """Return how to start the server, which is a proxy only on the ports of http and https."""
    port = address.port
    if port in (80, 443):
        shell = Remedy("in a shell on the server", ("systemctl status nginx  # or apache2",))
        tls = " ssl" if address.tls else ""
        nginx = Remedy("nginx, if it listens elsewhere, in `server`", (f"listen {port}{tls};",))
        return shell, nginx, Remedy("Apache, if it listens elsewhere", (f"Listen {port}",))
    return (
        Remedy("uWSGI", (f"http-socket = :{port}",)),
        Remedy("gunicorn", (f"gunicorn -k gevent -b :{port} wsgi:application",)),
    )


def judge_tls(address: Address, exc: OSError) -> Fault:
    """Return the fault that a failed TLS handshake, or a failed connection, indicates."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _judge_certificate(address, exc)
    text = str(exc.strerror or exc)
    if "no application protocol" in text.lower().replace("_", " "):  # OpenSSL writes it both ways
        return Fault(
            text,
            "http2-only",
            "The server supports HTTP/2 only, and browsers open websockets with HTTP/1.1.",
            Remedy("nginx 1.25 or newer, in `server`", ("listen 443 ssl;  # http2 may stay on",)),
            Remedy("Apache", ("Protocols h2 http/1.1",)),
            Remedy("haproxy, at `bind`", ("alpn h2,http/1.1",)),
        )
    silent = "handshake operation timed out" in text
    if silent or (
        isinstance(exc, ssl.SSLError) and exc.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
    ):
        return Fault(
            "no answer to the TLS handshake" if silent else text,
            "no-tls",
            f"Port {address.port} does not support TLS.",
            *_without_tls(address),
        )
    if isinstance(exc, ssl.SSLError | ConnectionResetError):
        return Fault(
            text,
            "tls-failed",
            "The server and this client have no TLS version or cipher in common.",
        )
    return judge_connection(address, exc)


def _without_tls(address: Address) -> tuple[Remedy, ...]:
    url = f"ws://{address.authority}{address.prefix}"
    page = Remedy(
        "the script of the page, if it is served over http", (f'new WebSocket("{url}...")',)
    )
    nginx = Remedy("nginx, in `server`", (f"listen {address.port} ssl;",))
    return (nginx, page) if address.port == 443 else (page, nginx)


def _judge_certificate(address: Address, exc: ssl.SSLCertVerificationError) -> Fault:
    """Return why a certificate is not valid for this host now: one of four faults."""
    seen, code = exc.verify_message, exc.verify_code
    renew = Remedy("in a shell on the proxy", ("certbot renew",))
    if code == _EXPIRED:
        return Fault(seen, "expired", "The certificate has expired.", renew)
    if code == _NOT_YET:
        return Fault(
            seen, "not-yet-valid", "The certificate is not valid yet, or a clock is wrong."
        )
    if code in (_HOST, _IP):
        sentence = f"The certificate is not valid for {address.host}."
        order = Remedy("in a shell on the proxy", (f"certbot certonly -d {address.host}",))
        return Fault(seen, "other-host", sentence, order)
    return Fault(
        seen,
        "untrusted",
        "The certificate is not signed by an authority that this machine trusts, or its chain is"
        " incomplete.",
        Remedy("nginx, with the full chain", ("ssl_certificate /.../fullchain.pem;",)),
        Remedy(
            "or, to trust a private authority from here",
            ("SSL_CERT_FILE=ca.pem wsredis doctor URL",),
        ),
    )
