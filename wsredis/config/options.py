"""The options: one frozen `Config`, validated when it is made.

Nothing is read at import. A value comes from the caller, else from the environment variable
``WSREDIS_<NAME>``, else from the default. Each option is documented at its field; valid values are
defined in `wsredis.config.validation`.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from ..deprecated import OPTIONS, accept_old_options, renamed_option, renamed_options
from ..exceptions import ConfigurationError
from ..message import MAX_EXPIRE
from .names import closest, suggestion
from .validation import is_valid

__all__ = ["Config", "option_names"]

LIKENESS = 0.7
"""How similar to an option's variable a variable must be to count as a misspelling, 0 to 1."""

_REDIS_URL = (
    "a URL like 'redis://:password@host:6379/0', 'rediss://host', 'unix:///run/redis.sock' or"
    " 'memory://'"
)

_OF_A_SERVICE = re.compile(r"_PORT$|_PORT_|_SERVICE_")
"""Matches variables that Kubernetes sets for a service; no option has such a name."""

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _flag(text: str) -> bool:
    if (text := text.lower()) not in _TRUE + _FALSE:
        raise ValueError(text)
    return text in _TRUE


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == "none" else parse(text)


def _option(
    default: Any,
    parse: Callable[[str], Any],
    hint: str,
    variable_hint: str = "",
    *,
    secret: bool = False,
) -> Any:
    """Declare a field.

    Args:
        default: its default.
        parse: reads its value in an environment variable.
        hint: its valid values.
        variable_hint: the same as they are written in a variable, if they are written differently.
        secret: whether its value must not be shown.
    """
    hints = {"hint": hint, "variable_hint": variable_hint or hint.replace("None", "none")}
    return field(default=default, metadata={"parse": parse, **hints}, repr=not secret)


@accept_old_options
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of a middleware or a publisher.

    Raises:
        ConfigurationError: a value is not valid; the text says what to write instead.
    """

    prefix: str = _option(
        "/ws/", str, "an ASCII path that begins and ends with a slash, like '/ws/'"
    )
    """Path below which websockets are served."""

    asgi_prefix: str | None = _option(
        None, _or_none(str),
        "an ASCII path that begins and ends with a slash, like '/channels/', or None for prefix"
    )  # fmt: skip
    """Path below which an ASGI application has the websockets; ``/`` for all outside `prefix`."""

    redis: str | Mapping[str, Any] = _option(
        "redis://127.0.0.1:6379/0", str,
        f"{_REDIS_URL}, or a dict of redis-py's arguments like {{'host': 'localhost',"
        " 'port': 6379}",
        _REDIS_URL,
        secret=True,
    )  # fmt: skip
    """URL or arguments of the Redis connection. ``memory://`` is a broker inside the process, for
    tests."""

    key_prefix: str = _option(
        "ws", str,
        "a name without colons or white space, or '' for none; not broadcast, user, group, session,"
        " ticket or wsredis, because names without a prefix begin with these",
    )  # fmt: skip
    """First part of every channel: ``ws:broadcast:news``. Each site on one Redis server needs a
    prefix of its own: a database number does not separate channels."""

    expire: int = _option(0, int, f"whole seconds from 0 (nothing is retained) to {MAX_EXPIRE}")
    """Seconds for which the last message of a channel is retained for later subscribers."""

    heartbeat: str | None = _option(
        None, _or_none(str), "a non-empty string that is never sent as a message, or None"
    )
    """Text sent to every websocket at intervals, and ignored when a client sends it."""

    heartbeat_interval: float = _option(4.0, float, "seconds above 0")
    """Seconds between two heartbeats to one websocket."""

    origins: tuple[str, ...] | None = _option(
        None, _or_none(_names),
        "origins in full, without wildcards, like ['https://example.com', 'capacitor://localhost'],"
        " or ['*'] for every origin, or None for the same origin only",
        "origins in full, without wildcards, like 'https://example.com,capacitor://localhost', or"
        " '*' for every origin, or none for the same origin only",
    )  # fmt: skip
    """Origins that may connect (RFC 6454); None accepts only the origin of the request's host.
    Those of applications, such as ``tauri://localhost``, and ``null`` are compared as written."""

    trusted_proxies: tuple[str, ...] = _option(
        (), _names,
        "addresses and networks of your proxies like ['127.0.0.1', '10.0.0.0/8'], and 'unix' for"
        " a proxy on a Unix socket",
        "addresses and networks of your proxies like '127.0.0.1,10.0.0.0/8', and 'unix' for a"
        " proxy on a Unix socket",
    )  # fmt: skip
    """Direct peers whose ``X-Forwarded-For``, ``-Proto`` and ``-Host`` headers are trusted."""

    subprotocols: tuple[str, ...] = _option(
        (), _names,
        "names like ['chat.v1', 'chat.v2'] (RFC 6455, 1.9), or ['*'] for every name",
        "names like 'chat.v1,chat.v2' (RFC 6455, 1.9), or '*' for every name",
    )  # fmt: skip
    """Subprotocols of this server; the first supported one in the client's list is chosen."""

    max_message_size: int = _option(2**20, int, "bytes above 0")
    """Maximum bytes of a client's message, after decompression; a larger one closes with 1009."""

    max_fragments: int = _option(4096, int, "a number above 0")
    """Maximum frames of one message from a client; more close the websocket with 1008."""

    message_timeout: float = _option(60.0, float, "seconds above 0")
    """Seconds in which a client must finish a message that it has begun; else it is closed with
    1008."""

    binary: bool = _option(True, _flag, "True or False")
    """Whether clients may send binary messages; if False, a binary message closes with 1003."""

    envelope: bool = _option(True, _flag, "True or False")
    """Whether binary messages are marked in Redis; if False they are stored raw, and valid UTF-8
    counts as text."""

    max_send_buffer: int = _option(2**20, int, "bytes above 0")
    """Maximum bytes that wait for a slow client; ``overflow`` says what happens beyond that."""

    max_buffer_memory: int = _option(2**28, int, "bytes above 0")
    """Maximum bytes that the send buffers and the unfinished messages of a process take together;
    above it, the websockets that take most are closed with 1013."""

    overflow: str = _option(
        "close", str, "'close', 'drop-oldest' or 'keep-latest' (of each channel)"
    )
    """What happens when more than ``max_send_buffer`` waits: the websocket is closed with 1013,
    or the oldest messages are dropped, or all but the newest message of each channel."""

    on_gap: str = _option("close", str, "'close' or 'keep'")
    """What happens to websockets after the connection to Redis was lost, so that messages may have
    been missed: they are closed with 1012, so that their clients notice and reconnect, or they are
    left open."""

    ping_interval: float = _option(25.0, float, "seconds above 0, below the proxy's read timeout")
    """Seconds between two pings to one websocket."""

    pong_timeout: float = _option(
        20.0, float,
        "seconds above 0, at most ping_interval (a shorter ping_interval needs a shorter"
        " pong_timeout)",
    )  # fmt: skip
    """Seconds after a ping in which the client must send something; else the websocket is ended."""

    close_timeout: float = _option(2.0, float, "seconds above 0")
    """Seconds a client has to answer a close frame before its socket is closed."""

    max_connections: int | None = _option(None, _or_none(int), "a number above 0, or None")
    """Maximum websockets of one process; further handshakes get 503. None leaves 128 of the
    process's file descriptors free, and ``worker_connections`` more under gunicorn's threaded
    worker; a websocket takes one, or three where a Python server terminates TLS. The soft limit
    of descriptors is raised if necessary, at most to the hard limit, which always applies."""

    max_connections_per_user: int | None = _option(1000, _or_none(int), "a number above 0, or None")
    """Maximum websockets of one user per process; further handshakes get 429."""

    max_connections_per_address: int | None = _option(
        None, _or_none(int), "a number above 0, or None"
    )
    """Maximum websockets from one address per process; further handshakes get 429. Behind a proxy
    all clients have one address unless ``trusted_proxies`` lists the proxy."""

    max_handshake_channels: int | None = _option(1000, _or_none(int), "a number above 0, or None")
    """Maximum channels of one websocket, to subscribe or to publish to; more are refused with
    403, never reduced in silence."""

    max_messages_per_second: int | None = _option(1000, _or_none(int), "a number above 0, or None")
    """Maximum messages, pings and pongs from one websocket per second; more close it with 1008."""

    max_bytes_per_second: int | None = _option(2**24, _or_none(int), "bytes above 0, or None")
    """Maximum bytes from one websocket per second, after decompression and with 1024 added for each
    frame; more close it with 1008."""

    handshake_timeout: float = _option(10.0, float, "seconds above 0")
    """Seconds that the identity resolver, the policy and making the endpoint may take together;
    longer handshakes get 503."""

    compression: bool = _option(True, _flag, "True or False")
    """Whether to accept permessage-deflate (RFC 7692), without context takeover."""

    serve_client: bool = _option(False, _flag, "True or False")
    """Whether plain requests below the prefix for the scripts of the browser client, such as
    ``wsredis.js`` and ``wsredis.esm.js``, get these files."""

    secret: str | None = _option(
        None, _or_none(str),
        "at least 32 random characters, the same in all processes, or None. Generate them with"
        " python -c 'import secrets; print(secrets.token_hex())'",
        secret=True,
    )  # fmt: skip
    """The key that signs tickets; see `wsredis.tickets`."""

    handler_threads: int = _option(8, int, "a number above 0")
    """Threads that run the synchronous code of a hosted ASGI application; each websocket has its
    code in one of them."""

    shutdown_timeout: float = _option(5.0, float, "seconds above 0")
    """Seconds that hosted ASGI applications have for their end before the process ends."""

    redis_deadline: float = _option(10.0, float, "seconds above 0")
    """Seconds of silence after which Redis counts as lost; also the timeout of one command."""

    publish_timeout: float = _option(2.0, float, "seconds above 0")
    """Seconds that a `Publisher` or `wsredis.disconnect` waits for Redis to answer."""

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
        """Return ``base`` (else the environment over the defaults), overridden by ``options``.

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
        variables = _environment()
        values = {name: variable.value for name, variable in variables.items()}
        try:
            return cls(**{**values, **options})
        except ConfigurationError as exc:
            if exc.option is None or exc.option in options or exc.option not in variables:
                raise
            raise _wrong_variable(exc.option, variables[exc.option]) from None

    def connection_limit(self) -> int:
        """Return the maximum number of websockets of one process."""
        if self.max_connections is not None:
            return self.max_connections
        return max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 128)


class _Variable(NamedTuple):
    """An environment variable that sets an option: its name, its text and the option's value."""

    name: str
    text: str
    value: Any = None


def _wrong(name: str, value: object) -> ConfigurationError:
    hint = _declared(name)["hint"]
    error = ConfigurationError(f"{name}={_shown(name, value)} is not valid: write {hint}.")
    error.option = name
    return error


def _wrong_variable(name: str, variable: _Variable) -> ConfigurationError:
    hint, shown = _declared(name)["variable_hint"], _shown(name, variable.text)
    return ConfigurationError(f"{variable.name}={shown} is not valid: write {hint}.")


def _declared(name: str) -> Mapping[str, Any]:
    """Return what `_option` has declared for an option."""
    return next(option.metadata for option in fields(Config) if option.name == name)


def _shown(name: str, value: object) -> str:
    """Return a value as an error may show it."""
    if name == "secret":
        return "***"
    return _without_password(value) if name == "redis" else repr(value)


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


def _environment() -> dict[str, _Variable]:
    """Return the options that are set by ``WSREDIS_<NAME>`` variables.

    A name that is nearly the name of an option is refused, unless Kubernetes may have set it for a
    service, such as WSREDIS_SECRET_PORT for one called wsredis-secret. Other names are ignored. A
    current name takes precedence over a deprecated one.
    """
    names = {f"WSREDIS_{name.upper()}": name for name in (*option_names(), *OPTIONS)}
    words = [variable.removeprefix("WSREDIS_") for variable in names]
    found: dict[str, _Variable] = {}
    for variable, text in os.environ.copy().items():
        if not variable.startswith("WSREDIS_"):
            continue
        if variable not in names:
            if _OF_A_SERVICE.search(variable):
                continue
            if close := closest(variable.removeprefix("WSREDIS_"), words, LIKENESS):
                raise ConfigurationError(
                    f"There is no variable {variable}: did you mean WSREDIS_{close}?"
                )
            continue
        name = renamed_option(names[variable])
        if name != names[variable] and f"WSREDIS_{name.upper()}" in os.environ:
            continue
        try:
            found[name] = _Variable(variable, text, _declared(name)["parse"](text))
        except ValueError:
            raise _wrong_variable(name, _Variable(variable, text)) from None
    return found
