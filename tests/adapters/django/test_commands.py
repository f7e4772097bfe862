"""The commands of manage.py, some of them run as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from wsredis import Publisher

from ...processes import start_talking

MANAGE = str(Path(__file__).parent / "project" / "manage.py")
NOWHERE = "redis://127.0.0.1:1"


def manage(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    return start_talking([sys.executable, MANAGE, *arguments], **environ)


def test_what_one_process_publishes_another_hears(redis_url: str, room: str) -> None:
    who = ["--broadcast", "--user", "alice"]
    with manage("wsredis_listen", room, *who, "--count", "2", WSREDIS_REDIS=redis_url) as ear:
        assert ear.stderr is not None
        assert ear.stderr.readline() == f"listening to ws:broadcast:{room} ws:user:alice:{room}\n"
        call_command("wsredis_publish", room, "one", "--broadcast", stdout=StringIO())
        with manage(
            "wsredis_publish", room, "-", "--user", "alice", WSREDIS_REDIS=redis_url
        ) as mouth:
            out, err = mouth.communicate("two", timeout=30)
        assert (mouth.returncode, out, err) == (0, "1\n", "")
        out, _ = ear.communicate(timeout=30)
    assert out == f"ws:broadcast:{room}\tone\nws:user:alice:{room}\ttwo\n"
    assert ear.returncode == 0


def test_ctrl_c_ends_listening_quietly(redis_url: str, room: str) -> None:
    with manage("wsredis_listen", room, "--broadcast", WSREDIS_REDIS=redis_url) as ear:
        assert ear.stderr is not None
        ear.stderr.readline()
        ear.send_signal(signal.SIGINT)
        out, err = ear.communicate(timeout=30)
    assert (ear.returncode, out, err) == (130, "", "")


def test_commands_use_the_setting(site: Callable[..., None], redis_url: str, room: str) -> None:
    site({"key_prefix": "other", "redis": NOWHERE})
    out = StringIO()
    command = ["wsredis_publish", room, "retained", "--group", "editors", "--expire", "60"]
    call_command(*command, "--redis", redis_url, stdout=out)
    assert out.getvalue() == "0\n"
    site({"key_prefix": "other"})
    assert Publisher(room, groups=["editors"]).fetch() == "retained"
    call_command(
        "wsredis_listen", room, "--group", "editors", "--count", "1", stdout=(heard := StringIO())
    )
    assert heard.getvalue() == f"other:group:editors:{room}\tretained\n"


def test_disconnect_uses_the_setting(site: Callable[..., None], redis_url: str, room: str) -> None:
    site({"key_prefix": room})
    out, err = StringIO(), StringIO()
    call_command("wsredis_disconnect", "--user", "alice", "--reason", "bye", stdout=out, stderr=err)
    assert out.getvalue() == "0\n"
    with redis.Redis.from_url(redis_url) as client:
        (order,) = client.lrange(f"{room}:control", 0, -1)
    order = json.loads(order)
    assert (order["user"], order["code"], order["reason"]) == ("alice", 4401, "bye")


@pytest.mark.parametrize(
    ("arguments", "options", "code", "says"),
    [
        (["wsredis_publish", "news", "x"], {}, 2, "no audience: write --broadcast"),
        (
            ["wsredis_publish", "news", "x", "--broadcast", "--expire", "-1"],
            {},
            2,
            "expire must be",
        ),
        (["wsredis_disconnect"], {}, 2, "no name: write --user NAME"),
        (
            ["wsredis_publish", "news", "x", "--broadcast"],
            {"redis": NOWHERE},
            1,
            "^Redis at 127.0.0.1:1: ",
        ),
        (
            ["wsredis_listen", "news", "--broadcast"],
            {"redis": NOWHERE},
            1,
            "^Redis at 127.0.0.1:1: ",
        ),
        (["wsredis_listen", "news", "--broadcast"], {"prefix": "ws"}, 2, "is not valid"),
    ],
)
def test_what_is_wrong_is_one_line(
    site: Callable[..., None], arguments: list[str], options: dict[str, Any], code: int, says: str
) -> None:
    site(options)
    with pytest.raises(CommandError, match=says) as wrong:
        call_command(*arguments)
    assert wrong.value.returncode == code
