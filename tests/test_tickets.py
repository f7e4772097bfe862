"""Tickets: one for each websocket, and a clear refusal of invalid ones."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from wsredis import Publisher, WebSocketMiddleware
from wsredis.brokers import store_for
from wsredis.brokers.memory.store import MemoryStore
from wsredis.config import Config, configure
from wsredis.embedded import EmbeddedRedis
from wsredis.exceptions import ConfigurationError, HandshakeError, PermissionDenied
from wsredis.identity import ANONYMOUS, Identity, anonymous, chain
from wsredis.tickets import MAX_SECONDS, TicketResolver, issue_ticket

from .gate import Gate

SECRET = "a secret of the tests that has more than 32 bytes"
ALICE = Identity("alice", ("editors", "admins"), "key-1", 2_000_000_000.5)


@pytest.fixture(params=["memory", "redis"])
def config(request: pytest.FixtureRequest) -> Config:
    """Give a configuration with nothing in its store, of each store there is."""
    if request.param == "memory":
        return Config(redis=f"memory://{uuid.uuid4()}", secret=SECRET)
    client: redis.Redis = request.getfixturevalue("redis_client")
    client.flushall()
    return Config(redis=request.getfixturevalue("redis_url"), secret=SECRET)


def asking(ticket: str, **environ: str) -> Any:
    """Return a handshake that offers a ticket."""
    offers = f"chat.v1, wsredis.ticket, {ticket}"
    return SimpleNamespace(environ={"HTTP_SEC_WEBSOCKET_PROTOCOL": offers, **environ})


def refusal(config: Config, ticket: str) -> str:
    with pytest.raises(PermissionDenied) as refused:
        TicketResolver(config=config)(asking(ticket))
    return str(refused.value)


@pytest.mark.parametrize("who", [ALICE, Identity("Zoë"), Identity(session="key-1")])
def test_a_ticket_stands_for_all_that_is_known(config: Config, who: Identity) -> None:
    ticket = issue_ticket(who, config=config)
    assert TicketResolver(config=config)(asking(ticket)) == who


def test_a_name_is_enough(config: Config) -> None:
    ticket = issue_ticket("alice", config=config)
    assert TicketResolver(config=config)(asking(ticket)) == Identity("alice")


def test_it_comes_as_a_sub_protocol_or_in_the_query_unless_that_is_turned_off(
    config: Config,
) -> None:
    def in_query(ticket: str) -> Any:
        return SimpleNamespace(environ={"QUERY_STRING": f"subscribe-user&ticket={ticket}"})

    def ticket() -> str:
        return issue_ticket("alice", config=config)

    assert TicketResolver(config=config)(in_query(ticket())) == Identity("alice")
    assert TicketResolver(config=config, query=None)(in_query(ticket())) is ANONYMOUS
    assert TicketResolver(config=config, query="t")(in_query(ticket())) is ANONYMOUS
    assert TicketResolver(config=config, subprotocol=False)(asking(ticket())) is ANONYMOUS


def test_without_a_ticket_there_is_nobody_and_others_are_asked(config: Config) -> None:
    nothing: Any = SimpleNamespace(environ={})
    resolve = TicketResolver(config=config)
    assert resolve(nothing) is ANONYMOUS
    assert chain(resolve, lambda request: Identity("bob"))(nothing) == Identity("bob")


def test_a_ticket_is_valid_once(config: Config) -> None:
    ticket = issue_ticket("alice", config=config)
    assert TicketResolver(config=config)(asking(ticket)) == Identity("alice")
    assert refusal(config, ticket) == "The ticket has already been used. Request a new one."


def test_of_many_who_show_one_ticket_one_comes_in(config: Config) -> None:
    ticket = issue_ticket("alice", config=config)
    resolve = TicketResolver(config=config)
    start = threading.Barrier(8)
    answers: list[str | None] = []

    def come() -> None:
        start.wait()
        try:
            answers.append(resolve(asking(ticket)).user)
        except PermissionDenied as exc:
            answers.append(str(exc))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == [
        "The ticket has already been used. Request a new one."
    ] * 7 + ["alice"]


def test_a_ticket_has_an_end(
    config: Config, eventually: Callable[[Callable[[], object]], None]
) -> None:
    ticket = issue_ticket("alice", seconds=1, config=config)
    assert len(keys(config)) == 1
    eventually(lambda: not keys(config))
    assert refusal(config, ticket) == "The ticket has expired. Request a new one."


def keys(config: Config) -> list[str]:
    """Return the keys under which tickets are kept until they expire."""
    store: Any = store_for(config)
    if isinstance(store, MemoryStore):
        return [key for key in store._values._values if store._values.get(key) is not None]
    return [key.decode() for key in store._client.call(lambda client: client.keys("*"))]


def test_a_ticket_of_another_site_is_not_accepted(config: Config) -> None:
    ticket = issue_ticket("alice", config=config)
    for other in (replace(config, key_prefix="shop"), replace(config, secret=SECRET[::-1])):
        assert refusal(other, ticket) == "The ticket was not issued by this site."
    assert TicketResolver(config=config)(asking(ticket)) == Identity("alice")


def test_a_ticket_with_a_bit_changed_is_none(config: Config) -> None:
    ticket = issue_ticket("alice", config=config)
    whole = urlsafe_b64decode(ticket)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        forged = urlsafe_b64encode(changed).decode()
        assert refusal(config, forged) == "The ticket was not issued by this site."
    assert TicketResolver(config=config)(asking(ticket)) == Identity("alice")


@pytest.mark.parametrize(
    "change",
    [
        lambda ticket: "",
        lambda ticket: ticket + "A",
        lambda ticket: ticket * 1000,
        lambda ticket: ticket[:-1],
        lambda ticket: ticket + "==",
        lambda ticket: ticket[:-1] + "=",
        lambda ticket: ticket[:-1] + "\n",
        lambda ticket: ticket[:-1] + "é",
        lambda ticket: ticket[:-1] + "+",
        lambda ticket: f"{ticket}, {ticket}",
        lambda ticket: "a.b.c",
    ],
)
def test_what_has_not_the_form_of_a_ticket_is_none(
    config: Config, change: Callable[[str], str]
) -> None:
    ticket = issue_ticket("alice", config=config)
    assert refusal(config, change(ticket)) == "The ticket is malformed."
    assert TicketResolver(config=config)(asking(ticket)) == Identity("alice")


def test_who_can_write_into_redis_can_make_nobody_else_of_a_ticket(config: Config) -> None:
    store = store_for(config)
    ticket = issue_ticket("alice", config=config)
    (key,) = keys(config)
    assert key == f"ws:ticket:{hashlib.sha256(urlsafe_b64decode(ticket)[:20]).hexdigest()}"
    content = store.take(key)
    assert content
    issue_ticket("mallory", config=config)
    (other,) = keys(config)
    of_mallory = store.take(other)
    assert of_mallory
    for forged in (content.replace(b"alice", b"admin"), of_mallory, content[16:], b""):
        store.put(key, forged, 100)
        assert refusal(config, ticket) == "The ticket was not issued by this site."
    store.put(key, content, 100)
    assert TicketResolver(config=config)(asking(ticket)) == Identity("alice")


def test_a_ticket_is_in_no_log_and_no_redis_key(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ticket = issue_ticket(ALICE, config=config)
    assert ticket not in "".join(keys(config))
    assert "key-1" not in ticket + urlsafe_b64decode(ticket).decode("latin-1")
    TicketResolver(config=config)(asking(ticket))
    words = refusal(config, ticket)
    assert ticket not in caplog.text + words
    assert ticket not in repr(TicketResolver(config=config))


def test_no_two_tickets_are_the_same(config: Config) -> None:
    assert len({issue_ticket("alice", config=config) for _ in range(100)}) == 100


@pytest.mark.parametrize("key_prefix", ["", "ws", "my.site"])
def test_tickets_live_below_the_key_prefix(config: Config, key_prefix: str) -> None:
    issue_ticket("alice", config=replace(config, key_prefix=key_prefix))
    (key,) = keys(config)
    assert key.startswith(f"{key_prefix}:ticket:" if key_prefix else "ticket:")


def test_without_a_secret_there_are_none() -> None:
    for make in (issue_ticket, lambda who, config: TicketResolver(config=config)):
        with pytest.raises(ConfigurationError, match="WSREDIS_SECRET"):
            make("alice", config=Config(redis="memory://"))


@pytest.mark.usefixtures("nothing_is_configured")
def test_the_configuration_of_the_process_is_the_default() -> None:
    with pytest.raises(ConfigurationError, match="WSREDIS_SECRET"):
        issue_ticket("alice")
    configure(redis="memory://process", secret=SECRET)
    assert TicketResolver()(asking(issue_ticket("alice"))) == Identity("alice")


@pytest.mark.usefixtures("nothing_is_configured")
def test_tickets_of_a_process_are_those_of_its_middleware(gate: Callable[..., Gate]) -> None:
    visits = []

    def visit(request: Any) -> None:
        visits.append(request)

    here = gate(identity=chain(visit, TicketResolver()), secret=SECRET, key_prefix="site")
    with here.connect(f"/ws/news?subscribe-user&ticket={issue_ticket('alice')}") as client:
        Publisher("news", users=["alice"]).publish("hello")
        assert client.recv(30) == "hello"
    assert len(visits) == 1


@pytest.mark.usefixtures("nothing_is_configured")
def test_one_resolver_serves_several_middleware_objects(gate: Callable[..., Gate]) -> None:
    resolver = TicketResolver()
    sites = [gate(identity=resolver, secret=key, key_prefix="site") for key in (SECRET, SECRET * 2)]
    for _ in range(2):
        for here in sites:
            ticket = issue_ticket("alice", config=here.middleware.config)
            with here.connect(f"/ws/news?subscribe-user&ticket={ticket}"):
                pass


@pytest.mark.usefixtures("nothing_is_configured")
def test_a_middleware_for_tickets_needs_a_secret() -> None:
    for identity in (TicketResolver(), chain(anonymous, TicketResolver())):
        with pytest.raises(ConfigurationError, match="WSREDIS_SECRET"):
            WebSocketMiddleware(None, redis="memory://", identity=identity)
    given = TicketResolver(config=Config(redis="memory://", secret=SECRET))
    WebSocketMiddleware(None, redis="memory://", identity=given)


@pytest.mark.parametrize("seconds", [0, -1, 301, 1.5, True, None, "30"])
def test_a_ticket_lives_for_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="from 1 to 300"):
        issue_ticket("alice", seconds=seconds, config=Config(secret=SECRET))


def test_nobody_needs_no_ticket() -> None:
    with pytest.raises(ValueError, match="cannot be anonymous"):
        issue_ticket(ANONYMOUS, config=Config(secret=SECRET))


def test_when_redis_is_unavailable_the_client_is_asked_to_come_again(
    own_redis: EmbeddedRedis,
) -> None:
    config = Config(redis=own_redis.url, secret=SECRET)
    ticket = issue_ticket("alice", config=config)
    own_redis.stop()
    with pytest.raises(HandshakeError, match="try again") as refused:
        TicketResolver(config=config)(asking(ticket))
    assert refused.value.status == 503
    assert ("Retry-After", "2") in refused.value.headers


ANYTHING = Config(redis="memory://anything", secret=SECRET)


@given(st.text(st.characters(max_codepoint=255)) | st.from_regex(r"\A[\w-]{46,50}\Z"))
def test_whatever_is_presented_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(PermissionDenied):
        TicketResolver(config=ANYTHING)(asking(text))


# The time of issue


def test_the_identity_of_a_ticket_knows_when_it_was_issued(config: Config) -> None:
    before = time.time()
    ticket = issue_ticket(ALICE, seconds=300, config=config)
    after = time.time()
    known = TicketResolver(config=config)(asking(ticket))
    assert known.issued is not None
    assert before - 1e-6 <= known.issued <= after
    again = issue_ticket(known, config=config)  # the second ticket has its own time
    issued = TicketResolver(config=config)(asking(again)).issued
    assert issued is not None
    assert issued >= after - 1e-6


def old_ticket(config: Config, seconds: int) -> tuple[str, int]:
    """Issue a ticket as before the time of issue was in it; return it and its expiry."""
    secret = SECRET.encode()

    def sign(purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(secret, b"wsredis %b ws\0" % purpose + data, "sha256")[:16]

    end = int(time.time()) + seconds
    body = secrets.token_bytes(16) + end.to_bytes(4, "big")
    content = b'{"user": "alice", "groups": ["editors"], "session": null, "expires": null}'
    key = f"ws:ticket:{hashlib.sha256(body).hexdigest()}"
    store_for(config).put(key, sign(b"content", body + content) + content, seconds)
    return urlsafe_b64encode(body + sign(b"ticket", body)).decode(), end


@pytest.mark.parametrize("seconds", [1, 30, 300])
def test_an_old_ticket_is_accepted_and_counts_as_issued_as_early_as_possible(
    config: Config, seconds: int
) -> None:
    ticket, end = old_ticket(config, seconds)
    known = TicketResolver(config=config)(asking(ticket))
    assert known == Identity("alice", ("editors",))
    assert known.issued == end - MAX_SECONDS


def test_processes_from_before_the_time_of_issue_accept_a_new_ticket(config: Config) -> None:
    whole = urlsafe_b64decode(issue_ticket(ALICE, seconds=30, config=config))
    assert len(whole) == 36
    stored = store_for(config).take(f"ws:ticket:{hashlib.sha256(whole[:20]).hexdigest()}")
    assert stored is not None
    assert set(json.loads(stored[16:])) == {"user", "groups", "session", "expires"}
    assert abs(int.from_bytes(whole[16:20], "big") - time.time() - 30) < 10
