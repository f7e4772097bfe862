"""The tests of the browser client, run with Node, and a comparison with its types."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import playwright
import pytest

TESTS = Path(__file__).parent / "js"
STATIC = Path(__file__).parent.parent / "wsredis" / "static" / "wsredis"

LIST_MEMBERS = """
const {{ WSRedis }} = await import({url});
console.log(JSON.stringify([
  ...Object.getOwnPropertyNames(WSRedis.prototype),
  ...Object.keys(WSRedis),
  ...Object.keys(WSRedis.defaults),
]));
"""


@pytest.fixture(scope="module")
def node() -> list[str]:
    """Give the Node that Playwright brings along: no other one is needed, and it has websockets."""
    return [str(Path(playwright.__file__).parent / "driver" / "node")]


@pytest.mark.parametrize("name", sorted(path.name for path in TESTS.glob("*.test.mjs")))
def test_the_client_passes_its_tests_in_node(node: list[str], name: str) -> None:
    ran = subprocess.run(
        [*node, str(TESTS / name)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_types_name_every_public_member_option_and_event(node: list[str]) -> None:
    script = LIST_MEMBERS.format(url=json.dumps((STATIC / "wsredis.esm.js").as_uri()))
    ran = subprocess.run(
        [*node, "--input-type=module", "--eval", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    members = [
        *json.loads(ran.stdout),
        "open",
        "message",
        "close",
        "reconnecting",
        "state",
        "error",
    ]
    assert "sendJSON" in members
    types = (STATIC / "wsredis.esm.d.ts").read_text(encoding="utf-8")
    declared = set(re.findall(r"^\s*(?:static )?(?:readonly )?(\w+)\??[:(<]", types, re.MULTILINE))
    assert [name for name in members if name not in declared] == []


def test_no_file_of_the_client_or_its_page_writes_to_the_console() -> None:
    examples = Path(__file__).parent.parent / "examples"
    page, react = examples / "plain_wsgi", examples / "react_chat"
    for path in (
        *STATIC.glob("*.*js"),
        *STATIC.glob("*.js"),
        *page.glob("*.js"),
        *react.glob("*.js*"),
    ):
        assert "console." not in path.read_text(encoding="utf-8"), path
