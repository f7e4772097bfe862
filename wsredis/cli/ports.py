"""TCP ports as arguments of the commands."""

from __future__ import annotations

import argparse
import socket

__all__ = ["port_number", "refuse_busy"]


def port_number(text: str) -> int:
    """Return the port that an argument names.

    Raises:
        ArgumentTypeError: the text is not a port; the message says what to write.
    """
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: write a number from 1 to 65535")
    return int(text)


def refuse_busy(host: str, port: int) -> None:
    """Raise ValueError if the port cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            text = f"port {port}: {exc.strerror}; choose another with --port or PORT="
            raise ValueError(text) from exc
