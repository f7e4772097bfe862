"""The ``wsredis`` command: publish, listen, disconnect, a development server, the demo and the
doctor.

Exit codes: 0 success, 1 Redis or the demo's server is unavailable, 2 invalid arguments.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from ..doctor import add_doctor_arguments, run_doctor
from ..exceptions import BrokerUnavailable, WSRedisError
from ..version import VERSION
from .audience import REDIS_HELP
from .demo import FRAMEWORKS, run_demo
from .disconnect import add_disconnect_arguments, run_disconnect
from .listen import add_listen_arguments, run_listen
from .ports import port_number
from .publish import add_publish_arguments, run_publish
from .serve import run_serve

__all__ = ["main", "one_line_errors"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=options.log_level)
    return one_line_errors("wsredis", lambda: options.run(options))


def one_line_errors(program: str, run: Callable[[], int]) -> int:
    """Run a command and return its exit code; print an error as one line."""
    try:
        return run()
    except BrokerUnavailable as exc:
        print(f"{program}: {exc}", file=sys.stderr)
        return 1
    except (WSRedisError, ValueError) as exc:
        print(f"{program}: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wsredis",
        description="Push messages from a WSGI site to its browsers, over Redis.",
        epilog="Options of the site are read from the environment variables WSREDIS_<NAME>, such"
        " as WSREDIS_REDIS.",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.set_defaults(log_level=logging.WARNING)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="run a chat to try out in the browser, with its own Redis",
        description=run_demo.__doc__,
        epilog="Open the page in two windows. Where a command to publish is shown, use it from a"
        " second terminal.",
    )
    demo.add_argument(
        "--port", type=port_number, default=8000, help="port of the page (default: %(default)s)"
    )
    which = demo.add_mutually_exclusive_group()
    for name, text in FRAMEWORKS.items():
        which.add_argument(
            f"--{name}", dest="framework", action="store_const", const=name, help=text
        )
    demo.set_defaults(run=run_demo)

    publish = commands.add_parser(
        "publish",
        help="send a message to browsers",
        description=run_publish.__doc__,
        epilog="example: wsredis publish news 'hello' --broadcast --user alice",
    )
    add_publish_arguments(publish)
    publish.set_defaults(run=run_publish)

    listen = commands.add_parser(
        "listen",
        help="print messages as they arrive",
        description=run_listen.__doc__,
        epilog="example: wsredis listen news --broadcast --group editors",
    )
    add_listen_arguments(listen)
    listen.set_defaults(run=run_listen)

    disconnect = commands.add_parser(
        "disconnect",
        help="close the websockets of a user, a group or a session",
        description=run_disconnect.__doc__,
        epilog="example: wsredis disconnect --user mallory --code 4403 --reason 'Removed.'",
    )
    add_disconnect_arguments(disconnect)
    disconnect.set_defaults(run=run_disconnect)

    serve = commands.add_parser(
        "serve",
        help="run a development server with websockets",
        description=run_serve.__doc__,
        epilog="example: wsredis serve mysite.wsgi:application --port 8000",
    )
    serve.add_argument(
        "application",
        metavar="MODULE:APP",
        help="the WSGI application, such as mysite.wsgi:application",
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    serve.add_argument(
        "--port", type=port_number, default=8000, help="port to listen on (default: %(default)s)"
    )
    serve.add_argument("--redis", metavar="URL", help=REDIS_HELP)
    serve.set_defaults(run=run_serve, log_level=logging.INFO)

    doctor = commands.add_parser(
        "doctor",
        help="find out why websockets do not work",
        description=run_doctor.__doc__,
        epilog="example: wsredis doctor wss://example.com/ws/ --origin https://example.com",
    )
    add_doctor_arguments(doctor)
    doctor.set_defaults(run=run_doctor)
    return parser
