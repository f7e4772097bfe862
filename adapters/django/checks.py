"""System checks for common misconfigurations; ``manage.py check --tag wsredis`` runs only these.

============  ===============================================================================
wsredis.E001  ``WSREDIS`` has an unknown option, or one that is not valid
wsredis.E002  a callback cannot be imported or called; ``asgi`` or ``routes`` cannot be
              imported (with ``--deploy``, and in the commands ``check`` and ``runserver``)
wsredis.E003  the WSGI wrapper is in ``MIDDLEWARE`` instead of wsgi.py
wsredis.E004  Redis does not answer (``--deploy``)
wsredis.W001  pages of every origin may connect
wsredis.W002  anonymous users may publish
wsredis.W003  anonymous users may subscribe and publish everywhere
wsredis.W004  all users are anonymous: an application or a middleware is missing
wsredis.W005  sessions are in a database, or consumers or an ASGI application may use one,
              whose driver blocks every greenlet (in a process that gevent has patched, and
              with ``--deploy``)
wsredis.W006  ``WSGI_APPLICATION`` does not serve websockets to Django's users (with
              ``--deploy``, and in the commands ``check`` and ``runserver``)
wsredis.W007  messages do not leave the process (``--deploy``)
wsredis.W008  other sites on the same Redis server may receive the messages of this one
wsredis.W009  websockets cannot load the sessions of the site as its pages do
wsredis.W010  ``ASGI_APPLICATION`` has websockets that are not served, as neither ``asgi`` nor
              ``routes`` is set (with ``--deploy``, and in the commands ``check`` and
              ``runserver``)
wsredis.W011  the messages of a channel layer do not leave the process (``--deploy``)
wsredis.W012  the origin validator of the ASGI application accepts every origin (``--deploy``)
wsredis.W013  a channel layer loses messages without telling the consumers
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
from wsredis.asgi.application import load_application
from wsredis.brokers import broker_for, shared_channels
from wsredis.config import Config
from wsredis.consumers.routing import router as load_routes
from wsredis.exceptions import BrokerUnavailable, ConfigurationError
from wsredis.identity import ANONYMOUS, anonymous
from wsredis.middleware import WebSocketMiddleware
from wsredis.naming import Audience, channel_name

from ..options import cause
from . import asgi_checks
from .application import DjangoWebSocketMiddleware, get_websocket_application
from .conf import CALLBACKS, Options, callback, current_config, options, setting
from .identity import identity_of
from .request import handshake_request, has_auth, has_sessions

__all__ = ["register_all"]

Messages = Iterator[checks.CheckMessage]

SECONDS = 2.0
"""How long a check waits for Redis."""

PUBLISH = frozenset(f"publish-{audience}" for audience in Audience)
REQUESTED = tuple(REQUESTABLE)


_ADVICE = re.compile(": (?=write |did you mean |known are |leave )")


def register_all() -> None:
    """Register the checks with Django; called when the application is set up."""
    for check in _ALWAYS:
        checks.register(check, "wsredis")
    for check in _DEPLOY:
        checks.register(check, "wsredis", deploy=True)


def _for_django(*found: Callable[[], Messages]) -> list[Callable[..., list[checks.CheckMessage]]]:
    def wrap(check: Callable[[], Messages]) -> Callable[..., list[checks.CheckMessage]]:
        return lambda app_configs, **kwargs: list(check())

    return [wrap(check) for check in found]


def _sensible() -> Options | None:
    """Return the options, or None if they are not valid, which `_setting` reports."""
    try:
        return options()
    except ConfigurationError:
        return None


def _hosted() -> Any:
    """Return the ASGI application or its path; None if there is none, or the options are wrong."""
    now = _sensible()
    return None if now is None else now.asgi


def _routes() -> Any:
    """Return the routes or their path; None if there are none, or the options are wrong."""
    now = _sensible()
    return None if now is None else now.routes


def _has_consumers() -> bool:
    """Return whether channel layers may have consumers in the processes of this site."""
    return _hosted() is not None or _routes() is not None


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
    """Return a check message: the error's text, split into the problem and the hint."""
    problem, *advice = _ADVICE.split(str(exc), maxsplit=1)
    hint = "".join(advice)
    return checks.Error(f"{problem}.", hint=hint[:1].upper() + hint[1:], id=identifier)


def _middleware() -> Messages:
    found = _importable()
    for name, middleware in found:
        ours = (DjangoWebSocketMiddleware, WebSocketMiddleware)
        wraps = isinstance(middleware, type) and issubclass(middleware, ours)
        if wraps or middleware is get_websocket_application:
            yield checks.Error(
                f"{name} is WSGI middleware, not Django middleware.",
                hint="Remove it from MIDDLEWARE and write in wsgi.py: application ="
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
            "All websockets are anonymous and receive only broadcasts:"
            f" there is no {', no '.join(missing)}.",
            hint="Add what is missing, or set WSREDIS['identity'] to a resolver.",
            id="wsredis.W004",
        )


def _importable() -> list[tuple[str, Any]]:
    """Return the names and objects of ``MIDDLEWARE``, without those that cannot be imported."""
    found = []
    for name in settings.MIDDLEWARE:
        try:
            found.append((name, import_string(name)))
        except Exception:  # Django reports it itself
            continue
    return found


def _has(name: str, middleware: list[tuple[str, Any]]) -> bool:
    """Return whether a middleware or a subclass of it is in the list."""
    return any(_is(found, name) for _, found in middleware)


def _is(middleware: Any, name: str) -> bool:
    """Return whether this is the middleware of that name, or a subclass of it."""
    return name in (base.__name__ for base in getattr(middleware, "__mro__", ()))


def _session_loading() -> Messages:
    if not has_sessions():
        return
    hint = (
        "Write a subclass of django.contrib.sessions.middleware.SessionMiddleware whose"
        " process_request() sets request.session, or set WSREDIS['identity'] to a resolver."
    )
    for name, found in _importable():
        if _is(found, "SessionMiddleware") and not hasattr(found, "process_request"):
            yield checks.Warning(
                f"{name} has no process_request(), so websockets do not use it: they load the"
                f" session of the cookie {settings.SESSION_COOKIE_NAME!r} by themselves.",
                hint=hint,
                id="wsredis.W009",
            )
            return
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    try:
        handshake_request(environ).session.keys()
    except Exception as exc:
        yield checks.Warning(
            f"All handshakes are refused: their session cannot be loaded ({cause(exc)}).",
            hint=hint,
            id="wsredis.W009",
        )


def _access() -> Messages:
    now = _sensible()
    if now is None:
        return
    if now.config.origins is not None and "*" in now.config.origins:
        yield checks.Warning(
            "WSREDIS['origins'] has '*': pages of every site may open websockets with the cookies"
            " of your users.",
            hint="List the allowed origins, or remove the option to allow only your own pages.",
            id="wsredis.W001",
        )
    given = _given_to_nobody(now)
    if given >= set(REQUESTED):
        yield checks.Warning(
            "WSREDIS['allowed_channels'] grants all channels to anonymous users.",
            hint="Return only what they need, such as ['subscribe-broadcast'].",
            id="wsredis.W003",
        )
    elif given & PUBLISH:
        yield checks.Warning(
            "WSREDIS['allowed_channels'] lets anonymous users publish"
            f" ({', '.join(sorted(given & PUBLISH))}).",
            hint="Grant publish- keys only if request.user.is_authenticated.",
            id="wsredis.W002",
        )


def _given_to_nobody(now: Options) -> set[str]:
    """Return what the callback grants an anonymous user; nothing if it raises an exception."""
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


def _databases_under_gevent() -> Messages:
    if _patched():
        yield from _blocking_databases()


def _databases_anywhere() -> Messages:
    if not _patched():
        yield from _blocking_databases()


def _patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_anything_patched())


def _blocking_databases() -> Messages:
    hosting = _has_consumers()
    used = [("Sessions are in a database", connection) for connection in _session_databases()]
    if hosting:
        what = f"{'Consumers' if _hosted() is None else 'The ASGI application'} may use a database"
        used += [(what, connection) for connection in connections.all()]
    for what, connection in used:
        if driver := _blocking_driver(connection):
            yield checks.Warning(
                f"{what}, and while {driver} waits for the database, all websockets and requests"
                " of a gevent worker wait too.",
                hint="With gevent, patch psycopg2 with psycogreen or use psycopg 3, use PyMySQL"
                " instead of mysqlclient"
                f"{'' if hosting else ', or store sessions in a cache'}."
                " With threaded workers, silence this check.",
                id="wsredis.W005",
            )
            return


def _session_databases() -> Iterator[Any]:
    """Yield the connection to the database that has the sessions, if one has."""
    if has_sessions():
        store = import_module(settings.SESSION_ENGINE).SessionStore
        if hasattr(store, "get_model_class"):
            yield connections[router.db_for_read(store.get_model_class())]


def _blocking_driver(connection: Any) -> str | None:
    """Return the name of a driver that waits in C code, which gevent cannot patch, or None."""
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
            "WSREDIS['redis'] is a memory:// broker: messages reach only the websockets of the"
            " process that publishes them.",
            hint="Set it to the URL of a Redis server, such as redis://127.0.0.1:6379/0.",
            id="wsredis.W007",
        )
        return
    quick = Config.make(now.config, publish_timeout=min(SECONDS, now.config.publish_timeout))
    try:
        broker_for(quick).fetch([channel_name(quick.key_prefix, Audience.BROADCAST, "")])
    except (BrokerUnavailable, ConfigurationError) as exc:
        yield checks.Error(
            f"{str(exc).rstrip('.')}.",
            hint="Start Redis, or set WSREDIS['redis'] or the environment variable WSREDIS_REDIS"
            " to its URL.",
            id="wsredis.E004",
        )


def _channels() -> Messages:
    now = _sensible()
    if now is None:
        return
    try:
        shared = shared_channels(now.config)
    except ConfigurationError:  # the check of Redis reports it
        return
    if shared is not None:
        yield checks.Warning(
            shared,
            hint="Set WSREDIS['key_prefix'] to a name that no other site on this server uses.",
            id="wsredis.W008",
        )


def _served() -> Messages:
    """Look at the applications where they are about to be used, or the site is to be checked.

    Other commands must not load wsgi.py or asgi.py, which may patch the process or connect to
    servers.
    """
    command, *arguments = (*sys.argv[1:], "")
    if command == "runserver" or (command == "check" and "--deploy" not in arguments):
        yield from _wsgi_application()
        yield from _applications()


def _wsgi_application() -> Messages:
    if _sensible() is None:
        return  # the application cannot be made then
    try:
        application = get_internal_wsgi_application()
    except (ConfigurationError, ImproperlyConfigured) as exc:
        problem = f"WSGI_APPLICATION cannot be loaded: {exc}"
    except Exception as exc:  # a wsgi.py that only works on the server
        problem = f"WSGI_APPLICATION cannot be loaded: its module raises {type(exc).__name__}."
    else:
        if DjangoWebSocketMiddleware.made:
            return
        problem = "WSGI_APPLICATION does not serve websockets, so runserver has none."
        if isinstance(application, WebSocketMiddleware):
            if application.resolver is not anonymous:
                return
            problem = (
                "WSGI_APPLICATION is wrapped in wsredis.WebSocketMiddleware, which uses neither"
                " Django's users nor the callbacks of WSREDIS."
            )
    yield checks.Warning(
        problem,
        hint="Write in wsgi.py: from wsredis.adapters.django import get_websocket_application;"
        " application = get_websocket_application(). Set WSGI_APPLICATION to its dotted path.",
        id="wsredis.W006",
    )


def _applications() -> Messages:
    """Look at the ASGI application and at the routes."""
    if not _has_consumers():
        yield from asgi_checks.unhosted()
        return
    uses: list[tuple[str, Any, Callable[[Any], object]]] = [
        ("asgi", _hosted(), load_application),
        ("routes", _routes(), load_routes),
    ]
    for name, value, load in uses:
        if value is None:
            continue
        try:
            load(value)
        except ConfigurationError as exc:
            text = str(exc).removeprefix(f"{name}=")
            yield _error(ConfigurationError(f"WSREDIS[{name!r}] = {text}"), "wsredis.E002")


def _layers() -> Messages:
    if _has_consumers():
        yield from asgi_checks.lossy_layers()


def _deployed_application() -> Messages:
    if _has_consumers():
        yield from asgi_checks.layers_in_memory()
    asgi = _hosted()
    if asgi is None:
        return
    try:
        yield from asgi_checks.open_validator(asgi)
    except ConfigurationError:  # `_applications` reports it
        return


_ALWAYS = _for_django(
    _setting,
    _middleware,
    _session_loading,
    _access,
    _channels,
    _layers,
    _databases_under_gevent,
    _served,
)
_DEPLOY = _for_django(
    _redis, _databases_anywhere, _wsgi_application, _applications, _deployed_application
)
