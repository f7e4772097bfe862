"""`publish_on_commit`: published after a commit, and not after a rollback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker

from wsredis import BrokerUnavailable, ConfigurationError
from wsredis.adapters.flask import Publisher
from wsredis.adapters.flask.transactions import WAITING, on_commit

Make = Callable[..., Flask]


@pytest.fixture
def app(make: Make) -> Flask:
    app = make(SQLALCHEMY_DATABASE_URI="sqlite://")
    SQLAlchemy(app)
    return app


@pytest.fixture
def session(app: Flask) -> Iterator[Any]:
    """Be inside an application, and give Flask-SQLAlchemy's session, which has begun."""
    with app.app_context():
        session = app.extensions["sqlalchemy"].session
        session.execute(sqlalchemy.text("select 1"))
        yield session


def publish(room: str, message: object, **more: Any) -> None:
    Publisher(room, broadcast=True).publish_on_commit(message, expire=60, **more)


def test_a_commit_publishes(session: Any, room: str, retained: Any) -> None:
    message = {"state": "new"}
    publish(room, message)
    message["state"] = "changed later"
    session.flush()
    assert retained() is None
    session.commit()
    assert retained() == '{"state":"new"}'


@pytest.mark.parametrize("end", ["rollback", "close", "remove", "reset"])
def test_what_is_not_committed_is_not_published(
    session: Any, room: str, retained: Any, end: str
) -> None:
    publish(room, "never")
    getattr(session, end)()
    assert not session().info.get(WAITING)
    session.execute(sqlalchemy.text("select 1"))
    session.commit()
    assert retained() is None


def test_a_view_that_fails_publishes_nothing(app: Flask, room: str, retained: Any) -> None:
    @app.get("/fail")
    def fail() -> str:
        app.extensions["sqlalchemy"].session.execute(sqlalchemy.text("select 1"))
        publish(room, "never")
        raise LookupError

    with suppress(LookupError):
        app.test_client().get("/fail")
    assert retained() is None


def test_without_a_transaction_it_is_published_at_once(
    session: Any, room: str, retained: Any
) -> None:
    session.rollback()
    publish(room, b"\x00\xff")
    assert retained() == b"\x00\xff"


def test_each_transaction_publishes_its_own_once(session: Any, room: str) -> None:
    done: list[int] = []
    for number in range(3):
        session.execute(sqlalchemy.text("select 1"))
        on_commit(session, lambda number=number: done.append(number))  # type: ignore[misc]
        session.commit() if number != 1 else session.rollback()
    session.commit()
    assert done == [0, 2]


def test_a_rollback_to_a_savepoint_takes_only_its_own(session: Any) -> None:
    done: list[str] = []

    def say(word: str) -> None:
        on_commit(session, lambda: done.append(word))

    say("before")
    with suppress(LookupError), session.begin_nested():
        say("never")
        with session.begin_nested():
            say("never, though its own savepoint was released")
        raise LookupError
    with session.begin_nested():
        say("first")
        with session.begin_nested():
            session.flush()
            say("second")
        with session.begin_nested() as inner:
            say("never again")
            inner.rollback()
        say("third")
    assert done == []
    say("after")
    session.commit()
    assert done == ["before", "first", "second", "third", "after"]


def test_a_rollback_of_all_takes_what_savepoints_released(session: Any) -> None:
    done: list[str] = []
    with session.begin_nested():
        on_commit(session, lambda: done.append("never"))
    session.rollback()
    session.commit()
    assert done == []


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)


@pytest.mark.parametrize("when", ["before_flush", "after_flush"])
def test_a_listener_may_publish_while_the_session_writes(when: str) -> None:
    done: list[str] = []
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        event.listen(session, when, lambda *args: on_commit(session, lambda: done.append("once")))
        session.add(Note())
        with session.begin_nested():
            session.flush()
        assert done == []
        session.commit()
    assert done == ["once"]


@pytest.mark.parametrize("scoped", [True, False])
def test_a_session_of_ones_own(make: Make, room: str, retained: Any, scoped: bool) -> None:
    maker = sessionmaker(sqlalchemy.create_engine("sqlite://"))
    own: Any = scoped_session(maker) if scoped else maker()
    with make().app_context():
        with own.begin():
            publish(room, "hello", session=own)
            assert retained() is None
        assert retained() == "hello"


def test_without_flask_sqlalchemy_the_session_must_be_named(make: Make) -> None:
    with make().app_context(), pytest.raises(ConfigurationError, match="session=\\.\\.\\."):
        publish("x", "hello")


@pytest.mark.parametrize(
    ("message", "expire", "error"), [({1, 2}, None, TypeError), ("x", -1, ValueError)]
)
def test_what_cannot_be_published_is_said_before_the_commit(
    session: Any, message: Any, expire: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Publisher("x", broadcast=True).publish_on_commit(message, expire)


def test_an_unavailable_redis_after_a_commit_is_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(SQLALCHEMY_DATABASE_URI="sqlite://", WSREDIS_REDIS="redis://127.0.0.1:1")
    session = SQLAlchemy(app).session
    with app.app_context():
        session.execute(sqlalchemy.text("select 1"))
        publish("x", "lost")
        with caplog.at_level(logging.ERROR):
            session.commit()
        assert "could not be published after a commit" in caplog.text
        with pytest.raises(BrokerUnavailable):
            Publisher("x", broadcast=True).publish("lost")
