from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from wsredis.exceptions import ConfigurationError, PermissionDenied
from wsredis.identity import JWTResolver

from .support import request

FIRST, SECOND = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(private: Any, **more: str) -> dict[str, Any]:
    """Return the public half of a key as a file of keys has it."""
    kind = RSAAlgorithm if private is RSA else ECAlgorithm
    return {**kind.to_jwk(private.public_key(), as_dict=True), **more}


class File:
    """A file of keys, which is replaced as by a cron job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, *keys: dict[str, Any]) -> None:
        self.write_text(json.dumps({"keys": keys}))

    def write_text(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    def resolver(self, *algorithms: str) -> JWTResolver:
        return JWTResolver(jwks=self.path, algorithms=list(algorithms or ("ES256",)))


@pytest.fixture
def keys(tmp_path: Path) -> File:
    return File(tmp_path / "keys.json")


def signed(private: Any, kid: str | None, algorithm: str = "ES256") -> Any:
    claims = {"sub": "alice", "exp": int(time.time()) + 3600}
    headers = None if kid is None else {"kid": kid}
    token = jwt.encode(claims, private, algorithm=algorithm, headers=headers)
    return request(HTTP_AUTHORIZATION=f"Bearer {token}")


def assert_refused(resolve: JWTResolver, asked: Any) -> None:
    with pytest.raises(PermissionDenied, match="not accepted"):
        resolve(asked)


def test_a_token_names_its_key(keys: File) -> None:
    keys.write(public(FIRST, kid="1"), public(SECOND, kid="2"), public(RSA, kid="3"))
    resolve = keys.resolver("ES256", "RS256")
    assert resolve(signed(FIRST, "1")).user == "alice"
    assert resolve(signed(SECOND, "2")).user == "alice"
    assert resolve(signed(RSA, "3", "RS256")).user == "alice"
    for private, kid in ((FIRST, "2"), (SECOND, "1"), (FIRST, "9"), (FIRST, None)):
        assert_refused(resolve, signed(private, kid))
    assert_refused(keys.resolver("ES256"), signed(RSA, "3", "RS256"))


def test_a_token_that_names_none_means_the_only_key(keys: File) -> None:
    keys.write(public(FIRST))
    assert keys.resolver()(signed(FIRST, None)).user == "alice"
    assert_refused(keys.resolver(), signed(SECOND, None))


def test_a_key_serves_its_own_algorithm_only(keys: File) -> None:
    keys.write(public(RSA, kid="3", alg="RS256"), public(FIRST, kid="1"))
    resolve = keys.resolver("RS256", "RS512", "HS256", "ES256")
    assert resolve(signed(RSA, "3", "RS256")).user == "alice"
    assert_refused(resolve, signed(RSA, "3", "RS512"))
    assert_refused(resolve, signed(b"a secret that has more than 32 bytes", "1", "HS256"))


def test_keys_that_encrypt_are_not_for_signatures(keys: File) -> None:
    keys.write(public(FIRST, use="enc"), public(SECOND, use="sig"))
    assert keys.resolver()(signed(SECOND, None)).user == "alice"


def test_the_file_is_read_again_when_it_has_changed(keys: File) -> None:
    keys.write(public(FIRST, kid="1"))
    resolve = keys.resolver()
    assert_refused(resolve, signed(SECOND, "2"))
    keys.write(public(SECOND, kid="2"))
    assert resolve(signed(SECOND, "2")).user == "alice"
    assert_refused(resolve, signed(FIRST, "1"))


def test_a_file_that_cannot_be_read_any_more_lets_nobody_in(keys: File) -> None:
    keys.write(public(FIRST, kid="1"))
    resolve = keys.resolver()
    keys.write_text("{")
    with pytest.raises(ConfigurationError):
        resolve(signed(FIRST, "1"))
    keys.path.unlink()
    with pytest.raises(ConfigurationError):
        resolve(signed(FIRST, "1"))
    keys.write(public(FIRST, kid="1"))
    assert resolve(signed(FIRST, "1")).user == "alice"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"keys": 5}', '{"keys": ["a"]}', '{"keys": [{"k": "hidden"}]}', "\xff"],
)
def test_a_file_without_keys_is_refused_at_the_start(keys: File, text: str) -> None:
    keys.path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigurationError, match="write the path of a file") as refusal:
        keys.resolver()
    assert "hidden" not in str(refusal.value)


def test_a_file_without_a_key_for_signatures_is_refused_at_the_start(keys: File) -> None:
    keys.write(public(FIRST, use="enc"))
    with pytest.raises(ConfigurationError, match="no key for signatures"):
        keys.resolver()


def test_a_missing_file_is_refused_at_the_start(keys: File) -> None:
    with pytest.raises(ConfigurationError, match="FileNotFoundError"):
        keys.resolver()
