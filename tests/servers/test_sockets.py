"""Servers that expose their socket, with other middleware between them and ours."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from wsredis.servers.sockets import Gunicorn, PyWSGI, SocketServer


def test_a_request_to_pywsgi_ends_without_an_answer() -> None:
    class Handler:
        status: str | None = None
        headers_sent = close_connection = False
        response_headers = None

        def start_response(self, *args: Any) -> None:
            raise AssertionError("the answer is out already")

    handler = Handler()
    with socket.socket() as sock:
        assert list(PyWSGI(sock).finish(handler.start_response)) == []
    assert (handler.status, handler.response_headers) == ("101 Switching Protocols", [])
    assert handler.headers_sent
    assert handler.close_connection


def test_a_wrapper_around_the_middleware_sees_a_request_that_ends_with_101() -> None:
    answers: list[tuple[Any, ...]] = []
    with socket.socket() as sock:
        for server in (Gunicorn(sock), PyWSGI(sock), SocketServer(sock)):
            assert list(server.finish(lambda *args: answers.append(args))) == []
    assert answers == [("101 Switching Protocols", [])] * 3


def test_a_threaded_gunicorn_worker_may_take_its_worker_connections() -> None:
    server = Gunicorn(socket.socket())

    class Response:
        cfg = SimpleNamespace(worker_connections=77)

        def start_response(self) -> None: ...

    assert server.own_descriptors(Response().start_response) == 77
    assert server.own_descriptors(lambda: None) == 1000  # a wrapper's
    assert gevent.spawn(server.own_descriptors, Response().start_response).get() == 0
    server._sock.close()


@pytest.mark.parametrize("name", ["sync", "gunicorn.workers.sync.SyncWorker"])
def test_a_sync_worker_of_gunicorn_takes_one_connection_at_a_time(name: str) -> None:
    class Response:
        cfg = SimpleNamespace(worker_connections=77, worker_class_str=name)

        def start_response(self) -> None: ...

    with socket.socket() as sock:
        assert Gunicorn(sock).own_descriptors(Response().start_response) == 0


@pytest.mark.parametrize("kind", [PyWSGI, SocketServer])
def test_other_servers_wait_until_a_descriptor_is_free(kind: Any) -> None:
    with socket.socket() as sock:
        assert kind(sock).own_descriptors(lambda: None) == 0
