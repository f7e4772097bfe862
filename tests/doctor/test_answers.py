"""The doctor's findings for responses other than 101; those of real proxies are in other files."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
import trustme

from .conftest import Seen
from .script import Act, Script, look, reset, say, tls

Doctor = Callable[..., Seen]
Play = Callable[..., int]

NAME = "localhost"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_port_with_tls_that_says_nothing_to_plain_http(
    play: Play, doctor: Doctor, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    with authority.cert_pem.tempfile() as pem:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", pem)
        port = play(look, tls(context), tls(context))
        assert doctor(f"ws://{NAME}:{port}/ws/").fault == "needs-tls"


@pytest.mark.parametrize("last", [say(b""), reset])
def test_a_connection_is_closed_without_an_answer(play: Play, doctor: Doctor, last: Act) -> None:
    assert doctor(play(look, last)).fault == "no-answer"


def test_an_answer_without_a_status(play: Play, doctor: Doctor) -> None:
    assert doctor(play(look, say(b"HTTP/1.1 okay\r\n\r\n"))).fault == "no-http"


def test_an_answer_that_breaks_off(play: Play, doctor: Doctor) -> None:
    seen = doctor(play(look, say(b"HTTP/1.1 500 Oops\r\nContent-Length: 99\r\n\r\nhalf of it")))
    assert seen.fault == "strange"
    assert seen.steps["handshake"] == "500 Oops: half of it"


def test_of_a_long_answer_the_beginning_is_shown(play: Play, doctor: Doctor) -> None:
    answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000
    assert doctor(play(look, say(answer))).steps["handshake"] == f"500 Oops: {'x' * 200}"


def test_a_redirection_to_no_address(play: Play, doctor: Doctor) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: https://[nowhere\r\nContent-Length: 0\r\n\r\n"
    seen = doctor(play(look, say(answer)))
    assert seen.fault == "redirect"
    assert seen.steps["handshake"] == "302 Found, to https://[nowhere"


def test_the_cookie_of_who_is_logged_in_goes_along(doctor: Doctor) -> None:
    asked: list[bytes] = []
    script = Script(look, lambda one: asked.append(one.recv(1 << 16)))
    doctor(script.port, "--cookie", "sessionid=abc", "--cookie", "theme=dark")
    script.close()
    assert b"\r\nCookie: sessionid=abc; theme=dark\r\n" in asked[0]
