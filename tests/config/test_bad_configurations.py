"""Common mistakes in configurations, and the error messages with the corrections."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wsredis import Config, ConfigurationError, WebSocketMiddleware, configure
from wsredis.endpoints import PubSubEndpoint
from wsredis.identity import ProxyHeaderResolver, RemoteUserResolver, chain

pytestmark = pytest.mark.usefixtures("nothing_is_configured")


def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Be a site."""
    return []


def make(app: Any = page, **arguments: Any) -> WebSocketMiddleware:
    return WebSocketMiddleware(app, **arguments)


BAD: list[tuple[dict[str, Any], str]] = [
    # An address of Redis without its scheme, or by the name of the library.
    ({"redis": "localhost:6379"}, "write a URL like 'redis://"),
    ({"redis": "127.0.0.1"}, "write a URL like 'redis://"),
    # One origin without a list, a host without a scheme, an address of a page.
    (
        {"origins": "https://example.com"},
        "write origins in full, without wildcards, like ['https://example.com'",
    ),
    (
        {"origins": ["example.com"]},
        "write origins in full, without wildcards, like ['https://example.com'",
    ),
    (
        {"origins": ["https://example.com/"]},
        "write origins in full, without wildcards, like ['https://example.com'",
    ),
    ({"origins": ["https://*.example.com"]}, "origins in full, without wildcards"),
    ({"origins": ["chrome-extension://*"]}, "origins in full, without wildcards"),
    # A prefix without one of its slashes.
    ({"prefix": "/ws"}, "write an ASCII path that begins and ends with a slash"),
    ({"prefix": "ws/"}, "write an ASCII path that begins and ends with a slash"),
    # An option with a slip of the pen.
    ({"allowed_origins": ["*"]}, "did you mean 'origins'?"),
    ({"max_connection": 5}, "did you mean 'max_connections'?"),
    # A proxy by its name, without a list, or everybody.
    ({"trusted_proxies": "127.0.0.1"}, "write addresses and networks of your proxies like"),
    ({"trusted_proxies": ["nginx"]}, "write addresses and networks of your proxies like"),
    ({"trusted_proxies": ["0.0.0.0/0"]}, "write addresses and networks of your proxies like"),
    # A number as text, no limit as 0 or -1.
    ({"max_message_size": "1MB"}, "write bytes above 0"),
    ({"max_connections_per_user": 0}, "write a number above 0, or None"),
    ({"handshake_timeout": "10s"}, "write seconds above 0"),
    # A pong that may take longer than the next ping.
    ({"ping_interval": 10}, "write seconds above 0, at most ping_interval"),
    # A secret that somebody has thought of.
    ({"secret": "changeme"}, "write at least 32 random characters"),
    # A dotted path where a callable is meant, a class where an object is, and the other way round.
    ({"app": "mysite.wsgi:application"}, "write the WSGI application itself, or None"),
    ({"identity": "mysite.identity"}, "write a function, or an object like RemoteUserResolver()"),
    ({"identity": RemoteUserResolver}, "write a function, or an object like RemoteUserResolver()"),
    ({"allowed_channels": ["subscribe-broadcast"]}, "write a function (request, requested)"),
    ({"endpoint": "mysite.Endpoint"}, "write a class like PubSubEndpoint"),
    # A dict where a Config is meant.
    ({"config": {"redis": "redis://:hush@localhost"}}, "write config=Config(...)"),
]


@pytest.mark.parametrize(("arguments", "hint"), BAD, ids=[f"{each[0]}" for each in BAD])
def test_common_mistakes_are_refused_with_a_correction(
    arguments: dict[str, Any], hint: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(hint)) as refused:
        make(**arguments)
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("WSREDIS_ORGINS", "WSREDIS_ORIGINS"),
        ("WSREDIS_REDIS_URL", "WSREDIS_REDIS"),
        ("WSREDIS_TRUSTED_PROXY", "WSREDIS_TRUSTED_PROXIES"),
        ("WSREDIS_MAX_CONNECTIONS_PER_IP", "WSREDIS_MAX_CONNECTIONS_PER_USER"),
        ("WSREDIS_KEYPREFIX", "WSREDIS_KEY_PREFIX"),
    ],
)
def test_a_misspelt_variable_is_refused(
    written: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(written, "hush")
    told = f"There is no variable {written}: did you mean {meant}?"
    for start in (make, Config.make, configure):
        with pytest.raises(ConfigurationError, match=re.escape(told)):
            start()
    make(config=Config())  # whoever gives a whole Config has not asked the environment


def test_variables_of_somebody_else_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "PORT_6379_TCP_ADDR", "SERVICE_HOST", "SERVICE_PORT", "LOG_LEVEL"):
        monkeypatch.setenv(f"WSREDIS_{name}", "tcp://10.0.0.1:6379")
    assert Config.make() == Config()


@pytest.mark.parametrize("resolver", [RemoteUserResolver, "mysite.identity", None])
def test_a_chain_is_one_of_resolvers(resolver: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"is not a resolver: write a function, or an object"
    ):
        chain(RemoteUserResolver(), resolver)


def test_a_header_for_the_user_needs_its_proxies() -> None:
    with pytest.raises(ConfigurationError, match=r"write proxies=\['127\.0\.0\.1'\]"):
        ProxyHeaderResolver(proxies=[])


def test_what_can_be_called_is_taken() -> None:
    class Application:
        """An application that is a class, as PEP 3333 allows."""

        def __init__(self, environ: dict[str, Any], start_response: Any) -> None: ...

    make(Application, identity=RemoteUserResolver(), endpoint=PubSubEndpoint)
    make(None, identity=lambda request: None, allowed_channels=lambda request, requested: requested)
