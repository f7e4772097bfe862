"""The ``wsredis`` command: publish and listen from a shell, a server for development, the demo.

Exit codes: 0 done, 1 Redis or the demo's server does not answer, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .brokers import broker_for
from .config import Config, current_config
from .embedded import EmbeddedRedis
from .exceptions import BrokerUnavailable, EmbeddedUnavailable, WSRedisError
from .loop import Loop
from .message import Message
from .middleware import WebSocketMiddleware
from .publisher import Publisher
from .version import VERSION

__all__ = ["add_listen_arguments", "add_publish_arguments", "main", "run_listen", "run_publish"]

START_SECONDS = 15.0
CHAT = "wsredis.examples.plain_wsgi.app:application"
DJANGO_CHAT = "wsredis.examples.django_chat"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=options.log_level)
    try:
        code: int = options.run(options)
    except BrokerUnavailable as exc:
        print(f"wsredis: Redis does not answer: {exc}", file=sys.stderr)
        return 1
    except (WSRedisError, ValueError) as exc:
        print(f"wsredis: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


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
        description=_demo.__doc__,
        epilog="Open the page in two windows, and publish into it with the command it shows.",
    )
    demo.add_argument("--port", type=_port, default=8000, help="port of the page (%(default)s)")
    demo.add_argument("--django", action="store_true", help="chats in Django, with logins")
    demo.set_defaults(run=_demo)

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


def _publisher(options: argparse.Namespace) -> Publisher:
    if not (options.broadcast or options.user or options.group or options.session):
        raise ValueError("say who gets it: --broadcast, --user U, --group G or --session S")
    given = {"redis": options.redis} if options.redis else {}
    return Publisher(
        options.facility,
        broadcast=options.broadcast,
        users=options.user,
        groups=options.group,
        sessions=options.session,
        config=Config.make(current_config(), **given),
    )


def _say(line: str) -> None:
    print(line, flush=True)


def run_publish(options: argparse.Namespace, say: Callable[[str], object] = _say) -> int:
    """Send one message; prints how many server processes received it."""
    text = sys.stdin.read() if options.message == "-" else options.message
    say(str(_publisher(options).publish(text, expire=options.expire)))
    return 0


def run_listen(options: argparse.Namespace, say: Callable[[str], object] = _say) -> int:
    """Print each message as its channel, a tab, and its text (binary as Python writes bytes)."""
    publisher = _publisher(options)
    left = options.count
    done = threading.Event()

    def show(messages: list[Message]) -> None:
        nonlocal left
        for message in messages:
            if left != 0:
                try:
                    say(f"{message.channel}\t{message.data!s}")
                except BrokenPipeError:  # whoever read this has gone
                    left = 0
                    break
                left = None if left is None else left - 1
        if left == 0:
            done.set()

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
    _refuse_busy(options.host, options.port)
    server = WSGIServer((options.host, options.port), application)
    server.start()
    print(f"http://{options.host}:{options.port}/", flush=True)
    server.serve_forever()
    return 0


def _refuse_busy(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise ValueError(f"port {port}: {exc.strerror}; choose another: --port, PORT=") from exc


def _demo(options: argparse.Namespace) -> int:
    """Run the chat under uWSGI with an embedded Redis until Ctrl-C."""
    _refuse_busy("127.0.0.1", options.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        try:
            redis = stack.enter_context(EmbeddedRedis()).url
        except EmbeddedUnavailable as exc:
            redis = "memory://demo"
            print(f"{exc}; so messages stay inside this one process", flush=True)
        program = os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else "wsredis"
        facility = "hall" if options.django else "chat"
        hint = f'{program} publish {facility} "hello" --broadcast --redis {redis}'
        os.environ |= {"WSREDIS_REDIS": redis, "WSREDIS_DEMO_HINT": hint}
        log = stack.enter_context(tempfile.TemporaryFile())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wsredis-chat-"))
        if options.django:
            _fill_django(folder)
        server = stack.enter_context(_chat_server(options.port, folder, log, options.django))
        stack.callback(server.terminate)
        if not _answers(options.port, server):
            log.seek(0)
            print(log.read()[-4000:].decode(errors="replace"), file=sys.stderr)
            return 1
        print(f"The chat is at http://127.0.0.1:{options.port}/ - open it in two windows.")
        if options.django:
            print("The users are admin, john and mary, and the password of each is: secret")
        if not redis.startswith("memory:"):
            print(f"Publish from a second terminal:\n\n    {hint}\n")
        print("Ctrl-C ends it.", flush=True)
        with suppress(KeyboardInterrupt):  # the way it is meant to end
            return server.wait()
        return 0


def _fill_django(folder: str) -> None:
    """Make the database of the chats in Django, with its users, and name it to the server."""
    if find_spec("django") is None:
        raise ValueError("there is no Django here: pip install 'wsredis[django]'")
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{DJANGO_CHAT}.settings"
    os.environ["DJANGO_CHAT_DB"] = str(Path(folder, "db.sqlite3"))
    for command in (["migrate"], ["loaddata", "people"]):
        manage = [sys.executable, "-m", f"{DJANGO_CHAT}.manage", *command, "--verbosity", "0"]
        if subprocess.run(manage, cwd=folder).returncode:
            raise ValueError(f"manage.py {' '.join(command)} failed")


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the chat takes connections; tell whether it does."""
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False


def _chat_server(port: int, folder: str, log: Any, django: bool) -> subprocess.Popen[bytes]:
    """Start the chat under uWSGI, or under gevent.pywsgi where there is no uWSGI.

    It runs in an empty folder: both would take modules from where they are started.
    """
    here = Path(sys.executable).parent
    module = f"{DJANGO_CHAT}.wsgi:application" if django else CHAT
    if uwsgi := shutil.which("uwsgi", path=f"{here}{os.pathsep}{os.environ.get('PATH', '')}"):
        command = [
            os.path.abspath(uwsgi),
            "--http-socket",
            f"127.0.0.1:{port}",
            "--master",
            "--gevent",
            "100",
        ]
        command += ["--die-on-term", "--need-app", "--disable-logging", "--module", module]
        if django:  # or all requests would share one connection to the database
            command.append("--gevent-early-monkey-patch")
    else:
        print("There is no uWSGI here (pip install wsredis[uwsgi]); gevent.pywsgi serves.")
        command = [sys.executable, "-m", "wsredis.cli", "serve", module, "--port", str(port)]
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


if __name__ == "__main__":
    sys.exit(main())
