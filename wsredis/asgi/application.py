"""The option ``asgi``: an ASGI 3 application, or where it is; this module imports no asyncio."""

from __future__ import annotations

import inspect
from typing import Any

from ..config.paths import import_path, split_path
from ..exceptions import ConfigurationError

__all__ = ["check_application", "load_application"]

WRITE = "write an ASGI 3 application, or its path, such as 'mysite.asgi.application'"


def check_application(value: Any) -> None:
    """Check the option as far as possible without importing anything.

    Raises:
        ConfigurationError: it cannot be an ASGI application or the path of one.
    """
    if isinstance(value, str):
        try:
            split_path(value)
        except ValueError:
            raise ConfigurationError(f"asgi={value!r} is not a path: {WRITE}.") from None
    elif not callable(value):
        raise ConfigurationError(f"asgi={value!r:.200} is not callable: {WRITE}.")
    else:
        _check_signature(value)


def load_application(value: Any) -> Any:
    """Return the application that the option is, or that its path names.

    Raises:
        ConfigurationError: it cannot be imported, or is not an ASGI 3 application.
    """
    if not isinstance(value, str):
        return value
    try:
        found = import_path(value)
    except (Exception, SystemExit) as exc:  # SystemExit would end the process
        raise ConfigurationError(
            f"asgi={value!r} cannot be imported ({type(exc).__name__}): {WRITE}."
        ) from exc
    check_application(found)
    return found


def _check_signature(app: Any) -> None:
    """Refuse what takes other arguments than ``(scope, receive, send)``.

    A class of consumers may take any, and a WSGI application more than its own.
    """
    if isinstance(app, type) and hasattr(app, "as_asgi"):
        raise ConfigurationError(f"asgi={app!r:.200} is a class of consumers: write .as_asgi().")
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):  # some callables of extension modules have none
        return
    if next(iter(signature.parameters), "") != "environ":
        try:
            signature.bind({}, None, None)
        except TypeError:
            pass
        else:
            return
    for arguments, what in ((2, "a WSGI application"), (1, "an ASGI 2 application")):
        try:
            signature.bind(*range(arguments))
        except TypeError:
            continue
        raise ConfigurationError(
            f"asgi={app!r:.200} takes {arguments} argument{'s' * (arguments > 1)}, like {what}:"
            f" {WRITE}, which takes (scope, receive, send)."
        )
    raise ConfigurationError(
        f"asgi={app!r:.200} does not take (scope, receive, send): {WRITE}. Of a consumer, pass"
        " Consumer.as_asgi()."
    )
