"""The servers that show their socket, where somebody stands between them and the middleware."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from wsredis.servers.sockets import PyWSGI


def test_a_request_to_pywsgi_ends_quietly_also_behind_a_middleware_with_an_answer_of_its_own() -> (
    None
):
    class Handler:
        status = "200 OK"

        def start_response(self, *args: Any) -> None:
            raise AssertionError("the answer is out already")

    handler = Handler()
    for start_response in (handler.start_response, lambda *args: handler.start_response(*args)):
        with socket.socket() as sock, pytest.raises(BrokenPipeError):
            PyWSGI(sock).finish(start_response)
    assert handler.status == "101 Switching Protocols"
