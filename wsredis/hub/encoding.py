"""Messages that are encoded once for all clients of a kind.

`wsredis.protocol` defines the kinds, such as clients with plain or with deflated websocket frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..message import Message

__all__ = ["Encoded", "Encoding"]


class Encoding(Protocol):
    """The encoding of messages for one kind of client.

    There is one object for each kind, compared by identity: clients with the same object share
    encoded messages.
    """

    def encode(self, message: Message, *, in_thread: bool = False) -> bytes:
        """Return the encoded message for clients of this kind.

        Args:
            message: a message.
            in_thread: whether the caller is not on the loop, so that encoding may take long. The
                result may be smaller then.
        """

    def is_costly(self, message: Message) -> bool:
        """Return whether a message should be encoded in a thread."""


class Encoded(dict[Encoding, bytes]):
    """Messages of one channel, encoded on demand: a mapping of encodings to their joined bytes."""

    __slots__ = ("_each", "messages")

    def __init__(self, messages: Sequence[Message], each: Sequence[Encoded] = ()) -> None:
        self.messages = messages
        self._each = each

    @classmethod
    def joined(cls, each: Sequence[Encoded]) -> Encoded:
        """Join single messages, at least one, into one object."""
        return each[0] if len(each) == 1 else cls([one.messages[0] for one in each], each)

    @property
    def latest(self) -> Encoded:
        """Return the newest message alone; the result is cached."""
        if len(self.messages) == 1:
            return self
        if not self._each:
            self._each = (Encoded(self.messages[-1:]),)
        return self._each[-1]

    def is_costly(self, encoding: Encoding) -> bool:
        """Return whether these messages should be encoded in a thread, and are not yet."""
        return encoding not in self and any(map(encoding.is_costly, self.messages))

    def encode_in_thread(self, encoding: Encoding) -> bytes:
        """Return the joined bytes for an encoding, which may take long; it changes nothing."""
        return b"".join([encoding.encode(each, in_thread=True) for each in self.messages])

    def __missing__(self, encoding: Encoding) -> bytes:
        if len(self._each) == len(self.messages):
            chunks = [one[encoding] for one in self._each]
            self._each = self._each[-1:]  # to free memory: a send buffer may keep this for long
        else:
            chunks = [encoding.encode(message) for message in self.messages]
        joined = self[encoding] = b"".join(chunks)
        return joined
