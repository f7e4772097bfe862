"""Pages that bundlers have built with the package, run in Node and in Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..gate import Gate
from .conftest import Node

pytestmark = pytest.mark.xdist_group("npm")

TOOLS = ("esbuild", "rollup", "vite", "webpack")
MESSAGE = {"id": 7}
CODE = "maxQueue"
"""A word of the client that no other code has."""


@pytest.fixture(scope="session", params=TOOLS)
def built(
    request: pytest.FixtureRequest, node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Build all pages with one tool, with tree shaking ("shaken") and without it ("whole")."""
    folder = tmp_path_factory.mktemp(request.param)
    node("build.mjs", request.param, folder)
    return folder


@pytest.fixture
def site(gate: Callable[..., Gate]) -> Gate:
    """Serve a message that every client gets at once."""
    site = gate()
    site.publisher().publish(MESSAGE, expire=600)
    return site


def bundles(built: Path) -> list[Path]:
    found = sorted(path for path in built.rglob("*.js") if path.stem != "unused")
    pages = 2 if built.name.startswith("rollup") else 3
    assert len(found) == 2 * pages
    return found


@pytest.mark.parametrize("gate", ["threads"], indirect=True)
def test_a_bundle_works_in_node(built: Path, site: Gate, node: Node) -> None:
    files = bundles(built)
    uri = f"ws://127.0.0.1:{site.port}/ws/news?subscribe-broadcast"
    said: dict[str, Any] = json.loads(node("run.mjs", uri, *files))
    assert said == {str(file): [MESSAGE, "closed", True] for file in files}


@pytest.mark.browser
@pytest.mark.parametrize("gate", ["threads"], indirect=True)
def test_a_bundle_works_in_chromium(built: Path, site: Gate, chromium: Any) -> None:
    for file in bundles(built):
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{site.port}/")
        page.add_script_tag(path=file, type="module")
        page.wait_for_function("typeof globalThis.run === 'function'")
        said = page.evaluate('globalThis.run("/ws/news?subscribe-broadcast")')
        assert said == [MESSAGE, "closed", True], file
        page.close()


def test_tree_shaking_leaves_out_what_is_not_used(built: Path) -> None:
    shaken = (built / "shaken" / "unused.js").read_text(encoding="utf-8")
    assert CODE not in shaken
    assert CODE in (built / "shaken" / "used.js").read_text(encoding="utf-8")
    assert CODE in (built / "shaken" / "script.js").read_text(encoding="utf-8")
    assert '"unused"' in shaken
