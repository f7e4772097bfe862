"""The ``wsredis doctor`` command: arguments, output, exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from ..brokers import describe_server, shared_channels
from ..config import Config
from ..exceptions import BrokerUnavailable, WrongServer
from ..protocol.http import is_token
from .address import Address
from .client import Client
from .examination import Examination
from .report import Fault, Remedy, Report

__all__ = ["add_doctor_arguments", "run_doctor"]


DAY = 86400

CHOOSE_PREFIX = "Give each site its own key_prefix (WSREDIS_KEY_PREFIX)."

_HANDSHAKE = ("host", "upgrade", "connection", "origin", "sec-websocket-")


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run_doctor` needs."""
    parser.add_argument(
        "url", metavar="URL", help="address of the websockets, such as wss://example.com/ws/"
    )
    parser.add_argument(
        "--origin",
        metavar="ORIGIN",
        type=_origin,
        help="origin of the pages that connect (default: that of the URL)",
    )
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="maximum seconds to wait for the server's pings, 0 to skip this step (default:"
        " %(default)g)",
    )
    parser.add_argument(
        "--timeout",
        type=_timeout,
        default=10.0,
        metavar="SECONDS",
        help="seconds to wait for each connection and each response (default: %(default)g)",
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'NAME: VALUE'",
        help="additional header of each request (repeatable)",
    )
    parser.add_argument(
        "--cookie",
        action="append",
        default=[],
        type=_cookie,
        metavar="NAME=VALUE",
        help="cookie to send, such as that of a logged-in user (repeatable)",
    )
    parser.add_argument(
        "--facility",
        default="",
        metavar="NAME",
        help="facility to subscribe to, if the site does not grant a random one",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="also publish one message to the facility, if the site allows this client to publish",
    )
    parser.add_argument(
        "--script",
        type=_path,
        metavar="PATH",
        help="path from which pages load the browser client (default: the usual paths are tried)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _seconds(text: str) -> float:
    if (seconds := _number(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not valid: write seconds from 0 to {DAY}")
    return seconds


def _timeout(text: str) -> float:
    if not (seconds := _number(text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not valid: write seconds above 0, at most {DAY}"
        )
    return seconds


def _number(text: str) -> float | None:
    """Return seconds from 0 to a day; None if the text is anything else."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= DAY else None


def _header(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition(":"))
    if not is_token(name) or not _is_value(value):  # not shown: it may be a password
        raise argparse.ArgumentTypeError("not a header: write 'Name: value', in printable ASCII")
    if name.lower().startswith(_HANDSHAKE):
        raise argparse.ArgumentTypeError(
            f"the handshake itself sets {name}: remove it, or use --origin to set Origin"
        )
    return name, value


def _cookie(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not is_token(name) or not equals or not _is_value(text):  # not shown: it is a key
        raise argparse.ArgumentTypeError("not a cookie: write NAME=VALUE, in printable ASCII")
    return text


def _is_value(text: str) -> bool:
    """Return whether a text can be the value of a header."""
    return bool(text) and text.isprintable() and text.isascii()


def _origin(text: str) -> str:
    scheme, _, host = text.partition("://")
    if scheme not in ("http", "https") or not host or "/" in host or not text.isascii():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an origin: write one like https://example.com, without a path"
        )
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or text.startswith("//") or not _is_value(text) or " " in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a path: write one like /static/wsredis/wsredis.js"
        )
    return text


def _print(line: str) -> None:
    print(line, flush=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_doctor(options: argparse.Namespace) -> int:
    """Open websockets as a browser on the site's pages does, and print what to fix.

    It only subscribes to the broadcast channel of one facility, by default a random one. If
    WSREDIS_REDIS is set, it also says whether other sites on that Redis server may share channels,
    and which role the server has; a server that is not a primary is a fault. Exit codes: 0 no
    fault, 1 a fault, 2 invalid arguments.
    """
    address = Address.parse(options.url, options.facility)
    headers = list(options.header)
    if options.cookie:
        headers.append(("Cookie", "; ".join(options.cookie)))
    client = Client(address, options.origin or address.origin, headers, options.timeout)
    say: Callable[[str], object] = (lambda line: None) if options.json else _print
    report = Report(address.url(), say)
    if "WSREDIS_REDIS" in os.environ:
        _examine_redis(report)
    if report.ok:
        script = options.script or ""
        Examination(client, options.wait, options.publish, _tell, script).run(report)
    if options.json:
        _print(report.json())
    return 0 if report.ok else 1


def _examine_redis(report: Report) -> None:
    """Examine the Redis server of the environment, which may not be reachable from here."""
    config = Config.make()
    if (shared := shared_channels(config)) is not None:
        report.passed("Redis", f"{shared} {CHOOSE_PREFIX}")
    try:
        report.passed("Redis", describe_server(config))
    except WrongServer as exc:
        report.failed(
            "Redis",
            Fault(
                str(exc),
                "wrong-redis",
                "wsredis needs a server that is a primary and not in cluster mode: messages that"
                " are published elsewhere do not reach all subscribers.",
                Remedy("the environment of the site", ("WSREDIS_REDIS=redis://PRIMARY:6379/0",)),
            ),
        )
    except BrokerUnavailable as exc:
        report.skipped("Redis", f"not tested, because it cannot be reached from here: {exc}")
