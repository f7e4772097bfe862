"""The ``wsredis doctor`` command: arguments, output, exit code."""

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
    """Add the arguments that `run_doctor` needs."""
    parser.add_argument("url", metavar="URL", help="URL of the websockets: wss://HOST/ws/")
    parser.add_argument(
        "--origin",
        metavar="O",
        type=_origin,
        help="origin of the pages that connect (default: that of the URL)",
    )
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="seconds to wait for the server's pings, 0 to skip this (%(default)g)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="S",
        help="seconds to wait for each response (%(default)g)",
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'N: V'",
        help="header of each request (repeatable)",
    )
    parser.add_argument(
        "--cookie",
        action="append",
        default=[],
        type=_cookie,
        metavar="N=V",
        help="cookie of a logged-in user (repeatable)",
    )
    parser.add_argument(
        "--facility", default="", metavar="F", help="facility to use instead of a random one"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="also publish one message to the facility, if the site allows it",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of lines"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not valid: write seconds below 86400")
    return seconds


def _header(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition(":"))
    if not is_token(name) or not value or not value.isprintable() or not value.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not a header: write 'Name: value'")
    if name.lower().startswith(_HANDSHAKE):
        raise argparse.ArgumentTypeError(f"{name} is part of the handshake; --origin sets Origin")
    return name, value


def _cookie(text: str) -> str:
    return _header(f"Cookie: {text}")[1]


def _origin(text: str) -> str:
    scheme, _, host = text.partition("://")
    if scheme not in ("http", "https") or not host or "/" in host or not text.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not an origin: write https://example.com")
    return text


def _print(line: str) -> None:
    print(line, flush=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_doctor(options: argparse.Namespace) -> int:
    """Open websockets from outside, as a browser does, and print what to fix.

    It only subscribes to the broadcast of one facility, by default a random one. Exit codes: 0 no
    fault, 1 a fault, 2 wrong arguments.
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
