"""Sites that only a database number separates."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis.brokers import shared_channels
from wsredis.config import Config


@pytest.mark.parametrize("prefix", ["ws", ""])
@pytest.mark.parametrize(
    "redis",
    [
        "redis://127.0.0.1:6379/2",
        "redis://127.0.0.1/?db=2",
        "unix:///run/redis.sock?db=2",
        {"host": "127.0.0.1", "db": 2},
        {"host": "127.0.0.1", "db": "2"},
    ],
)
def test_a_database_number_alone_does_not_separate_sites(redis: Any, prefix: str) -> None:
    shared = shared_channels(Config(redis=redis, key_prefix=prefix))
    assert shared is not None
    assert (
        f"the database number, which is 2: all sites on this server with key_prefix={prefix!r}"
        in (shared)
    )


@pytest.mark.parametrize(
    ("redis", "prefix"),
    [
        ("redis://127.0.0.1", "ws"),
        ("redis://127.0.0.1/0", ""),
        ("redis://127.0.0.1/2", "shop"),
        ({"host": "127.0.0.1", "db": 0}, "ws"),
        ({"host": "127.0.0.1", "db": None}, "ws"),
        ("memory://2", "ws"),
    ],
)
def test_a_prefix_of_its_own_or_the_first_database_is_no_finding(redis: Any, prefix: str) -> None:
    assert shared_channels(Config(redis=redis, key_prefix=prefix)) is None
