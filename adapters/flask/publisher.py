"""The `Publisher` for views, background jobs and commands of a Flask application."""

from __future__ import annotations

import logging
from typing import Any

from flask import current_app, has_request_context
from flask import request as flask_request

from wsredis import publisher
from wsredis.config import Config
from wsredis.exceptions import BrokerUnavailable, ConfigurationError
from wsredis.identity import Identity
from wsredis.message import dump
from wsredis.publisher import SELF

from .conf import current_options
from .identity import who

__all__ = ["SELF", "Publisher"]

log = logging.getLogger("wsredis.adapters.flask")


class Publisher(publisher.Publisher):
    """A publisher of messages about a facility, with the current application's options.

    Args:
        facility, broadcast, users, groups, sessions, identity: see `wsredis.Publisher`.
        request: the object whose ``identity`` `SELF` stands for; by default the current request,
            whose user, groups and session are looked up only if `SELF` is used.
        config: the options to use instead of the application's.

    Raises:
        TypeError: names are not a list of strings, or `SELF` has no request and no identity.
        ConfigurationError: the application has no `WSRedis`, or its options are not valid.
        RuntimeError: there is no current application: write ``with app.app_context():``.
    """

    def default_config(self) -> Config:
        return current_options().config

    def identity_of(self, request: Any) -> Identity | None:
        if request is None and not has_request_context():
            return None
        known = getattr(flask_request if request is None else request, "identity", None)
        return known if isinstance(known, Identity) else who(flask_request)

    def publish_on_commit(
        self, message: object, expire: int | None = None, session: Any = None
    ) -> None:
        """Publish a message when the transaction commits, and not at all if it is rolled back.

        In a nested transaction (a savepoint) it is also dropped if that one is rolled back. Outside
        a transaction it is published at once. The message is serialized now, so later changes to it
        have no effect. If Redis is unavailable after the commit, that is logged and not raised,
        because the commit cannot be undone.

        Args:
            message: str is sent as text, bytes as binary, anything else as JSON text.
            expire: seconds for which it is retained; see `publish`.
            session: a SQLAlchemy session, scoped or not; by default Flask-SQLAlchemy's.

        Raises:
            ConfigurationError: no session is given, and Flask-SQLAlchemy is not set up.
            TypeError, ValueError: see `publish`.
        """
        data = dump(message)
        self._prepare(data, expire)

        def publish() -> None:
            try:
                self.publish(data, expire)
            except BrokerUnavailable:
                log.exception("a message could not be published after a commit")

        from .transactions import on_commit

        on_commit(_database_session() if session is None else session, publish)


def _database_session() -> Any:
    """Return the session of Flask-SQLAlchemy."""
    try:
        return current_app.extensions["sqlalchemy"].session
    except KeyError as exc:
        raise ConfigurationError(
            "publish_on_commit needs a session, as Flask-SQLAlchemy is not set up: write"
            " publish_on_commit(..., session=...) with your SQLAlchemy session."
        ) from exc
