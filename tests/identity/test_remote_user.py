from __future__ import annotations

import pytest

from wsredis.identity import ANONYMOUS, Identity, RemoteUserResolver

from .support import request


def test_remote_user_is_the_user() -> None:
    assert RemoteUserResolver()(request(REMOTE_USER="alice")) == Identity("alice")


@pytest.mark.parametrize("environ", [{}, {"REMOTE_USER": ""}, {"HTTP_REMOTE_USER": "mallory"}])
def test_without_remote_user_there_is_nobody(environ: dict[str, str]) -> None:
    assert RemoteUserResolver()(request(**environ)) is ANONYMOUS


def test_remote_users_get_the_groups_that_are_listed_for_them() -> None:
    resolve = RemoteUserResolver({"alice": ("editors",)})
    assert resolve(request(REMOTE_USER="alice")) == Identity("alice", ("editors",))
    assert resolve(request(REMOTE_USER="bob")) == Identity("bob")


def test_an_empty_mapping_may_be_filled_later() -> None:
    groups: dict[str, tuple[str, ...]] = {}
    resolve = RemoteUserResolver(groups)
    groups["alice"] = ("editors",)
    assert resolve(request(REMOTE_USER="alice")) == Identity("alice", ("editors",))
