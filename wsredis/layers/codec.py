"""The representation of layer messages in Redis, as channels_redis has it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

from ..exceptions import ConfigurationError

__all__ = ["Codec", "Message"]

Message = dict[str, Any]

ALLOWED = (
    "a message consists of dicts with str keys, lists, str without lone surrogates, bytes (not with"
    " JSON), int of at most 64 bits, float, bool and None"
)


class Codec:
    """A serializer of messages, with optional encryption.

    Args:
        serializer_format: ``msgpack`` or ``json``.
        keys: secrets for Fernet, of which the first encrypts and all decrypt; none for no
            encryption.

    Raises:
        ConfigurationError: an argument is not valid, or a library is missing.
    """

    def __init__(
        self, serializer_format: str = "msgpack", keys: Iterable[str | bytes] = ()
    ) -> None:
        self._pack: Callable[[Message], bytes]
        self._unpack: Callable[[bytes], Any]
        if serializer_format == "msgpack":
            self._pack, self._unpack = _msgpack()
        elif serializer_format == "json":
            self._pack, self._unpack = _dump_json, json.loads
        else:
            raise ConfigurationError(
                f"serializer_format={serializer_format!r} is not valid: write 'msgpack' or 'json'."
            )
        self._crypter: Any = _crypter(keys)

    def encode(self, message: Message) -> bytes:
        """Return the bytes of a message.

        Raises:
            TypeError: the message is not a dict, or contains a value that cannot be sent.
        """
        if not isinstance(message, dict):
            raise TypeError(f"a message must be a dict, not {type(message).__name__}")
        try:
            _check_keys(message)
            packed = self._pack(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise TypeError(f"this message cannot be sent: {ALLOWED}") from exc
        if self._crypter is not None:
            packed = self._crypter.encrypt(packed)
        return packed

    def decode(self, payload: bytes) -> Message:
        """Return the message of some bytes.

        Raises:
            ValueError: the bytes are not a message, or were encrypted with another key.
        """
        try:
            if self._crypter is not None:
                payload = self._crypter.decrypt(payload)
            message = self._unpack(payload)
        except Exception as exc:  # msgpack and cryptography have exceptions of their own
            raise ValueError("the bytes are not a message in this format") from exc
        if not isinstance(message, dict):
            raise ValueError("the message is not a dict")
        return message


def _check_keys(value: Any) -> None:
    """Check that all keys of nested dicts are strings, as msgpack refuses others on arrival.

    Raises:
        TypeError: a key is not a string.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a str")
            if isinstance(inner, dict | list | tuple):
                _check_keys(inner)
    else:
        for inner in value:
            if isinstance(inner, dict | list | tuple):
                _check_keys(inner)


def _msgpack() -> tuple[Callable[[Message], bytes], Callable[[bytes], Any]]:
    try:
        import msgpack
    except ImportError:
        raise ConfigurationError(
            "serializer_format='msgpack' needs the package msgpack: run pip install"
            " 'wsredis[layers]', or write 'json'."
        ) from None
    return msgpack.packb, msgpack.unpackb


def _dump_json(message: Message) -> bytes:
    text = json.dumps(message)
    if "\\ud" in text:
        json.dumps(message, ensure_ascii=False).encode()  # lone surrogates raise here
    return text.encode()


def _crypter(keys: Iterable[str | bytes]) -> Any:
    if isinstance(keys, str | bytes):
        raise ConfigurationError("symmetric_encryption_keys is not valid: write a list of keys.")
    secrets = [key.encode() if isinstance(key, str) else key for key in keys]
    if not secrets:
        return None
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError:
        raise ConfigurationError(
            "symmetric_encryption_keys needs the package cryptography: run"
            " pip install cryptography."
        ) from None
    hashed = [base64.urlsafe_b64encode(hashlib.sha256(secret).digest()) for secret in secrets]
    return MultiFernet([Fernet(key) for key in hashed])
