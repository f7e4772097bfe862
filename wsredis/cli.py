"""The ``wsredis`` command: publish and listen from a shell, a server for development, the demo.

Exit codes: 0 done, 1 Redis or the demo's server does not answer, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .brokers import broker_for
from .config import Config, current_config
from .demo import FRAMEWORKS, refuse_busy, run_demo
from .doctor import add_doctor_arguments, run_doctor
from .exceptions import BrokerUnavailable, WSRedisError
from .loop import Loop
from .message import Message
from .middleware import WebSocketMiddleware
from .publisher import Publisher
from .version import VERSION

__all__ = [
    "add_listen_arguments",
    "add_publish_arguments",
    "main",
    "run_listen",
    "run_publish",
    "said_in_one_line",
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=options.log_level)
    return said_in_one_line("wsredis", lambda: options.run(options))


def said_in_one_line(program: str, run: Callable[[], int]) -> int:
    """Run a command and return its exit code; what is wrong is one line."""
    try:
        return run()
    except BrokerUnavailable as exc:
        print(f"{program}: Redis does not answer: {exc}", file=sys.stderr)
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
        epilog="Options of the site come from WSREDIS_<NAME> variables, such as WSREDIS_REDIS.",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.set_defaults(log_level=logging.WARNING)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="a chat in the browser, with a Redis of its own",
        description=run_demo.__doc__,
        epilog="Open the page in two windows, and publish into it with the command it shows.",
    )
    demo.add_argument("--port", type=_port, default=8000, help="port of the page (%(default)s)")
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
        help="show what passes",
        description=run_listen.__doc__,
        epilog="example: wsredis listen news --broadcast --group editors",
    )
    add_listen_arguments(listen)
    listen.set_defaults(run=run_listen)

    serve = commands.add_parser(
        "serve",
        help="a development server with websockets",
        description=_serve.__doc__,
        epilog="example: wsredis serve mysite.wsgi:application --port 8000",
    )
    serve.add_argument("application", metavar="MODULE:APP", help="where the WSGI application is")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    serve.add_argument("--port", type=_port, default=8000, help="port to listen at (%(default)s)")
    serve.add_argument("--redis", metavar="URL", help="where Redis is")
    serve.set_defaults(run=_serve, log_level=logging.INFO)

    doctor = commands.add_parser(
        "doctor",
        help="find out why websockets do not get through",
        description=run_doctor.__doc__,
        epilog="example: wsredis doctor wss://example.com/ws/ --origin https://example.com",
    )
    add_doctor_arguments(doctor)
    doctor.set_defaults(run=run_doctor)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 1 to 65535")
    return int(text)


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run_publish` needs."""
    _add_audience(parser)
    parser.add_argument("message", metavar="MESSAGE", help="text; - reads it from standard input")
    parser.add_argument(
        "--expire", type=int, metavar="N", help="seconds to keep it for those who connect later"
    )


def add_listen_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run_listen` needs."""
    _add_audience(parser)
    parser.add_argument("--count", type=int, metavar="N", help="end after N messages")


def _add_audience(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("facility", metavar="FACILITY", help="what it is about; part of the URL")
    parser.add_argument("--broadcast", action="store_true", help="everybody")
    for name in ("user", "group", "session"):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar=name[0].upper(), help="repeatable"
        )
    parser.add_argument("--redis", metavar="URL", help="where Redis is (else WSREDIS_REDIS)")


def _publisher(options: argparse.Namespace, config: Config | None) -> Publisher:
    if not (options.broadcast or options.user or options.group or options.session):
        raise ValueError("say who gets it: --broadcast, --user U, --group G or --session S")
    given = {"redis": options.redis} if options.redis else {}
    return Publisher(
        options.facility,
        broadcast=options.broadcast,
        users=options.user,
        groups=options.group,
        sessions=options.session,
        config=Config.make(config or current_config(), **given),
    )


def _say(line: str) -> None:
    print(line, flush=True)


def run_publish(
    options: argparse.Namespace,
    say: Callable[[str], object] = _say,
    config: Config | None = None,
) -> int:
    """Send one message; prints how many server processes received it."""
    text = sys.stdin.read() if options.message == "-" else options.message
    say(str(_publisher(options, config).publish(text, expire=options.expire)))
    return 0


_STEERING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def run_listen(
    options: argparse.Namespace,
    say: Callable[[str], object] = _say,
    config: Config | None = None,
) -> int:
    """Print each message as a line: its channel, a tab, its text (binary as Python writes bytes).

    Line breaks, and what else could steer a terminal, are written as Python escapes them.
    """
    publisher = _publisher(options, config)
    left = options.count
    done = threading.Event()

    def show(messages: list[Message]) -> Iterator[None]:
        nonlocal left
        for message in messages:
            if left != 0:
                try:
                    say(f"{message.channel}\t{_STEERING.sub(_escape, str(message.data))}")
                except BrokenPipeError:  # whoever read this has gone
                    left = 0
                    break
                left = None if left is None else left - 1
        if left == 0:
            done.set()
        return iter(())

    loop = Loop()
    feed = loop.run(broker_for(publisher.config).open, loop, show)
    try:
        kept = loop.run(feed.subscribe, publisher.channels)
        print(f"listening to {' '.join(publisher.channels)}", file=sys.stderr, flush=True)
        show(kept)
        done.wait()
    finally:
        loop.run(feed.close)
    return 0


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    if not module or not name:
        raise ValueError(f"{place!r} names no application: write MODULE:APP, like site.wsgi:app")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise ValueError(f"cannot load {place}: {exc}") from exc


def _serve(options: argparse.Namespace) -> int:
    """Serve a WSGI application with gevent.pywsgi, wrapped in the middleware unless it already is.

    For development: one process, plain HTTP.
    """
    from gevent.pywsgi import WSGIServer

    if options.redis:
        os.environ["WSREDIS_REDIS"] = options.redis
    application = _load(options.application)
    if not isinstance(application, WebSocketMiddleware):
        application = WebSocketMiddleware(application)
    refuse_busy(options.host, options.port)
    server = WSGIServer((options.host, options.port), application)
    server.start()
    print(f"http://{options.host}:{options.port}/", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
