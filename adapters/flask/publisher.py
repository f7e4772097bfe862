"""The `Publisher` for views, background jobs and commands of a Flask application."""

from __future__ import annotations

import logging
from typing import Any

from flask import current_app, has_app_context, has_request_context
from flask import request as flask_request
from flask.json.provider import DefaultJSONProvider, JSONProvider

from wsredis import publisher
from wsredis.config import Config
from wsredis.exceptions import BrokerUnavailable, ConfigurationError
from wsredis.identity import Identity
from wsredis.message import Data
from wsredis.publisher import SELF

from .conf import current_options
from .identity import who

__all__ = ["SELF", "Publisher"]

log = logging.getLogger("wsredis.adapters.flask")


_JSON: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
"""Arguments for Flask's own encoder: the shortest form that browsers can parse."""


class Publisher(publisher.Publisher):
    """A publisher of messages about a facility, with the current application's options.

    Messages that are neither text nor bytes are encoded by ``app.json`` of the application in whose
    context the publisher is made. Facilities, names and text may be lazy.

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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._json: JSONProvider | None = current_app.json if has_app_context() else None

    def default_config(self) -> Config:
        return current_options().config

    def text_of(self, value: object) -> object:
        return str(value) if _is_lazy_text(value) else super().text_of(value)

    def _dump(self, message: object) -> Data:
        return super()._dump(str(message) if _is_lazy_text(message) else message)

    def to_json(self, value: object) -> str:
        if self._json is None:
            return super().to_json(value)
        form = _JSON if isinstance(self._json, DefaultJSONProvider) else {}
        return self._json.dumps(value, **form)

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
        data = self._dump(message)
        self._prepare(data, expire)

        def publish() -> None:
            try:
                self.publish(data, expire)
            except BrokerUnavailable:
                log.exception("a message could not be published after a commit")

        from .transactions import on_commit

        on_commit(_database_session() if session is None else session, publish)


def _is_lazy_text(value: object) -> bool:
    """Return whether a value is text that is not a str, such as that of Flask-Babel."""
    return hasattr(value, "__html__") and not isinstance(value, str)


def _database_session() -> Any:
    """Return the session of Flask-SQLAlchemy."""
    try:
        return current_app.extensions["sqlalchemy"].session
    except KeyError as exc:
        raise ConfigurationError(
            "publish_on_commit needs a session, as Flask-SQLAlchemy is not set up: write"
            " publish_on_commit(..., session=...) with your SQLAlchemy session."
        ) from exc
