"""TCP ports as arguments of the commands."""

from __future__ import annotations

import argparse
import errno
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
    """Raise ValueError if the port cannot be listened on; the message says what to write."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise ValueError(_explain(exc, host, port)) from exc


def _explain(exc: OSError, host: str, port: int) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"port {port} is in use: choose another with --port (with make: PORT=)"
    if exc.errno == errno.EACCES:
        return f"port {port} needs root privileges: choose one above 1023 with --port"
    return (
        f"{host!r} is not an address of this machine: write --host 127.0.0.1, or --host 0.0.0.0 to"
        " listen on all addresses"
    )
