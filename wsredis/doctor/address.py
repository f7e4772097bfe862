"""The address of a site's websockets, and the private facility below it that the doctor uses."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

__all__ = ["Address"]

_USER = re.compile(r"([a-zA-Z]+:)?(//)?[^/?#]*@")

_HOST = re.compile(r"[a-zA-Z0-9._~:%-]+")
"""A host name after IDNA, or an IP address, perhaps with a zone (RFC 6874)."""

_SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}
_PORTS = {False: 80, True: 443}


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a site's websockets.

    Args:
        tls: whether the scheme is ``wss://``.
        host: name or IP address, without brackets.
        port: TCP port.
        prefix: path below which websockets are served, with a slash at both ends.
        facility: the rest of the path; by default a random name that no other client uses.
        query: additional query string of each request, such as a ticket.
    """

    tls: bool
    host: str
    port: int
    prefix: str
    facility: str
    query: str = ""

    @classmethod
    def parse(cls, url: str, facility: str = "") -> Address:
        """Parse a URL; the path after its last slash and the channel keys of its query are ignored.

        Raises:
            ValueError: it is not a websocket URL, or has a user and password; the text says what
                to write.
        """
        if _USER.match(url):  # not shown, as it may have a password
            raise ValueError(
                "the address must not contain a user or password: write --header"
                " 'Authorization: ...'"
            )
        try:
            parts = urlsplit(url)
            port, host = parts.port, (parts.hostname or "").encode("idna").decode()
        except ValueError:  # UnicodeError is one
            raise _not_valid(url) from None
        if parts.scheme not in _SCHEMES or not _HOST.fullmatch(host) or port == 0:
            raise _not_valid(url)
        tls = _SCHEMES[parts.scheme]
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~")
        prefix = path[: path.rfind("/") + 1]
        keys = ("subscribe-", "publish-", "echo")
        rest = [item for item in parts.query.split("&") if item and not item.startswith(keys)]
        return cls(
            tls,
            host,
            port or _PORTS[tls],
            prefix if len(prefix) > 1 else "/ws/",
            quote(facility) or f"wsredis-doctor-{secrets.token_hex(6)}",
            quote("&".join(rest), safe="%&=+/:@!$'()*,;~?"),
        )

    @property
    def authority(self) -> str:
        """Return host and port in the form of a Host header (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.tls] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Return the origin of the site's own pages."""
        return f"http{'s' if self.tls else ''}://{self.authority}"

    def url(self, target: str = "") -> str:
        """Return the full URL of a target, by default that of the doctor's facility."""
        return f"ws{'s' if self.tls else ''}://{self.authority}{target or self.target()}"

    def target(self, *keys: str, prefix: str = "") -> str:
        """Return path and query; without keys it subscribes to the broadcast.

        Args:
            keys: channel keys such as ``publish-broadcast``.
            prefix: the prefix to use instead of that of the address.
        """
        query = "&".join(filter(None, (*(keys or ("subscribe-broadcast",)), self.query)))
        return f"{prefix or self.prefix}{self.facility}?{query}"


def _not_valid(url: str) -> ValueError:
    shown = "this" if "@" in url else repr(url)  # it may have a password
    return ValueError(
        f"{shown} is not the address of a websocket: write one like wss://example.com/ws/ or"
        " ws://localhost:8000/ws/, with a port from 1 to 65535"
    )
