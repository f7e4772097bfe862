"""Diagnoses of handshakes that did not open a websocket: an HTTP response, other bytes, or nothing.

Where a response alone is ambiguous, another address of the same site is tried.
"""

from __future__ import annotations

import re
import ssl
from urllib.parse import urlsplit

from ..access.policy import NOT_GRANTED
from ..handshake.origin import MISMATCH
from ..handshake.upgrade import PLAIN
from . import remedies
from .address import Address
from .client import Answer, Client, NoAnswer, NotAccepted, Socket
from .report import Fault, Remedy

__all__ = ["judge", "judge_101", "judge_no_answer", "mangled_deflate", "server_of"]

_TOLD = re.compile(r"below (/[!-~]*/)")

# Parts of the error pages of nginx, Go and Apache.
_PLAIN_TO_TLS = re.compile("HTTPS (port|server)|SSL-enabled server")

_HTTP2_SETTINGS = 4  # type of the first frame that a server sends, RFC 9113 section 3.4


def judge(client: Client, answer: Answer) -> Fault:
    """Return the fault that an HTTP response to a valid handshake indicates."""
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
            "The proxy cannot reach a WSGI server for this address, or that server ended before it"
            " responded.",
            Remedy(
                f"nginx, in `location {client.address.prefix}`",
                (f"proxy_pass http://{remedies.BACKEND};  # an http-socket of uWSGI, or gunicorn",),
            ),
        )
    return _elsewhere(client, answer) or _stranger(client.address, answer)


def judge_no_answer(client: Client, nothing: NoAnswer) -> Fault:
    """Return the fault that a reply without HTTP, or no reply, indicates."""
    data, address = nothing.data, client.address
    if len(data) >= 9 and data[3] == _HTTP2_SETTINGS and data[:2] == b"\0\0":
        return Fault(
            "an HTTP/2 response, which was not requested",
            "http2-only",
            "This port supports HTTP/2 only, and browsers open websockets with HTTP/1.1.",
            remedies.http2_off(),
        )
    if (data or nothing.ended) and not address.tls and _expects_tls(client):
        return _needs_tls(address, "TLS instead of HTTP")
    if data:
        return Fault(f"{data[:20]!r}", "no-http", "The server on this port is not an HTTP server.")
    if nothing.ended:
        return Fault(
            "the connection was closed without a response",
            "no-answer",
            "No HTTP server listens on this port, or the server's process ended before it"
            " responded.",
            Remedy("uWSGI, where it has `socket =`", (f"http-socket = {remedies.BACKEND}",)),
            *remedies.uwsgi_harakiri(),
        )
    if _answers(client):
        return Fault(
            f"no response within {client.seconds:g} s, but one to plain HTTP",
            "buffered",
            "A proxy in front of the server waits for the end of the response, but the response of"
            " a websocket never ends.",
            Remedy(
                f"Let that proxy, cache or filter forward {address.prefix} unbuffered, as a tunnel"
            ),
        )
    return Fault(
        f"no response within {client.seconds:g} s",
        "silent",
        "The server accepts connections but does not respond: all its workers are busy, or it"
        " hangs.",
        Remedy("uWSGI", ("gevent = 100",)),
        Remedy("gunicorn", (f"--worker-class gevent  # {remedies.GUNICORN}",)),
    )


def judge_101(client: Client, exc: NotAccepted) -> Fault:
    """Return the fault of an invalid 101."""
    if "extension" in str(exc).lower():
        return mangled_deflate(client, f"101, but {exc}")
    return Fault(
        f"101, but {exc}",
        "bad-101",
        "The 101 response does not match this handshake: a cache or filter has created or changed"
        " it.",
        Remedy(f"Let that cache or filter forward {client.address.prefix} unchanged and uncached"),
    )


def mangled_deflate(client: Client, seen: str) -> Fault:
    """Return the fault that only one end compresses."""
    return Fault(
        seen,
        "deflate-mangled",
        "A proxy changes the header Sec-WebSocket-Extensions in one direction only, so that only"
        " one end compresses.",
        *remedies.keep_deflate(server_of(client), client.address.prefix),
    )


def server_of(client: Client) -> str:
    """Return the name of the server or proxy that responds, or ""."""
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


# Refusals of wsredis


def _refused(client: Client, answer: Answer) -> Fault:
    """Return the fault that a refusal by wsredis itself indicates."""
    text, prefix = answer.body.strip(), client.address.prefix
    seen = f"{answer}: {text}"
    if answer.status == 400 and text == PLAIN:
        return Fault(
            seen,
            "no-upgrade",
            "The proxy turns the handshake into a plain GET: it does not forward the Upgrade"
            " header.",
            *remedies.pass_upgrade(answer.server, prefix),
        )
    if answer.status == 400 and "HTTP/1.1" in text:
        return Fault(
            seen,
            "http-1.0",
            "The proxy connects to the WSGI server with HTTP/1.0, which has no websockets.",
            remedies.http_1_1(prefix),
        )
    if answer.status == 403 and "origin" in text.lower() and not text.startswith(NOT_GRANTED):
        return _origin(client, seen, text)
    if answer.status == 404:
        return _elsewhere(client, answer) or _stranger(client.address, answer)
    if answer.status == 501:
        return Fault(
            seen,
            "no-socket",
            "The WSGI server cannot serve websockets.",
            Remedy("uWSGI", ("uwsgi --http-socket :8000 --master --gevent 100 --module wsgi",)),
            Remedy(
                "or gunicorn",
                (remedies.GUNICORN, "gunicorn --worker-class gevent wsgi:application"),
            ),
        )
    if answer.status == 503 and "broker" in text:
        return Fault(
            seen,
            "redis-away",
            "The WSGI server cannot reach its Redis.",
            Remedy("in a shell on the server", ("redis-cli -u $WSREDIS_REDIS ping",)),
            Remedy(
                "the options of wsredis", ('WebSocketMiddleware(app, redis="redis://HOST:6379/0")',)
            ),
        )
    return _other_refusal(seen, answer.status)


def _other_refusal(seen: str, status: int) -> Fault:
    if status in (429, 503):
        return Fault(
            seen,
            "full",
            "The process has reached a limit of websockets, or is about to restart.",
            Remedy("the options of wsredis", ("WebSocketMiddleware(app, max_connections=10000)",)),
            Remedy("systemd, with a higher limit of open files", ("LimitNOFILE=65536",)),
        )
    if status in (401, 403):
        return Fault(
            seen,
            "not-allowed",
            "The site's own rules refuse this client.",
            Remedy(
                "to test as a user with access", ('wsredis doctor URL --cookie "sessionid=..."',)
            ),
            Remedy(
                "or with a facility that the site grants (the default is a random one)",
                ("wsredis doctor URL --facility NAME",),
            ),
        )
    if status >= 500:
        return Fault(seen, "site-failed", "The site's own code failed: its log has the traceback.")
    return Fault(
        seen,
        "bad-handshake",
        "The handshake does not arrive as it was sent: a proxy or filter has rewritten it.",
    )


def _origin(client: Client, seen: str, text: str) -> Fault:
    """Return the fault that names the origin to list, or that the proxy does not forward Host."""
    own, origin = client.address.origin, client.origin
    not_own = MISMATCH in text
    if not_own and origin == own:
        return Fault(
            seen,
            "host-hidden",
            f"The proxy does not forward the Host header, so {origin} looks like a foreign origin.",
            *remedies.pass_host(server_of(client), client.address.prefix),
        )
    listed = [origin] if not not_own else list(dict.fromkeys([own, origin]))
    names = ", ".join(f'"{name}"' for name in listed)
    more = "" if not_own else ", ..."
    return Fault(
        seen,
        "origin",
        f"Pages from {origin} may not connect.",
        Remedy("the options of wsredis", (f"WebSocketMiddleware(app, origins=[{names}{more}])",)),
    )


# Responses of other software


def _needs_tls(address: Address, seen: str) -> Fault:
    url = f"wss://{address.authority}{address.prefix}"
    return Fault(
        seen,
        "needs-tls",
        "This port expects TLS.",
        Remedy("the script of the page", (f'new WebSocket("{url}...")',)),
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
        "The site redirects to TLS, but browsers do not follow redirects for websockets.",
        Remedy(
            "the script of the page", (f'new WebSocket("wss://{to.netloc}{address.prefix}...")',)
        ),
    )


def _elsewhere(client: Client, answer: Answer) -> Fault | None:
    """Look for websockets below the paths that a misconfigured proxy or another prefix leads to."""
    address = client.address
    bare = address.prefix.rstrip("/")
    for prefix in (f"{bare}{address.prefix}", f"{bare}{address.prefix[1:]}"):
        if _is_gate(client, prefix):
            return Fault(
                f"{answer}, but there are websockets below {prefix}",
                "prefix-stripped",
                f"The proxy strips {address.prefix} from the path, so the rest of the site"
                " responds.",
                *remedies.whole_prefix(answer.server, address.prefix),
            )
    told = _TOLD.search(answer.body) if answer.refused_by_wsredis else None
    other = told[1] if told else "/ws/"
    if other != address.prefix and _is_gate(client, other):
        return Fault(
            f"{answer}, but there are websockets below {other}",
            "other-prefix",
            f"This site serves websockets below {other}.",
            Remedy("the script of the page", (f'new WebSocket("{address.url(other)}...")',)),
            Remedy(
                "or the options of wsredis",
                (f'WebSocketMiddleware(app, prefix="{address.prefix}")',),
            ),
        )
    return None


def _is_gate(client: Client, prefix: str) -> bool:
    """Return whether wsredis responds below a prefix, even if it refuses the handshake."""
    try:
        found = client.shake(client.address.target(prefix=prefix))
    except (OSError, NoAnswer, NotAccepted):
        return False
    if isinstance(found, Socket):
        found.close()
        return True
    return found.refused_by_wsredis and found.status != 404


def _stranger(address: Address, answer: Answer) -> Fault:
    """Return the fault that a response of other software indicates if no websockets were found."""
    seen = str(answer)
    if 300 < answer.status < 400:
        return Fault(
            f"{seen}, to {answer.headers.get('Location', 'nowhere')}",
            "redirect",
            "The handshake is redirected, perhaps to a login page, but browsers do not follow"
            " redirects for websockets.",
            Remedy(f"Exempt the requests below {address.prefix} from the redirect"),
        )
    if answer.status in (401, 407):
        return Fault(
            seen,
            "auth",
            "The proxy requires a password for the websockets.",
            *remedies.no_login(answer.server, address.prefix),
            Remedy(
                "or, to send the password from here",
                ('wsredis doctor URL --header "Authorization: ..."',),
            ),
        )
    if answer.status == 403:
        return Fault(
            seen,
            "forbidden",
            "The request is forbidden before it reaches wsredis: by a rule of the proxy, by a"
            " filter, or by the site because the path was changed.",
            Remedy(f"Allow GET requests below {address.prefix} in the rule that forbids them"),
        )
    if answer.status in (200, 404, 405, 501) or answer.refused_by_wsredis:
        return Fault(
            seen,
            "no-websockets",
            f"There are no websockets below {address.prefix}: another site, the site without"
            " wsredis, or the proxy itself responds.",
            Remedy("wsgi.py", ("application = WebSocketMiddleware(application)",)),
            *remedies.pass_upgrade(answer.server, address.prefix),
        )
    return Fault(
        f"{seen}: {answer.body.strip()[:200]}" if answer.body.strip() else seen,
        "strange",
        "This response is not from wsredis: see the log of the server that sent it.",
    )
