"""The `Publisher` for views, tasks and commands of a Django site."""

from __future__ import annotations

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.utils.functional import LazyObject, Promise

from wsredis import publisher
from wsredis.config import Config
from wsredis.identity import ANONYMOUS, Identity
from wsredis.message import Data, Unserializable
from wsredis.publisher import SELF

from .conf import current_config, options
from .identity import identity_of

__all__ = ["SELF", "Publisher"]


class _Encoder(DjangoJSONEncoder):
    """Django's encoder, which also encodes the object behind a `SimpleLazyObject`."""

    def default(self, o: Any) -> Any:
        if isinstance(o, LazyObject):
            _ = o.__class__  # evaluates it
            return o._wrapped
        try:
            return super().default(o)
        except TypeError:
            raise Unserializable(o) from None


class Publisher(publisher.Publisher):
    """A publisher of messages about a facility to some audiences, with the options of ``WSREDIS``.

    Facilities, names and text may be lazy. Other messages are encoded by `DjangoJSONEncoder`, which
    knows dates, times, decimals, UUIDs and lazy text.

    Args:
        facility, broadcast, users, groups, sessions, identity: see `wsredis.Publisher`.
        request: a Django request whose user, groups and session `SELF` stands for, as the callback
            ``identity`` of ``WSREDIS`` returns them. The callback runs only if `SELF` is used; in
            asyncio, make the publisher with ``sync_to_async`` then.
        config: the options to use instead of the setting.

    Raises:
        TypeError: names are not a list of strings, or `SELF` has no request and no identity.
        ConfigurationError: the setting is not valid.
    """

    def default_config(self) -> Config:
        return current_config()

    def text_of(self, value: object) -> object:
        return str(value) if isinstance(value, Promise) else super().text_of(value)

    def to_json(self, value: object) -> str:
        return json.dumps(
            value, cls=_Encoder, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )

    def _dump(self, message: object) -> Data:
        return super()._dump(str(message) if isinstance(message, Promise) else message)

    def identity_of(self, request: Any) -> Identity | None:
        if request is None:
            return None
        known = getattr(request, "identity", None)
        if isinstance(known, Identity):
            return known
        identify = options().identity
        nameless = not (hasattr(request, "user") or hasattr(request, "session"))
        if identify is identity_of and nameless:
            raise TypeError(
                "SELF needs a request with user and session: add SessionMiddleware and"
                " AuthenticationMiddleware to MIDDLEWARE."
            )
        return identify(request) or ANONYMOUS

    def publish_on_commit(
        self, message: object, expire: int | None = None, using: str | None = None
    ) -> None:
        """Publish a message when the transaction commits, and not at all if it is rolled back.

        Outside a transaction it is published at once. The message is serialized now, so later
        changes to it have no effect. If Redis is unavailable after the commit, that is logged and
        not raised, because the commit cannot be undone.

        Args:
            message: str is sent as text, bytes as binary, anything else as JSON text.
            expire: seconds for which it is retained; see `publish`.
            using: the alias of the database whose transaction it waits for.

        Raises:
            TypeError, ValueError: see `publish`.
        """
        data = self._dump(message)
        self._prepare(data, expire)

        def publish() -> None:
            self.publish(data, expire)

        transaction.on_commit(publish, using=using, robust=True)
