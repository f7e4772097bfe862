"""The steps of an examination, from the host name to idle websockets; the first fault ends it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from . import remedies
from .answers import judge, judge_101, judge_no_answer, mangled_deflate, server_of
from .client import Answer, Client, Gone, NoAnswer, NotAccepted, Socket
from .connection import judge_connection, judge_name, judge_tls
from .report import Fault, NotTested, Remedy, Report
from .script import look_for_script
from .silence import Outcome, Verdict, watch

__all__ = ["Examination"]

DENIED = "not tested: the site does not let this client publish (closed with 1008)"

TEXT = "wsredis doctor " * 64
"""A text that compresses well."""


class Examination:
    """An examination of the websockets of a site.

    Args:
        client: connects to the site.
        wait: maximum seconds to wait for the server's pings; 0 skips that step.
        publish: whether to publish one message to the doctor's facility.
        tell: takes a line that says what the examination is waiting for.
        script: path of the browser client's script; "" to try the usual ones.
    """

    def __init__(
        self,
        client: Client,
        wait: float,
        publish: bool,
        tell: Callable[[str], object],
        script: str = "",
    ) -> None:
        self._client = client
        self._wait = wait
        self._publish = publish
        self._tell = tell
        self._script = script

    def run(self, report: Report) -> None:
        """Run the steps, up to the first fault."""
        steps = {
            "name": self._name,
            "connection": self._connection,
            "TLS": self._tls if self._client.address.tls else None,
            "handshake": self._handshake,
            "frames": self._frames,
            "compression": self._compression,
            "message": self._message if self._publish else None,
            "script": lambda: look_for_script(self._client, self._script),
            "silence": self._silence if self._wait else None,
        }
        for name, step in steps.items():
            if step is not None:
                try:
                    report.passed(name, step())
                except NotTested as exc:
                    report.skipped(name, str(exc))
                except Fault as fault:
                    report.failed(name, fault)
                    return

    # The connection

    def _name(self) -> str:
        try:
            places = self._client.resolve()
        except OSError as exc:
            raise judge_name(self._client.address, exc) from exc
        return f"{self._client.address.host} is {', '.join(places)}"

    def _connection(self) -> str:
        began = time.monotonic()
        try:
            self._client.connect().close()
        except OSError as exc:
            raise judge_connection(self._client.address, exc) from exc
        taken = (time.monotonic() - began) * 1000
        return f"port {self._client.address.port} accepts connections, after {taken:.0f} ms"

    def _tls(self) -> str:
        try:
            sock = self._client.secure(self._client.connect())
        except OSError as exc:
            raise judge_tls(self._client.address, exc) from exc
        with sock:
            until = dict(sock.getpeercert() or {}).get("notAfter")
            return f"{sock.version()}, and the certificate is trusted until {until}"

    # The websocket

    def _open(self, target: str = "", *, deflate: bool = True) -> Socket:
        """Open a websocket, or raise a Fault."""
        found = self._try(target or self._client.address.target(), deflate)
        if isinstance(found, Answer):
            raise judge(self._client, found)
        return found

    def _try(self, target: str, deflate: bool = True) -> Answer | Socket:
        try:
            return self._client.shake(target, deflate=deflate)
        except NoAnswer as nothing:
            raise judge_no_answer(self._client, nothing) from None
        except NotAccepted as exc:
            raise judge_101(self._client, exc) from None
        except ssl.SSLError as exc:
            raise judge_tls(self._client.address, exc) from exc
        except OSError as exc:
            raise judge_connection(self._client.address, exc) from exc

    def _handshake(self) -> str:
        self._open().close()
        return f"101 for pages from {self._client.origin}"

    def _frames(self) -> str:
        ws = self._open()
        seen: list[Frame] = []
        try:
            began = time.monotonic()
            ws.ping()
            if self._pong(ws, seen):
                return f"a ping was answered after {(time.monotonic() - began) * 1000:.0f} ms"
            self._tell(f"no pong; waiting for a ping from the server, {self._wait:g} s at most")
            deadline = time.monotonic() + self._wait
            while not seen and (left := deadline - time.monotonic()) > 0:
                seen += ws.receive(left)
        except Gone as gone:
            # A server that never gets our pong ends the websocket.
            if gone.said or not seen:
                raise self._gone(gone) from None
        finally:
            ws.close()
        raise self._no_pong(bool(seen))

    def _pong(self, ws: Socket, seen: list[Frame]) -> bool:
        """Wait for a pong and collect the frames before it.

        Raises:
            Gone: the websocket has ended.
        """
        deadline = time.monotonic() + self._client.seconds
        while (left := deadline - time.monotonic()) > 0:
            frames = ws.receive(left)
            if any(frame.opcode is Opcode.PONG for frame in frames):
                return True
            seen += frames
        return False

    def _no_pong(self, heard: bool) -> Fault:
        """Return the fault that a ping without a pong indicates."""
        if heard:
            return Fault(
                "no pong, though the server's own frames arrive",
                "one-way",
                "The 101 arrives at the client, but the client's frames do not reach the server,"
                " as with uWSGI's router without http-websockets.",
                remedies.uwsgi_router(),
            )
        return Fault(
            f"no pong within {self._client.seconds:g} s, and nothing else from the server",
            "no-frames",
            "Only the 101 arrives, but no frames: a router, proxy or filter does not tunnel the"
            " connection, or buffers the frames.",
            remedies.uwsgi_router(),
            *remedies.pass_upgrade(server_of(self._client), self._client.address.prefix),
        )

    def _gone(self, gone: Gone) -> Fault:
        """Return the fault that the unexpected end of a websocket indicates."""
        seen = str(gone)
        if gone.code in (1001, 1012):
            return Fault(seen, "restarted", "The server was restarted meanwhile: run this again.")
        if gone.broken and "reserved bits" in gone.broken:
            return mangled_deflate(self._client, seen)
        if gone.broken or gone.code == 1002:
            return Fault(seen, "mangled", "A proxy or filter changes the frames.")
        if gone.code is None:
            return Fault(
                seen,
                "cut",
                "Websockets end at once: a proxy does not tunnel them, or a worker crashes.",
                *remedies.uwsgi_harakiri(),
            )
        return Fault(seen, "closed", "The site itself closes the websocket; its log says why.")

    # Messages

    def _compression(self) -> str:
        ws = self._open()
        agreed = ws.deflate
        try:
            # An unfinished message: the server inflates it, but no endpoint gets it.
            if agreed:
                ws.text(TEXT, fin=False)
            else:
                ws.raw(_deflated_part())
            ws.ping()
            understood, seen = self._pong(ws, []), "no pong"
        except Gone as gone:
            if gone.code not in (1002, 1007):
                raise self._gone(gone) from None
            understood, seen = False, str(gone)
        finally:
            ws.close()
        if agreed != understood:
            lost = f"permessage-deflate was negotiated, and then {seen}"
            hidden = "the server compresses, although the 101 that arrives does not say so"
            raise mangled_deflate(self._client, lost if agreed else hidden)
        self._open(deflate=False).close()
        return "permessage-deflate" if agreed else "none"

    def _message(self) -> str:
        keys = ("subscribe-broadcast", "publish-broadcast", "echo")
        ws = self._try(self._client.address.target(*keys))
        if isinstance(ws, Answer):
            raise NotTested(f"not tested: the site refuses clients that request to publish ({ws})")
        try:
            ws.text(TEXT)
            deadline = time.monotonic() + self._client.seconds
            while (left := deadline - time.monotonic()) > 0:
                for frame in ws.receive(left):
                    if frame.opcode is Opcode.TEXT and bytes(frame.data).decode() == TEXT:
                        return "published, and came back through Redis"
        except Gone as gone:
            if gone.code == 1008:
                raise NotTested(DENIED) from None
            if gone.code == 1013:
                raise _not_published(str(gone)) from None
            raise self._gone(gone) from None
        finally:
            ws.close()
        raise NotTested("sent, but the site's endpoint sent nothing back")

    # Idle websockets

    def _silence(self) -> str:
        self._tell(f"waiting for two pings from the server, {self._wait:g} s at most")
        verdict = watch(self._open, self._wait)
        if verdict.outcome is Outcome.PINGED:
            return (
                f"the server pings every {verdict.seconds:.3g} s, and no websocket ends before that"
            )
        if verdict.outcome is Outcome.OPEN:
            seconds = f"{verdict.seconds:.3g} s"
            return f"no websocket ended within {seconds}; use a larger --wait to see the pings"
        raise self._ended(verdict)

    def _ended(self, verdict: Verdict) -> Fault:
        if verdict.gone is not None:
            return self._gone(verdict.gone)
        server, prefix = server_of(self._client), self._client.address.prefix
        if verdict.outcome is Outcome.SILENCE:
            return Fault(
                f"ended after {verdict.seconds:.1f} s of silence, before the server's ping",
                "read-timeout",
                "The proxy's read timeout is shorter than the ping interval.",
                *remedies.longer(server, prefix, verdict.seconds),
            )
        if verdict.outcome is Outcome.DEATH:
            return Fault(
                f"ended after {verdict.seconds:.1f} s without a close frame, busy or idle",
                "worker-killed",
                "The process that served the websockets was killed: by harakiri, because a request"
                " took too long, or for lack of memory.",
                *remedies.uwsgi_harakiri(),
            )
        return Fault(
            f"ended after {verdict.seconds:.1f} s",
            "cut-late",
            "Websockets end, because they are idle or because their process ends: run this again on"
            " a less busy machine.",
            *remedies.longer(server, prefix, verdict.seconds),
            *remedies.uwsgi_harakiri(),
        )


def _not_published(seen: str) -> Fault:
    return Fault(
        seen,
        "not-published",
        "Redis does not accept messages from the WSGI server: it is unavailable, full, or does not"
        " allow it.",
        Remedy("in a shell on the server", ("redis-cli -u $WSREDIS_REDIS publish ws:test x",)),
    )


def _deflated_part() -> bytes:
    """Return the first frame of a compressed message, to send without negotiated compression."""
    deflate = PerMessageDeflate(True, True, 15, 15)
    return Frame(Opcode.TEXT, TEXT.encode(), False).serialize(mask=True, extensions=[deflate])
