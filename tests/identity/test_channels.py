"""The channels that belong to an identity."""

from __future__ import annotations

import pytest

from wsredis.identity import ANONYMOUS, Identity
from wsredis.identity.channels import identity_channels
from wsredis.naming import Audience

ALICE = Identity("alice", ("editors", "admins"), "key-1")


@pytest.mark.parametrize(
    ("audience", "names"),
    [
        (Audience.BROADCAST, ("ws:broadcast:news",)),
        (Audience.USER, ("ws:user:alice:news",)),
        (Audience.GROUP, ("ws:group:editors:news", "ws:group:admins:news")),
        (Audience.SESSION, ("ws:session:key-1:news",)),
    ],
)
def test_an_identity_has_its_own_channels(audience: Audience, names: tuple[str, ...]) -> None:
    assert identity_channels("ws", audience, "news", ALICE) == names


@pytest.mark.parametrize("audience", [Audience.USER, Audience.GROUP, Audience.SESSION])
def test_nobody_has_no_channel_of_their_own(audience: Audience) -> None:
    assert identity_channels("ws", audience, "news", ANONYMOUS) == ()
