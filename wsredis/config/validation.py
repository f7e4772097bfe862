"""The check of each option's value; the options are documented at their fields in `options`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..message import MAX_EXPIRE
from ..naming import RESERVED_PREFIXES, encode_name
from ..protocol.http import is_token
from ..proxies import Proxies

__all__ = ["is_valid"]

_REDIS_SCHEMES = ("redis", "rediss", "unix", "memory")

Check = Callable[[Any, Any], bool]
"""Takes the `Config` and the value of one of its options."""


def is_valid(name: str, config: Any, value: Any) -> bool:
    """Return whether a value of an option is valid together with the others of its `Config`."""
    try:
        return _CHECKS[name](config, value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False


def _is_number(low: float) -> Check:
    def check(config: Any, value: Any) -> bool:
        return not isinstance(value, bool) and math.isfinite(value) and value > low

    return check


def _is_count(low: int) -> Check:
    def check(config: Any, value: Any) -> bool:
        return type(value) is int and value >= low

    return check


def _is_limit(config: Any, value: Any) -> bool:
    return value is None or _is_count(1)(config, value)


def _is_bool(config: Any, value: Any) -> bool:
    return isinstance(value, bool)


def _is_redis(config: Any, value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value)
    url = urlsplit(value)
    where = url.path if url.scheme == "unix" else url.hostname or url.scheme == "memory"
    return url.scheme in _REDIS_SCHEMES and bool(where) and (url.scheme == "unix" or url.port != 0)


def _is_origin(text: str) -> bool:
    if text in ("*", "null"):
        return True
    url = urlsplit(text)
    # Wildcards, an empty query or non-ASCII host names never equal what a browser sends.
    plain = text.isascii() and not any(c <= " " or c in "*,\\?#@" for c in text)
    # Applications have schemes of their own; pages have none of these.
    known = text.startswith(f"{url.scheme}://") or url.scheme in ("http", "https")
    known = known and url.scheme not in ("", "ftp", "ws", "wss") and url.port != 0
    return plain and known and bool(url.hostname or text == "file://") and not url.path


def _are_proxies(config: Any, value: Any) -> bool:
    return all(isinstance(entry, str) for entry in value) and bool(Proxies(value))


def _is_prefix(config: Any, value: Any) -> bool:
    printable: bool = value.isascii() and value.isprintable()
    return printable and value[0] == value[-1] == "/" and "//" not in value


_CHECKS: dict[str, Check] = {
    "prefix": _is_prefix,
    "asgi_prefix": lambda c, v: v is None or _is_prefix(c, v),
    "redis": _is_redis,
    "key_prefix": lambda c, v: encode_name(v) == v and v not in RESERVED_PREFIXES,
    "expire": lambda c, v: _is_count(0)(c, v) and v <= MAX_EXPIRE,
    "heartbeat": lambda c, v: v is None or (isinstance(v, str) and bool(v.encode())),
    "heartbeat_interval": _is_number(0),
    "origins": lambda c, v: v is None or all(_is_origin(origin) for origin in v),
    "trusted_proxies": _are_proxies,
    "subprotocols": lambda c, v: all(is_token(name) for name in v),
    "max_message_size": _is_count(1),
    "max_fragments": _is_count(1),
    "message_timeout": _is_number(0),
    "binary": _is_bool,
    "envelope": _is_bool,
    "max_send_buffer": _is_count(1),
    "max_buffer_memory": _is_count(1),
    "overflow": lambda c, v: v in ("close", "drop-oldest", "keep-latest"),
    "on_gap": lambda c, v: v in ("close", "keep"),
    "ping_interval": _is_number(0),
    "pong_timeout": lambda c, v: _is_number(0)(c, v) and v <= c.ping_interval,
    "close_timeout": _is_number(0),
    "max_connections": _is_limit,
    "max_connections_per_user": _is_limit,
    "max_connections_per_address": _is_limit,
    "max_handshake_channels": _is_limit,
    "max_messages_per_second": _is_limit,
    "max_bytes_per_second": _is_limit,
    "handshake_timeout": _is_number(0),
    "compression": _is_bool,
    "serve_client": _is_bool,
    "secret": lambda c, v: v is None or (isinstance(v, str) and len(v.encode()) >= 32),
    "handler_threads": _is_count(1),
    "shutdown_timeout": _is_number(0),
    "redis_deadline": _is_number(0),
    "publish_timeout": _is_number(0),
}
