"""All fuzz targets, with inputs found by fuzzing and with a few fixed inputs."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from websockets.extensions.permessage_deflate import PerMessageDeflate

from .targets import NAMES, load


def replay(name: str) -> None:
    target = load(name)
    for file in sorted(target.corpus.iterdir()):
        try:
            target.check(file.read_bytes())
        except Exception as exc:
            exc.add_note(f"{file.name} in {file.parent}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_a_target_opens_with_its_invariant(name: str) -> None:
    assert (load(name).check.__doc__ or "").startswith("Hold that ")


@pytest.mark.parametrize("name", NAMES)
def test_what_was_found_holds(name: str) -> None:
    replay(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_is_small(name: str) -> None:
    sizes = [file.stat().st_size for file in load(name).corpus.iterdir()]
    assert len(sizes) >= 3
    assert sum(sizes) < 100_000


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_holds(name: str) -> None:
    target = load(name)
    rules = settings(
        max_examples=100,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    rules(given(target.inputs)(target.check))()


FAULTS: dict[str, tuple[str, Any]] = {
    "credentials": ("wsredis.identity.credentials._cookies", lambda environ, name: ["abc"]),
    "frames": ("wsredis.protocol.frames._Deflate.decode", PerMessageDeflate.decode),
    "handshake": (
        "wsredis.handshake.upgrade.choose_subprotocol",
        lambda offered, known: ",".join(offered),
    ),
    "message": ("wsredis.message._BINARY", b"B"),
    "naming": ("wsredis.naming._UNSAFE", re.compile(r"[%\s]")),
    "proxies": ("wsredis.proxies.Proxies.__contains__", lambda proxies, address: True),
    "resp": ("wsredis.brokers.redis.resp.MAX_DEPTH", 10**6),
    "revocation": (
        "wsredis.identity.revocation.Revocation.matches",
        lambda revocation, identity: True,
    ),
    "tickets": ("wsredis.tickets.hmac.compare_digest", lambda one, other: True),
}


Remembering: Any = type(lru_cache(lambda: None))


def forget() -> None:
    """Empty all that is remembered of inputs: a fault would not show, or outlive its test."""
    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] == "wsredis":
            for value in vars(module).values():
                if type(value) is Remembering:  # to ask others for what they have may be an error
                    value.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replay(name)
    with monkeypatch.context() as fault:
        fault.setattr(*FAULTS[name])
        forget()
        try:
            with pytest.raises((AssertionError, RecursionError)):
                replay(name)
        finally:
            fault.undo()
            forget()
