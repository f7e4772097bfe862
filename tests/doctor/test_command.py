"""The subcommand as its users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wsredis.cli.main import main
from wsredis.embedded import free_port

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
    steps = ("name", "connection", "handshake", "frames", "compression", "silence")
    assert names == [["ok", step] for step in steps]
    assert err == "waiting for two pings from the server, 1 s at most\n"


def test_a_fault_is_one_sentence_and_lines_to_write() -> None:
    port = free_port()
    code, out, _ = run(f"ws://{HOST}:{port}/ws/")
    assert code == 1
    assert out.splitlines()[1:8] == [
        f"FAILED  connection   {HOST} port {port} refuses connections",
        "",
        f"No server listens on port {port} of {HOST}.",
        "",
        "nginx, in `server`:",
        "",
        f"    listen {port};",
    ]


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
    assert report["diagnosis"]["remedies"][0]["lines"] == [f"listen {port};"]


def test_the_command_knows_it() -> None:
    code, out, err = run("ws://alice:secret@example.com")
    assert (code, out) == (2, "")
    assert err == "wsredis: the address must not contain a user or password: use --header\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "URL"),
        (("ws://x", "--origin", "example.com"), "write https://example.com"),
        (("ws://x", "--wait", "-1"), "write seconds below 86400"),
        (("ws://x", "--timeout", "soon"), "write seconds below 86400"),
        (("ws://x", "--header", "nonsense"), "write 'Name: value'"),
        (("ws://x", "--header", "Origin: https://example.com"), "--origin"),
        (("ws://x", "--cookie", "a=b\r\nX: y"), "is not a header"),
    ],
)
def test_wrong_arguments_get_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
