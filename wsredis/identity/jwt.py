"""Identities from JSON Web Tokens (RFC 7519), with PyJWT, which the extra ``jwt`` installs."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..exceptions import ConfigurationError, PermissionDenied
from ..protocol.http import TOKEN
from .base import ANONYMOUS, Identity, Request
from .credentials import presented
from .jwks import KeyFile

__all__ = ["JWTResolver"]

log = logging.getLogger("wsredis.identity")

MAX_TOKEN = 8192
"""Maximum characters of a token; longer tokens are refused without parsing."""


class JWTResolver:
    """A resolver that accepts tokens signed with a key.

    A script in a browser offers the token as a subprotocol: ``new WSRedis(uri, {protocols:
    ["wsredis.token", token]})``. The websocket is closed with 4401 when the token expires.

    Args:
        key: the secret (for HS256, HS384, HS512) or the public key in PEM.
        jwks: path of a file with keys, instead of ``key`` (RFC 7517); read again when it changes.
        algorithms: the accepted algorithms, like ``["RS256"]``.
        audience: the value that ``aud`` must contain, or several of which it must contain one;
            None refuses tokens with the claim ``aud``, whatever its value is.
        issuer: the required value of ``iss``; None accepts any issuer.
        leeway: tolerance in seconds for clocks of other machines.
        require_expiry: whether a token without ``exp`` is refused.
        user_claim: the claim with the user's name.
        groups_claim: the claim with the names of the groups, as a list or separated by spaces; a
            list of keys names a nested claim. None for no groups.
        header: whether the token may be sent as ``Authorization: Bearer``.
        subprotocol: whether the token may be the subprotocol after ``wsredis.token``.
        query: name of the query parameter that may contain the token, or None. Note that servers
            log URLs.
        cookie: name of the cookie that may contain the token, or None; only with an accepted
            origin, and so not with ``origins=["*"]``.

    Raises:
        ConfigurationError: PyJWT is not installed, or the arguments are not valid or not safe.
    """

    def __init__(
        self,
        key: str | bytes | None = None,
        *,
        algorithms: Sequence[str],
        jwks: str | os.PathLike[str] | None = None,
        audience: str | Sequence[str] | None = None,
        issuer: str | None = None,
        leeway: float = 0,
        require_expiry: bool = True,
        user_claim: str = "sub",
        groups_claim: str | Sequence[str] | None = None,
        header: bool = True,
        subprotocol: bool = True,
        query: str | None = None,
        cookie: str | None = None,
    ) -> None:
        try:
            import jwt
        except ImportError as exc:
            raise ConfigurationError(
                'JWTResolver needs PyJWT: pip install "wsredis[jwt]".'
            ) from exc
        self._jwt = jwt
        self._algorithms = _checked_algorithms(algorithms)
        if (key is None) == (jwks is None):
            raise ConfigurationError("Write either key=... or jwks='path of a file'.")
        self._file = KeyFile(jwks) if jwks is not None else None
        self._key: Any = None if key is None else _checked_key(key, self._algorithms)
        self._audience = None if audience is None else _checked_names("audience", audience)
        self._issuer = None if issuer is None else _checked_names("issuer", [issuer])[0]
        if not (math.isfinite(leeway) and leeway >= 0):  # with NaN, no token would ever expire
            raise ConfigurationError(f"leeway={leeway!r} is not valid: write seconds, 0 or more.")
        self._leeway = leeway
        self._required = ["exp"] if require_expiry else []
        self._user = user_claim
        self._groups = [groups_claim] if isinstance(groups_claim, str) else groups_claim or ()
        self._places: dict[str, Any] = {"header": header, "query": query, "cookie": cookie}
        self._places["marker"] = TOKEN if subprotocol else None

    def __call__(self, request: Request, /) -> Identity:
        token = presented(request.environ, **self._places)
        if token is None:
            return ANONYMOUS
        if not token.isascii() or len(token) > MAX_TOKEN:
            raise PermissionDenied("The token is malformed.")
        try:
            claims = self._claims(token)
        except ConfigurationError:  # the key file cannot be read: the middleware logs and refuses
            raise
        except (self._jwt.PyJWTError, ValueError, TypeError, OverflowError) as exc:
            # Only the kind of error is logged: its text may contain parts of the token.
            log.info("a token was refused: %s", type(exc).__name__)
            raise PermissionDenied(self._explain(exc)) from None
        user = claims.get(self._user)
        if not isinstance(user, str) or not user:
            raise PermissionDenied("The token names no user.")
        expires = claims.get("exp")
        return Identity(
            user,
            _groups(claims, self._groups) if self._groups else (),
            expires=None if expires is None else float(expires) + self._leeway,
        )

    def _claims(self, token: str) -> dict[str, Any]:
        algorithms, key = self._algorithms, self._key
        if self._file is not None:
            head = self._jwt.get_unverified_header(token)
            algorithm = head.get("alg")
            if algorithm not in algorithms:
                raise self._jwt.InvalidAlgorithmError
            algorithms, key = [algorithm], self._file.key(head.get("kid"), algorithm)
        claims: dict[str, Any] = self._jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway,
            options={"require": self._required},
        )
        if self._audience is None and "aud" in claims:
            # PyJWT accepts a value that names nobody; RFC 7519, 4.1.3, has no such exception.
            raise self._jwt.InvalidAudienceError
        return claims

    def _explain(self, exc: Exception) -> str:
        for kind, text in (
            (self._jwt.ExpiredSignatureError, "The token has expired. Request a new one."),
            (self._jwt.ImmatureSignatureError, "The token is not valid yet."),
            (self._jwt.InvalidAudienceError, "The token is for another audience."),
            (self._jwt.InvalidIssuerError, "The token is from another issuer."),
            (self._jwt.MissingRequiredClaimError, "The token lacks a required claim."),
        ):
            if isinstance(exc, kind):
                return text
        return "The token is not accepted."


def _checked_names(argument: str, names: Any) -> list[str]:
    """Refuse an empty name, which the empty claim of a token would equal, and an empty list."""
    found = list(names) if isinstance(names, list | tuple | set | frozenset) else [names]
    if not found or not all(isinstance(name, str) and name for name in found):
        raise ConfigurationError(
            f"{argument} must be a non-empty string or a list of these: leave it out to require"
            " none."
        )
    return found


def _checked_algorithms(algorithms: Sequence[str]) -> list[str]:
    from jwt.algorithms import get_default_algorithms

    if isinstance(algorithms, str) or not algorithms:
        raise ConfigurationError("algorithms must be a list: write algorithms=['RS256'].")
    known = [name for name in get_default_algorithms() if name != "none"]
    for name in algorithms:
        if name not in known:
            raise ConfigurationError(
                f"The algorithm {name!r} cannot be used: write one of {', '.join(known)}."
            )
    return list(algorithms)


def _checked_key(key: str | bytes, algorithms: Sequence[str]) -> str | bytes:
    """Refuse a key that does not fit the algorithms: a public key must never serve as a secret."""
    from jwt.algorithms import get_default_algorithms

    secret = key.encode() if isinstance(key, str) else key
    for name in algorithms:
        if name.startswith("HS") and len(secret) < int(name[2:]) // 8:
            raise ConfigurationError(
                f"A secret for {name} must have at least {int(name[2:]) // 8} bytes"
                " (RFC 7518, 3.2)."
            )
        try:
            get_default_algorithms()[name].prepare_key(key)
        except Exception:  # its text may contain the key
            raise ConfigurationError(
                f"The key cannot be used for {name}: write a secret for HS256, HS384 and HS512, and"
                " a public key in PEM for all other algorithms."
            ) from None
    return key


def _groups(claims: Mapping[str, Any], path: Sequence[str]) -> tuple[str, ...]:
    """Return the groups of a nested claim; a token without the claim has no groups."""
    found: Any = claims
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return tuple(found.split())
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        raise PermissionDenied("The groups of the token are not a list of names.")
    return tuple(found)
