"""The messages by which other processes change the groups of a channel of this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import gevent

from ..exceptions import BrokerUnavailable
from ..runtime.loop import Loop
from .codec import Codec
from .receivers import CONTROL, OwnChannel

__all__ = ["GroupControl"]

Change = Callable[[str, str], object]


class GroupControl:
    """The control messages of a layer.

    Args:
        codec: the codec of the layer's messages.
        changes: by the name of an action, a function that does it for a group and a channel.
        loop_of: returns the loop of the hub that receives a group; raises TypeError if the group's
            name is not valid.
        drop: logs that a message to a channel is dropped, and why.
    """

    def __init__(
        self,
        codec: Codec,
        changes: Mapping[str, Change],
        loop_of: Callable[[str], Loop],
        drop: Callable[[str, str], None],
    ) -> None:
        self._codec = codec
        self._changes = changes
        self._loop_of = loop_of
        self._drop = drop

    def encode(self, action: str, group: str) -> bytes:
        """Return the control message that asks for a change."""
        return CONTROL + self._codec.encode({action: group})

    def take(self, own: OwnChannel, payload: bytes) -> None:
        """Do what a control message asks for, in another greenlet; see `receivers.Home`."""
        if own.controls >= own.capacity:
            self._drop(own.name, "too many changes of groups at once")
            return
        own.controls += 1
        gevent.spawn(self._execute, own, payload)

    def _execute(self, own: OwnChannel, payload: bytes) -> None:
        try:
            ((action, group),) = self._codec.decode(payload).items()
            change, loop = self._changes[action], self._loop_of(group)
        except (LookupError, TypeError, ValueError):
            own.controls -= 1
            self._drop(own.name, "it is not a valid control message")
            return
        loop.soon(loop.spawn, self._change, own, change, group)

    def _change(self, own: OwnChannel, change: Change, group: str) -> None:
        try:
            if not own.ended:
                change(group, own.name)
        except (BrokerUnavailable, ValueError) as exc:
            self._drop(own.name, f"the group {group} cannot be changed: {exc}")
        finally:
            own.controls -= 1
