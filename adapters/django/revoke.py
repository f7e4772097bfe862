"""Close the websockets of users who log out, are deactivated or deleted, or change groups.

A disconnect is sent when the change is stored: at the end of the request, whose session is saved
by then, or outside a request when the transaction commits. So a client that reconnects at once is
checked against the new state.

Changes of rows that send no signals, such as ``queryset.update()``, are not noticed: call
`wsredis.disconnect` after them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from asgiref.local import Local
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_out
from django.core.signals import request_finished, request_started
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save

from wsredis.disconnect import disconnect
from wsredis.exceptions import BrokerUnavailable

from .conf import current_config
from .identity import given_name, session_key

__all__ = ["connect"]

log = logging.getLogger("wsredis.adapters.django")

COME_BACK = 1012
"""The close code for users who keep their access: the browser client reconnects."""

_this = Local()
"""``orders`` are the disconnects of this thread's or task's request; unset outside a request."""


def connect() -> None:
    """Connect the receivers of the signals; called once per process."""
    users = get_user_model()
    request_started.connect(_begin, dispatch_uid="wsredis.revoke.begin")
    request_finished.connect(_finish, dispatch_uid="wsredis.revoke.finish")
    user_logged_out.connect(_logged_out, dispatch_uid="wsredis.revoke.logout")
    pre_save.connect(_before, sender=users, dispatch_uid="wsredis.revoke.before")
    post_save.connect(_saved, sender=users, dispatch_uid="wsredis.revoke.saved")
    post_delete.connect(_deleted, sender=users, dispatch_uid="wsredis.revoke.user")
    if through := getattr(getattr(users, "groups", None), "through", None):
        m2m_changed.connect(_regrouped, sender=through, dispatch_uid="wsredis.revoke.groups")
        post_delete.connect(_ungrouped, sender=Group, dispatch_uid="wsredis.revoke.group")


def _begin(**kwargs: Any) -> None:
    _this.orders = []


def _finish(**kwargs: Any) -> None:
    orders = getattr(_this, "orders", None)
    if orders is not None:
        del _this.orders
        for order in orders:
            order()


def _soon(using: str | None = None, **order: Any) -> None:
    """Disconnect when the current change is stored."""
    send = partial(_send, order)
    if hasattr(_this, "orders"):
        _this.orders.append(send)
    else:
        transaction.on_commit(send, using=using)


def _send(order: dict[str, Any]) -> None:
    """Disconnect now; a change must not fail because Redis is unavailable."""
    try:
        disconnect(**order, config=current_config())
    except BrokerUnavailable as exc:
        whose = " and ".join(name for name in ("user", "session", "group") if name in order)
        log.error("the websockets of a %s could not be closed: %s", whose, exc)


def _logged_out(request: Any, **kwargs: Any) -> None:
    if key := session_key(getattr(request, "session", None)):
        _soon(session=key, reason="logged out")


def _before(sender: Any, instance: Any, using: str, raw: bool, **kwargs: Any) -> None:
    """Remember the stored user before a save."""
    saved = kwargs.get("update_fields")
    if instance.pk is None or (saved is not None and not _telling(sender) & set(saved)):
        return
    old = sender._base_manager.using(using).filter(pk=instance.pk).first()
    instance.__dict__["_wsredis_before"] = old


def _saved(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    old = instance.__dict__.pop("_wsredis_before", None)
    name = given_name(old) if old is not None else None
    if name is None or all(
        getattr(old, field, None) == getattr(instance, field, None) for field in _telling(sender)
    ):
        return
    if getattr(instance, "is_active", True):
        _soon(using, user=name, code=COME_BACK, reason="the account has changed")
    else:
        _soon(using, user=name, reason="the account is locked")


def _telling(users: Any) -> set[str]:
    """Return the fields that decide whether a session is still valid, and for which user."""
    return {users.USERNAME_FIELD, "password", "is_active"}


def _deleted(instance: Any, using: str, **kwargs: Any) -> None:
    if name := given_name(instance):
        _soon(using, user=name, reason="the account is gone")


def _regrouped(
    instance: Any, action: str, reverse: bool, pk_set: Any, using: str, **kwargs: Any
) -> None:
    """Close the websockets of users whose groups have changed; their clients reconnect at once."""
    if action not in ("post_add", "post_remove", "pre_clear"):
        return
    users: Iterable[Any] = [instance]
    if reverse:
        everybody = get_user_model()._base_manager.using(using)
        users = everybody.filter(groups=instance) if action == "pre_clear" else ()
        if pk_set:
            users = everybody.filter(pk__in=pk_set)
    for user in users:
        if name := given_name(user):
            _soon(using, user=name, code=COME_BACK, reason="the groups have changed")


def _ungrouped(instance: Any, using: str, **kwargs: Any) -> None:
    _soon(using, group=instance.name, code=COME_BACK, reason="the group is gone")
