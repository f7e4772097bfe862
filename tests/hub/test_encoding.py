"""The encoding of messages for each kind of client: on demand, and once for all clients."""

from __future__ import annotations

from wsredis.hub.encoding import Encoded
from wsredis.message import Message
from wsredis.protocol.frames import (
    COMPRESS_AT_ONCE,
    FRAME_ENCODINGS,
    FrameEncoding,
    encode_message,
)

NEWS = "ws:broadcast:news"

PLAIN, PACKED = FRAME_ENCODINGS[0], FRAME_ENCODINGS[15]


def said(*texts: str) -> list[Message]:
    return [Message(NEWS, text.encode()) for text in texts]


class Counting:
    """An encoding that records the messages it encodes."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def encode(self, message: Message) -> bytes:
        self.encoded.append(message.payload)
        return b"<" + message.payload + b">"


def test_a_message_is_encoded_once_for_each_encoding_that_is_wanted() -> None:
    encoded = Encoded(said("x" * 200))
    plain, packed = encoded[PLAIN], encoded[PACKED]
    assert plain == encode_message(b"x" * 200)
    assert packed == encode_message(b"x" * 200, False, 15) != plain
    assert encoded[PLAIN] is plain
    assert encoded[PACKED] is packed
    assert set(encoded) == {PLAIN, PACKED}


def test_several_messages_are_one_chunk() -> None:
    encoded = Encoded([*said("one", "two"), Message(NEWS, b"\xff", True)])
    assert encoded[PLAIN] == b"".join(
        [encode_message(b"one"), encode_message(b"two"), encode_message(b"\xff", True)]
    )


def test_messages_that_are_joined_are_not_encoded_again() -> None:
    one, two = Encoded(said("one")), Encoded(said("two"))
    one[PLAIN] = b"of one "
    joined = Encoded.joined([one, two])
    assert joined.messages == said("one", "two")
    assert joined[PLAIN] == b"of one " + encode_message(b"two")
    assert joined.latest is two
    assert Encoded.joined([one]) is one


def test_messages_that_were_joined_are_not_held_for_long() -> None:
    one, two = Encoded(said("one")), Encoded(said("two"))
    joined = Encoded.joined([one, two])
    assert joined[PLAIN] == Encoded(said("one", "two"))[PLAIN]
    assert not any(held is one for held in joined._each)
    assert joined[PACKED] == Encoded(said("one", "two"))[PACKED]
    assert joined.latest is two


def test_the_latest_is_the_newest_alone_and_is_made_once() -> None:
    encoded = Encoded(said("one", "two"))
    latest = encoded.latest
    assert latest[PLAIN] == encode_message(b"two")
    assert latest is encoded.latest
    assert latest.latest is latest


# Kinds of clients


def test_clients_with_the_same_object_share_what_is_encoded() -> None:
    encoding, (one, two) = Counting(), (Encoded([each]) for each in said("one", "two"))
    assert one[encoding] is one[encoding]
    assert Encoded.joined([one, two])[encoding] == b"<one><two>"
    assert Encoded.joined([one, two])[encoding] == b"<one><two>"
    assert encoding.encoded == [b"one", b"two"]


def test_equal_kinds_that_are_two_objects_do_not_share() -> None:
    encoded, kinds = Encoded(said("x" * 200)), (FrameEncoding(15), FrameEncoding(15))
    assert encoded[kinds[0]] == encoded[kinds[1]]
    assert encoded[kinds[0]] is not encoded[kinds[1]]


def test_each_window_that_can_be_agreed_upon_has_an_encoding_that_fits_and_there_are_few() -> None:
    assert sorted(FRAME_ENCODINGS) == [0, *range(9, 16)]
    assert {encoding.window_bits for encoding in FRAME_ENCODINGS.values()} == {0, 9, 12, 15}
    assert len(set(FRAME_ENCODINGS.values())) == 4
    for bits, encoding in FRAME_ENCODINGS.items():
        assert encoding.window_bits <= bits < encoding.window_bits + (3 if bits else 1)
        text, binary = Message(NEWS, b"x" * 200), Message(NEWS, b"\xff" * 200, True)
        assert encoding.encode(text) == encode_message(b"x" * 200, False, bits)
        assert encoding.encode(binary) == encode_message(b"\xff" * 200, True, bits)


def test_a_large_message_is_compressed_in_a_thread_only() -> None:
    large, small = said("x" * (COMPRESS_AT_ONCE + 1)), said("x" * COMPRESS_AT_ONCE)
    for bits, encoding in FRAME_ENCODINGS.items():
        compresses = bits > 0
        assert Encoded(large).is_costly(encoding) is compresses
        assert not Encoded(small).is_costly(encoding)
        at_once = Encoded(large)[encoding]
        assert at_once == encode_message(large[0].payload)  # not compressed
        encoded = Encoded(large)
        assert (len(encoded.encode_in_thread(encoding)) < 1000) is compresses
        assert encoding not in encoded
        joined = Encoded([*small, *large])
        assert joined.is_costly(encoding) is compresses
        assert joined.encode_in_thread(encoding) == b"".join(
            encode_message(each.payload, False, encoding.window_bits, in_thread=True)
            for each in (*small, *large)
        )


def test_what_is_encoded_already_is_not_costly() -> None:
    encoded = Encoded(said("x" * (COMPRESS_AT_ONCE + 1)))
    assert encoded[PACKED]
    assert not encoded.is_costly(PACKED)
