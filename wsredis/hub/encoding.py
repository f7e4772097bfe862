"""What messages look like for each kind of client, encoded once for all clients of a kind.

What a kind is, such as plain or deflated websocket frames, belongs to `wsredis.protocol`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..message import Message

__all__ = ["Encoded", "Encoding"]


class Encoding(Protocol):
    """How messages look for one kind of client.

    There is one object for each kind, and kinds are told apart by identity: clients with the same
    object share what is encoded.
    """

    def encode(self, message: Message) -> bytes:
        """Return the bytes that carry a message to a client of this kind."""


class Encoded(dict[Encoding, bytes]):
    """Messages of one channel, encoded when they are wanted: encoding -> their bytes, joined."""

    __slots__ = ("_each", "messages")

    def __init__(self, messages: Sequence[Message], each: Sequence[Encoded] = ()) -> None:
        self.messages = messages
        self._each = each

    @classmethod
    def joined(cls, each: Sequence[Encoded]) -> Encoded:
        """Return several messages from those of each, at least one."""
        return each[0] if len(each) == 1 else cls([one.messages[0] for one in each], each)

    @property
    def latest(self) -> Encoded:
        """Return the newest message alone, made once."""
        if len(self.messages) == 1:
            return self
        if not self._each:
            self._each = (Encoded(self.messages[-1:]),)
        return self._each[-1]

    def __missing__(self, encoding: Encoding) -> bytes:
        if len(self._each) == len(self.messages):
            chunks = [one[encoding] for one in self._each]
            self._each = self._each[-1:]  # a send buffer may hold this for long
        else:
            chunks = [encoding.encode(message) for message in self.messages]
        joined = self[encoding] = b"".join(chunks)
        return joined
