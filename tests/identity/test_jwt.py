from __future__ import annotations

import json
import logging
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from wsredis.exceptions import ConfigurationError, PermissionDenied
from wsredis.identity import ANONYMOUS, Identity, JWTResolver

from .support import request

SECRET = "a secret of the tests that has more than 32 bytes"
PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = (
    PRIVATE.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
SOON = 4_000_000_000


def token(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a token of alice, who is changed by claims; None takes one away."""
    all_of_them = {"sub": "alice", "exp": SOON, **claims}
    kept = {name: value for name, value in all_of_them.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm)


def bearer(text: str) -> Any:
    return request(HTTP_AUTHORIZATION=f"Bearer {text}")


def resolver(key: Any = SECRET, **options: Any) -> JWTResolver:
    return JWTResolver(key, **{"algorithms": ["HS256"], **options})


def refused(resolve: JWTResolver, text: str) -> str:
    with pytest.raises(PermissionDenied) as refusal:
        resolve(bearer(text))
    return str(refusal.value)


def test_a_token_names_the_user_and_its_end() -> None:
    assert resolver()(bearer(token())) == Identity("alice", expires=SOON)
    by_key_pair = resolver(PUBLIC, algorithms=["ES256"])
    assert by_key_pair(bearer(token(PRIVATE, "ES256"))) == Identity("alice", expires=SOON)


def test_without_a_token_there_is_nobody() -> None:
    assert resolver()(request()) is ANONYMOUS
    assert resolver()(request(HTTP_AUTHORIZATION="Basic YWxpY2U6eA==")) is ANONYMOUS


@pytest.mark.parametrize(
    ("claims", "options", "groups"),
    [
        ({"groups": ["editors", "admins"]}, {"groups_claim": "groups"}, ("editors", "admins")),
        ({"scope": "read write"}, {"groups_claim": "scope"}, ("read", "write")),
        ({"https://a.example/r": ["a"]}, {"groups_claim": "https://a.example/r"}, ("a",)),
        ({"access": {"roles": ["a"]}}, {"groups_claim": ["access", "roles"]}, ("a",)),
        ({"access": "x"}, {"groups_claim": ["access", "roles"]}, ()),
        ({}, {"groups_claim": "groups"}, ()),
        ({"groups": ["editors"]}, {}, ()),
    ],
)
def test_groups_stand_where_the_site_says(
    claims: dict[str, Any], options: dict[str, Any], groups: tuple[str, ...]
) -> None:
    assert resolver(**options)(bearer(token(**claims))).groups == groups


@pytest.mark.parametrize("groups", [[1], [""], {"a": 1}, 5, [["a"]]])
def test_groups_that_are_none_are_refused(groups: Any) -> None:
    assert "groups" in refused(resolver(groups_claim="groups"), token(groups=groups))


def test_the_user_stands_where_the_site_says() -> None:
    by_mail = resolver(user_claim="email")
    assert by_mail(bearer(token(email="a@b.example"))).user == "a@b.example"
    for claims in ({}, {"email": ""}, {"email": 5}, {"email": ["a"]}):
        assert "names no user" in refused(by_mail, token(**claims))


@pytest.mark.parametrize(
    ("options", "make", "words"),
    [
        ({}, lambda: token(exp=1), "has expired"),
        ({}, lambda: token(exp=None), "lacks a required claim"),
        ({}, lambda: token(nbf=SOON), "not valid yet"),
        ({}, lambda: token(aud="shop"), "another audience"),
        ({"audience": "chat"}, lambda: token(aud="shop"), "another audience"),
        ({"audience": "chat"}, lambda: token(), "lacks a required claim"),
        (
            {"issuer": "https://id.example"},
            lambda: token(iss="https://evil.example"),
            "another issuer",
        ),
        ({"issuer": "https://id.example"}, lambda: token(), "lacks a required claim"),
        ({}, lambda: token("another secret that has also more than 32 bytes"), "not accepted"),
        ({}, lambda: token(SECRET * 2, "HS512"), "not accepted"),
        (
            {},
            lambda: jwt.encode({"sub": "alice", "exp": SOON}, None, algorithm="none"),
            "not accepted",
        ),
        ({}, lambda: token() + "AAAA", "not accepted"),
        ({}, lambda: token(exp=float("inf")), "not accepted"),
        ({}, lambda: token() + " " + token(), "not accepted"),
        ({}, lambda: "a.b.c", "not accepted"),
        ({}, lambda: "", "not accepted"),
        ({}, lambda: "tök.en", "malformed"),
        ({}, lambda: token(more="x" * 8192), "malformed"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_and_told_why(
    options: dict[str, Any],
    make: Callable[[], str],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = make()
    caplog.set_level(logging.DEBUG)
    assert words in refused(resolver(**options), text)
    assert not text or text not in caplog.text


def test_a_public_key_is_never_taken_for_a_secret() -> None:
    head = urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).rstrip(b"=")
    body = urlsafe_b64encode(json.dumps({"sub": "mallory", "exp": SOON}).encode()).rstrip(b"=")
    signing = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = urlsafe_b64encode(signing.sign(head + b"." + body, PUBLIC.encode())).rstrip(b"=")
    forged = b".".join((head, body, signature)).decode()
    assert "not accepted" in refused(resolver(PUBLIC, algorithms=["ES256"]), forged)


def test_other_clocks_may_be_a_little_wrong() -> None:
    over = int(time.time()) - 10
    assert resolver(leeway=60)(bearer(token(exp=over))).expires == over + 60
    assert "has expired" in refused(resolver(leeway=1), token(exp=over))


def test_audience_and_issuer_that_fit_are_accepted() -> None:
    resolve = resolver(audience=["chat", "mail"], issuer="https://id.example")
    assert resolve(bearer(token(aud=["chat"], iss="https://id.example"))).user == "alice"


def token_with(**claims: Any) -> str:
    """Return a token whose claims are as given, also null, and checked by nobody."""
    return jwt.api_jws.encode(
        json.dumps({"sub": "alice", "exp": SOON, **claims}).encode(), SECRET, algorithm="HS256"
    )


@pytest.mark.parametrize("audience", [None, "chat", ["chat", "mail"]])
@pytest.mark.parametrize(
    "claim", [[], None, "", {}, 0, False, [""], [None], [[]], " chat", ["chat "], "CHAT", "cha"]
)
def test_a_token_with_an_empty_or_other_audience_is_refused(audience: Any, claim: Any) -> None:
    """RFC 7519, 4.1.3: who finds no name of its own in the claim has to reject the token."""
    refused(resolver(audience=audience), token_with(aud=claim))


@pytest.mark.parametrize("claim", [[], None, "", {}, 0, False, ["https://id.example"]])
def test_an_issuer_that_names_nobody_is_not_the_one(claim: Any) -> None:
    refused(resolver(issuer="https://id.example"), token_with(iss=claim))


@pytest.mark.parametrize("require", [True, False])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("claim", [None, "", [], {}, "soon", [SOON]])
def test_a_time_that_is_none_is_refused(require: bool, name: str, claim: Any) -> None:
    refused(resolver(require_expiry=require), token_with(**{name: claim}))


@pytest.mark.parametrize("claim", [None, "", [], {}, 0, True, ["alice"]])
def test_a_user_that_is_none_is_refused(claim: Any) -> None:
    refused(resolver(), token_with(sub=claim))


def test_a_token_without_an_end_can_be_allowed() -> None:
    assert resolver(require_expiry=False)(bearer(token(exp=None))) == Identity("alice")
    assert "has expired" in refused(resolver(require_expiry=False), token(exp=1))


TOKEN = token()
IN_QUERY = {"QUERY_STRING": f"subscribe-user&token={TOKEN}"}
IN_OFFERS = {"HTTP_SEC_WEBSOCKET_PROTOCOL": f"chat.v1, wsredis.token, {TOKEN}"}
IN_COOKIE = {"HTTP_COOKIE": f"a=b; jwt={TOKEN}", "wsredis.origin": "https://a.example"}


def test_a_token_is_read_only_from_the_enabled_sources() -> None:
    everywhere = resolver(query="token", cookie="jwt")
    nowhere = resolver(header=False, subprotocol=False)
    for environ in (IN_QUERY, IN_OFFERS, IN_COOKIE, {"HTTP_AUTHORIZATION": f"bearer  {TOKEN}"}):
        assert everywhere(request(**environ)).user == "alice"
        assert nowhere(request(**environ)) is ANONYMOUS
    assert resolver()(request(**IN_QUERY)) is ANONYMOUS
    assert resolver()(request(**IN_COOKIE)) is ANONYMOUS


def test_one_in_a_cookie_needs_an_origin_that_was_let_in() -> None:
    with pytest.raises(PermissionDenied, match="needs an Origin header"):
        resolver(cookie="jwt")(request(HTTP_COOKIE=IN_COOKIE["HTTP_COOKIE"]))


def test_two_are_refused() -> None:
    with pytest.raises(PermissionDenied, match="one way only"):
        resolver(query="token")(request(**IN_QUERY, **IN_OFFERS))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"key": SECRET, "algorithms": []}, "write algorithms="),
        ({"key": SECRET, "algorithms": "HS256"}, "write algorithms="),
        ({"key": SECRET, "algorithms": ["none"]}, "'none' cannot be used"),
        ({"key": SECRET, "algorithms": ["None"]}, "'None' cannot be used"),
        ({"key": SECRET, "algorithms": ["HS257"]}, "write one of HS256"),
        ({"key": "short", "algorithms": ["HS256"]}, "at least 32 bytes"),
        ({"key": "s" * 40, "algorithms": ["HS256", "HS512"]}, "at least 64 bytes"),
        ({"key": SECRET, "algorithms": ["RS256"]}, "cannot be used for RS256"),
        ({"key": PUBLIC, "algorithms": ["ES256", "HS256"]}, "cannot be used for HS256"),
        ({"key": SECRET, "algorithms": ["HS256", "ES256"]}, "cannot be used for ES256"),
        ({"algorithms": ["RS256"]}, "either key="),
        *(
            (
                {"key": SECRET, "algorithms": ["HS256"], "audience": bad},
                "audience must be a non-empty string",
            )
            for bad in ("", [], [""], ["chat", None], b"chat", {"chat": 1}, 5)
        ),
        *(
            (
                {"key": SECRET, "algorithms": ["HS256"], "issuer": bad},
                "issuer must be a non-empty string",
            )
            for bad in ("", [], ["https://id.example"], b"https://id.example")
        ),
        *(
            ({"key": SECRET, "algorithms": ["HS256"], "leeway": bad}, "write seconds, 0 or more")
            for bad in (float("nan"), float("inf"), -1)
        ),
        ({"key": PUBLIC, "jwks": "keys.json", "algorithms": ["ES256"]}, "either key="),
    ],
)
def test_bad_arguments_are_refused_at_the_start(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as refusal:
        JWTResolver(**arguments)
    assert SECRET not in str(refusal.value)


def test_without_pyjwt_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigurationError, match=r"wsredis\[jwt\]"):
        resolver()


@given(st.text(st.characters(max_codepoint=255)) | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*"))
def test_whatever_is_presented_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(PermissionDenied):
        resolver()(bearer(text))
