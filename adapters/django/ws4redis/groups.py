"""The names of a user's groups in the session: written at login, renewed when they change.

Sessions that lie in a table are renewed there. Other engines cannot be asked for the sessions of a
user, so there a session also keeps what it was given at login, and `renew` looks again as long as
nobody else has written to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import m2m_changed
from django.utils import timezone

from wsredis.adapters.django.identity import group_names

from .identity import MEMBEROF

__all__ = ["connect", "refresh_groups", "renew", "store_groups_in_session"]

GIVEN = "ws4redis:given"
"""Where a session without a table keeps what it was given at login."""


def connect() -> None:
    """Listen to logins and to changes of groups; once per process."""
    user_logged_in.connect(store_groups_in_session, dispatch_uid="ws4redis.login")
    groups = getattr(get_user_model(), "groups", None)
    if through := getattr(groups, "through", None):
        m2m_changed.connect(refresh_groups, sender=through, dispatch_uid="ws4redis.groups")


def store_groups_in_session(sender: Any, user: Any, request: Any, **kwargs: Any) -> None:
    """Write the names of a user's groups into the session; a receiver of ``user_logged_in``."""
    session = getattr(request, "session", None)
    if session is not None and hasattr(user, "groups"):
        session[MEMBEROF] = list(group_names(user))
        if _table() is None:
            session[GIVEN] = session[MEMBEROF]


def renew(session: Any, user: Any) -> None:
    """Look again which groups a user has, where changes could not find the session.

    The session is not saved.
    """
    if session.get(GIVEN) is not None and session.get(GIVEN) == session.get(MEMBEROF):
        session[MEMBEROF] = session[GIVEN] = list(group_names(user))


def refresh_groups(
    sender: Any, instance: Any, action: str, reverse: bool, pk_set: Any = None, **kwargs: Any
) -> None:
    """Renew the sessions of users whose groups have changed; a receiver of ``m2m_changed``."""
    if action == "pre_clear" and reverse:
        # After it nobody knows any more who was in the group.
        instance._ws4redis_members = set(instance.user_set.values_list("pk", flat=True))
    if action not in ("post_add", "post_remove", "post_clear") or _table() is None:
        return
    if not reverse:
        changed: Iterable[Any] = [instance.pk]
    elif action == "post_clear":
        changed = instance.__dict__.pop("_ws4redis_members", ())
    else:
        changed = pk_set or ()
    # Who has never logged in has no session, so that new users cost nothing.
    model = get_user_model()
    users = model._default_manager.filter(pk__in=changed, last_login__isnull=False)
    if known := {str(user._meta.pk.value_to_string(user)): user for user in users}:
        _renew_table(known)


def _renew_table(users: dict[str, Any]) -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    live = _table()._default_manager.filter(expire_date__gt=timezone.now())
    for row in live.iterator():
        user = users.get(str(row.get_decoded().get(SESSION_KEY)))
        if user is not None:
            session = store(session_key=row.session_key)
            session[MEMBEROF] = list(group_names(user))
            session.save()


def _table() -> Any:
    """Return the model in which this site keeps its sessions; None where it has none."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    model = getattr(store, "get_model_class", None)
    return model() if model is not None else None
