"""Brokers, which carry messages between processes, and the choice of one for a `Config`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ..config import Config
from .base import Broker
from .log import Log
from .queues import Queues
from .store import Store

__all__ = [
    "Broker",
    "Log",
    "Queues",
    "Store",
    "broker_for",
    "describe_server",
    "log_for",
    "queues_for",
    "shared_channels",
    "store_for",
]

COMMON_PREFIXES = "ws", ""
"""The key prefixes of sites that have not chosen one: the default, and that of ws4redis."""


class _Publishing(Broker, Log, Protocol):
    """A broker which also implements the log of a channel."""


class _Backend(NamedTuple):
    broker: _Publishing
    store: Store
    queues: Queues
    database: str
    describe: Callable[[], str]


_backends: dict[object, _Backend] = {}


def broker_for(config: Config) -> Broker:
    """Return the broker of this process for a configuration; it connects on first use.

    Raises:
        ConfigurationError: redis-py does not understand the URL or the arguments.
    """
    return _backend_for(config).broker


def log_for(config: Config) -> Log:
    """Return the log of revocations for a configuration (see `broker_for`)."""
    return _backend_for(config).broker


def queues_for(config: Config) -> Queues:
    """Return the queues of channel layers for a configuration (see `broker_for`)."""
    return _backend_for(config).queues


def store_for(config: Config) -> Store:
    """Return the store of one-time values for a configuration (see `broker_for`)."""
    return _backend_for(config).store


def shared_channels(config: Config) -> str | None:
    """Return a sentence if only a database number separates a site from other sites, or None.

    Raises:
        ConfigurationError: redis-py does not understand the URL or the arguments.
    """
    number, prefix = _backend_for(config).database, config.key_prefix
    if number == "0" or prefix not in COMMON_PREFIXES:
        return None
    return (
        f"Channels of Redis do not depend on the database number, which is {number}: all sites on"
        f" this server with key_prefix={prefix!r} receive each other's messages and disconnect"
        " commands."
    )


def describe_server(config: Config) -> str:
    """Return the server of a configuration with its role and mode; it connects for that.

    Raises:
        ConfigurationError: redis-py does not understand the URL or the arguments.
        WrongServer: the server is a replica, a node of a cluster or a Sentinel.
        BrokerUnavailable: the server does not answer or refuses.
    """
    return _backend_for(config).describe()


def _backend_for(config: Config) -> _Backend:
    where = config.redis
    key = (
        repr(sorted(where.items())) if isinstance(where, Mapping) else where,
        config.redis_deadline,
        config.publish_timeout,
        config.envelope,
    )
    if key not in _backends:
        if isinstance(where, str) and where.startswith("memory:"):
            from .memory.broker import MemoryBroker
            from .memory.queues import MemoryQueues
            from .memory.store import MemoryStore

            broker = MemoryBroker.named(where, config.envelope)
            _backends[key] = _Backend(
                broker,
                MemoryStore.named(where),
                MemoryQueues.of(broker),
                "0",
                lambda: "the memory of one process, without a server",
            )
        else:
            from .redis.broker import RedisBroker
            from .redis.client import RedisClient
            from .redis.queues import RedisQueues
            from .redis.store import RedisStore

            client = RedisClient(config)
            _backends[key] = _Backend(
                RedisBroker(client),
                RedisStore(client),
                RedisQueues(client),
                client.database,
                client.describe,
            )
    return _backends[key]
