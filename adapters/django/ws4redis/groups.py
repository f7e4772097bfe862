"""The names of a user's groups in the session: written at login, updated when they change.

A session has a second copy of the names. As long as both are equal, so no other code has changed
the names, they are updated. Each handshake reads the groups again. Sessions in a database table
are updated there too, for other code that reads them; other engines cannot find the sessions of a
user.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import UpdateError
from django.db.models.signals import m2m_changed
from django.utils import timezone

from wsredis.adapters.django.identity import group_names

from .identity import MEMBEROF

__all__ = ["connect", "refresh_groups", "renew", "store_groups_in_session"]

GIVEN = "ws4redis:given"
"""The key of a session under which the second copy of the names is."""

MOST = 10_000
"""How many sessions are searched after a change, the newest first; each takes 20 us."""


def connect() -> None:
    """Connect the receivers for logins and for changes of groups; called once per process."""
    user_logged_in.connect(store_groups_in_session, dispatch_uid="ws4redis.login")
    groups = getattr(get_user_model(), "groups", None)
    if through := getattr(groups, "through", None):
        m2m_changed.connect(refresh_groups, sender=through, dispatch_uid="ws4redis.groups")


def store_groups_in_session(sender: Any, user: Any, request: Any, **kwargs: Any) -> None:
    """Write the names of a user's groups into the session; a receiver of ``user_logged_in``."""
    session = getattr(request, "session", None)
    if session is not None and hasattr(user, "groups"):
        session[MEMBEROF] = session[GIVEN] = list(group_names(user))


def renew(session: Any, user: Any) -> None:
    """Update the names of the groups, unless other code has changed them; does not save."""
    if session.get(GIVEN) is not None and session[GIVEN] == session.get(MEMBEROF):
        session[MEMBEROF] = session[GIVEN] = list(group_names(user))


def refresh_groups(
    sender: Any,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: Any = None,
    using: str | None = None,
    **kwargs: Any,
) -> None:
    """Update the sessions of users whose groups have changed; a receiver of ``m2m_changed``."""
    everybody = get_user_model()._default_manager.using(using)
    if action == "pre_clear" and reverse:
        # After the clearing, the members of the group are no longer known.
        members = everybody.filter(groups=instance).values_list("pk", flat=True)
        instance._ws4redis_members = set(members)
    if action not in ("post_add", "post_remove", "post_clear") or _table() is None:
        return
    if not reverse:
        changed: Iterable[Any] = [instance.pk]
    elif action == "post_clear":
        changed = instance.__dict__.pop("_ws4redis_members", ())
    else:
        changed = pk_set or ()
    users = everybody.filter(pk__in=changed)
    if any(field.name == "last_login" for field in users.model._meta.fields):
        # Users who have never logged in have no session; so new users cost nothing.
        users = users.filter(last_login__isnull=False)
    if known := {str(user._meta.pk.value_to_string(user)): user for user in users}:
        _renew_table(known)


def _renew_table(users: dict[str, Any]) -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    live = _table()._default_manager.filter(expire_date__gt=timezone.now())
    for row in live.order_by("-expire_date")[:MOST].iterator():
        user = users.get(str(row.get_decoded().get(SESSION_KEY)))
        if user is None:
            continue
        session = store(session_key=row.session_key)
        session.setdefault(GIVEN, session.setdefault(MEMBEROF, []))  # from before the move
        renew(session, user)
        if session.modified and session.session_key == row.session_key:
            _save(session, row.expire_date)


def _save(session: Any, expires: datetime) -> None:
    """Save a session with its old expiry, unless it has been deleted meanwhile."""
    seconds = int((expires - timezone.now()).total_seconds())
    session.get_expiry_date = lambda **kwargs: expires
    session.get_expiry_age = lambda **kwargs: max(seconds, 0)
    with suppress(UpdateError):
        session.save()


def _table() -> Any:
    """Return the model of this site's sessions; None if its engine has no model."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    model = getattr(store, "get_model_class", None)
    return model() if model is not None else None
