"""The options: one frozen `Config`, checked when it is made.

Nothing here is read at import. A value comes from the caller, else from the environment variable
``WSREDIS_<NAME>``, else from the default. What an option does is said once, at its field; which
values are valid is said in `wsredis.config.validation`.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..deprecated import OPTIONS, accept_old_options, renamed_option, renamed_options
from ..exceptions import ConfigurationError
from .names import closest, suggestion
from .validation import is_valid

__all__ = ["Config", "option_names"]

LIKENESS = 0.7
"""How similar a variable must be to that of an option to be taken for a misspelling, 0 to 1."""

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


@accept_old_options
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of a middleware or a publisher.

    Raises:
        ConfigurationError: a value is not valid; the text says what to write.
    """

    prefix: str = _option(
        "/ws/", str, "an ASCII path that begins and ends with a slash, like '/ws/'"
    )
    """Path below which websockets are served."""

    redis: str | Mapping[str, Any] = _option(
        "redis://127.0.0.1:6379/0", str,
        "a URL like 'redis://:password@host:6379/0', 'rediss://host', 'unix:///run/redis.sock',"
        " 'memory://', or a dict of redis-py's arguments like {'host': 'localhost', 'port': 6379}",
        secret=True,
    )  # fmt: skip
    """Where Redis is. ``memory://`` is a broker inside this one process, for tests."""

    key_prefix: str = _option("ws", str, "a name without colons or white space, or '' for none")
    """First part of every channel: ``ws:broadcast:news``."""

    expire: int = _option(0, int, "whole seconds, 0 to retain nothing")
    """Seconds for which the last message of a channel is retained for later subscribers."""

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
    """Sub-protocols of this server; the first one a client offers is chosen."""

    max_message_size: int = _option(2**20, int, "bytes above 0")
    """Bytes of one message from a client, counted after inflation; more closes with 1009."""

    max_fragments: int = _option(4096, int, "a number above 0")
    """Frames of one message from a client; more closes with 1008."""

    binary: bool = _option(True, _flag, "True or False")
    """Whether clients may send binary messages; if not, one closes with 1003."""

    envelope: bool = _option(True, _flag, "True or False")
    """Whether binary is marked in Redis; if not it travels raw, and valid UTF-8 counts as text."""

    max_send_buffer: int = _option(2**20, int, "bytes above 0")
    """Bytes that may wait for a slow reader; for more see ``overflow``."""

    overflow: str = _option(
        "close", str, "'close', 'drop-oldest' or 'keep-latest' (of each channel)"
    )
    """What happens when more than ``max_send_buffer`` waits: the socket is closed with 1013,
    or the oldest messages are dropped, or all but the newest of each channel."""

    on_gap: str = _option("close", str, "'close' or 'keep'")
    """What becomes of the sockets when Redis was lost and is back, so that messages may have been
    missed: closed with 1012, so that their clients know and come back, or left open."""

    ping_interval: float = _option(25.0, float, "seconds above 0, below the proxy's read time-out")
    """Seconds between two pings to one socket."""

    pong_timeout: float = _option(20.0, float, "seconds above 0, at most ping_interval")
    """Seconds in which something must arrive after a ping; else the socket is dead."""

    close_timeout: float = _option(2.0, float, "seconds above 0")
    """Seconds a client has to answer a close frame before its socket is ended."""

    max_connections: int | None = _option(None, int, "a number above 0, or None")
    """Websockets of one process, more get 503; None leaves 128 of its file descriptors, of which a
    websocket takes one, or three where a Python server ends TLS."""

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
    """Seconds for the identity resolver, the policy and the start of the endpoint; else 503."""

    compression: bool = _option(True, _flag, "True or False")
    """Whether to accept permessage-deflate (RFC 7692), without context take-over."""

    secret: str | None = _option(
        None, str,
        "at least 32 random characters, the same for all processes, from:"
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
        for name in option_names():
            if not is_valid(name, self, value := getattr(self, name)):
                raise _wrong(name, value)

    @classmethod
    def make(cls, base: Config | None = None, /, **options: Any) -> Config:
        """Return ``base`` (else the environment over the defaults) with ``options`` laid over it.

        Raises:
            ConfigurationError: an option is unknown or is not valid.
        """
        options, known = renamed_options(options), option_names()
        for name in options:
            if name not in known:
                hint = suggestion(name, known)
                raise ConfigurationError(f"There is no option {name!r}: {hint}")
        if base is not None:
            return replace(base, **options)
        return cls(**{**_environment(), **options})

    def connection_limit(self) -> int:
        """Return how many websockets one process may have open."""
        if self.max_connections is not None:
            return self.max_connections
        return max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 128)


def _wrong(name: str, value: object) -> ConfigurationError:
    hint = next(f.metadata["hint"] for f in fields(Config) if f.name == name)
    shown = _without_password(value) if name == "redis" else repr(value)
    if name == "secret":
        shown = "***"
    return ConfigurationError(f"{name}={shown} is not valid: write {hint}.")


def _without_password(value: object) -> str:
    if isinstance(value, Mapping):
        return repr({key: "***" if "pass" in str(key) else v for key, v in value.items()})
    scheme, _, rest = repr(value).partition("?")[0].partition("://")
    return (
        f"{scheme}://***@{rest.rpartition('@')[2]}"
        if "@" in rest
        else repr(value).partition("?")[0]
    )


def option_names() -> list[str]:
    """Return the names of all options."""
    return [option.name for option in fields(Config)]


def _environment() -> dict[str, Any]:
    """Return the options that ``WSREDIS_<NAME>`` variables set.

    A name that is nearly one of these is refused. Any other is somebody else's: Kubernetes, for
    one, sets WSREDIS_PORT and more where a service is called so. Of an old name and the one of
    today the latter counts.
    """
    names = {f"WSREDIS_{name.upper()}": name for name in (*option_names(), *OPTIONS)}
    words = [variable.removeprefix("WSREDIS_") for variable in names]
    declared = {option.name: option.metadata for option in fields(Config)}
    found: dict[str, Any] = {}
    for variable, text in os.environ.copy().items():
        if not variable.startswith("WSREDIS_"):
            continue
        if variable not in names:
            if close := closest(variable.removeprefix("WSREDIS_"), words, LIKENESS):
                raise ConfigurationError(
                    f"There is no variable {variable}: did you mean WSREDIS_{close}?"
                )
            continue
        name = renamed_option(names[variable])
        if name != names[variable] and f"WSREDIS_{name.upper()}" in os.environ:
            continue
        try:
            found[name] = declared[name]["parse"](text)
        except ValueError:
            hint = declared[name]["hint"]
            raise ConfigurationError(f"{variable}={text!r} is not valid: write {hint}.") from None
    return found
