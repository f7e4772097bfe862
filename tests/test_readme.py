"""The README is correct: its Python runs, and its table of options is complete."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import redis

from wsredis import Config
from wsredis.embedded import EmbeddedRedis, free_port

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

SITE = """
def application(environ, start_response):
    start_response("200 OK", [])
    return []
app = application
def load_session(key):
    return None
"""

SETTINGS = """
SECRET_KEY = "a key that only the test knows"
INSTALLED_APPS = ["wsredis.adapters.django"]
"""


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) == 7


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_runs(snippet: str, tmp_path: Path) -> None:
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite/__init__.py").write_text(SITE)
    (tmp_path / "mysite/settings.py").write_text(SETTINGS)
    (tmp_path / "snippet.py").write_text("from mysite import *\n" + snippet)
    with EmbeddedRedis() as redis:
        subprocess.run(
            [sys.executable, "snippet.py"],
            cwd=tmp_path,
            env={"WSREDIS_REDIS": redis.url, "PATH": ""},
            check=True,
            timeout=60,
        )


def test_the_command_of_the_table_of_redis_servers_starts_one() -> None:
    assert "`python -m wsredis.embedded`" in README
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "wsredis.embedded", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = f"redis://127.0.0.1:{port}/0"
            assert process.stdout.readline() == f"Redis is at {url}. Press Ctrl-C to stop it.\n"
            with redis.Redis.from_url(url) as client:
                assert client.ping()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            assert (process.returncode, errors) == (0, "")
        finally:
            process.kill()


def test_the_table_of_options_is_the_real_one() -> None:
    table = README.partition("## Options")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    assert list(rows) == [field.name for field in fields(Config)]
    for field in fields(Config):
        if field.name not in ("max_connections", "subprotocols", "trusted_proxies"):
            assert rows[field.name].strip("`") == shown(field.default), field.name


def shown(default: object) -> str:
    """Return a default as the table writes it."""
    if isinstance(default, bool) or default is None:
        return {True: "true", False: "false", None: "none"}[default]
    if isinstance(default, int) and default >= 2**20:
        return f"{default >> 20} MiB"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_the_commands_of_the_readme_exist() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    (?:PORT=\d+ )?make ([\w-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
