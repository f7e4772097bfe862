"""The door for views, tasks and commands of a Django site: `Publisher`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from wsredis import publisher
from wsredis.config import Config
from wsredis.identity import Identity
from wsredis.message import dump
from wsredis.publisher import SELF, Names

from .conf import current_config
from .identity import identity_of

__all__ = ["SELF", "Publisher"]


class Publisher(publisher.Publisher):
    """Publish messages about a facility to some audiences, with the options of ``WSREDIS``.

    Args:
        facility, broadcast, users, groups, sessions, identity: see `wsredis.Publisher`.
        request: a Django request whose user, groups and session `SELF` stands for; they are only
            looked up if `SELF` is used. In asyncio make the publisher by ``sync_to_async`` then.
        config: instead of the setting's.

    Raises:
        TypeError: names that are no list of strings, or `SELF` without a request or identity.
        ConfigurationError: the setting makes no sense.
    """

    def __init__(
        self,
        facility: str = "",
        broadcast: bool = False,
        users: Names = (),
        groups: Names = (),
        sessions: Names = (),
        request: Any = None,
        identity: Identity | None = None,
        config: Config | None = None,
    ) -> None:
        users, groups, sessions = _listed(users), _listed(groups), _listed(sessions)
        lists = [names for names in (users, groups, sessions) if isinstance(names, list)]
        if identity is None and request is not None and any(SELF in names for names in lists):
            identity = _who(request)
        super().__init__(
            facility,
            broadcast,
            users,
            groups,
            sessions,
            identity=identity,
            config=config if config is not None else current_config(),
        )

    def publish_on_commit(
        self, message: object, expire: int | None = None, using: str | None = None
    ) -> None:
        """Publish a message when the transaction commits, and not at all if it is rolled back.

        Outside of a transaction it is published at once. The message is turned into text now, so
        later changes to it do not matter. As there is nothing to undo after a commit, a Redis
        that is away is logged and not raised.

        Args:
            message: str for text, bytes for binary, anything else goes out as JSON text.
            expire: seconds for which it is kept; see `publish`.
            using: the database whose transaction is meant.

        Raises:
            TypeError, ValueError: see `publish`.
        """
        data = dump(message)
        self._prepare(data, expire)

        def publish() -> None:
            self.publish(data, expire)

        transaction.on_commit(publish, using=using, robust=True)


def _listed(names: Any) -> Any:
    """Make a list of what can be gone through only once; the core judges the rest."""
    return (
        list(names)
        if isinstance(names, Iterable) and not isinstance(names, (str, bytes))
        else names
    )


def _who(request: Any) -> Identity:
    if not any(hasattr(request, name) for name in ("identity", "user", "session")):
        raise TypeError(
            "SELF needs a request with user and session: are SessionMiddleware and"
            " AuthenticationMiddleware in MIDDLEWARE?"
        )
    return identity_of(request)
