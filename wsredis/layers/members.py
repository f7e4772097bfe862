"""The members of groups that are not channels but consumers, which this process runs.

Members of one kind, such as the consumers of one class, get an event together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Protocol

from .codec import Message

__all__ = ["Kind", "Member", "copier", "too_many_groups"]

SCALARS = (str, bytes, int, float, bool, type(None))


class Kind(Protocol):
    """What handles the events for members of one kind; used on the loop of a hub."""

    def deliver(self, members: Sequence[Any], copy: Callable[[], Message]) -> None:
        """Give an event to some members; it must not block.

        Args:
            members: at least one member of this kind.
            copy: returns a copy of the event.
        """


class Member(Hashable, Protocol):
    """A member of groups.

    Attributes:
        groups: its groups; changed by the layer only.
        max_groups: how many they may be.
        ended: whether it has ended; it leaves its groups after that.
    """

    ended: bool
    groups: set[str]
    max_groups: float

    @property
    def kind(self) -> Kind:
        """Return what handles its events."""

    def on_gap(self) -> None:
        """Handle that events may have been lost; called on the loop of a hub."""


def too_many_groups(most: float) -> ValueError:
    """Return the exception for a consumer or a channel that cannot join one more group."""
    return ValueError(
        f"a consumer cannot be a member of more than {most} groups (option"
        " max_handshake_channels): let it leave some, or send to fewer, larger groups."
    )


def copier(event: Message) -> Callable[[], Message]:
    """Return a function that returns copies of an event."""
    if all(isinstance(value, SCALARS) for value in event.values()):
        return event.copy
    return partial(_copied, event)


def _copied(event: Message) -> Message:
    """Return a copy of an event, without recursion: it may be nested as deep as any JSON."""
    copy = event.copy()
    containers: list[Any] = [copy]
    while containers:
        container = containers.pop()
        for key, value in (
            container.items() if isinstance(container, dict) else enumerate(container)
        ):
            if isinstance(value, dict | list):
                container[key] = value.copy()
                containers.append(container[key])
    return copy
