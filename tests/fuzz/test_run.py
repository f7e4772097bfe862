"""`make fuzz`: its workers, its report and its stored inputs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

WAYS = ["drawn", *["guided"] * bool(find_spec("atheris"))]

BREAKABLE = '''
from hypothesis import strategies as st


def check(data):
    """Hold that no input has an x."""
    assert b"x" not in data


INPUTS = st.text("wxyz", max_size=9).map(str.encode)
'''

STOPPING = '''
import os
import signal

from hypothesis import strategies as st


def check(data):
    """Hold nothing, and be stopped from outside."""
    os.kill(os.getpid(), signal.SIGTERM)


INPUTS = st.binary()
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy what is run, so that nothing is written into the tree, and add a target that breaks."""
    here = tmp_path / "tests" / "fuzz"
    shutil.copytree(HERE, here, ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    (here / "targets" / "breakable.py").write_text(BREAKABLE)
    return here


def fuzz(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(folder / "run.py"), "--jobs", "1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder.parent.parent,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_inputs_are_counted(folder: Path, way: str) -> None:
    code, said = fuzz(folder, "--seconds", "0", "--inputs", "50", "--way", way, "message")
    assert code == 0, said
    first, total = said.splitlines()
    name, ran, count, _, verdict = first.split()
    assert (name, ran, verdict) == ("message", way, "holds")
    assert total == f"{count} inputs"
    assert int(count) >= 50 or way == "drawn"  # that way counts different ones only
    assert int(count) > 0


@pytest.mark.parametrize("way", WAYS)
def test_what_breaks_an_invariant_is_kept_and_shown(folder: Path, way: str) -> None:
    code, said = fuzz(folder, "--seconds", "0", "--inputs", "200000", "--way", way, "breakable")
    assert code == 1, said
    assert "BROKEN" in said
    assert "AssertionError" in said
    (found,) = (folder / "corpus" / "breakable").iterdir()
    assert b"x" in found.read_bytes()
    assert found.name in said


@pytest.mark.parametrize("way", WAYS)
def test_who_is_stopped_has_found_nothing_and_is_not_done(folder: Path, way: str) -> None:
    (folder / "targets" / "stopping.py").write_text(STOPPING)
    code, said = fuzz(folder, "--seconds", "0", "--inputs", "200000", "--way", way, "stopping")
    assert code == 1, said
    assert "stopped" in said
    assert "BROKEN" not in said
    assert not list((folder / "corpus").glob("stopping/*"))


def test_an_unknown_target_is_refused(folder: Path) -> None:
    code, said = fuzz(folder, "teapots")
    assert code == 2
    assert "unknown target teapots" in said


def test_what_has_no_end_is_refused(folder: Path) -> None:
    code, said = fuzz(folder, "--seconds", "0")
    assert code == 2
    assert "no limit: write --seconds or --inputs above 0" in said
