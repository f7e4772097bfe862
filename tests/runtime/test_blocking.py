"""Blocking calls: they run in a thread, unless gevent's sockets make them yield."""

from __future__ import annotations

import threading
from typing import Any

import gevent.socket
import pytest
import redis.connection

import wsredis.brokers.redis.client  # noqa: F401 - registers redis-py
from wsredis.runtime.blocking import _undisturbed, blocking, stay_while
from wsredis.runtime.loop import Loop


def test_in_a_greenlet_it_runs_in_another_thread(loop: Loop) -> None:
    ran = loop.run(lambda: blocking(threading.get_ident))
    assert ran != loop.thread


def test_outside_of_the_loop_it_runs_where_it_is_called() -> None:
    assert blocking(threading.get_ident) == threading.get_ident()


def test_with_gevents_sockets_under_redis_py_it_stays_in_its_greenlet(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis.connection, "socket", gevent.socket)
    assert loop.run(lambda: blocking(threading.get_ident)) == loop.thread


def test_it_gives_no_other_greenlet_a_turn_where_one_must_not_be_disturbed(loop: Loop) -> None:
    busy = True

    def is_busy() -> bool:
        return busy

    stay_while(is_busy)
    try:
        assert loop.run(lambda: blocking(threading.get_ident)) == loop.thread
        busy = False
        assert loop.run(lambda: blocking(threading.get_ident)) != loop.thread
    finally:
        _undisturbed.discard(is_busy)


def test_what_it_raises_arrives(loop: Loop) -> None:
    def fail() -> Any:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        loop.run(lambda: blocking(fail))
