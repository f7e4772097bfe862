"""Run kosoku, the Autobahn cases for Python 3, with one of its bugs fixed.

``python -P fuzz.py [argument of kosoku ...]``

In sections 12 and 13 kosoku 0.1.0 raises an internal error for a message that is not compressed,
because it passes it to the case as text. RFC 7692 section 6 allows a peer to send messages
uncompressed: wsredis does so with short messages, and Node with all of them.
"""

from __future__ import annotations

from typing import Any

from kosoku._cli import main
from kosoku.cases import CASES

COMPRESSION = ("12.", "13.")


def pass_bytes(case: Any) -> None:
    """Make a case receive every message as bytes, like the compressed ones."""
    given = case.onMessage

    def on_message(self: Any, message: str | bytes, binary: bool) -> None:
        if isinstance(message, str):
            message = message.encode("latin-1" if binary else "utf-8")
        given(self, message, binary)

    case.onMessage = on_message


if __name__ == "__main__":
    for number, case in CASES.items():
        if number.startswith(COMPRESSION):
            pass_bytes(case)
    main()
