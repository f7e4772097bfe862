"""``flask wsredis``, run as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from flask import Flask

from wsredis import Config
from wsredis.adapters.flask import Publisher

from ...processes import start_talking

PROJECT = str(Path(__file__).parent / "project")
NOWHERE = "redis://127.0.0.1:1"
BROADCAST = ["news", "--broadcast"]


def command(*words: str, **environ: str) -> subprocess.Popen[str]:
    """Start ``flask wsredis`` with the site under test."""
    return start_talking(
        [sys.executable, "-P", "-m", "flask", "--app", "flasksite", "wsredis", *words],
        folder=PROJECT,  # Flask imports from where it is, and that is not what is tested
        **{"PYTHONPATH": PROJECT, **environ},
    )


def run(*words: str, text: str = "", **environ: str) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    with command(*words, **environ) as process:
        out, err = process.communicate(text, timeout=60)
        return process.returncode, out, err


def test_what_one_process_publishes_another_hears(
    config: Config, make: Callable[..., Flask], room: str
) -> None:
    place = {"FLASK_WSREDIS_REDIS": str(config.redis), "FLASK_WSREDIS_KEY_PREFIX": "other"}
    with command("listen", room, "--broadcast", "--user", "alice", "--count", "3", **place) as ear:
        assert ear.stderr is not None
        channels = f"other:broadcast:{room} other:user:alice:{room}"
        assert ear.stderr.readline() == f"listening to {channels}\n"
        assert run("publish", "--broadcast", room, "one", **place) == (0, "1\n", "")
        assert run("publish", room, "-", "--user=alice", text="two", **place) == (0, "1\n", "")
        with make(WSREDIS_KEY_PREFIX="other").app_context():
            Publisher(room, broadcast=True).publish("three")
        out, _ = ear.communicate(timeout=60)
    assert ear.returncode == 0
    assert out.splitlines() == [
        f"other:broadcast:{room}\tone",
        f"other:user:alice:{room}\ttwo",
        f"other:broadcast:{room}\tthree",
    ]


def test_disconnect_uses_the_options_of_the_application(
    config: Config, room: str, redis_client: redis.Redis
) -> None:
    place = {"FLASK_WSREDIS_REDIS": str(config.redis), "FLASK_WSREDIS_KEY_PREFIX": room}
    code, out, err = run("disconnect", "--group", "editors", "--code", "1012", **place)
    assert (code, out) == (0, "0\n")
    assert err.startswith("No process was told: ")
    (order,) = redis_client.lrange(f"{room}:control", 0, -1)
    assert (json.loads(order)["group"], json.loads(order)["code"]) == ("editors", 1012)


def test_ctrl_c_ends_listening_quietly(config: Config) -> None:
    with command("listen", *BROADCAST, "--redis", str(config.redis)) as ear:
        assert ear.stderr is not None
        ear.stderr.readline()
        ear.send_signal(signal.SIGINT)
        out, err = ear.communicate(timeout=60)
    assert (ear.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["publish", "news", "x"], 2, "no audience: write --broadcast"),
        (["publish", *BROADCAST, "x", "--expire", "-1"], 2, "expire must be whole"),
        (["publish", *BROADCAST], 2, "required: MESSAGE"),
        (["publish", *BROADCAST, "x", "--redis", NOWHERE], 1, ": Redis at 127.0.0.1:1: Error"),
        (["listen", *BROADCAST, "--redis", NOWHERE], 1, ": Redis at 127.0.0.1:1: Error"),
        (["listen", *BROADCAST, "--redis", "http://x"], 2, "is not valid"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(words: list[str], code: int, says: str) -> None:
    got, out, err = run(*words)
    assert (got, out) == (code, "")
    assert says in err
    assert "Traceback" not in err


def test_help_teaches_each_command() -> None:
    assert "publish" in run("--help")[1]
    for name in ("publish", "listen"):
        code, out, _ = run(name, "--help")
        assert code == 0
        assert f"usage: flask wsredis {name}" in out
        assert "--broadcast" in out
