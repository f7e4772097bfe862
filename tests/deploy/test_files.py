"""The files that no test starts, parsed as systemd and Docker do, and rules for all files."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from wsredis import Config

from .support import DEPLOY, RECIPES, commands

UNITS = sorted((DEPLOY / "systemd").iterdir())
DOCKER = DEPLOY / "docker"
CONFIGURATIONS = sorted(path for path in DEPLOY.rglob("*.*") if path.suffix in (".conf", ".ini"))

# What a Dockerfile may say: https://docs.docker.com/reference/dockerfile/
INSTRUCTIONS = {"CMD", "COPY", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR"}

TIMEOUT = re.compile(
    r"^[^;#\n]*(?:(?:proxy|uwsgi)_read_timeout |http-timeout = |\btimeout=)(\d+)", re.MULTILINE
)


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_every_file_is_started_by_a_test_or_read_by_one() -> None:
    started = {
        DEPLOY / recipe.folder / name
        for recipe in RECIPES.values()
        for name in (*recipe.ours, recipe.front)
        if name
    }
    site = set((DEPLOY / "mysite").glob("*.py"))
    read = {*UNITS, DOCKER / "Dockerfile", DOCKER / "compose.yaml", DOCKER / ".dockerignore"}
    there = {
        path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert there == started | site | read


def test_no_proxy_gives_up_before_a_ping() -> None:
    found = [
        int(seconds)
        for path in CONFIGURATIONS
        for seconds in TIMEOUT.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(found) == 7
    assert min(found) >= 2 * Config().ping_interval


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.rglob("*.ini")), ids=lambda path: "/".join(path.parts[-2:])
)
def test_uwsgi_patches_early_and_has_no_reason_to_warn(path: Path) -> None:
    words = {line.partition("=")[0].strip() for line in path.read_text("utf-8").splitlines()}
    assert "gevent-monkey-patch" not in words  # takes effect after the site is loaded
    assert ("gevent" in words) == ("gevent-early-monkey-patch" in words)
    assert ("harakiri" in words) <= ("post-buffering" in words)  # else uWSGI warns at start


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_what_is_tested(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read_string(text)
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    file, instance = (
        ("nginx-gunicorn/gunicorn.conf.py", "1")
        if "gunicorn" in path.name
        else ("nginx-uwsgi/websockets.ini", "websockets")
    )
    start, *_ = commands((DEPLOY / file).read_text(encoding="utf-8"), "start")
    variables = re.findall(r"\w+=\S+", start)
    for variable in variables:
        assert f"\nEnvironment={variable}\n" in text.replace("%i", instance)
    command = unit["Service"]["ExecStart"].replace("%i", instance)
    assert start == " ".join([*variables, command])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_a_unit(path: Path, tmp_path: Path) -> None:
    unit = tmp_path / path.name.replace("@", "@one")

    def complaints(text: str) -> list[str]:
        unit.write_text(text)
        command = ["systemd-analyze", "verify", "--man=no", unit]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        return [line for line in told.stderr.splitlines() if unit.name in line]

    # There has to be such a program.
    text = path.read_text(encoding="utf-8").replace("/srv/mysite/venv", sys.prefix)
    if not complaints(text.replace("KillMode=mixed", "KillMode=kindly")):
        pytest.skip("systemd-analyze does not work here")
    assert complaints(text) == []


def test_the_image_starts_what_is_tested() -> None:
    lines = dockerfile()
    assert {word for word, _ in lines} <= INSTRUCTIONS
    assert lines[0][0] == "FROM"
    last, command = lines[-1]
    assert last == "CMD"
    (start,) = commands((DOCKER / "uwsgi.ini").read_text(encoding="utf-8"), "start")
    assert yaml.safe_load(command) == shlex.split(start)
    run = " ".join(rest for word, rest in lines if word == "RUN")
    assert dict(lines)["WORKDIR"] == "/srv/mysite"
    assert "python -m venv venv" in run
    assert dict(lines)["USER"] not in ("root", "0")


def test_compose_joins_the_image_and_a_redis() -> None:
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    site, redis = (compose["services"][name] for name in ("site", "redis"))
    Config(redis=site["environment"]["WSREDIS_REDIS"])
    assert site["environment"]["WSREDIS_REDIS"].startswith("redis://redis:")
    assert site["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert redis["healthcheck"]["test"][:2] == ["CMD", "valkey-cli"]
    (ports,) = site["ports"]
    (exposed,) = (rest for word, rest in dockerfile() if word == "EXPOSE")
    assert ports.rpartition(":")[2] == exposed
    assert f"http-socket = :{exposed}\n" in (DOCKER / "uwsgi.ini").read_text(encoding="utf-8")
    # More than the uWSGI inside takes for its farewell.
    (mercy,) = re.findall(r"worker-reload-mercy = (\d+)", (DOCKER / "uwsgi.ini").read_text())
    assert int(site["stop_grace_period"].removesuffix("s")) > int(mercy)


def test_the_page_has_a_line_for_each_deployment_with_its_reload() -> None:
    page = (DEPLOY.parents[1] / "docs" / "deploying.md").read_text(encoding="utf-8")
    table = page.partition("## Setups")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", table, re.MULTILINE))
    assert set(rows) == {recipe.folder for recipe in RECIPES.values()}
    for recipe in RECIPES.values():
        for name in recipe.ours:
            if name == "web.ini":  # it holds no websockets
                continue
            text = (DEPLOY / recipe.folder / name).read_text(encoding="utf-8")
            for reload in commands(text, "reload"):
                assert f"`{reload.partition(' $(')[0]}`" in rows[recipe.folder]
