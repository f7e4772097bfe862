"""What an answer means that is no websocket: an HTTP answer, something else, or nothing.

Where an answer alone does not tell, another address of the same site is asked.
"""

from __future__ import annotations

import re
import ssl
from urllib.parse import urlsplit

from ..handshake.origin import NOT_OWN
from ..handshake.upgrade import PLAIN
from . import remedies
from .address import Address
from .client import Answer, Client, NoAnswer, NotAccepted, Socket
from .report import Fault, Remedy

__all__ = ["judge", "judge_101", "judge_no_answer", "mangled_deflate", "server_of"]

_TOLD = re.compile(r"below (/[!-~]*/)")

# What nginx, Go and Apache say.
_PLAIN_TO_TLS = re.compile("HTTPS (port|server)|SSL-enabled server")

_HTTP2_SETTINGS = 4  # type of the first frame that a server sends, RFC 9113 section 3.4


def judge(client: Client, answer: Answer) -> Fault:
    """Return what an HTTP answer to a good handshake means."""
    if answer.refused_by_wsredis:
        return _refused(client, answer)
    if (fault := _redirected_to_tls(client.address, answer)) is not None:
        return fault
    if answer.status == 400 and _PLAIN_TO_TLS.search(answer.body):
        return _needs_tls(client.address, str(answer))
    if answer.status in (502, 503, 504):
        return Fault(
            str(answer),
            "no-backend",
            "The proxy reaches no WSGI server for this address, or that ended while it answered.",
            Remedy(
                f"nginx, in `location {client.address.prefix}`",
                (f"proxy_pass http://{remedies.BACKEND};  # an http-socket of uWSGI, or gunicorn",),
            ),
        )
    return _elsewhere(client, answer) or _stranger(client.address, answer)


def judge_no_answer(client: Client, nothing: NoAnswer) -> Fault:
    """Return what it means that no HTTP came."""
    data, address = nothing.data, client.address
    if len(data) >= 9 and data[3] == _HTTP2_SETTINGS and data[:2] == b"\0\0":
        return Fault(
            "HTTP/2, which was not asked for",
            "http2-only",
            "This port supports HTTP/2 only, and browsers open websockets with HTTP/1.1.",
            remedies.http2_off(),
        )
    if (data or nothing.ended) and not address.tls and _expects_tls(client):
        return _needs_tls(address, "no HTTP, but TLS")
    if data:
        return Fault(f"{data[:20]!r}", "no-http", "What listens at this port is no HTTP server.")
    if nothing.ended:
        return Fault(
            "the connection was closed without an answer",
            "no-answer",
            "No HTTP server listens at this port, or the server's process ended while it answered.",
            Remedy("uWSGI, where it has `socket =`", (f"http-socket = {remedies.BACKEND}",)),
            *remedies.uwsgi_harakiri(),
        )
    if _answers(client):
        return Fault(
            f"no answer within {client.seconds:g} s, but plain HTTP is answered",
            "buffered",
            "Something in front of the server waits for the end of the answer, which a websocket"
            " does not have.",
            Remedy(
                "that proxy, cache or filter",
                (f"let {address.prefix} pass unbuffered, as a tunnel",),
            ),
        )
    return Fault(
        f"no answer within {client.seconds:g} s",
        "silent",
        "The server takes connections and answers none: all its workers are busy or it hangs.",
        Remedy("uWSGI", ("gevent = 100",)),
        Remedy("gunicorn", ("--worker-class gevent",)),
    )


def judge_101(client: Client, exc: NotAccepted) -> Fault:
    """Return what is wrong with a 101."""
    if "extension" in str(exc).lower():
        return mangled_deflate(client, f"101, but {exc}")
    return Fault(
        f"101, but {exc}",
        "bad-101",
        "The 101 is no answer to this handshake: a cache or filter has written or changed it.",
        Remedy(
            "that proxy, cache or filter",
            (f"let {client.address.prefix} pass unchanged and uncached",),
        ),
    )


def mangled_deflate(client: Client, seen: str) -> Fault:
    """Return that the two ends do not agree about compression."""
    return Fault(
        seen,
        "deflate-mangled",
        "A proxy changes the header Sec-WebSocket-Extensions on one of its two ways, so that only"
        " one end compresses.",
        *remedies.keep_deflate(server_of(client), client.address.prefix),
    )


def server_of(client: Client) -> str:
    """Return what the foremost server calls itself, or ""."""
    try:
        return client.get(client.address.target()).server
    except (OSError, NoAnswer):
        return ""


def _expects_tls(client: Client) -> bool:
    try:
        client.secure(client.connect()).close()
    except ssl.SSLCertVerificationError:
        return True
    except ssl.SSLError as exc:
        return "alert" in str(exc)
    except OSError:
        return False
    return True


def _answers(client: Client) -> bool:
    try:
        client.get(client.address.target())
    except (OSError, NoAnswer):
        return False
    return True


# What wsredis says


def _refused(client: Client, answer: Answer) -> Fault:
    """Read the sentence of wsredis's own refusal."""
    text, prefix = answer.body.strip(), client.address.prefix
    seen = f"{answer}: {text}"
    if answer.status == 400 and text == PLAIN:
        return Fault(
            seen,
            "no-upgrade",
            "The proxy makes a plain GET of the handshake: it does not pass the Upgrade on.",
            *remedies.pass_upgrade(answer.server, prefix),
        )
    if answer.status == 400 and "HTTP/1.1" in text:
        return Fault(
            seen,
            "http-1.0",
            "The proxy uses HTTP/1.0 with the WSGI server, which has no websockets.",
            remedies.http_1_1(prefix),
        )
    if answer.status == 403 and "origin" in text.lower():
        return _origin(client, seen, text)
    if answer.status == 404:
        return _elsewhere(client, answer) or _stranger(client.address, answer)
    if answer.status == 501:
        return Fault(
            seen,
            "no-socket",
            "The WSGI server cannot serve websockets.",
            Remedy("uWSGI", ("uwsgi --http-socket :8000 --master --gevent 100 --module wsgi",)),
            Remedy("or gunicorn", ("gunicorn --worker-class gevent wsgi:application",)),
        )
    if answer.status == 503 and "broker" in text:
        return Fault(
            seen,
            "redis-away",
            "The WSGI server does not reach its Redis.",
            Remedy("a shell of the server", ("redis-cli -u $WSREDIS_REDIS ping",)),
            Remedy("wsredis", ('WebSocketMiddleware(app, redis="redis://HOST:6379/0")',)),
        )
    return _other_refusal(seen, answer.status)


def _other_refusal(seen: str, status: int) -> Fault:
    if status in (429, 503):
        return Fault(
            seen,
            "full",
            "The process has as many websockets as it may, or is about to restart.",
            Remedy("wsredis", ("WebSocketMiddleware(app, max_connections=10000)",)),
            Remedy("a limit of open files above it, for systemd", ("LimitNOFILE=65536",)),
        )
    if status in (401, 403):
        return Fault(
            seen,
            "not-allowed",
            "The site's own rules refuse this visitor.",
            Remedy("wsredis doctor, as somebody who may", ('--cookie "sessionid=..."',)),
            Remedy("or for a facility that everybody may have", ("--facility NAME",)),
        )
    if status >= 500:
        return Fault(seen, "site-failed", "The site's own code failed: its log has the traceback.")
    return Fault(
        seen, "bad-handshake", "The handshake arrives changed: something between has rewritten it."
    )


def _origin(client: Client, seen: str, text: str) -> Fault:
    """Return which origin to list, or that the proxy hides the host."""
    own, origin = client.address.origin, client.origin
    if text == NOT_OWN and origin == own:
        return Fault(
            seen,
            "host-hidden",
            f"The proxy does not pass the Host on, so {origin} looks like a foreign site.",
            *remedies.pass_host(server_of(client), client.address.prefix),
        )
    listed = [origin] if text != NOT_OWN else list(dict.fromkeys([own, origin]))
    names = ", ".join(f'"{name}"' for name in listed)
    more = "" if text == NOT_OWN else ", ..."
    return Fault(
        seen,
        "origin",
        f"Pages of {origin} may not connect.",
        Remedy("wsredis", (f"WebSocketMiddleware(app, origins=[{names}{more}])",)),
    )


# What others say


def _needs_tls(address: Address, seen: str) -> Fault:
    url = f"wss://{address.authority}{address.prefix}"
    return Fault(
        seen,
        "needs-tls",
        "This port expects TLS.",
        Remedy("the page", (f'new WebSocket("{url}...")',)),
    )


def _redirected_to_tls(address: Address, answer: Answer) -> Fault | None:
    location = str(answer.headers.get("Location", ""))
    try:
        to = urlsplit(location)
    except ValueError:
        return None
    if address.tls or to.scheme != "https" or to.hostname != address.host:
        return None
    return Fault(
        f"{answer}, to {location}",
        "https-redirect",
        "The site wants TLS and redirects to it, and websockets follow no redirect.",
        Remedy("the page", (f'new WebSocket("wss://{to.netloc}{address.prefix}...")',)),
    )


def _elsewhere(client: Client, answer: Answer) -> Fault | None:
    """Look for websockets where a proxy's mistake, or another prefix, would have put them."""
    address = client.address
    bare = address.prefix.rstrip("/")
    for prefix in (f"{bare}{address.prefix}", f"{bare}{address.prefix[1:]}"):
        if _is_gate(client, prefix):
            return Fault(
                f"{answer}, but there are websockets below {prefix}",
                "prefix-stripped",
                f"The proxy takes {address.prefix} off the path, so the plain site answers.",
                *remedies.whole_prefix(answer.server, address.prefix),
            )
    told = _TOLD.search(answer.body) if answer.refused_by_wsredis else None
    other = told[1] if told else "/ws/"
    if other != address.prefix and _is_gate(client, other):
        return Fault(
            f"{answer}, but there are websockets below {other}",
            "other-prefix",
            f"The websockets of this site live below {other}.",
            Remedy("the page", (f'new WebSocket("{address.url(other)}...")',)),
            Remedy("or wsredis", (f'WebSocketMiddleware(app, prefix="{address.prefix}")',)),
        )
    return None


def _is_gate(client: Client, prefix: str) -> bool:
    """Return whether wsredis is below a prefix, whatever it thinks of us."""
    try:
        found = client.shake(client.address.target(prefix=prefix))
    except (OSError, NoAnswer, NotAccepted):
        return False
    if isinstance(found, Socket):
        found.close()
        return True
    return found.refused_by_wsredis and found.status != 404


def _stranger(address: Address, answer: Answer) -> Fault:
    """Return what a foreign answer means when there are no websockets anywhere near."""
    seen = str(answer)
    if 300 < answer.status < 400:
        return Fault(
            f"{seen}, to {answer.headers.get('Location', 'nowhere')}",
            "redirect",
            "Something redirects the handshake, to a login page perhaps, and websockets follow no"
            " redirect.",
            Remedy("what redirects", (f"let GET requests below {address.prefix} pass",)),
        )
    if answer.status in (401, 407):
        return Fault(
            seen,
            "auth",
            "A password is asked for in front of the websockets.",
            *remedies.no_login(answer.server, address.prefix),
            Remedy("or look past it with", ('wsredis doctor --header "Authorization: ..."',)),
        )
    if answer.status == 403:
        return Fault(
            seen,
            "forbidden",
            "Not wsredis but something before it forbids this: a rule of the proxy, a filter, or"
            " the site because the path is not what it seems.",
            Remedy("what forbids it", (f"let GET requests below {address.prefix} pass",)),
        )
    if answer.status in (200, 404, 405, 501) or answer.refused_by_wsredis:
        return Fault(
            seen,
            "no-websockets",
            f"Below {address.prefix} there are no websockets: another site, the plain one, or the"
            " proxy itself answers.",
            Remedy("wsgi.py", ("application = WebSocketMiddleware(application)",)),
            *remedies.pass_upgrade(answer.server, address.prefix),
        )
    return Fault(
        f"{seen}: {answer.body.strip()[:200]}" if answer.body.strip() else seen,
        "strange",
        "This is not wsredis's answer: look into the log of what has given it.",
    )
