"""The commands, files and servers that CONTRIBUTING.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

from .servers.support import SETUPS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert "docs/architecture.md" in links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_files_in_commands_exist() -> None:
    files = re.findall(r"(?<![\w/])(?:benchmarks|scripts|tests|wsredis)/[\w./]*\w", TEXT)
    assert {"scripts/test", "tests/hub/test_limits.py"} <= set(files)
    for file in files:
        assert (ROOT / file).exists(), file


def test_a_single_test_that_is_named_exists() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", TEXT)
    assert named
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^    |`)make ([\w-]+)", TEXT, re.MULTILINE))
    assert {"demo", "test", "test-all", "release"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_server_is_named() -> None:
    paragraph = TEXT.partition("Other servers are ")[2].partition(".")[0]
    assert {*re.findall(r"`([\w-]+)`", paragraph), "uwsgi-gevent"} == set(SETUPS)
