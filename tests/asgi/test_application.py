"""The option ``asgi``: what is accepted, and what the errors say."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis import ConfigurationError, WebSocketMiddleware
from wsredis.asgi.application import check_application, load_application

from ..gate import page
from ..servers.hosted import hosted

HERE = "tests.servers.hosted"


class Callable:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Do nothing."""


def asgi2(scope: Any) -> Any:
    return None


def five(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    return None


class Consumer:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take anything, as those of Channels do."""

    @classmethod
    def as_asgi(cls) -> Any:
        return hosted


@pytest.mark.parametrize("value", [f"{HERE}.hosted", f"{HERE}:hosted"])
def test_a_path_is_imported(value: str) -> None:
    check_application(value)
    assert load_application(value) is hosted


@pytest.mark.parametrize("value", [hosted, Callable(), dict])
def test_an_application_is_taken_as_it_is(value: Any) -> None:
    check_application(value)
    assert load_application(value) is value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("mysite/asgi.py", "is not a path: write an ASGI 3 application"),
        ("mysite", "is not a path"),
        ("", "is not a path"),
        (3, "is not callable"),
        (page, "takes 2 arguments, like a WSGI application"),
        (asgi2, "takes 1 argument, like an ASGI 2 application"),
        (Consumer, r"is a class of consumers: write .as_asgi\(\)"),
        (WebSocketMiddleware(page), "takes 2 arguments, like a WSGI application"),
        (five, r"does not take \(scope, receive, send\)"),
    ],
)
def test_an_invalid_value_is_refused_at_the_start(value: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        WebSocketMiddleware(page, asgi=value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("no_such_module.application", "cannot be imported (ModuleNotFoundError)"),
        (f"{HERE}.no_such_name", "cannot be imported (AttributeError)"),
        (f"{HERE}.page", "takes 2 arguments, like a WSGI application"),
    ],
)
def test_an_invalid_path_is_refused_when_it_is_imported(value: str, text: str) -> None:
    check_application(value)
    with pytest.raises(ConfigurationError) as info:
        load_application(value)
    assert text in str(info.value)


def test_asgi_and_an_endpoint_need_different_prefixes() -> None:
    def endpoint(request: Any, context: Any) -> Any:
        return None

    with pytest.raises(ConfigurationError, match="both have the websockets below /ws/"):
        WebSocketMiddleware(page, asgi=hosted, endpoint=endpoint)
    WebSocketMiddleware(page, asgi=hosted, endpoint=endpoint, asgi_prefix="/channels/")


def test_what_cannot_be_opened_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    WebSocketMiddleware(page, asgi=hosted)
    assert "none can be opened with ?subscribe-" in caplog.text
