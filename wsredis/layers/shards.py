"""The Redis servers of a channel layer, and how its option ``hosts`` names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from ..brokers import Broker, Queues, broker_for, queues_for
from ..config import Config, current_config
from ..exceptions import ConfigurationError
from ..process import Process, process_with

__all__ = ["Shard", "shards_of"]


class Shard:
    """One of the Redis servers of a layer.

    Args:
        make_config: returns the options with which it is reached; called once, on first use.
    """

    def __init__(self, make_config: Callable[[], Config]) -> None:
        self._make_config = make_config

    @cached_property
    def config(self) -> Config:
        return self._make_config()

    @property
    def broker(self) -> Broker:
        return broker_for(self.config)

    @property
    def queues(self) -> Queues:
        return queues_for(self.config)

    def process(self) -> Process:
        """Return the process object with the hub for this server."""
        return process_with(self.config, self.broker)


def shards_of(hosts: Iterable[Any] | None) -> Sequence[Shard]:
    """Return the servers of the option ``hosts``; none means the option ``redis``.

    Raises:
        ConfigurationError: it is not a list, or an entry is not valid.
    """
    if not hosts:
        return [Shard(current_config)]
    if isinstance(hosts, str | bytes | Mapping):
        raise ConfigurationError("hosts is not valid: write a list, even of one server.")
    return [Shard(partial(_config, _where(host))) for host in hosts]


def _where(host: Any) -> str | Mapping[str, Any]:
    """Return the option ``redis`` for an entry of ``hosts``; the errors contain no password."""
    if isinstance(host, Mapping):
        if "sentinels" in host or "master_name" in host:
            raise ConfigurationError(
                "hosts with sentinels are not supported yet: write the address of the server."
            )
        if "address" in host and not isinstance(host["address"], str):
            raise ConfigurationError("the address of an entry of hosts must be a URL.")
        return host["address"] if set(host) == {"address"} else dict(host)
    if isinstance(host, tuple | list) and len(host) == 2:
        return {"host": host[0], "port": host[1]}
    if isinstance(host, str):
        return host
    raise ConfigurationError(
        "an entry of hosts is not valid: write a URL, a (host, port) pair, or a dict."
    )


def _config(where: str | Mapping[str, Any]) -> Config:
    # Only the times of waiting are used, in which middleware may differ.
    return Config.make(current_config(()), redis=where)
