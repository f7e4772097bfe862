"""Judge what went wrong before any HTTP: name, port, certificate."""

from __future__ import annotations

import socket
import ssl

from .address import Address
from .report import Fault, Remedy

__all__ = ["judge_connection", "judge_name", "judge_tls"]

# X509_V_ERR_*, as OpenSSL numbers them.
_NOT_YET, _EXPIRED, _HOST, _IP = 9, 10, 62, 64


def judge_name(address: Address, exc: OSError) -> Fault:
    """Return what it means that a name has no address."""
    if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_AGAIN:
        return Fault(
            str(exc.strerror), "no-dns", "The name server of this machine does not answer."
        )
    return Fault(
        f"{address.host}: {exc.strerror}",
        "unknown-name",
        f"There is no host of the name {address.host}.",
        Remedy("the zone of its domain", (f"{address.host}. A ADDRESS-OF-THE-PROXY",)),
    )


def judge_connection(address: Address, exc: OSError) -> Fault:
    """Return what it means that no connection comes about."""
    where = f"{address.host} port {address.port}"
    if isinstance(exc, ConnectionRefusedError):
        return Fault(
            f"{where} refuses",
            "refused",
            f"Nothing listens at port {address.port} of {address.host}.",
            Remedy("nginx, in `server`", (f"listen {address.port};",)),
            Remedy("Apache", (f"Listen {address.port}",)),
        )
    if isinstance(exc, TimeoutError):
        return Fault(
            f"{where} is silent",
            "filtered",
            f"A firewall swallows what is sent to port {address.port}, or the host is down.",
        )
    return Fault(f"{where}: {exc.strerror or exc}", "unreachable", "There is no way to the host.")


def judge_tls(address: Address, exc: OSError) -> Fault:
    """Return what it means that TLS does not come about; what is no matter of TLS is passed on."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _judge_certificate(address, exc)
    text = str(exc.strerror or exc)
    if "no application protocol" in text.lower().replace("_", " "):  # OpenSSL writes it both ways
        return Fault(
            text,
            "http2-only",
            "The server supports HTTP/2 only, and browsers open websockets with HTTP/1.1.",
            Remedy("nginx 1.25 or newer, in `server`", ("listen 443 ssl;  # and http2 as well",)),
            Remedy("Apache", ("Protocols h2 http/1.1",)),
            Remedy("haproxy, at `bind`", ("alpn h2,http/1.1",)),
        )
    if isinstance(exc, ssl.SSLError) and exc.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        url = f"ws://{address.authority}{address.prefix}"
        return Fault(
            text,
            "no-tls",
            f"Port {address.port} does not support TLS.",
            Remedy("nginx, in `server`", (f"listen {address.port} ssl;",)),
            Remedy("or the page, if it is http too", (f'new WebSocket("{url}...")',)),
        )
    if isinstance(exc, ssl.SSLError | ConnectionResetError):
        return Fault(text, "tls-failed", "The server and this client find no common TLS.")
    return judge_connection(address, exc)


def _judge_certificate(address: Address, exc: ssl.SSLCertVerificationError) -> Fault:
    """Return which of four ways it is that a certificate is not valid for this host now."""
    seen, code = exc.verify_message, exc.verify_code
    renew = Remedy("a shell of the proxy", ("certbot renew",))
    if code == _EXPIRED:
        return Fault(seen, "expired", "The certificate has expired.", renew)
    if code == _NOT_YET:
        return Fault(
            seen, "not-yet-valid", "The certificate is not valid yet, or a clock is wrong."
        )
    if code in (_HOST, _IP):
        sentence = f"The certificate is for another host than {address.host}."
        order = Remedy("a shell of the proxy", (f"certbot certonly -d {address.host}",))
        return Fault(seen, "other-host", sentence, order)
    return Fault(
        seen,
        "untrusted",
        "Nobody this machine trusts has signed the certificate, or its chain is incomplete.",
        Remedy("nginx, with the whole chain", ("ssl_certificate /.../fullchain.pem;",)),
        Remedy("or here, for a certificate of one's own", ("SSL_CERT_FILE=ca.pem wsredis doctor",)),
    )
