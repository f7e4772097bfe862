"""The requirements of the demo; `test_main` and the browser tests run the whole demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import wsredis.cli.demo
from wsredis.cli.main import main
from wsredis.embedded import free_port

from ..processes import kill_group


@pytest.mark.parametrize(
    ("framework", "missing", "says"),
    [
        ("django", ["django"], "django is not installed: pip install 'wsredis[django]'"),
        ("channels", ["channels"], "channels is not installed: pip install 'channels'"),
        ("channels", ["msgpack"], "msgpack is not installed: pip install 'wsredis[layers]'"),
        ("flask", ["flask"], "flask is not installed: pip install 'wsredis[flask]'"),
        ("flask", ["flask_login"], "flask_login is not installed: pip install 'Flask-Login'"),
        (
            "flask",
            ["flask", "flask_login"],
            "flask and flask_login are not installed: pip install 'wsredis[flask]' 'Flask-Login'",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_install(
    framework: str,
    missing: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def find(name: str) -> Any:
        return None if name in missing else find_spec(name)

    monkeypatch.setattr(wsredis.cli.demo, "find_spec", find)
    assert main(["demo", f"--{framework}", "--port", str(free_port())]) == 2
    assert capsys.readouterr().err == f"wsredis: {says}\n"


def test_one_framework_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["demo", "--django", "--flask"])
    assert refused.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_what_cannot_be_prepared_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DJANGO_SETTINGS_MODULE", "DJANGO_CHAT_DB", "WSREDIS_REDIS", "WSREDIS_DEMO_HINT"):
        monkeypatch.setenv(name, "")  # for the sake of the end, when they are set back
    (tmp_path / "db.sqlite3").mkdir()  # which is no place for a database
    with pytest.raises(ValueError, match=r"manage.py migrate failed"):
        wsredis.cli.demo._fill_django(str(tmp_path))


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Callable[..., tuple[int, str]]]:
    """Give a function that runs the demo where there is neither uWSGI nor, if so requested, Redis.

    It ends with a Ctrl-C once it says how to, and all that it has said is returned.
    """
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    (tmp_path / "nothing").mkdir()
    for name in ("lib", "pyvenv.cfg"):
        (tmp_path / name).symlink_to(Path(sys.prefix) / name)
    made: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        command = [str(tmp_path / "bin" / "python3"), "-P", "-m", "wsredis.cli", "demo"]
        demo = subprocess.Popen(
            [*command, "--port", str(free_port()), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": str(tmp_path / "nothing"), **environment},
            start_new_session=True,
        )
        made.append(demo)
        assert demo.stdout is not None
        said = []
        for line in demo.stdout:
            said.append(line)
            if line.startswith("Press Ctrl-C"):
                os.killpg(demo.pid, signal.SIGINT)
        return demo.wait(), "".join(said)

    yield run
    for demo in made:
        kill_group(demo)
        demo.communicate()


def test_without_uwsgi_gevent_serves(bare: Callable[..., tuple[int, str]]) -> None:
    code, said = bare()
    assert code == 0
    assert "uWSGI is not installed (pip install wsredis[uwsgi]); using gevent.pywsgi." in said
    assert "Publish from a second terminal" in said


def test_without_redis_messages_stay_inside(bare: Callable[..., tuple[int, str]]) -> None:
    code, said = bare(REDIS_SERVER="/no/such/redis")
    assert code == 0
    assert "; messages stay inside this process" in said
    assert "Publish" not in said


def test_in_django_one_learns_who_may_log_in(bare: Callable[..., tuple[int, str]]) -> None:
    path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
    code, said = bare("--django", PATH=path)
    assert code == 0
    assert 'Log in as admin, john or mary with the password "secret".' in said


@pytest.mark.parametrize(
    ("name", "people"), [("channels", True), ("consumers", True), ("flask-rooms", False)]
)
def test_a_demo_of_consumers_shows_no_command_that_its_pages_would_not_get(
    bare: Callable[..., tuple[int, str]], name: str, people: bool
) -> None:
    path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
    code, said = bare(f"--{name}", PATH=path)
    assert code == 0
    assert ('Log in as alice or bob with the password "secret".' in said) == people
    assert "Publish" not in said


def test_a_server_that_does_not_start_is_quoted(bare: Callable[..., tuple[int, str]]) -> None:
    code, said = bare(WSREDIS_MAX_CONNECTIONS="many")
    assert code == 1
    assert "WSREDIS_MAX_CONNECTIONS='many' is not valid" in said


@pytest.mark.parametrize("first", [b"#!/usr/bin/python", b"\x7fELF"])
def test_only_the_wheel_of_uwsgi_needs_the_path_of_python(
    first: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "uwsgi").write_bytes(first)
    monkeypatch.setattr("shutil.which", lambda name, path: str(tmp_path / name))
    monkeypatch.setattr("subprocess.Popen", lambda command, **options: command)
    command: Any = wsredis.cli.demo._server(8000, "", None, wsredis.cli.demo._CHATS[None])
    assert (f"--binary-path {sys.executable}" in " ".join(command)) == (first[:2] == b"#!")


STUBBORN = """
import signal, sys, time

left = int(sys.argv[1])

def missed(signum, frame):
    global left
    left -= 1
    if not left:
        sys.exit(3)

signal.signal(signal.SIGTERM, missed)
print("ready", flush=True)
while True:
    time.sleep(10)
"""


@pytest.mark.parametrize(("signals", "code"), [(2, 3), (9, -signal.SIGKILL)])
def test_a_server_that_has_missed_the_signal_is_asked_again_and_then_killed(
    monkeypatch: pytest.MonkeyPatch, signals: int, code: int
) -> None:
    monkeypatch.setattr(wsredis.cli.demo, "STOP_SECONDS", 3)
    command = [sys.executable, "-c", STUBBORN, str(signals)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        wsredis.cli.demo._stop(server)
        assert server.wait(30) == code
