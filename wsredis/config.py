"""The options: one frozen `Config`, checked when it is made.

Nothing here is read at import. A value comes from the caller, else from the environment variable
``WSREDIS_<NAME>``, else from the default. What an option does is said once, at its field.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from .channels import encode_name
from .exceptions import ConfigurationError
from .proxies import Proxies

__all__ = ["Config", "configure", "configure_from", "current_config", "is_token"]

ALIKE = 0.7
"""How much a variable must be like an option to be taken for a slip of the pen, from 0 to 1."""

_REDIS_SCHEMES = ("redis", "rediss", "unix", "memory")


_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _flag(text: str) -> bool:
    if (text := text.lower()) not in _TRUE + _FALSE:
        raise ValueError(text)
    return text in _TRUE


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _option(default: Any, parse: Callable[[str], Any], hint: str, *, secret: bool = False) -> Any:
    """Declare a field: its default, how to read it from the environment, what to write for it."""
    return field(default=default, metadata={"parse": parse, "hint": hint}, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Hold the options of a middleware or a publisher.

    Raises:
        ConfigurationError: a value makes no sense; the text says what to write.
    """

    prefix: str = _option(
        "/ws/", str, "an ASCII path that begins and ends with a slash, like '/ws/'"
    )
    """Path below which websockets live."""

    redis: str | Mapping[str, Any] = _option(
        "redis://127.0.0.1:6379/0", str,
        "a URL like 'redis://:password@host:6379/0', 'rediss://host', 'unix:///run/redis.sock',"
        " 'memory://', or a dict of redis-py's arguments like {'host': 'localhost', 'port': 6379}",
        secret=True,
    )  # fmt: skip
    """Where Redis is. ``memory://`` is a broker inside this one process, for tests."""

    key_prefix: str = _option("ws", str, "a name without colons or white space, or '' for none")
    """First part of every channel: ``ws:broadcast:news``."""

    expire: int = _option(0, int, "whole seconds, 0 to keep nothing")
    """Seconds for which the last message of a channel is kept for those who come later."""

    heartbeat: str | None = _option(None, str, "a string that no real message equals, or None")
    """Text sent to every socket and swallowed when a client sends it."""

    heartbeat_interval: float = _option(4.0, float, "seconds above 0")
    """Seconds between two heartbeats to one socket."""

    origins: tuple[str, ...] | None = _option(
        None, _names,
        "origins like ['https://example.com', 'http://localhost:3000'], ['*'] for every origin,"
        " or None for the same origin only",
    )  # fmt: skip
    """Origins that may connect (RFC 6454); None is the request's own."""

    trusted_proxies: tuple[str, ...] = _option(
        (), _names,
        "addresses and networks of your proxies like ['127.0.0.1', '10.0.0.0/8'], and 'unix' for"
        " one on a Unix socket",
    )  # fmt: skip
    """Direct peers whose ``X-Forwarded-For``, ``-Proto`` and ``-Host`` are believed."""

    subprotocols: tuple[str, ...] = _option(
        (), _names, "names like ['chat.v1'] (RFC 6455, 1.9), or ['*'] for whatever is offered"
    )
    """Sub-protocols this server speaks; the first one a client offers is chosen."""

    max_message_size: int = _option(2**20, int, "bytes above 0")
    """Bytes of one message from a client, counted after inflation; more closes with 1009."""

    max_fragments: int = _option(4096, int, "a number above 0")
    """Frames of one message from a client; more closes with 1008."""

    binary: bool = _option(True, _flag, "True or False")
    """Whether clients may send binary messages; if not, one closes with 1003."""

    envelope: bool = _option(True, _flag, "True or False")
    """Whether binary is marked in Redis; if not it travels raw, and valid UTF-8 counts as text."""

    max_outbox: int = _option(2**20, int, "bytes above 0")
    """Bytes that may wait for a slow reader; for more see ``overflow``."""

    overflow: str = _option(
        "close", str, "'close', 'drop-oldest' or 'keep-latest' (of each channel)"
    )
    """What gives way when more than ``max_outbox`` waits: the socket, which is closed with 1013,
    the oldest messages, or of each channel all but the newest."""

    on_gap: str = _option("close", str, "'close' or 'keep'")
    """What becomes of the sockets when Redis was lost and is back, so that messages may have been
    missed: closed with 1012, so that their clients know and come back, or kept."""

    ping_interval: float = _option(25.0, float, "seconds above 0, below the proxy's read time-out")
    """Seconds between two pings to one socket."""

    pong_timeout: float = _option(20.0, float, "seconds above 0, at most ping_interval")
    """Seconds in which something must arrive after a ping; else the socket is dead."""

    close_timeout: float = _option(2.0, float, "seconds above 0")
    """Seconds a client has to answer a close frame before its socket is cut."""

    max_connections: int | None = _option(None, int, "a number above 0, or None")
    """Websockets per process, more get 503; None leaves 128 of the process's file descriptors, of
    which a websocket takes one, or three where a Python server ends TLS."""

    max_connections_per_user: int | None = _option(1000, int, "a number above 0, or None")
    """Websockets of one user per process; more get 429."""

    max_connections_per_address: int | None = _option(None, int, "a number above 0, or None")
    """Websockets from one address per process, more get 429; behind a proxy all come from one
    address unless ``trusted_proxies`` lists it."""

    max_messages_per_second: int | None = _option(1000, int, "a number above 0, or None")
    """Messages, pings and pongs of one socket in a second; more close it with 1008."""

    max_bytes_per_second: int | None = _option(2**24, int, "bytes above 0, or None")
    """Bytes of one socket in a second, counted after inflation, and 256 for each frame; more close
    it with 1008."""

    handshake_timeout: float = _option(10.0, float, "seconds above 0")
    """Seconds in which it must be known who asks for a websocket, and what for; else 503."""

    compression: bool = _option(True, _flag, "True or False")
    """Whether to accept permessage-deflate (RFC 7692), without context take-over."""

    secret: str | None = _option(
        None, str,
        "at least 32 characters of chance, the same for all processes, from:"
        " python -c 'import secrets; print(secrets.token_hex())', or None",
        secret=True,
    )  # fmt: skip
    """What tickets are signed with; see `wsredis.tickets`."""

    redis_deadline: float = _option(10.0, float, "seconds above 0")
    """Seconds after which a silent Redis counts as lost; also the limit of one command."""

    def __post_init__(self) -> None:
        for name in ("origins", "subprotocols", "trusted_proxies"):
            if isinstance(value := getattr(self, name), str):
                raise _wrong(name, value)
            if value is not None:
                try:
                    object.__setattr__(self, name, tuple(value))
                except TypeError:
                    raise _wrong(name, value) from None
        for name, sensible in _SENSIBLE.items():
            value = getattr(self, name)
            try:
                good = sensible(self, value)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                good = False
            if not good:
                raise _wrong(name, value)

    @classmethod
    def make(cls, base: Config | None = None, /, **options: Any) -> Config:
        """Return ``base`` (else the environment over the defaults) with ``options`` laid over it.

        Raises:
            ConfigurationError: an option is unknown or makes no sense.
        """
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                close = get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
                raise ConfigurationError(f"There is no option {name!r}: {hint}")
        if base is not None:
            return replace(base, **options)
        return cls(**{**_environment(), **options})

    def connection_limit(self) -> int:
        """Return how many websockets one process may hold."""
        if self.max_connections is not None:
            return self.max_connections
        return max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 128)


def _wrong(name: str, value: object) -> ConfigurationError:
    hint = next(f.metadata["hint"] for f in fields(Config) if f.name == name)
    shown = _without_password(value) if name == "redis" else repr(value)
    if name == "secret":
        shown = "***"
    return ConfigurationError(f"{name}={shown} makes no sense: write {hint}.")


def _without_password(value: object) -> str:
    if isinstance(value, Mapping):
        return repr({key: "***" if "pass" in str(key) else v for key, v in value.items()})
    scheme, _, rest = repr(value).partition("?")[0].partition("://")
    return (
        f"{scheme}://***@{rest.rpartition('@')[2]}"
        if "@" in rest
        else repr(value).partition("?")[0]
    )


def _is_number(low: float) -> Callable[[Config, Any], bool]:
    def check(config: Config, value: Any) -> bool:
        return not isinstance(value, bool) and math.isfinite(value) and value > low

    return check


def _is_count(low: int) -> Callable[[Config, Any], bool]:
    def check(config: Config, value: Any) -> bool:
        return type(value) is int and value >= low

    return check


def _is_limit(config: Config, value: Any) -> bool:
    return value is None or _is_count(1)(config, value)


def _is_bool(config: Config, value: Any) -> bool:
    return isinstance(value, bool)


def _is_redis(config: Config, value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value)
    url = urlsplit(value)
    where = url.path if url.scheme == "unix" else url.hostname or url.scheme == "memory"
    return url.scheme in _REDIS_SCHEMES and bool(where) and (url.scheme == "unix" or url.port != 0)


def _is_origin(text: str) -> bool:
    if text == "*":
        return True
    url = urlsplit(text)
    # A pattern, an empty query or a name in another script would never equal what a browser sends.
    plain = text.isascii() and not any(c <= " " or c in "*,\\?#@" for c in text)
    known = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    return plain and known and not url.path


def _are_proxies(config: Config, value: Any) -> bool:
    return all(isinstance(entry, str) for entry in value) and bool(Proxies(value))


def is_token(text: Any) -> bool:
    """Tell whether a text is a token (RFC 9110 section 5.6.2)."""
    return bool(text) and all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in text)


_SENSIBLE: dict[str, Callable[[Config, Any], bool]] = {
    "prefix": lambda c, v: (
        v[0] == v[-1] == "/" and "//" not in v and v.isascii() and v.isprintable()
    ),
    "redis": _is_redis,
    "key_prefix": lambda c, v: encode_name(v) == v,
    "expire": _is_count(0),
    "heartbeat": lambda c, v: v is None or (isinstance(v, str) and bool(v.encode())),
    "heartbeat_interval": _is_number(0),
    "origins": lambda c, v: v is None or all(_is_origin(origin) for origin in v),
    "trusted_proxies": _are_proxies,
    "subprotocols": lambda c, v: all(is_token(name) for name in v),
    "max_message_size": _is_count(1),
    "max_fragments": _is_count(1),
    "binary": _is_bool,
    "envelope": _is_bool,
    "max_outbox": _is_count(1),
    "overflow": lambda c, v: v in ("close", "drop-oldest", "keep-latest"),
    "on_gap": lambda c, v: v in ("close", "keep"),
    "ping_interval": _is_number(0),
    "pong_timeout": lambda c, v: _is_number(0)(c, v) and v <= c.ping_interval,
    "close_timeout": _is_number(0),
    "max_connections": _is_limit,
    "max_connections_per_user": _is_limit,
    "max_connections_per_address": _is_limit,
    "max_messages_per_second": _is_limit,
    "max_bytes_per_second": _is_limit,
    "handshake_timeout": _is_number(0),
    "compression": _is_bool,
    "secret": lambda c, v: v is None or (isinstance(v, str) and len(v.encode()) >= 32),
    "redis_deadline": _is_number(0),
}


def _environment() -> dict[str, Any]:
    """Return the options that ``WSREDIS_<NAME>`` variables set.

    A name that is nearly one of these is refused. Any other is somebody else's: Kubernetes, for
    one, sets WSREDIS_PORT and more where a service is called so.
    """
    found: dict[str, Any] = {}
    known = {f"WSREDIS_{option.name.upper()}": option for option in fields(Config)}
    for name in os.environ:
        if name.startswith("WSREDIS_") and name not in known:
            words = [other.removeprefix("WSREDIS_") for other in known]
            if close := get_close_matches(name.removeprefix("WSREDIS_"), words, 1, ALIKE):
                raise ConfigurationError(
                    f"There is no variable {name}: did you mean WSREDIS_{close[0]}?"
                )
    for name, option in known.items():
        if (text := os.environ.get(name)) is not None:
            try:
                found[option.name] = option.metadata["parse"](text)
            except ValueError:
                hint = option.metadata["hint"]
                raise ConfigurationError(f"{name}={text!r} makes no sense: write {hint}.") from None
    return found


_current: Config | None = None
_source: Callable[[], Config] | None = None


def configure(config: Config | None = None, **options: Any) -> Config:
    """Set the options that middleware and publishers of this process use when given none.

    Call it once, where the site is set up. Returns the `Config` that holds from now on.

    Raises:
        ConfigurationError: an option is unknown or makes no sense.
    """
    global _current
    _current = Config.make(config, **options)
    return _current


def configure_from(source: Callable[[], Config]) -> None:
    """Let a source say the options each time they are needed, where `configure` has set none.

    For adapters, whose framework has settings of its own.
    """
    global _source
    _source = source


def current_config() -> Config:
    """Return what `configure` has set, else what the framework says, else the environment."""
    if _current is not None:
        return _current
    return _source() if _source is not None else Config.make()
