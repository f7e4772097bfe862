"""Which failures of npm skip a test, and which are failures of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from . import conftest

FAILED, SKIPPED = pytest.fail.Exception, pytest.skip.Exception


@pytest.fixture(params=["exit", "timeout"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let npm exit with 1, or not end."""

    def run(*args: Any, timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
        if request.param == "timeout":
            raise subprocess.TimeoutExpired(args, timeout)
        return subprocess.CompletedProcess(args, 1, "", "no such file")

    monkeypatch.setattr(conftest.shutil, "which", lambda name: name)
    monkeypatch.setattr(conftest.subprocess, "run", run)


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("ci", "registry", "outcome"),
    [
        (False, False, FAILED),
        (False, True, SKIPPED),
        (True, False, FAILED),
        (True, True, FAILED),
    ],
)
def test_only_a_failure_of_the_registry_skips(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: bool, registry: bool, outcome: Any
) -> None:
    monkeypatch.setattr(conftest, "CI", ci)
    with pytest.raises(outcome, match="npm pack"):
        conftest.npm("pack", folder=tmp_path, registry=registry)


@pytest.mark.parametrize(("ci", "outcome"), [(False, SKIPPED), (True, FAILED)])
def test_a_missing_npm_skips(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ci: bool, outcome: Any
) -> None:
    monkeypatch.setattr(conftest, "CI", ci)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(outcome, match="npm is not installed"):
        conftest.npm("pack", folder=tmp_path)
