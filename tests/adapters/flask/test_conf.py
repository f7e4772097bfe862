"""The options in ``app.config``: their valid values, their application, and when they are read."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import flasksite
import pytest
from flask import Flask

import wsredis
from wsredis import ConfigurationError
from wsredis.adapters.flask import Publisher, WSRedis, session_key, websocket_uri
from wsredis.adapters.flask.conf import read_options

Make = Callable[..., Flask]


def site(**options: Any) -> Flask:
    """Return an application without anything else."""
    app = Flask("site")
    app.config.update(options)
    WSRedis(app)
    return app


@pytest.mark.usefixtures("nothing_is_configured")
def test_without_options_the_defaults_hold() -> None:
    options = read_options(site())
    assert options.config.prefix == "/ws/"
    assert (options.endpoint, options.asgi) == (None, None)
    assert (options.identity, options.user, options.groups) == (None, None, None)


@pytest.mark.usefixtures("nothing_is_configured")
def test_the_environment_says_what_the_config_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "7")
    monkeypatch.setenv("WSREDIS_PREFIX", "/from-the-environment/")
    config = site(WSREDIS_PREFIX="/from-the-config/").extensions["wsredis"].config
    assert (config.expire, config.prefix) == (7, "/from-the-config/")


def test_a_callback_is_a_callable_or_its_path() -> None:
    options = read_options(
        site(
            WSREDIS_IDENTITY=flasksite.token,
            WSREDIS_USER=None,
            WSREDIS_GROUPS="flasksite.groups",
            WSREDIS_ALLOWED_CHANNELS="flasksite:members",
            WSREDIS_ENDPOINT="flasksite.Shouting",
        )
    )
    assert options.identity is flasksite.token
    assert options.user is None
    assert options.groups is flasksite.groups
    assert options.allowed_channels is flasksite.members
    assert options.endpoint is flasksite.Shouting


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HEARTBAET", "x", "did you mean app.config['WSREDIS_HEARTBEAT']?"),
        ("ALLOWED_CHANELS", "x", "did you mean app.config['WSREDIS_ALLOWED_CHANNELS']?"),
        (
            "XYZ",
            "x",
            "There is no option app.config['WSREDIS_XYZ']: write one of prefix, asgi_prefix, ",
        ),
        ("PREFIX", "ws", "app.config['WSREDIS_PREFIX'] = 'ws' is not valid: write an ASCII path"),
        ("REDIS", "localhost:6379", "write a URL like"),
        ("REDIS", None, "write a URL like"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(name: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        site(**{f"WSREDIS_{name}": value})
    assert says in str(refused.value)


def test_an_error_in_the_environment_is_not_one_of_the_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSREDIS_OVERFLOW", "drop")
    with pytest.raises(ConfigurationError, match=r"^WSREDIS_OVERFLOW='drop' is not valid: write"):
        site()


def test_a_dict_of_options_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"set each option separately, such as app.config"):
        site(WSREDIS={"redis": "redis://localhost"})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("IDENTITY", "nowhere.at.all", "'nowhere.at.all' cannot be imported"),
        ("GROUPS", "flasksite.gruops", "such as 'mysite.channels.groups'"),
        ("USER", "plain", "write the path of a callable"),
        ("ALLOWED_CHANNELS", "flasksite.not_callable", "is not callable: write a callable"),
        ("ENDPOINT", 5, "app.config['WSREDIS_ENDPOINT'] = 5 is not callable"),
        ("IDENTITY", "flasksite.Person", "write a function, or an instance of it"),
    ],
)
def test_a_callback_that_is_none_is_said_at_the_first_request(
    name: str, value: Any, says: str
) -> None:
    client = site(**{f"WSREDIS_{name}": value}).test_client()
    for _ in range(2):
        with pytest.raises(ConfigurationError) as refused:
            client.get("/")
        assert says in str(refused.value)


def test_options_may_be_set_after_the_extension() -> None:
    app = Flask("site")
    WSRedis(app)
    app.config["WSREDIS_PREFIX"] = "/live/"
    app.config["WSREDIS_ENDPOINT"] = "flasksite.Shouting"
    with app.app_context():
        assert websocket_uri("news") == "/live/news"


def test_each_application_has_its_own(make: Make) -> None:
    one, other = make(WSREDIS_KEY_PREFIX="one"), make(WSREDIS_KEY_PREFIX="other")
    with one.app_context():
        assert flasksite.ws.publisher("x", broadcast=True).channels == ("one:broadcast:x",)
        with other.app_context():
            assert flasksite.ws.publisher("x", broadcast=True).channels == ("other:broadcast:x",)
        assert Publisher("x", broadcast=True).channels == ("one:broadcast:x",)
    with pytest.raises(ConfigurationError, match="differ in key_prefix"):
        wsredis.Publisher("x", broadcast=True)


def test_an_application_has_websockets_once() -> None:
    app = site()
    with pytest.raises(ConfigurationError, match="'site' already has this extension"):
        WSRedis().init_app(app)


def test_an_application_without_websockets_says_what_to_write() -> None:
    with Flask("bare").app_context(), pytest.raises(ConfigurationError, match="WSRedis\\(app\\)"):
        Publisher("x", broadcast=True)


def test_a_missing_secret_key_is_said_once_and_where_a_key_is_needed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = site()
    client = app.test_client()
    with caplog.at_level(logging.WARNING):
        client.get("/")
        client.get("/")
    (record,) = caplog.records
    assert "set app.config['SECRET_KEY'] to the output of python -c" in record.message
    with app.test_request_context():
        assert websocket_uri("news", "subscribe-user").endswith("/ws/news?subscribe-user")
        for ask in (session_key, lambda: websocket_uri("news", "subscribe-session")):
            with pytest.raises(ConfigurationError, match="SECRET_KEY is not set"):
                ask()


@pytest.mark.parametrize("options", [{"SECRET_KEY": "x"}, {"WSREDIS_IDENTITY": flasksite.token}])
def test_who_needs_no_session_hears_of_no_key(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        site(**options).test_client().get("/")
    assert not caplog.records


def test_nothing_connects_before_it_is_used(make: Make) -> None:
    app = make(WSREDIS_REDIS="redis://127.0.0.1:1")
    with app.app_context():
        Publisher("news", broadcast=True)
    assert app.test_client().get("/").status_code == 200


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("raise PackageNotFoundError(name)", "Flask, which is not installed"),
        ("return '2.3.3'", "2.3.3 is installed"),
    ],
)
def test_a_missing_or_old_flask_names_the_extra(found: str, says: str) -> None:
    program = f"""if True:
        import importlib.metadata
        from importlib.metadata import PackageNotFoundError
        def version(name):
            {found}
        importlib.metadata.version = version
        from wsredis import ConfigurationError
        try:
            import wsredis.adapters.flask
        except ConfigurationError as exc:
            print(exc)
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert says in done.stdout
    assert "wsredis[flask]" in done.stdout
