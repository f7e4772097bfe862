"""``wsredis demo``: a chat to try out, with a server and a Redis that end with the command.

The arguments of all commands are defined in `wsredis.cli.main`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..embedded import EmbeddedRedis
from ..exceptions import EmbeddedUnavailable
from .ports import refuse_busy

__all__ = ["FRAMEWORKS", "run_demo"]

STOP_SECONDS = 20
"""Seconds after which a server that does not end is killed."""

START_SECONDS = 15.0
DJANGO_CHAT = "wsredis.examples.django_chat"
CHANNELS_CHAT = "wsredis.examples.channels_chat"
CONSUMERS_CHAT = "wsredis.examples.consumers_chat"

FRAMEWORKS = {
    "django": "chats in Django, with logins",
    "channels": "a chat for Django Channels",
    "consumers": "a chat with consumers in Django",
    "flask": "a chat in Flask, with logins",
    "flask-rooms": "a chat with rooms in Flask",
}
"""The frameworks to choose from instead of plain WSGI."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat that can be run.

    Args:
        application: the WSGI application, as module:name.
        facility: the facility to publish to from a second terminal, if any.
        people: the names of its users; their password is always the same.
        prepare: makes the files it needs in a folder.
        needs: the modules it needs, each with the package to install.
    """

    application: str
    facility: str = "chat"
    people: str = ""
    prepare: Callable[[str], None] | None = None
    needs: tuple[tuple[str, str], ...] = ()


def run_demo(options: argparse.Namespace) -> int:
    """Run a chat under uWSGI, or gevent.pywsgi, with its own Redis, until Ctrl-C."""
    chat = _CHATS[options.framework]
    refuse_busy("127.0.0.1", options.port)
    missing = {module: name for module, name in chat.needs if find_spec(module) is None}
    if missing:
        are = "is" if len(missing) == 1 else "are"
        names = " ".join(f"'{name}'" for name in missing.values())
        raise ValueError(f"{' and '.join(missing)} {are} not installed: pip install {names}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as with nohup
            signal.signal(number, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        try:
            redis = stack.enter_context(EmbeddedRedis()).url
        except EmbeddedUnavailable as exc:
            redis = "memory://demo"
            print(f"{exc}; messages stay inside this process", flush=True)
        program = os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else "wsredis"
        hint = f'{program} publish {chat.facility} "hello" --broadcast --redis {redis}'
        os.environ |= {"WSREDIS_REDIS": redis, "WSREDIS_DEMO_HINT": hint}
        log = stack.enter_context(tempfile.TemporaryFile())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wsredis-chat-"))
        if chat.prepare is not None:
            chat.prepare(folder)
        server = stack.enter_context(_server(options.port, folder, log, chat))
        stack.callback(_stop, server)
        if not _answers(options.port, server):
            log.seek(0)
            print(log.read()[-4000:].decode(errors="replace"), file=sys.stderr)
            return 1
        print(f"The chat is at http://127.0.0.1:{options.port}/ - open it in two windows.")
        if chat.people:
            print(f'Log in as {chat.people} with the password "secret".')
        if chat.facility and not redis.startswith("memory:"):
            print(f"Publish from a second terminal:\n\n    {hint}\n")
        with suppress(KeyboardInterrupt):  # the normal end
            print("Press Ctrl-C to stop.", flush=True)
            return server.wait()
        return 0


def _fill_django(folder: str, chat: str = DJANGO_CHAT) -> None:
    """Make the database of a Django chat with its users, and set the variables for it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = f"{chat}.settings"
    os.environ["DJANGO_CHAT_DB"] = str(Path(folder, "db.sqlite3"))
    for command in (["migrate"], ["loaddata", "people"]):
        manage = [sys.executable, "-m", f"{chat}.manage", *command, "--verbosity", "0"]
        if subprocess.run(manage, cwd=folder).returncode:
            raise ValueError(f"manage.py {' '.join(command)} failed")


_CHATS = {
    None: Chat("wsredis.examples.plain_wsgi.app:application"),
    "django": Chat(
        f"{DJANGO_CHAT}.wsgi:application",
        "hall",
        "admin, john or mary",
        _fill_django,
        (("django", "wsredis[django]"),),
    ),
    "channels": Chat(
        f"{CHANNELS_CHAT}.wsgi:application",
        "",
        "alice or bob",
        partial(_fill_django, chat=CHANNELS_CHAT),
        (
            ("django", "wsredis[django]"),
            ("channels", "channels"),
            ("msgpack", "wsredis[layers]"),
        ),
    ),
    "consumers": Chat(
        f"{CONSUMERS_CHAT}.wsgi:application",
        "",
        "alice or bob",
        partial(_fill_django, chat=CONSUMERS_CHAT),
        (("django", "wsredis[django]"),),
    ),
    "flask": Chat(
        "wsredis.examples.flask_chat.wsgi:application",
        people="alice, bob or carol",
        needs=(("flask", "wsredis[flask]"), ("flask_login", "Flask-Login")),
    ),
    "flask-rooms": Chat(
        "wsredis.examples.flask_rooms.wsgi:application",
        "",
        needs=(("flask", "wsredis[flask]"),),
    ),
}


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the chat accepts connections; return False if it does not."""
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False


def _server(port: int, folder: str, log: Any, chat: Chat) -> subprocess.Popen[bytes]:
    """Start the chat under uWSGI, or under gevent.pywsgi where uWSGI is not installed.

    It runs in an empty folder, as both import modules from the folder they are started in.
    """
    here = Path(sys.executable).parent
    if uwsgi := shutil.which("uwsgi", path=f"{here}{os.pathsep}{os.environ.get('PATH', '')}"):
        command = [os.path.abspath(uwsgi), "--http-socket", f"127.0.0.1:{port}", "--master"]
        command += ["--gevent", "100", "--die-on-term", "--need-app", "--disable-logging"]
        command += ["--module", chat.application]
        if Path(uwsgi).read_bytes()[:2] == b"#!":  # the wheel pyuwsgi, for a reload by SIGHUP
            command += ["--binary-path", sys.executable]
        if chat.needs:  # else all requests would share one connection to the database
            command.append("--gevent-early-monkey-patch")
    else:
        print("uWSGI is not installed (pip install wsredis[uwsgi]); using gevent.pywsgi.")
        command = [sys.executable, "-m", "wsredis.cli", "serve", chat.application]
        command += ["--port", str(port)]
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server; ask again if it has missed the signal.

    uWSGI misses signals while it starts, and while it reloads: for the SIGHUP that a terminal sends
    when it closes.
    """
    for _ in range(STOP_SECONDS):
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(1)
            return
    server.kill()
