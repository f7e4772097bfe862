"""The npm package, packed and installed, and the packages from the registry that use it.

Without npm or the registry these tests are skipped, with CI=true they fail. If npm fails at
anything else, they fail. The packages are
installed once into the folder of the environment. The programs run in Playwright's Node.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import playwright
import pytest

from ..browser.conftest import chromium

__all__ = ["chromium"]

HERE = Path(__file__).parent
CLIENT = HERE.parent.parent / "wsredis" / "static" / "wsredis"
NODE = Path(playwright.__file__).parent / "driver" / "node"
CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
QUIET = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")

Node = Callable[..., Any]


def npm(*words: str | Path, folder: Path, registry: bool = False) -> str:
    """Run npm in a folder and return its output.

    Args:
        words: its arguments.
        folder: its working directory.
        registry: whether it needs the registry, without which the test is given up.
    """
    if (program := shutil.which("npm")) is None:
        give_up("npm is not installed")
    fail = give_up if registry else pytest.fail
    try:
        done = subprocess.run(
            [program, *words], cwd=folder, capture_output=True, text=True, timeout=280, check=False
        )
    except subprocess.TimeoutExpired:
        fail(f"npm {words[0]} has not ended after 280 seconds")
    if done.returncode:
        fail(f"npm {words[0]} failed: {done.stderr[-2000:]}")
    return done.stdout


def give_up(reason: str) -> NoReturn:
    """Skip the test; with CI=true, fail."""
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def packages() -> Path:
    """Install the packages of package.json once; return their folder."""
    text = (HERE / "package.json").read_bytes()
    folder = Path(sys.prefix, "npm", hashlib.sha256(text).hexdigest()[:16])
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_bytes(text)
        npm("install", *QUIET, folder=folder, registry=True)
        (folder / "complete").touch()
    return folder / "node_modules"


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive that `npm pack` makes."""
    folder = tmp_path_factory.mktemp("packed")
    (report,) = json.loads(npm("pack", CLIENT, "--json", "--ignore-scripts", folder=folder))
    return folder / str(report["filename"])


@pytest.fixture(scope="session")
def app(packages: Path, packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the folder `app` in which the packed file is installed."""
    top = tmp_path_factory.mktemp("npm")
    (top / "node_modules").symlink_to(packages)
    app = top / "app"
    shutil.copytree(HERE / "app", app)
    (app / "package.json").write_text('{"private": true}')
    npm("install", *QUIET, "--offline", packed, folder=app)
    return app


@pytest.fixture(scope="session")
def node(app: Path) -> Node:
    """Return a function that runs a program in the folder `app` and returns its output."""

    def run(*words: object) -> str:
        done = subprocess.run(
            [NODE, *map(str, words)],
            cwd=app,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
