"""What the owner of channels keeps of its application."""

from __future__ import annotations

import weakref

from wsredis.runtime.owner import ChannelOwner


class Application:
    gaps = 0

    def on_gap(self) -> None:
        self.gaps += 1


def test_an_application_that_has_ended_is_released_and_told_of_no_gap() -> None:
    application = Application()
    kept = weakref.ref(application)
    owner = ChannelOwner(application.on_gap)
    owner.on_gap()
    assert application.gaps == 1
    owner.close()
    owner.on_gap()
    assert application.gaps == 1
    del application
    assert kept() is None
