"""Websocket framing (RFC 6455 section 5, RFC 7692) on top of the Sans-I/O layer of `websockets`.

`FrameEncoding` makes the frames that all clients of a kind share. `Receiver` parses the bytes of
one client into messages. Neither does I/O: `wsredis.transports` does.
"""

from __future__ import annotations

import codecs
import logging
import struct
import zlib
from collections.abc import Generator
from functools import cache

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State
from websockets.streams import StreamReader

from ..message import Data, Message
from .closing import (
    MAX_CONTROL,
    MAX_REASON,
    RATE_LIMIT,
    TEXT_ONLY,
    TOO_MANY_FRAGMENTS,
    CloseCode,
)

try:
    from websockets.speedups import apply_mask
except ImportError:  # installed without a compiler
    from websockets.utils import apply_mask

__all__ = [
    "FRAME_ENCODINGS",
    "PING",
    "FrameEncoding",
    "Receiver",
    "encode_close",
    "encode_message",
    "heartbeat",
]

COMPRESS_FROM = 128
"""Minimum bytes of a message to compress."""

CHEAPLY_FROM = 1 << 11
"""Minimum bytes of a message to compress with zlib's fastest level.

The default level takes up to 15 times as long, depending on the content, which a client chooses;
the result is about a tenth smaller."""

COMPRESS_AT_ONCE = 1 << 15
"""Maximum bytes of a message to compress on the loop, which takes about a millisecond at most."""

WINDOWS = (15, 12, 9)
"""The windows used for compression: a message is compressed at most once for each of them."""

RECEIVER_SIZE, INFLATER_SIZE = 1 << 12, 3 << 14
"""Bytes counted for a busy `Receiver` besides those that it has received, and in the middle of a
compressed message."""

MAX_BEHIND = 16
"""Maximum bytes after a final deflate block in a message: an empty block (RFC 7692, 7.2.3.4)."""

PING = b"\x89\x00"
"""A ping frame without payload."""

_FIN, _RSV1, _CONTROL = 0x80, 0x40, 0x08
_MASKED = 0x80
_WHOLE_TEXT, _WHOLE_BINARY = _FIN | Opcode.TEXT, _FIN | Opcode.BINARY
_TAIL = b"\x00\x00\xff\xff"


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger that is only enabled for errors."""

    def isEnabledFor(self, level: int) -> bool:
        return level >= logging.ERROR and super().isEnabledFor(level)


_log = _Logger(logging.getLogger("wsredis.frames"))


def _frame(head: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", head, size) + payload
    if size < 65536:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload


def encode_message(
    payload: bytes, binary: bool = False, window_bits: int = 0, *, in_thread: bool = False
) -> bytes:
    """Return the frame of a message for all clients with the same window.

    Args:
        payload: UTF-8 text, or binary.
        binary: whether the payload is binary.
        window_bits: 9 to 15 for clients that negotiated permessage-deflate, else 0. No context is
            kept between messages (RFC 7692 section 7.1.1.1).
        in_thread: whether the caller is not on the loop; only then is a message of more than
            `COMPRESS_AT_ONCE` bytes compressed.
    """
    head = _WHOLE_BINARY if binary else _WHOLE_TEXT
    if not window_bits:
        return _frame(head, payload)
    size = len(payload)
    if size < COMPRESS_FROM or (size > COMPRESS_AT_ONCE and not in_thread):
        return _frame(head, payload)
    level = zlib.Z_DEFAULT_COMPRESSION if size < CHEAPLY_FROM else zlib.Z_BEST_SPEED
    deflate = zlib.compressobj(level, wbits=-window_bits, memLevel=8)
    packed = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return _frame(head | _RSV1, packed.removesuffix(_TAIL))


@cache
def heartbeat(interval: float) -> bytes:
    """Return the frame of a heartbeat, a text message for clients that have asked for it.

    It is the first message on its websocket, and is repeated without a change. The browser client
    takes the interval from the first message only, so that no message of a user can change it.

    Args:
        interval: seconds between two heartbeats.
    """
    return encode_message(f"wsredis.heartbeat {interval:g}".encode())


class FrameEncoding:
    """The encoding of messages as websocket frames, for all clients with the same window.

    Args:
        window_bits: one of `WINDOWS` for clients with permessage-deflate, 0 for those without.
    """

    __slots__ = ("window_bits",)

    def __init__(self, window_bits: int) -> None:
        self.window_bits = window_bits

    def encode(self, message: Message, *, in_thread: bool = False) -> bytes:
        """Return the frame of a message; a large one is only compressed in a thread."""
        return encode_message(
            message.payload, message.binary, self.window_bits, in_thread=in_thread
        )

    def is_costly(self, message: Message) -> bool:
        """Return whether a message should be encoded in a thread."""
        return self.window_bits > 0 and len(message.payload) > COMPRESS_AT_ONCE


def _encodings() -> dict[int, FrameEncoding]:
    made = {bits: FrameEncoding(bits) for bits in (0, *WINDOWS)}
    return {bits: made[max(each for each in made if each <= bits)] for bits in (0, *range(9, 16))}


FRAME_ENCODINGS = _encodings()
"""The encoding for each negotiated window, whose own window may be smaller.

Clients with the same encoding share encoded messages."""


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason that is too long for it is shortened."""
    text = reason.encode()[:MAX_REASON].decode(errors="ignore").encode()
    return _frame(_FIN | Opcode.CLOSE, struct.pack("!H", code) + text)


class _Reader(StreamReader):
    """A reader that knows whether it is at the start of a frame, and the kind of the last frame."""

    at_start = control = False

    def at_eof(self) -> Generator[None, None, bool]:
        self.at_start = True
        ended = yield from super().at_eof()
        self.at_start = False
        self.control = not ended and bool(self.buffer[0] & _CONTROL)
        return ended


class _Deflate(PerMessageDeflate):
    """permessage-deflate with the limits of a message, and a count of the bytes it inflates by."""

    grown = 0

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        inflated = super().decode(frame, max_size=max_size)
        self.grown += max(0, len(inflated.data) - len(frame.data))
        if max_size is not None and len(inflated.data) > max_size:
            # For zlib a limit of 0, which is left after a full message, means no limit.
            raise PayloadTooBig(len(inflated.data), max_size)
        decoder = getattr(self, "decoder", None)
        if decoder is not None and len(decoder.unused_data) > MAX_BEHIND:
            # zlib stores the data after its final block, of all fragments, without inflating it.
            raise ProtocolError("data after the end of a compressed message")
        return inflated


class Receiver(Protocol):
    """A parser of one client's bytes, which also answers pings and close frames.

    It has no state between two messages, so a connection needs one only while it is `busy`.

    Args:
        deflate: whether the client negotiated permessage-deflate.
        max_size: maximum bytes of one message, after inflation; more fails with 1009.
        max_fragments: maximum frames of one message; more fail with 1008.
        binary: whether binary messages are accepted; else they fail with 1003.
        max_grown: maximum bytes by which the data of one `feed` may grow by inflation, or None;
            more fail with 1008.

    Attributes:
        frames: number of frames in the last bytes.
        heard: number of complete messages, pings and pongs in the last bytes.
    """

    reader: _Reader

    def __init__(
        self,
        deflate: bool,
        max_size: int,
        max_fragments: int,
        binary: bool,
        max_grown: int | None = None,
    ) -> None:
        super().__init__(SERVER, max_size=max_size, logger=_log)
        self.reader = _Reader()
        self.parser = self.parse()
        next(self.parser)
        # There is no context takeover, and a large window inflates data of any smaller window.
        self._inflater = _Deflate(True, True, 15, 15) if deflate else None
        self.extensions = [self._inflater] if self._inflater else []
        self.deflate = deflate
        self._max_grown = max_grown
        self.frames = self.heard = 0
        self._max_fragments = max_fragments
        self._binary = binary
        self._messages: list[Data] = []
        self._fragments = 0
        self._parts = bytearray()  # of an unfinished message
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def max_message_size(self) -> int | None:
        """Return the limit for the next frame together with the earlier fragments of its message.

        A control frame does not count, as it may come in the middle of a message that is full.
        """
        return MAX_CONTROL + (self.current_size or 0) if self.reader.control else self._max_size

    @max_message_size.setter
    def max_message_size(self, size: int | None) -> None:
        self._max_size = size

    @property
    def grown(self) -> int:
        """Return the number of bytes by which the last bytes have grown by inflation."""
        return self._inflater.grown if self._inflater else 0

    @property
    def held(self) -> int:
        """Return the bytes of memory that it takes while it is busy."""
        inflates = self._inflater is not None and hasattr(self._inflater, "decoder")
        overhead = RECEIVER_SIZE + INFLATER_SIZE * inflates
        return len(self.reader.buffer) + len(self._parts) + overhead

    @property
    def busy(self) -> bool:
        """Return whether part of a frame or message is buffered, or the connection is closing."""
        return not self.reader.at_start or self._fragments > 0 or self.state is not State.OPEN

    @property
    def closing(self) -> bool:
        """Return whether a close frame was received or parsing failed."""
        return self.state is not State.OPEN or self.close_rcvd is not None

    @property
    def code(self) -> int:
        """Return the code of the first close frame, received or sent; 1006 if there was none."""
        first = self.close_rcvd or self.close_sent
        return CloseCode.ABNORMAL_CLOSURE if first is None else first.code

    @property
    def reason(self) -> str:
        """Return the reason of that close frame; "" if there was none."""
        first = self.close_rcvd or self.close_sent
        return "" if first is None else first.reason

    def feed(self, data: bytes) -> list[Data]:
        """Take bytes of the client and return the messages that are now complete.

        Afterwards, the caller must always write the bytes that `data_to_send` returns.
        """
        self.frames = self.heard = 0
        if self._inflater:
            self._inflater.grown = 0
        rest = data if self.busy else self._take_plain(data)
        if rest:
            self.receive_data(rest)
            self.events.clear()
        messages, self._messages = self._messages, []
        self.heard += len(messages)
        return messages

    def _take_plain(self, data: bytes) -> bytes:
        """Parse messages of one plain frame each, the common case, and return the other bytes.

        Long, fragmented, deflated, incomplete and invalid frames are left to the parser.
        """
        at, end = 0, len(data)
        while end - at >= 6:
            head, size, start = data[at], data[at + 1] - _MASKED, at + 6
            if size == 126:
                size, start = data[at + 2] << 8 | data[at + 3], at + 8
            elif not 0 <= size < 126:
                break
            stop = start + size
            if stop > end or (self._max_size is not None and size > self._max_size):
                break
            payload = apply_mask(data[start:stop], data[start - 4 : start])
            if head == _WHOLE_TEXT:
                try:
                    self._messages.append(payload.decode())
                except UnicodeDecodeError:
                    break
            elif head == _WHOLE_BINARY and self._binary:
                self._messages.append(payload)
            else:
                break
            self.frames += 1
            at = stop
        return data[at:]

    def end(self) -> None:
        """Free the memory of what was received; nothing may be fed afterwards.

        The parser and its frames refer to each other, and the traceback of an error to all of
        them, so that they would wait for the garbage collector.
        """
        self.parser.close()
        self.parser_exc = None
        self.reader.buffer.clear()
        self._parts = bytearray()

    def recv_frame(self, frame: Frame) -> None:
        """Handle one frame; the parser turns a UnicodeDecodeError into 1007.

        The parser keeps the frame until the next one, so its payload is removed.
        """
        opcode: int = frame.opcode
        self.frames += 1
        self.heard += opcode in (Opcode.PING, Opcode.PONG)
        if opcode == Opcode.CLOSE:
            # A client may close in the middle of a message (RFC 6455 section 5.5.1).
            self.current_size = None
        super().recv_frame(frame)
        if opcode > Opcode.BINARY:
            return
        if self._inflater and self._max_grown is not None and self.grown > self._max_grown:
            self.fail(RATE_LIMIT.code, RATE_LIMIT.reason)
            return
        data, frame.data = bytes(frame.data), b""
        if opcode == Opcode.BINARY and not self._binary:
            self.fail(TEXT_ONLY.code, TEXT_ONLY.reason)
        elif opcode == Opcode.CONT or not frame.fin:
            self._collect(opcode, data, frame.fin)
        else:
            self._messages.append(data.decode() if opcode == Opcode.TEXT else data)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """Close with a code; an oversized control frame is a protocol error, not 1009."""
        if code == CloseCode.MESSAGE_TOO_BIG and self.reader.control:
            code, reason = CloseCode.PROTOCOL_ERROR, "control frame too long"
        super().fail(code, reason)

    def _collect(self, opcode: int, data: bytes, fin: bool) -> None:
        """Add a fragment to its message (RFC 6455 section 5.4); invalid text fails at once."""
        if opcode != Opcode.CONT:
            is_text = opcode == Opcode.TEXT
            self._decoder = codecs.getincrementaldecoder("utf-8")() if is_text else None
        self._fragments += 1
        if self._fragments > self._max_fragments:
            self.fail(TOO_MANY_FRAGMENTS.code, TOO_MANY_FRAGMENTS.reason)
            return
        if self._decoder is not None:
            self._decoder.decode(data, fin)  # to validate it; bytes take less memory than text
        self._parts += data
        if fin:
            parts, self._parts, self._fragments = self._parts, bytearray(), 0
            self._messages.append(bytes(parts) if self._decoder is None else parts.decode())
            self._decoder = None
