"""The sub-command: arguments, output, exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..protocol.http import is_token
from .address import Address
from .client import Client
from .examination import Examination
from .report import Report

__all__ = ["add_doctor_arguments", "run_doctor"]


_HANDSHAKE = ("host", "upgrade", "connection", "origin", "sec-websocket-")


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run_doctor` needs."""
    parser.add_argument("url", metavar="URL", help="where the websockets are: wss://HOST/ws/")
    parser.add_argument(
        "--origin", metavar="O", type=_origin, help="of the pages that connect, if not the URL's"
    )
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="seconds to wait for the pings; 0 leaves that out (%(default)g)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="seconds to wait for each answer (%(default)g)",
    )
    parser.add_argument(
        "--header", action="append", default=[], type=_header, metavar="'N: V'", help="repeatable"
    )
    parser.add_argument(
        "--cookie",
        action="append",
        default=[],
        type=_cookie,
        metavar="N=V",
        help="of who is logged in; repeatable",
    )
    parser.add_argument("--facility", default="", metavar="F", help="instead of a made-up one")
    parser.add_argument(
        "--publish", action="store_true", help="publish one message there, where the site lets us"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} are no seconds")
    return seconds


def _header(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition(":"))
    if not is_token(name) or not value or not value.isprintable() or not value.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is no header: write 'Name: value'")
    if name.lower().startswith(_HANDSHAKE):
        raise argparse.ArgumentTypeError(f"{name} belongs to the handshake; --origin sets Origin")
    return name, value


def _cookie(text: str) -> str:
    return _header(f"Cookie: {text}")[1]


def _origin(text: str) -> str:
    scheme, _, host = text.partition("://")
    if scheme not in ("http", "https") or not host or "/" in host or not text.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is no origin: write https://example.com")
    return text


def _print(line: str) -> None:
    print(line, flush=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_doctor(options: argparse.Namespace) -> int:
    """Open websockets from outside, as a browser would, and say what to fix.

    It subscribes to a facility that it makes up and to nothing else. Exit codes: 0 all is well, 1
    something is not, 2 wrong arguments.
    """
    address = Address.parse(options.url, options.facility)
    headers = list(options.header)
    if options.cookie:
        headers.append(("Cookie", "; ".join(options.cookie)))
    client = Client(address, options.origin or address.origin, headers, options.timeout)
    say: Callable[[str], object] = (lambda line: None) if options.json else _print
    report = Report(address.url(), say)
    Examination(client, options.wait, options.publish, _tell).run(report)
    if options.json:
        _print(report.json())
    return 0 if report.ok else 1
