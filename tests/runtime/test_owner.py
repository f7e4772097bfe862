"""The application that channels of a layer belong to."""

from __future__ import annotations

from contextvars import copy_context

from wsredis.runtime.owner import ChannelOwner, channel_owner


def test_channels_end_once_with_their_application() -> None:
    ended: list[str] = []
    owner = ChannelOwner(lambda: None)
    owner.add(lambda: ended.append("one"))
    owner.add(lambda: ended.append("two"))
    assert ended == []
    owner.close()
    owner.close()
    assert sorted(ended) == ["one", "two"]
    owner.add(lambda: ended.append("late"))
    assert ended[2:] == ["late"]


def test_an_application_is_known_in_its_context_only() -> None:
    owner = ChannelOwner(lambda: None)
    copy_context().run(channel_owner.set, owner)
    assert channel_owner.get() is None
