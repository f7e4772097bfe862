"""A site for the doctor to examine, and the doctor, whose JSON is parsed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from wsredis.doctor import add_doctor_arguments, run_doctor

from ..servers.conftest import pytest_runtest_makereport, start
from ..servers.support import HOST, SETUPS, Site
from .script import Act, Script

__all__ = ["Seen", "doctor", "lively", "pytest_runtest_makereport", "running", "site", "start"]


@dataclass(frozen=True)
class Seen:
    """The output of the doctor."""

    code: int
    report: dict[str, Any]

    @property
    def fault(self) -> str | None:
        """Return the name of the diagnosis."""
        return self.report["diagnosis"] and self.report["diagnosis"]["fault"]

    @property
    def lines(self) -> str:
        """Return all that is to be written."""
        remedies = self.report["diagnosis"]["remedies"]
        return "\n".join(line for remedy in remedies for line in remedy["lines"])

    def mend(self, site: Site) -> str:
        """Return the lines of the first remedy, for this site's port."""
        lines = "\n".join(self.report["diagnosis"]["remedies"][0]["lines"])
        return lines.replace("127.0.0.1:8000", f"{HOST}:{site.port}")

    @property
    def steps(self) -> dict[str, str]:
        """Return what each step has seen."""
        return {step["name"]: step["text"] for step in self.report["steps"]}

    @property
    def skipped(self) -> set[str]:
        """Return the steps that could not be tested."""
        return {step["name"] for step in self.report["steps"] if step["ok"] is None}

    @property
    def last(self) -> tuple[str, bool]:
        """Return the name of the last step and whether it went well."""
        step = self.report["steps"][-1]
        return step["name"], step["ok"]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Callable[..., Seen]:
    """Give the sub-command; it looks at a URL, or below /ws/ at a port of this machine.

    By default it does not wait for pings, which takes long.
    """

    def look(where: int | str, *arguments: str) -> Seen:
        url = f"ws://{HOST}:{where}/ws/" if isinstance(where, int) else where
        parser = argparse.ArgumentParser()
        add_doctor_arguments(parser)
        code = run_doctor(parser.parse_args(["--wait", "0", "--json", url, *arguments]))
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] == (report["diagnosis"] is None) == (code == 0)
        assert all(step["ok"] is not False for step in report["steps"][:-1])
        return Seen(code, report)

    return look


@contextmanager
def running(site: Site) -> Iterator[Site]:
    """Run a server, whatever it says in its log."""
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="session")
def site(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give a site that is well, and pings so seldom that no test sees it."""
    folder, config = tmp_path_factory.mktemp("site"), {"ping_interval": 300}
    with running(Site(SETUPS["pywsgi"], folder, redis_url, config=config)) as site:
        yield site


@pytest.fixture(scope="session")
def lively(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give a site that is well and pings every second."""
    folder, config = tmp_path_factory.mktemp("site"), {"ping_interval": 1, "pong_timeout": 1}
    with running(Site(SETUPS["uwsgi-gevent"], folder, redis_url, config=config)) as site:
        yield site


@pytest.fixture
def play() -> Iterator[Callable[..., int]]:
    """Give a function that starts a script and returns its port."""
    made: list[Script] = []

    def start(*acts: Act) -> int:
        made.append(Script(*acts))
        return made[-1].port

    yield start
    for script in made:
        script.close()
