"""What moves messages between processes; `broker_for` picks the one that a `Config` names."""

from __future__ import annotations

from collections.abc import Mapping

from ..config import Config
from .base import Broker

__all__ = ["Broker", "broker_for"]

_brokers: dict[object, Broker] = {}


def broker_for(config: Config) -> Broker:
    """Return the broker of this process for a configuration; it connects when it is used.

    Raises:
        ConfigurationError: redis-py does not understand the URL or the arguments.
    """
    where = config.redis
    key = (
        repr(sorted(where.items())) if isinstance(where, Mapping) else where,
        config.redis_deadline,
        config.envelope,
    )
    if key not in _brokers:
        if isinstance(where, str) and where.startswith("memory:"):
            from .memory import MemoryBroker

            _brokers[key] = MemoryBroker.named(where, config.envelope)
        else:
            from .redis import RedisBroker

            _brokers[key] = RedisBroker(config)
    return _brokers[key]
