"""Several sites on one Redis: with key prefixes of their own they do not hear each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from wsredis import Config, Publisher, disconnect
from wsredis.embedded import EmbeddedRedis

from .support import Site

pytestmark = pytest.mark.servers

EVERYTHING = "subscribe-broadcast&subscribe-user&subscribe-group&subscribe-session"
PREFIXES = ("", "ws", "control", "alice")
# Names that are prefixes of other sites, or words of a channel's name.
WHO = {"x_user": "broadcast", "x_groups": "ws,control,user", "x_session": "alice"}


@pytest.mark.parametrize("number", [0, 3], ids=["one-database", "several-databases"])
def test_sites_with_different_prefixes_receive_nothing_from_each_other(
    start: Callable[..., Site], own_redis: EmbeddedRedis, number: int
) -> None:
    first = own_redis.url.rpartition("/")[0]
    with ExitStack() as stack:
        sites = []
        for place, prefix in enumerate(PREFIXES):
            url = f"{first}/{place * number}"
            site = start("pywsgi", app="guarded.py", redis=url, key_prefix=prefix)
            wire = stack.enter_context(site.wire(f"/ws/x?{EVERYTHING}", **WHO))
            sites.append((Config(redis=url, key_prefix=prefix), wire))
        for config, _ in sites:
            for facility in ("x", "control", ""):
                to = Publisher(
                    facility,
                    broadcast=True,
                    users=["broadcast", "ws", "control"],
                    groups=["ws", "control", "user"],
                    sessions=["alice"],
                    config=config,
                )
                to.publish(f"from {config.key_prefix!r}")
        for config, wire in sites:
            heard = [wire.receive_text() for _ in range(6)]
            assert heard == [f"from {config.key_prefix!r}"] * 6
        for ended, (config, _) in enumerate(sites):
            assert disconnect(user="broadcast", config=config) == 1
            assert sites[ended][1].close_code() == 4401
            for config, wire in sites[ended + 1 :]:
                Publisher("x", broadcast=True, config=config).publish("still here")
                assert wire.receive_text() == "still here"
