"""Warnings about refused handshakes: which are written, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis import HandshakeError, Identity, PermissionDenied
from wsredis.handshake import refusal
from wsredis.runtime.logs import INTERVAL, MAX_REASONS, Seldom

from ..handshakes import DirectGate


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(refusal, "_seldom", Seldom(clock))
    return clock


@pytest.fixture
def said(clock: Clock, caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level("INFO")

    def look() -> tuple[list[str], list[str]]:
        """Return the warnings and the lines about each refusal since the last look."""
        found = [(r.levelname, r.getMessage()) for r in caplog.records]
        caplog.clear()
        kinds = ("WARNING", "refused a websocket"), ("INFO", "refused ")
        warnings, each = (
            [text for level, text in found if level == kind and text.startswith(start)]
            for kind, start in kinds
        )
        return warnings, each

    return look


def refuse(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    if "publish-broadcast" in requested:
        raise PermissionDenied("Readers do not write.")
    raise PermissionDenied(f"Not you, {request.identity.user}.")


def test_each_reason_is_a_warning_once_a_minute(said: Any, clock: Clock) -> None:
    users = iter(("alice", "bob", "carol", "dave", "erin"))
    gate = DirectGate(allowed_channels=refuse, identity=lambda request: Identity(next(users)))
    try:
        gate.ask()
        gate.ask()
        warnings, each = said()
        assert each == [
            "refused 403 client=192.0.2.1: Not you, alice.",
            "refused 403 client=192.0.2.1: Not you, bob.",
        ]
        (warning,) = warnings
        assert warning.startswith(
            "refused a websocket with 403: client=192.0.2.1 user=alice asked for"
            " /ws/news?subscribe-broadcast: Not you, alice. The identity resolver, "
        )
        gate.ask("publish-broadcast&ticket=secret")  # another place in the same policy
        (warning,), _ = said()
        assert "user=carol asked for /ws/news?publish-broadcast: Readers do not" in warning
        gate.ask()
        assert said()[0] == []
        clock.now += INTERVAL
        gate.ask()
        assert len(said()[0]) == 1
    finally:
        gate.close()


def test_what_clients_send_makes_no_new_reason(said: Any) -> None:
    gate = DirectGate()
    try:
        for number in range(MAX_REASONS + 1):
            gate.ask(HTTP_ORIGIN=f"http://{number}.example", PATH_INFO=f"/ws/{number}")
            gate.ask(f"subscribe-{number}")
    finally:
        gate.close()
    warnings, each = said()
    assert len(each) == 2 * (MAX_REASONS + 1)
    assert len(warnings) == 2
    assert len(refusal._seldom._last) == 2


def test_a_line_cannot_be_forged(said: Any) -> None:
    gate = DirectGate(allowed_channels=lambda *_: (), identity=lambda _: Identity("a\nWARNING b"))
    try:
        path = "/ws/a\nWARNING \u202e" + "x" * 500
        gate.ask(PATH_INFO=path.encode().decode("latin-1"))
    finally:
        gate.close()
    ((warning,), _) = said()
    assert "\n" not in warning
    assert "\u202e" not in warning
    assert "user=a%0AWARNING%20b asked for /ws/a%0AWARNING%20%E2%80%AExxx" in warning
    assert len(warning) < 700


def test_what_the_site_can_do_depends_on_the_status(said: Any) -> None:
    for status in (400, *refusal.ADVICE):
        refusal.warn(HandshakeError(status, "No."), "/ws/", "")
    warnings, _ = said()
    assert warnings[0].startswith(
        "refused a websocket with 400: client=- user=- asked for /ws/: No. `wsredis doctor URL`"
    )
    for warning, advice in zip(warnings[1:], refusal.ADVICE.values(), strict=True):
        assert f": No. {advice} (Once a minute" in warning


def test_a_handshake_that_an_endpoint_refuses_later_is_a_warning_too(said: Any) -> None:
    from wsredis import Endpoint

    class Later(Endpoint):
        deferred = True

        def connecting(self, connection: Any) -> None:
            connection.refuse(404, "No such room.")

    gate = DirectGate(endpoint=lambda request, context: Later(request, context))
    try:
        gate.ask()
        assert gate.far_ends[0].recv(100).startswith(b"HTTP/1.1 404 ")
    finally:
        gate.close()
    (warning,), each = said()
    assert each == ["refused 404 user=alice channels=-: No such room."]
    assert "user=alice asked for channels -: No such room." in warning


def test_the_advice_for_503_names_all_causes() -> None:
    for cause in ("Redis", "max_connections", "handshake_timeout", "restart"):
        assert cause in refusal.ADVICE[503]
