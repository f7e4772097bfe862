"""What ``manage.py check`` says of the likely misconfigurations; ``--tag wsredis`` for these only.

============  ===============================================================================
wsredis.E001  ``WSREDIS`` has an unknown option, or one that is not valid
wsredis.E002  a callback cannot be imported or called
wsredis.E003  the wrapper of wsgi.py stands in ``MIDDLEWARE``
wsredis.E004  Redis does not answer (``--deploy``)
wsredis.W001  every origin may connect
wsredis.W002  somebody who is not logged in may publish
wsredis.W003  somebody who is not logged in may do everything
wsredis.W004  nobody can be known: an application or a middleware is missing
wsredis.W005  sessions are in a database whose driver holds up every greenlet (in a process
              that gevent has patched, and with ``--deploy``)
wsredis.W006  ``WSGI_APPLICATION`` does not serve websockets to Django's users (``--deploy``)
wsredis.W007  messages do not leave the process (``--deploy``)
============  ===============================================================================
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.servers.basehttp import get_internal_wsgi_application
from django.db import connections, router
from django.utils.module_loading import import_string

from wsredis.access.requests import REQUESTABLE
from wsredis.brokers import broker_for
from wsredis.config import Config
from wsredis.exceptions import BrokerUnavailable, ConfigurationError
from wsredis.identity import ANONYMOUS, anonymous
from wsredis.middleware import WebSocketMiddleware
from wsredis.naming import Audience, channel_name

from .application import DjangoWebSocketMiddleware, get_websocket_application
from .conf import CALLBACKS, Options, callback, current_config, options, setting
from .identity import identity_of
from .request import handshake_request, has_auth, has_sessions

__all__ = ["register_all"]

Messages = Iterator[checks.CheckMessage]

SECONDS = 2.0
"""For Redis to answer a check."""

PUBLISH = frozenset(f"publish-{audience}" for audience in Audience)
REQUESTED = tuple(REQUESTABLE)


_ADVICE = re.compile(": (?=write |did you mean |known are |leave )")


def register_all() -> None:
    """Register the checks with Django, when the application is set up."""
    for check in _ALWAYS:
        checks.register(check, "wsredis")
    for check in _DEPLOY:
        checks.register(check, "wsredis", deploy=True)


def _for_django(*found: Callable[[], Messages]) -> list[Callable[..., list[checks.CheckMessage]]]:
    def wrap(check: Callable[[], Messages]) -> Callable[..., list[checks.CheckMessage]]:
        return lambda app_configs, **kwargs: list(check())

    return [wrap(check) for check in found]


def _sensible() -> Options | None:
    """Return the options, or None where `_setting` has something to say."""
    try:
        return options()
    except ConfigurationError:
        return None


def _setting() -> Messages:
    try:
        said = setting()
        current_config()
    except ConfigurationError as exc:
        yield _error(exc, "wsredis.E001")
        return
    for name in CALLBACKS:
        if said.get(name) is not None:
            try:
                callback(name, said[name])
            except ConfigurationError as exc:
                yield _error(exc, "wsredis.E002")


def _error(exc: ConfigurationError, identifier: str) -> checks.CheckMessage:
    """Split the text of an error into what is wrong and what to write."""
    problem, *advice = _ADVICE.split(str(exc), maxsplit=1)
    hint = "".join(advice)
    return checks.Error(f"{problem}.", hint=hint[:1].upper() + hint[1:], id=identifier)


def _middleware() -> Messages:
    found = []
    for name in settings.MIDDLEWARE:
        try:
            found.append((name, import_string(name)))
        except Exception:  # whatever it is, Django will say it
            continue
    for name, middleware in found:
        ours = (DjangoWebSocketMiddleware, WebSocketMiddleware)
        wraps = isinstance(middleware, type) and issubclass(middleware, ours)
        if wraps or middleware is get_websocket_application:
            yield checks.Error(
                f"{name} is no middleware of Django's.",
                hint="Take it out of MIDDLEWARE and write in wsgi.py: application ="
                " get_websocket_application().",
                id="wsredis.E003",
            )
    now = _sensible()
    if now is None or now.identity is not identity_of:
        return
    missing = [
        text
        for text, there in (
            ("'django.contrib.sessions' in INSTALLED_APPS", has_sessions()),
            ("'django.contrib.auth' in INSTALLED_APPS", has_auth()),
            ("SessionMiddleware in MIDDLEWARE", _has("SessionMiddleware", found)),
            ("AuthenticationMiddleware in MIDDLEWARE", _has("AuthenticationMiddleware", found)),
        )
        if not there
    ]
    if missing:
        yield checks.Warning(
            "Websockets do not know the user of a request, so that only broadcasts arrive:"
            f" there is no {', no '.join(missing)}.",
            hint="Add what is missing, or write a resolver for WSREDIS['identity'].",
            id="wsredis.W004",
        )


def _has(name: str, middleware: list[tuple[str, Any]]) -> bool:
    """Return whether a middleware or a subclass of it is there."""
    return any(
        name in (base.__name__ for base in getattr(found, "__mro__", ())) for _, found in middleware
    )


def _access() -> Messages:
    now = _sensible()
    if now is None:
        return
    if now.config.origins is not None and "*" in now.config.origins:
        yield checks.Warning(
            "Pages of every site may open websockets with the cookies of your users.",
            hint="Name the origins in WSREDIS['origins'], or leave it out for your own pages.",
            id="wsredis.W001",
        )
    given = _given_to_nobody(now)
    if given >= set(REQUESTED):
        yield checks.Warning(
            "WSREDIS['allowed_channels'] grants everything to somebody who is not logged in.",
            hint="Return only what such a visitor needs, such as ['subscribe-broadcast'].",
            id="wsredis.W003",
        )
    elif given & PUBLISH:
        yield checks.Warning(
            "WSREDIS['allowed_channels'] lets somebody who is not logged in publish"
            f" ({', '.join(sorted(given & PUBLISH))}).",
            hint="Grant publish- keys only if request.user.is_authenticated.",
            id="wsredis.W002",
        )


def _given_to_nobody(now: Options) -> set[str]:
    """Ask the callback for an anonymous visitor; one that needs more than that grants nothing."""
    environ: dict[str, Any] = {
        "PATH_INFO": f"{now.config.prefix}check",
        "QUERY_STRING": "&".join(REQUESTED),
    }
    setup_testing_defaults(environ)
    try:
        request = handshake_request(environ)
        request.identity = ANONYMOUS
        return set(REQUESTED).intersection(now.allowed_channels(request, REQUESTED))
    except Exception:
        return set()


def _sessions_under_gevent() -> Messages:
    if _patched():
        yield from _blocking_sessions()


def _sessions_anywhere() -> Messages:
    if not _patched():
        yield from _blocking_sessions()


def _patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_anything_patched())


def _blocking_sessions() -> Messages:
    if not has_sessions():
        return
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not hasattr(store, "get_model_class"):
        return
    driver = _blocking_driver(connections[router.db_for_read(store.get_model_class())])
    if driver:
        yield checks.Warning(
            f"Sessions are in a database, and while {driver} waits for it every websocket and"
            " request of a gevent worker waits too.",
            hint="Under gevent let psycogreen patch psycopg2 or take psycopg 3, take PyMySQL for"
            " mysqlclient, or keep sessions in a cache; threaded workers may silence this.",
            id="wsredis.W005",
        )


def _blocking_driver(connection: Any) -> str | None:
    """Return the name of a driver that waits in C, where gevent cannot help."""
    name: str = getattr(connection.Database, "__name__", "")
    if name == "psycopg2":
        extensions = import_module("psycopg2.extensions")
        return None if extensions.get_wait_callback() else name
    return {"MySQLdb": "mysqlclient", "oracledb": name, "cx_Oracle": name}.get(name)


def _redis() -> Messages:
    now = _sensible()
    if now is None:
        return
    if isinstance(now.config.redis, str) and now.config.redis.startswith("memory:"):
        yield checks.Warning(
            "WSREDIS['redis'] is a memory:// broker: what one process publishes no other hears.",
            hint="Name a Redis, like redis://127.0.0.1:6379/0.",
            id="wsredis.W007",
        )
        return
    quick = Config.make(now.config, redis_deadline=min(SECONDS, now.config.redis_deadline))
    try:
        broker_for(quick).fetch([channel_name(quick.key_prefix, Audience.BROADCAST, "")])
    except (BrokerUnavailable, ConfigurationError) as exc:
        yield checks.Error(
            f"Redis does not answer: {exc}",
            hint="Start it, or say in WSREDIS['redis'] or WSREDIS_REDIS where it is.",
            id="wsredis.E004",
        )


def _wsgi_application() -> Messages:
    try:
        application = get_internal_wsgi_application()
    except (ConfigurationError, ImproperlyConfigured) as exc:
        problem = f"WSGI_APPLICATION cannot be loaded: {exc}"
    else:
        if DjangoWebSocketMiddleware.made:
            return
        problem = "WSGI_APPLICATION does not serve websockets, so that runserver has none."
        if isinstance(application, WebSocketMiddleware):
            if application.resolver is not anonymous:
                return
            problem = (
                "WSGI_APPLICATION is wrapped in wsredis.WebSocketMiddleware, which knows neither"
                " Django's users nor the callbacks of WSREDIS."
            )
    yield checks.Warning(
        problem,
        hint="Write in wsgi.py: from wsredis.adapters.django import get_websocket_application;"
        " application = get_websocket_application(); and name it in WSGI_APPLICATION.",
        id="wsredis.W006",
    )


_ALWAYS = _for_django(_setting, _middleware, _access, _sessions_under_gevent)
_DEPLOY = _for_django(_redis, _sessions_anywhere, _wsgi_application)
