"""The site's session engine, as subclasses that report which sessions have ended.

`watch_sessions` makes this module the ``SESSION_ENGINE``, unless ``WSREDIS`` has
``"watch_sessions": False``. Its ``SessionStore`` is a subclass of the site's own, which stores
sessions as before and reports:

* the deletion of a session, and so ``flush()``, ``cycle_key()``, logins and logouts. For a session
  in a table, the signal of its model reports the deletion instead (see `.revoke`);
* a change of the user in a session that keeps its key;
* for sessions that are stored in their cookie, a change of their random name (see `.identity`).

Reading and saving a session takes no additional query. A deletion from a table takes a BEGIN and a
COMMIT, unless a transaction is open, as Django does not delete a row in one step if a receiver is
connected. From other stores it takes one look-up, whether they have the session. Logins over
sessions that are not watched are noticed by the cookie of their request.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import global_settings, settings
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies
from django.core.signals import setting_changed
from django.db import router
from django.utils import timezone
from django.utils.crypto import get_random_string

from .conf import WATCH_SESSIONS
from .identity import CLAIM, PIN, STORED_UNTIL, name_in_cookie, session_key
from .revoke import session_ended, without_revocations

__all__ = ["site_engine", "watch_sessions", "watched"]

SITE_ENGINE = "WSREDIS_SITE_SESSION_ENGINE"
"""The setting that has the dotted path of the site's engine; `override_settings` restores it."""

CLEARED_AT_ONCE = 500
"""How many expired rows are deleted at once, as Django loads them. They are named in the query, and
SQLite may be built with a limit of 999 variables."""


def watch_sessions(**changed: Any) -> None:
    """Make this module the ``SESSION_ENGINE`` if the site wants it, also when tests change that."""
    setting_changed.connect(watch_sessions, dispatch_uid="wsredis.sessions")
    user_logged_in.connect(_logged_in, dispatch_uid="wsredis.sessions.login")
    engine = site_engine()
    if _wanted():
        setattr(settings, SITE_ENGINE, engine)
        engine = __name__
    if engine != settings.SESSION_ENGINE:
        settings.SESSION_ENGINE = engine


def _wanted() -> bool:
    """Return whether ``WSREDIS`` lets sessions be watched; a check reports what is not valid."""
    options = getattr(settings, "WSREDIS", None)
    names = WATCH_SESSIONS, WATCH_SESSIONS.upper()
    return not (isinstance(options, Mapping) and any(options.get(name) is False for name in names))


def site_engine() -> str:
    """Return the dotted path of the engine that the site has set."""
    engine: str = settings.SESSION_ENGINE
    if engine != __name__:
        return engine
    return str(getattr(settings, SITE_ENGINE, global_settings.SESSION_ENGINE))


def __getattr__(name: str) -> Any:
    """Return what the site's engine has under this name; its ``SessionStore`` is watched."""
    if name.startswith("__"):
        raise AttributeError(name)
    engine = import_module(site_engine())
    found = getattr(engine, name)
    return watched(found) if found is engine.SessionStore else found


@cache
def watched(store: Any) -> Any:
    """Return the subclass of a session store that reports the ends of sessions."""
    kind: type = _InCookie if issubclass(store, SignedCookies) else _Stored
    # Django signs the content of a session with the name of its class. In this module, pickle finds
    # the subclass under that name.
    names = {"__module__": __name__, "__qualname__": store.__qualname__}
    return type(store.__name__, (kind, store), names)


def _logged_in(request: Any, **kwargs: Any) -> None:
    """Revoke the session of the request's cookie, unless the login has kept it or it is watched.

    A session that is stored in its cookie gets a random name for the time after the login.
    """
    session: Any = getattr(request, "session", None)
    if session is None or isinstance(session, _Watched):
        return
    ended = cookie = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if isinstance(session, SignedCookies):
        before = type(session)(cookie)
        if before.get(CLAIM) == session.get(CLAIM):
            return
        ended = session_key(before)
        session[PIN] = get_random_string(32)
    elif cookie == session.session_key:
        return
    if ended:
        session_ended(ended)


_NEW: Any = ...
"""The user of a session that this object has made: no websocket can have it yet. It is a constant
that stays the same in copies."""


class _Watched(SessionBase):
    """The common part of the watched stores; the other base class stores the session.

    Attributes:
        _before: a tuple of the name of the session for its websockets and its user, as it was
            stored last; None before it is loaded.
    """

    _before: Any = None

    def load(self) -> Any:
        key = self.session_key
        found = super().load()
        self._before = (self._name(found, key), found.get(CLAIM))
        return found

    async def aload(self) -> Any:
        key = self.session_key
        found = await super().aload()
        self._before = (self._name(found, key), found.get(CLAIM))
        return found


class _Stored(_Watched):
    """A store on the server; the key of a session is also its name for websockets."""

    @staticmethod
    def _name(content: Any, key: str | None) -> str | None:
        return key

    def _get_session_from_db(self) -> Any:
        """Remember when the row expires, so that a handshake needs no query for that."""
        row = super()._get_session_from_db()
        setattr(self, STORED_UNTIL, getattr(row, "expire_date", None))
        return row

    def save(self, must_create: bool = False) -> None:
        super().save(must_create)
        if ended := self._saved(must_create):
            session_ended(ended)

    async def asave(self, must_create: bool = False) -> None:
        await super().asave(must_create)
        if ended := self._saved(must_create):
            await sync_to_async(session_ended)(ended)

    def _saved(self, must_create: bool) -> str | None:
        """Remember the state that was stored; return the key if its former user has lost it."""
        setattr(self, STORED_UNTIL, None)
        before, key = self._before, self.session_key
        if must_create or (before is not None and before[0] != key):
            self._before = (key, _NEW)
            return None
        user = self.get(CLAIM)
        self._before = (key, user)
        # A session that was replaced without being loaded may have had any user.
        return key if before is None or before[1] not in (user, _NEW) else None

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if not key or isinstance(self, DatabaseSession) or not self.exists(key):
            super().delete(session_key)
            return
        super().delete(session_key)
        session_ended(key)

    async def adelete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if not key or isinstance(self, DatabaseSession) or not await self.aexists(key):
            await super().adelete(session_key)
            return
        with without_revocations():  # some engines call delete()
            await super().adelete(session_key)
        await sync_to_async(session_ended)(key)

    @classmethod
    def clear_expired(cls) -> None:
        """Delete the expired sessions, whose websockets have been closed when they expired.

        Django loads the rows that it deletes, as a receiver is connected to their deletion. So they
        are deleted in batches, unless the site's engine has a method of its own.
        """
        inherited = super().clear_expired
        if not issubclass(cls, DatabaseSession):
            with without_revocations():
                inherited()
        elif inherited.__func__ is DatabaseSession.clear_expired.__func__:
            _delete_expired(cls.get_model_class())
        else:
            inherited()

    @classmethod
    async def aclear_expired(cls) -> None:
        """Delete the expired sessions; see `clear_expired`."""
        inherited = super().aclear_expired
        if not issubclass(cls, DatabaseSession):
            with without_revocations():
                await inherited()
        elif inherited.__func__ is DatabaseSession.aclear_expired.__func__:
            await sync_to_async(_delete_expired)(cls.get_model_class())
        else:
            await inherited()


def _delete_expired(model: Any) -> None:
    """Delete the expired rows of a model of sessions in batches."""
    stored = model.objects.using(router.db_for_write(model))
    expired = stored.filter(expire_date__lt=timezone.now())
    while keys := list(expired.values_list("pk", flat=True)[:CLEARED_AT_ONCE]):
        expired.filter(pk__in=keys).delete()


class _InCookie(_Watched):
    """A store in the cookie; a session has a random name for websockets in its content.

    The name is set when the session is first saved, and renewed when other stores change the key.
    """

    _name = staticmethod(name_in_cookie)

    def save(self, must_create: bool = False) -> None:
        self._know()
        if PIN not in self and self.keys():
            self[PIN] = get_random_string(32)
        super().save(must_create)
        (name, user), now = self._before, self._name(self._session, self.session_key)
        self._before = (now, self.get(CLAIM) if now == name else _NEW)
        if name and user not in (self._before[1], _NEW):
            session_ended(name)

    def cycle_key(self) -> None:
        self.pop(PIN, None)
        super().cycle_key()

    def delete(self, session_key: str | None = None) -> None:
        self._know()
        super().delete(session_key)
        name, user = self._before
        self._before = (None, _NEW)
        if name and user is not _NEW:
            session_ended(name)

    def _know(self) -> None:
        """Load the session of the cookie, unless it is loaded."""
        if self._before is None:
            self.load()
