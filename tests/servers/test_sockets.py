"""Servers that expose their socket, with other middleware between them and ours."""

from __future__ import annotations

import socket
from typing import Any

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
