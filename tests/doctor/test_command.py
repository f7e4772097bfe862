"""The subcommand as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wsredis.cli.main import main
from wsredis.embedded import EmbeddedRedis, free_port

from ..servers.support import HOST, Site

WSREDIS = str(Path(sys.executable).parent / "wsredis")


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [WSREDIS, "doctor", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.servers
def test_a_site_that_is_well(site: Site) -> None:
    code, out, err = run(f"http://{HOST}:{site.port}/ws/", "--wait", "1")
    assert code == 0
    names = [line.split()[:2] for line in out.splitlines()]
    steps = ("name", "connection", "handshake", "frames", "compression", "script", "silence")
    words = {"script": "skipped"}  # this site has no static files
    assert names == [[words.get(step, "ok"), step] for step in steps]
    assert err == "waiting for two pings from the server, 1 s at most\n"


def test_a_fault_is_one_sentence_and_lines_to_write() -> None:
    port = free_port()
    code, out, _ = run(f"ws://{HOST}:{port}/ws/")
    assert code == 1
    assert out.splitlines()[1:8] == [
        f"FAILED  connection   {HOST} port {port} refuses connections",
        "",
        f"No server listens on port {port} of {HOST}: start it, let it accept connections from this"
        " machine, or correct the port in the URL.",
        "",
        "uWSGI:",
        "",
        f"    http-socket = :{port}",
    ]


@pytest.mark.parametrize(
    ("redis", "prefix", "said"),
    [
        ("redis://127.0.0.1/2", "ws", True),
        ("redis://127.0.0.1/2", "shop", False),
        ("redis://127.0.0.1/0", "ws", False),
        (None, "ws", False),
    ],
)
def test_it_reports_that_a_database_number_does_not_separate_sites(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    redis: str | None,
    prefix: str,
    said: bool,
) -> None:
    monkeypatch.delenv("WSREDIS_REDIS", raising=False)
    if redis is not None:
        monkeypatch.setenv("WSREDIS_REDIS", redis)
    monkeypatch.setenv("WSREDIS_KEY_PREFIX", prefix)
    assert main(["doctor", f"ws://{HOST}:{free_port()}/ws/"]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("ok      Redis        Channels of Redis do not depend on") is said
    assert first.endswith("Give each site its own key_prefix (WSREDIS_KEY_PREFIX).") is said


@pytest.mark.parametrize(
    ("options", "failed", "said"),
    [
        ((), False, ": role master, mode standalone"),
        (("--replicaof", HOST, "1"), True, f" is a replica of {HOST}:1: write the address of the"),
        (("--cluster-enabled", "yes"), True, " is a node of a Redis Cluster, which wsredis does"),
    ],
    ids=["primary", "replica", "cluster"],
)
def test_it_reports_the_role_of_the_server_and_stops_if_it_is_the_wrong_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    failed: bool,
    said: str,
) -> None:
    with EmbeddedRedis(args=options) as redis:
        monkeypatch.setenv("WSREDIS_REDIS", redis.url)
        assert main(["doctor", f"ws://{HOST}:{free_port()}/ws/"]) == 1
        lines = capsys.readouterr().out.splitlines()
        start = "FAILED  Redis        " if failed else "ok      Redis        "
        assert lines[0].startswith(f"{start}Redis at {HOST}:{redis.port}{said}")
        assert any("name" in line for line in lines) is not failed
        assert ("    WSREDIS_REDIS=redis://PRIMARY:6379/0" in lines) is failed
        assert main(["doctor", f"ws://{HOST}:{free_port()}/ws/", "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert (report["diagnosis"]["fault"] == "wrong-redis") is failed


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("memory://", "ok      Redis        the memory of one process, without a server"),
        (
            "redis://{nowhere}",
            "skipped Redis        not tested, because it cannot be reached from here: Redis at"
            " {nowhere}: Error ",
        ),
    ],
)
def test_a_server_that_it_cannot_reach_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str, said: str
) -> None:
    nowhere = f"{HOST}:{free_port()}"
    monkeypatch.setenv("WSREDIS_REDIS", where.format(nowhere=nowhere))
    assert main(["doctor", f"ws://{HOST}:{free_port()}/ws/"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(said.format(nowhere=nowhere))
    assert lines[1].startswith("ok      name")


def test_programs_read_json() -> None:
    port = free_port()
    code, out, _ = run(f"ws://{HOST}:{port}/ws/", "--json", "--facility", "news")
    assert code == 1
    report = json.loads(out)
    assert list(report) == ["url", "ok", "steps", "diagnosis"]
    assert report["url"] == f"ws://{HOST}:{port}/ws/news?subscribe-broadcast"
    assert report["ok"] is False
    assert [step["ok"] for step in report["steps"]] == [True, False]
    assert report["diagnosis"]["fault"] == "refused"
    assert report["diagnosis"]["remedies"][0]["lines"] == [f"http-socket = :{port}"]


def test_the_command_knows_it() -> None:
    code, out, err = run("ws://alice:secret@example.com")
    assert (code, out) == (2, "")
    assert err == (
        "wsredis: the address must not contain a user or password: write --header"
        " 'Authorization: ...'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "URL"),
        (("ws://x", "--origin", "example.com"), "write one like https://example.com, without"),
        (("ws://x", "--origin", "null"), "'null' is not an origin: write one like https://"),
        (("ws://x", "--wait", "-1"), "'-1' is not valid: write seconds from 0 to 86400"),
        (("ws://x", "--wait", "nan"), "'nan' is not valid: write seconds from 0 to 86400"),
        (("ws://x", "--timeout", "0"), "'0' is not valid: write seconds above 0, at most 86400"),
        (("ws://x", "--timeout", "-1"), "'-1' is not valid: write seconds above 0, at most 86400"),
        (("ws://x", "--timeout", "soon"), "write seconds above 0, at most 86400"),
        (("ws://x", "--header", "hush"), "not a header: write 'Name: value', in printable ASCII"),
        (("ws://x", "--header", "Origin: https://example.com"), "use --origin to set Origin"),
        (("ws://x", "--cookie", "a=b\r\nX: y"), "not a cookie: write NAME=VALUE, in printable"),
        (("ws://x", "--cookie", "hush"), "not a cookie: write NAME=VALUE, in printable ASCII"),
        (("ws://x", "--cookie", "=hush"), "not a cookie: write NAME=VALUE, in printable ASCII"),
    ],
)
def test_wrong_arguments_get_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert says in err
    assert "hush" not in err


@pytest.mark.parametrize(
    "url", ["x", "ws://h:99999", "ws://h:abc", "ws://a b/", "ws://", "ftp://h", "ws://[::1"]
)
def test_what_is_not_an_address_is_told_what_one_is(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", url]) == 2
    assert capsys.readouterr().err == (
        f"wsredis: {url!r} is not the address of a websocket: write one like"
        " wss://example.com/ws/ or ws://localhost:8000/ws/, with a port from 1 to 65535\n"
    )


def test_a_password_in_the_address_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("ftp://alice:hush@h", "ws://alice:hush@h:99999", "//alice:hush@h", "a:hush@h"):
        assert main(["doctor", url]) == 2
        err = capsys.readouterr().err
        assert "must not contain a user or password" in err
        assert "hush" not in err
    assert main(["doctor", "ws://alice:hush/x@h"]) == 2
    assert capsys.readouterr().err.startswith("wsredis: this is not the address of a websocket")
