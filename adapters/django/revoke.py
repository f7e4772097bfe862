"""Close the websockets of sessions, accounts and groups that end or change.

A revocation is sent when the change is stored: at the end of the request, whose session is saved by
then, or outside a request when the transaction commits. So a client that reconnects at once is
checked against the new state.

The receivers are connected to the models of users, groups and sessions, and to all their proxies,
parents and children: Django sends the signals of a row with the class that the code has used.

Changes of rows that send no signals, such as ``queryset.update()``, are not noticed: call
`wsredis.disconnect` after them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from asgiref.local import Local
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core.signals import request_finished, request_started
from django.db import transaction
from django.db.models.signals import (
    class_prepared,
    m2m_changed,
    post_delete,
    post_save,
    pre_save,
)
from django.utils import timezone

from wsredis.config import Config
from wsredis.disconnect import disconnect
from wsredis.exceptions import BrokerUnavailable
from wsredis.protocol.closing import IDENTITY_CHANGED, IDENTITY_ENDED, Closing

from .identity import given_name, session_key

__all__ = ["connect", "session_ended", "without_revocations"]

log = logging.getLogger("wsredis.adapters.django")

NAMES = "user", "session", "group"
"""The names that a revocation may have."""

SESSION_ENDED = "the session has ended"

_this = Local()
"""``revocations`` are those of this thread's or task's request; unset outside a request."""

PAUSE = 1.0
"""The seconds without another attempt outside a request, after one that has failed."""

_senders: dict[Callable[[], Config], _Sender] = {}
"""The senders of revocations, by the functions that return their options."""


def connect(config: Callable[[], Config]) -> None:
    """Connect the receivers of the signals; called once per application of wsredis.

    Args:
        config: returns the options of the core with which the site's websockets are served.
    """
    _senders.setdefault(config, _Sender(config))
    request_started.connect(_begin, dispatch_uid="wsredis.revoke.begin")
    request_finished.connect(_finish, dispatch_uid="wsredis.revoke.finish")
    user_logged_out.connect(_logged_out, dispatch_uid="wsredis.revoke.logout")
    class_prepared.connect(_watch, dispatch_uid="wsredis.revoke.model")
    for model in apps.get_models(include_auto_created=True):
        _watch(model)
    if apps.is_installed("django.contrib.auth") and (relation := _groups()):
        _connect(m2m_changed, _regrouped, relation.through)


# Revocations


def _begin(**kwargs: Any) -> None:
    _finish()  # of a request that the server has not closed
    _this.revocations = {}


def _finish(**kwargs: Any) -> None:
    revocations = getattr(_this, "revocations", None)
    if revocations is not None:
        del _this.revocations
        _send(list(revocations.values()))


@contextmanager
def without_revocations() -> Iterator[None]:
    """Send no revocations for sessions that end in this block."""
    revocations = getattr(_this, "revocations", None)
    _this.revocations = {}
    try:
        yield
    finally:
        del _this.revocations
        if revocations is not None:
            _this.revocations = revocations


def _revocation(closing: Closing, text: str, **names: str) -> dict[str, Any]:
    """Return the arguments of `disconnect`; the text is for people."""
    return {**names, "code": closing.code, "reason": replace(closing, text=text).reason}


def _at_end(revocation: dict[str, Any]) -> bool:
    """Send a revocation at the end of the request; return False if there is no request."""
    revocations = getattr(_this, "revocations", None)
    if revocations is not None:
        names = tuple(revocation.get(name) for name in NAMES)
        # A later one may be stricter: a user who gets other groups, and then is deactivated.
        if names not in revocations or revocations[names]["code"] == IDENTITY_CHANGED.code:
            revocations[names] = revocation
    return revocations is not None


def _soon(closing: Closing, text: str, using: str | None = None, **names: str) -> None:
    """Send a revocation when the current change is stored."""
    revocation = _revocation(closing, text, **names)
    if not _at_end(revocation):
        send = partial(_send, [revocation], in_request=False)
        transaction.on_commit(send, using=using)


def _send(revocations: list[dict[str, Any]], in_request: bool = True) -> None:
    """Send revocations now; a change must not fail because Redis is unavailable."""
    for sender in list(_senders.values()) if revocations else ():
        sender.send(revocations, in_request)


class _Sender:
    """The sending of revocations with one application's options.

    Each attempt may wait for a Redis that does not answer. So none of the same request follows one
    that has failed, and outside a request none is made in the next `PAUSE`: a deletion of many rows
    has a revocation for each of them.

    Args:
        config: returns the options of the core.
    """

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self._failed: Config | None = None
        self._next = 0.0  # by the clock of `monotonic`, after an attempt that has failed
        self._left_out = 0

    def send(self, revocations: list[dict[str, Any]], in_request: bool) -> None:
        """Send revocations, or count them if no attempt is due."""
        config = self._config()
        if not in_request and config == self._failed and monotonic() < self._next:
            if not self._left_out:
                log.error("outside a request, no revocation is sent for %d s after an error", PAUSE)
            self._left_out += len(revocations)
            return
        if self._left_out:
            log.error("%d revocations were left out after the last error", self._left_out)
            self._left_out = 0
        for number, revocation in enumerate(revocations):
            try:
                disconnect(**revocation, config=config)
            except BrokerUnavailable as exc:
                self._failed, self._next = config, monotonic() + PAUSE
                whose = " and ".join(name for name in NAMES if name in revocation)
                rest = len(revocations) - number - 1
                more = f" (and {rest} more)" if rest else ""
                log.error("the websockets of a %s%s could not be closed: %s", whose, more, exc)
                break
        else:
            self._failed = None


# Sessions


def session_ended(name: str) -> None:
    """Revoke a session that its store has deleted or given to another user.

    Outside a request this is done at once, as only databases wait for a transaction.
    """
    revocation = _revocation(IDENTITY_ENDED, SESSION_ENDED, session=name)
    if not _at_end(revocation):
        _send([revocation], in_request=False)


def _logged_out(request: Any, **kwargs: Any) -> None:
    if key := session_key(getattr(request, "session", None)):
        _soon(IDENTITY_ENDED, "the user logged out", session=key)


def _session_deleted(instance: Any, using: str, **kwargs: Any) -> None:
    """Revoke the session of a deleted row, unless it had expired and its websockets with it."""
    loaded = instance.__dict__  # deferred fields of a deleted row can no longer be loaded
    key, expires = loaded.get("session_key"), loaded.get("expire_date")
    if key and (expires is None or expires > timezone.now()):
        _soon(IDENTITY_ENDED, SESSION_ENDED, using, session=str(key))


# Models


def _watch(sender: Any, **kwargs: Any) -> None:
    """Connect the receivers for a model, if it is one of users, groups or sessions."""
    if sender._meta.apps is not apps:  # a model of a migration
        return
    if {field.name for field in sender._meta.concrete_fields} >= SESSION_FIELDS:
        _connect(post_delete, _session_deleted, sender)
    if not apps.is_installed("django.contrib.auth"):
        return
    users, relation = get_user_model(), _groups()
    if _related(sender, users):
        _connect(pre_save, _before_user, sender)
        _connect(post_save, _user_saved, sender)
        if _concrete(sender) is _concrete(users):
            _connect(post_delete, _user_deleted, sender)
    if relation is None:
        return
    groups = _group_model(relation)
    if _related(sender, groups):
        _connect(pre_save, _before_group, sender)
        _connect(post_save, _group_saved, sender)
        if _concrete(sender) is _concrete(groups):
            _connect(post_delete, _group_deleted, sender)
    if _concrete(sender) is relation.through and not relation.through._meta.auto_created:
        _connect(post_save, _member_changed, sender)
        _connect(post_delete, _member_changed, sender)


SESSION_FIELDS = {"session_key", "session_data", "expire_date"}
"""The fields by which a model of sessions is recognized: not all are derived from Django's."""


def _connect(signal: Any, receiver: Callable[..., None], sender: Any) -> None:
    signal.connect(receiver, sender=sender, dispatch_uid=f"wsredis.revoke{receiver.__name__}")


def _concrete(model: Any) -> Any:
    """Return the model that has the table: a proxy has none of its own."""
    return model._meta.concrete_model


def _related(sender: Any, model: Any) -> bool:
    """Return whether a save of ``sender`` can change ``model``: a proxy, child or parent of it."""
    one, other = _concrete(sender), _concrete(model)
    return issubclass(one, other) or issubclass(other, one)


def _groups() -> Any:
    """Return the relation between users and groups, or None."""
    relation = getattr(get_user_model(), "groups", None)
    return relation if hasattr(relation, "through") else None


def _group_model(relation: Any) -> Any:
    return relation.rel.related_model if relation.reverse else relation.rel.model


def _remember(
    model: Any, fields: set[str], sender: Any, instance: Any, using: str, saved: Any
) -> None:
    """Remember the stored row of ``model`` before a save that may change these fields of it."""
    fields = fields & {field.name for field in sender._meta.concrete_fields}
    fields = fields if saved is None else fields & set(saved)
    # Parents and children may have other primary keys than the model between them.
    shared = model if issubclass(_concrete(sender), _concrete(model)) else sender
    key = shared._meta.pk
    value = getattr(instance, key.attname)
    value = instance.pk if value is None else value
    instance.__dict__.pop(BEFORE, None)
    if fields and value is not None:
        old = model._base_manager.using(using).filter(**{key.name: value}).first()
        instance.__dict__[BEFORE] = (old, fields)


BEFORE = "_wsredis_before"
"""The attribute of an instance with the stored row and the names of the fields that are saved."""


def _changed(instance: Any) -> tuple[Any, set[str]]:
    """Return the row before a save, and the names of the fields that have changed."""
    old, fields = instance.__dict__.pop(BEFORE, (None, set()))
    if old is None:
        return None, set()
    return old, {name for name in fields if getattr(old, name) != getattr(instance, name)}


# Users


def _before_user(
    sender: Any, instance: Any, using: str, update_fields: Any = None, **kwargs: Any
) -> None:
    users = get_user_model()
    # These decide whether a session is still valid, and for which user.
    fields = {users.USERNAME_FIELD, "password", "is_active"}
    _remember(users, fields, sender, instance, using, update_fields)


def _user_saved(instance: Any, using: str, **kwargs: Any) -> None:
    old, changed = _changed(instance)
    name = given_name(old) if changed else None
    if name is None:
        return
    if getattr(instance, "is_active", True):
        _soon(IDENTITY_CHANGED, "the account has changed", using, user=name)
    else:
        _soon(IDENTITY_ENDED, "the account was deactivated", using, user=name)


def _user_deleted(instance: Any, using: str, **kwargs: Any) -> None:
    if name := given_name(instance):
        _soon(IDENTITY_ENDED, "the account was deleted", using, user=name)


# Groups


def _regrouped(instance: Any, action: str, pk_set: Any, using: str, **kwargs: Any) -> None:
    """Close the websockets of users whose groups have changed; their clients reconnect at once."""
    if action != "pre_clear" and not (pk_set and action in ("post_add", "post_remove")):
        return
    everyone = get_user_model()._base_manager.using(using)
    users: Iterable[Any]
    if isinstance(instance, _concrete(get_user_model())):
        users = [instance]
    elif action == "pre_clear":
        users = everyone.filter(groups=instance)
    else:
        users = everyone.filter(pk__in=pk_set)
    for user in users:
        _regroup(user, using)


def _member_changed(instance: Any, using: str, **kwargs: Any) -> None:
    """Close the websockets of the user in a row of a site's own model for the relation."""
    relation = _groups()
    field = relation.field
    key = field.m2m_reverse_field_name() if relation.reverse else field.m2m_field_name()
    _regroup(getattr(instance, key), using)


def _regroup(user: Any, using: str) -> None:
    if name := given_name(user):
        _soon(IDENTITY_CHANGED, "the groups of the user have changed", using, user=name)


def _before_group(
    sender: Any, instance: Any, using: str, update_fields: Any = None, **kwargs: Any
) -> None:
    _remember(_group_model(_groups()), {"name"}, sender, instance, using, update_fields)


def _group_saved(instance: Any, using: str, **kwargs: Any) -> None:
    old, changed = _changed(instance)
    if changed and old.name:
        _soon(IDENTITY_CHANGED, "the group was renamed", using, group=old.name)


def _group_deleted(instance: Any, using: str, **kwargs: Any) -> None:
    if instance.name:
        _soon(IDENTITY_CHANGED, "the group was deleted", using, group=instance.name)
