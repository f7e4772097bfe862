"""The keys of a JWKS file (RFC 7517), for `wsredis.identity.jwt`."""

from __future__ import annotations

import json
import os
from typing import Any

from ..exceptions import ConfigurationError

__all__ = ["KeyFile"]


class KeyFile:
    """The keys of a file, which is read again when it has changed.

    If the file can no longer be read, all tokens are refused: a removed key must not stay valid.

    Raises:
        ConfigurationError: the file is missing or has no key for signatures.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._seen: tuple[int, int, int] | None = None
        self._keys: list[dict[str, Any]] = []
        self._load()

    def _load(self) -> None:
        try:
            with open(self._path, encoding="utf-8") as file:
                stat = os.fstat(file.fileno())
                seen = stat.st_mtime_ns, stat.st_size, stat.st_ino
                if seen == self._seen:
                    return
                keys = json.load(file)["keys"]
            found = [key for key in keys if key["kty"] and key.get("use", "sig") == "sig"]
        except (OSError, ValueError, LookupError, TypeError) as exc:
            # The text of the error may contain a key.
            raise ConfigurationError(
                f"jwks={self._path!r} cannot be used ({type(exc).__name__}): write the path of a"
                ' file like {"keys": [{"kty": "RSA", "kid": "1", ...}]}.'
            ) from None
        if not found:
            raise ConfigurationError(f"jwks={self._path!r} has no key for signatures.")
        self._keys, self._seen = found, seen

    def key(self, kid: object, algorithm: str) -> Any:
        """Return the key that a token names, or the only key if it names none.

        Raises:
            ConfigurationError: the file can no longer be read.
            PyJWTError: there is no such key for this algorithm.
        """
        from jwt import InvalidKeyError, PyJWK

        self._load()
        fitting = [
            key
            for key in self._keys
            if kid in (None, key.get("kid")) and key.get("alg", algorithm) == algorithm
        ]
        if len(fitting) != 1:
            raise InvalidKeyError
        return PyJWK(fitting[0], algorithm).key
