"""The ``wsredis`` command, run as its users run it: as a process, with a real Redis."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from wsredis.cli.listen import add_listen_arguments, run_listen
from wsredis.cli.main import main
from wsredis.cli.ports import refuse_busy
from wsredis.config import Config
from wsredis.embedded import EmbeddedRedis, free_port
from wsredis.version import VERSION

from ..processes import kill_group, start_talking, with_variable

NOWHERE = "redis://127.0.0.1:1"
PLAIN = "wsredis.examples.plain_wsgi.app"
WSREDIS = str(Path(sys.executable).parent / "wsredis")


@contextmanager
def start(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command beside the test, and not longer."""
    with start_talking([WSREDIS, *arguments], **environment) as process:
        try:
            yield process
        finally:
            kill_group(process)


def run(*arguments: str, text: str = "", **environment: str) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    with start(*arguments, **environment) as process:
        out, err = process.communicate(text, timeout=30)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with EmbeddedRedis() as server:
        yield server.url


def test_what_is_published_is_heard(redis: str) -> None:
    place = ["--redis", redis]
    who = ["--broadcast", "--user", "alice"]
    with start("listen", "news", *who, "--count", "3", *place) as ear:
        assert ear.stderr is not None
        assert ear.stderr.readline() == "listening to ws:broadcast:news ws:user:alice:news\n"
        assert run("publish", "news", "hello", "--broadcast", WSREDIS_REDIS=redis) == (0, "1\n", "")
        assert run("publish", "news", "-", "--user", "alice", *place, text="two\n")[0] == 0
        assert run("publish", "news", "x", "--group", "editors", "--redis", redis) == (
            0,
            "0\n",
            "No client is subscribed to ws:group:editors:news, or the site uses another Redis or"
            " key prefix.\n",
        )
        assert run("publish", "news", "three", "--broadcast", "--redis", redis)[0] == 0
        out, _ = ear.communicate(timeout=30)
    assert out == "ws:broadcast:news\thello\nws:user:alice:news\ttwo\\n\nws:broadcast:news\tthree\n"
    assert ear.returncode == 0


def test_a_retained_message_is_heard_later(redis: str) -> None:
    run("publish", "late", "retained", "--session", "abc", "--expire", "60", "--redis", redis)
    code, out, _ = run("listen", "late", "--session", "abc", "--count", "1", "--redis", redis)
    assert (code, out) == (0, "ws:session:abc:late\tretained\n")


def test_the_facility_of_the_bare_prefix_is_an_empty_text(redis: str) -> None:
    with start("listen", "", "--broadcast", "--count", "1", "--redis", redis) as ear:
        assert ear.stderr is not None
        assert ear.stderr.readline() == "listening to ws:broadcast:\n"
        assert run("publish", "", "hello", "--broadcast", "--redis", redis)[:2] == (0, "1\n")
        assert ear.communicate(timeout=30)[0] == "ws:broadcast:\thello\n"


def test_the_key_of_a_session_is_not_shown_where_nothing_was_received(redis: str) -> None:
    _, _, err = run("publish", "news", "x", "--session", "hush", "--redis", redis)
    assert "subscribed to ws:session:***:news, " in err


def retained(redis: str, facility: str) -> argparse.Namespace:
    """Retain a message for two users and return what listens to both."""
    for user in ("alice", "bob"):
        place = ["--user", user, "--expire", "60", "--redis", redis]
        assert run("publish", facility, "retained", *place)[0] == 0
    parser = argparse.ArgumentParser()
    add_listen_arguments(parser)
    return parser.parse_args([facility, "--user", "alice", "--user", "bob", "--redis", redis])


@pytest.mark.usefixtures("nothing_is_configured")
def test_no_more_are_shown_than_asked_for(redis: str) -> None:
    options = retained(redis, "one")
    options.count = 1
    said: list[str] = []
    assert run_listen(options, said.append) == 0
    assert said == ["ws:user:alice:one\tretained"]


def test_a_message_is_one_line_and_steers_no_terminal(redis: str) -> None:
    place = ["--broadcast", "--expire", "60", "--redis", redis]
    text = "a\tb\r\n\x1b[2Jc\x9b\u202ed \u00e9"
    assert run("publish", "steered", text, *place)[0] == 0
    code, out, _ = run("listen", "steered", "--broadcast", "--count", "1", "--redis", redis)
    shown = r"a<TAB>b\r\n\x1b[2Jc\x9b\u202ed é".replace("<TAB>", "\t")
    assert (code, out) == (0, f"ws:broadcast:steered\t{shown}\n")


@pytest.mark.usefixtures("nothing_is_configured")
def test_listening_ends_when_nobody_reads_it_any_more(redis: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert run_listen(retained(redis, "head"), lambda line: os.write(writer, line.encode())) == 0
    os.close(writer)


def test_it_can_be_run_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wsredis.cli", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{VERSION}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["publish", "news", "hello"], 2, "no audience: write --broadcast"),
        (["publish", "news"], 2, "MESSAGE"),
        (["publish", "news", "x", "--broadcast", "--expire", "-1"], 2, "expire must be whole"),
        (["publish", "news", "x", "--broadcast", "--redis", "http://x"], 2, "write a URL like"),
        (["publish", "news", "x", "--broadcast", "--redis", ""], 2, "redis='' is not valid: write"),
        (["publish", "news", "x", "--user", ""], 2, "--user: '' is not a name: write at least one"),
        (["listen", "news", "--group", ""], 2, "--group: '' is not a name: write at least one"),
        (
            ["listen", "news", "--broadcast", "--count", "0"],
            2,
            "'0' is not valid: write a number above 0",
        ),
        (
            ["listen", "news", "--broadcast", "--count", "-1"],
            2,
            "'-1' is not valid: write a number above 0",
        ),
        (["publish", "news", "x", "--broadcast", "--expire", "9" * 16], 2, "expire must be whole"),
        (
            ["publish", "news", "x", "--broadcast", "--redis", "memory://"],
            2,
            "memory:// is a broker inside one process",
        ),
        (
            ["listen", "news", "--broadcast", "--redis", "memory://"],
            2,
            "memory:// is a broker inside one process",
        ),
        (["publish", "redis://h", "news", "--broadcast"], 2, "facility must be the topic"),
        (
            ["publish", "news", "\udcff", "--broadcast"],
            2,
            "the message is not UTF-8 text: to publish",
        ),
        (["disconnect"], 2, "no name: write --user NAME, --group NAME or --session KEY"),
        (["disconnect", "--user", ""], 2, "'' is not a name: write at least one character"),
        (["disconnect", "--user", "a", "--code", "1006"], 2, "code must be 1000, 1008, 1012"),
        (["disconnect", "--user", "a", "--redis", "memory://"], 2, "memory:// is a broker inside"),
        (["disconnect", "--user", "a", "--redis", NOWHERE], 1, "Redis at 127.0.0.1:1: "),
        (["serve", "nowhere"], 2, "write MODULE:APP, such as mysite.wsgi:application"),
        (["serve", ".nowhere:app"], 2, "write MODULE:APP, such as mysite.wsgi:application"),
        (["serve", "os:"], 2, "write MODULE:APP, such as mysite.wsgi:application"),
        (["serve", "no_such_module:app"], 2, "there is no module 'no_such_module'; install it, or"),
        (["serve", "no_such_module.app"], 2, "there is no module 'no_such_module'; install it, or"),
        (
            ["serve", "os:no_such_name"],
            2,
            "cannot load os:no_such_name: os has no 'no_such_name';",
        ),
        (
            ["serve", "os:path"],
            2,
            "cannot load os:path: os.path is of type module; write MODULE:APP",
        ),
        (
            ["serve", "wsredis.config.sources:_current"],
            2,
            "wsredis.config.sources._current is None; a function that makes it must return it;",
        ),
        (
            ["serve", f"{PLAIN}:application", "--host", "192.0.2.1"],
            2,
            "'192.0.2.1' is not an address of this machine",
        ),
        (["demo", "--port", "0"], 2, "write a number from 1 to 65535"),
        ([], 2, "COMMAND"),
    ],
)
def test_wrong_arguments_get_a_sentence_and_an_exit_code(
    arguments: list[str], code: int, says: str
) -> None:
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["publish", "news", "x"], ["listen", "news"]])
def test_without_redis_one_line_says_which_and_why(command: list[str]) -> None:
    code, out, err = run(*command, "--broadcast", "--redis", "redis://:hush@127.0.0.1:1")
    assert (code, out) == (1, "")
    assert err.startswith("wsredis: Redis at 127.0.0.1:1: Error ")
    assert err.count("\n") == 1
    assert "hush" not in err


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_is_read_must_be_utf8(errors: str, redis: str, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    with (tmp_path / "binary").open() as binary:
        done = subprocess.run(
            [WSREDIS, "publish", "news", "-", "--broadcast", "--redis", redis],
            stdin=binary,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": f"utf-8:{errors}"},
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "wsredis: the message is not UTF-8 text: to publish binary data, use Publisher\n"
    )


def test_the_default_of_redis_is_in_the_help() -> None:
    for command in ("publish", "listen", "serve"):
        text = " ".join(run(command, "--help")[1].split())
        assert f"or the variable WSREDIS_REDIS, else {Config().redis})" in text


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EADDRINUSE, "port 80 is in use: choose another with --port"),
        (errno.EACCES, "port 80 needs root privileges: choose one above 1023"),
        (errno.EADDRNOTAVAIL, "'::1' is not an address of this machine: write --host 127.0.0.1"),
    ],
)
def test_a_place_that_cannot_be_listened_on(
    number: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    families: list[socket.AddressFamily] = []

    class Probe(socket.socket):
        def bind(self, address: Any) -> None:
            families.append(self.family)
            raise OSError(number, "no")

    monkeypatch.setattr(socket, "socket", Probe)
    with pytest.raises(ValueError, match=f"^{re.escape(says)}"):
        refuse_busy("::1", 80)
    assert families == [socket.AF_INET6]


def test_an_error_in_the_application_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken_site.py").write_text("import os\nos.no_such_name\n")
    code, _, err = run("serve", "broken_site:app", PYTHONPATH=str(tmp_path))
    assert code == 1
    assert "broken_site.py" in err
    assert "AttributeError" in err


def test_help_teaches_each_command() -> None:
    assert "publish" in run("--help")[1]
    for command in ("demo", "publish", "listen", "serve", "doctor"):
        code, out, _ = run(command, "--help")
        assert code == 0
        assert len(out) > 200


def test_serve_wraps_an_application_and_says_goodbye(redis: str, tmp_path: Path) -> None:
    (tmp_path / "site_of_bob.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '5')])\n"
        "    return [b'plain']\n"
    )
    port = free_port()
    place = ["serve", "site_of_bob.app", "--port", str(port), "--redis", redis]
    with start(*place, PYTHONPATH=str(tmp_path)) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"http://127.0.0.1:{port}/\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.read() == b"plain"
        url = f"ws://127.0.0.1:{port}/ws/news?subscribe-broadcast"
        with connect(url, open_timeout=30) as client:
            run("publish", "news", "hello", "--broadcast", "--redis", redis)
            assert client.recv(timeout=30) == "hello"
            server.send_signal(signal.SIGINT)
            with pytest.raises(Exception, match="1012"):
                client.recv(timeout=30)
        _, err = server.communicate(timeout=30)
        assert server.returncode == 130
        assert "Traceback" not in err
        assert "KeyboardInterrupt" not in err


def test_a_user_is_disconnected(redis: str, tmp_path: Path) -> None:
    (tmp_path / "site_of_frank.py").write_text(
        "from wsredis import Identity, WebSocketMiddleware\n"
        "def identity(request):\n    return Identity(request.GET['user'], groups=('editors',))\n"
        "app = WebSocketMiddleware(None, identity=identity)\n"
    )
    port = free_port()
    place = ["--port", str(port), "--redis", redis]
    with start("serve", "site_of_frank:app", *place, PYTHONPATH=str(tmp_path)) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == f"http://127.0.0.1:{port}/\n"
        url = f"ws://127.0.0.1:{port}/ws/news?subscribe-user&user="
        with connect(f"{url}alice") as alice, connect(f"{url}bob") as bob:
            who = ["--user", "alice", "--group", "editors"]
            how = ["--code", "4403", "--reason", "You were removed."]
            assert run("disconnect", *who, *how, "--redis", redis) == (0, "1\n", "")
            with pytest.raises(Exception, match=r"4403.* You were removed"):
                alice.recv(timeout=30)
            run("publish", "news", "hello", "--user", "bob", "--redis", redis)
            assert bob.recv(timeout=30) == "hello"


def test_a_disconnect_that_reaches_no_process_says_so(redis: str) -> None:
    assert run("disconnect", "--session", "key", "--redis", redis) == (
        0,
        "0\n",
        "No process was told: none serves websockets, or the site uses another Redis or key"
        " prefix.\n",
    )


ALREADY = """
from functools import partial
from flask import Flask
from wsredis import Identity, WebSocketMiddleware
from wsredis.adapters.flask import WSRedis

def identity(request):
    return Identity("alice")

flask = Flask(__name__)
flask.config["WSREDIS_IDENTITY"] = identity
WSRedis(flask)
"""


@pytest.mark.parametrize(
    ("made", "name"),
    [
        ("inside = WebSocketMiddleware(None, identity=identity)\n"
         "def wrapped(environ, start):\n    return inside(environ, start)\n", "wrapped"),
        ("", "flask"),
    ],
)  # fmt: skip
def test_serve_does_not_wrap_an_application_that_serves_websockets_itself(
    made: str, name: str, redis: str, tmp_path: Path
) -> None:
    start_of_site = ALREADY if name == "flask" else ALREADY.partition("flask = ")[0]
    (tmp_path / "site_of_erin.py").write_text(start_of_site + made)
    port = free_port()
    place = ["--port", str(port), "--redis", redis]
    with start("serve", f"site_of_erin:{name}", *place, PYTHONPATH=str(tmp_path)) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        assert server.stdout.readline() == f"http://127.0.0.1:{port}/\n"
        assert f"site_of_erin:{name} is served as it is" in server.stderr.readline()
        url = f"ws://127.0.0.1:{port}/ws/news?subscribe-user"
        with connect(url, open_timeout=30) as client:
            run("publish", "news", "hello", "--user", "alice", "--redis", redis)
            assert client.recv(timeout=30) == "hello"


def test_serve_says_if_another_redis_would_have_no_effect(redis: str, tmp_path: Path) -> None:
    (tmp_path / "site_of_dave.py").write_text(
        "from wsredis import WebSocketMiddleware\n"
        "app = WebSocketMiddleware(None, redis='memory://mine')\n"
    )
    command = ["serve", "site_of_dave:app", "--redis", redis, "--port", str(free_port())]
    code, _, err = run(*command, PYTHONPATH=str(tmp_path))
    assert code == 2
    assert err == (
        "wsredis: site_of_dave:app sets the option redis itself, so --redis has no effect: leave"
        " --redis out\n"
    )


def test_serve_ends_with_its_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gevent.pywsgi.WSGIServer.serve_forever", lambda server: server.stop())
    port = free_port()
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts its folder there
    assert main(["serve", f"{PLAIN}:application", "--port", str(port)]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}/\n"


def test_serve_listens_on_an_ipv6_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gevent.pywsgi.WSGIServer.start", lambda server: None)
    monkeypatch.setattr("gevent.pywsgi.WSGIServer.serve_forever", lambda server: None)
    monkeypatch.setattr("wsredis.cli.serve.refuse_busy", lambda host, port: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["serve", f"{PLAIN}:application", "--host", "::1", "--port", "8000"]) == 0
    assert capsys.readouterr().out == "http://[::1]:8000/\n"


def test_a_taken_port_is_named(redis: str, tmp_path: Path) -> None:
    (tmp_path / "site_of_carol.py").write_text(
        "from wsredis import WebSocketMiddleware\napp = WebSocketMiddleware(None)\n"
    )
    with EmbeddedRedis() as other:
        for command in (["demo"], ["serve", "site_of_carol:app"]):
            place = ["--port", str(other.port)]
            code, _, err = run(*command, *place, PYTHONPATH=str(tmp_path))
            assert code == 2
            assert "choose another" in err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_runs_and_leaves_no_process_behind(sign: signal.Signals) -> None:
    port = free_port()
    with start("demo", "--port", str(port), WSREDIS_TEST_DEMO=str(port)) as demo:
        assert demo.stdout is not None
        lines = [demo.stdout.readline()]
        assert f"http://127.0.0.1:{port}/" in lines[0]
        while "Ctrl-C" not in lines[-1]:
            lines.append(demo.stdout.readline())
        redis = re.search(r"--redis (redis://\S+)", "".join(lines))
        assert redis is not None
        with connect(
            f"ws://127.0.0.1:{port}/ws/chat?subscribe-broadcast", open_timeout=30
        ) as client:
            assert client.recv(timeout=30) == '{"here": 1}'
            run("publish", "chat", "hello", "--broadcast", "--redis", redis[1])
            assert client.recv(timeout=30) == "hello"
            os.killpg(demo.pid, sign)  # a terminal tells the whole group
            with pytest.raises(Exception, match="1012"):
                list(iter(lambda: client.recv(timeout=30), None))
        demo.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while left := with_variable("WSREDIS_TEST_DEMO", str(port)):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True)
    pairs = (map(int, line.split()) for line in listed.stdout.splitlines())
    return [child for child, parent in pairs if parent == pid]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(find_spec("pyuwsgi") is None, reason="uWSGI is not the wheel")
def test_the_server_of_the_demo_reloads_on_sighup() -> None:
    port = free_port()
    with start("demo", "--port", str(port)) as demo:
        assert demo.stdout is not None
        while "Ctrl-C" not in demo.stdout.readline():
            assert demo.poll() is None
        (master,) = (pid for pid in children(demo.pid) if b"--master" in command_of(pid))
        url = f"ws://127.0.0.1:{port}/ws/chat?subscribe-broadcast"
        with connect(url, open_timeout=30) as client:
            os.kill(master, signal.SIGHUP)
            with pytest.raises(Exception, match="1012"):
                list(iter(lambda: client.recv(timeout=30), None))
        deadline = time.monotonic() + 30
        while True:  # until the new worker accepts
            assert demo.poll() is None, "the demo has ended"
            assert time.monotonic() < deadline
            with suppress(OSError, InvalidHandshake), connect(url, open_timeout=30) as client:
                assert client.recv(timeout=30)
                break
            time.sleep(0.05)
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=30)
        assert demo.returncode == 0


def test_a_demo_that_ignores_sighup_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `nohup wsredis demo` does."""
    signals: dict[int, object] = {signal.SIGHUP: signal.SIG_IGN}
    monkeypatch.setattr("signal.getsignal", signals.get)
    monkeypatch.setattr("signal.signal", signals.__setitem__)
    monkeypatch.setattr("wsredis.cli.demo.EmbeddedRedis", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["demo", "--port", str(free_port())])
    assert signals[signal.SIGHUP] is signal.SIG_IGN
    assert callable(signals[signal.SIGTERM])
