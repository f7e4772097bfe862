"""The tests of the browser client, run with Node, and a comparison with its types."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import playwright
import pytest

TESTS = Path(__file__).parent / "js"
STATIC = Path(__file__).parent.parent / "wsredis" / "static" / "wsredis"

DOCS = Path(__file__).parent.parent / "docs" / "javascript.md"

LIST_MEMBERS = """
const {{ WSRedis }} = await import({url});
const members = [...Object.getOwnPropertyNames(WSRedis.prototype), ...Object.keys(WSRedis)];
console.log(JSON.stringify([members, WSRedis.defaults]));
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


@pytest.fixture(scope="module")
def members(node: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the public members, and the default of each option."""
    script = LIST_MEMBERS.format(url=json.dumps((STATIC / "wsredis.esm.js").as_uri()))
    ran = subprocess.run(
        [*node, "--input-type=module", "--eval", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names, defaults = json.loads(ran.stdout)
    assert "sendJSON" in names
    assert "maxQueue" in defaults
    return names, defaults


def test_the_types_name_every_public_member_option_and_event(
    members: tuple[list[str], dict[str, Any]],
) -> None:
    names, defaults = members
    events = ["open", "message", "close", "reconnecting", "state", "error"]
    types = (STATIC / "wsredis.esm.d.ts").read_text(encoding="utf-8")
    declared = set(re.findall(r"^\s*(?:static )?(?:readonly )?(\w+)\??[:(<]", types, re.MULTILINE))
    assert [name for name in (*names, *defaults, *events) if name not in declared] == []


def test_the_types_state_the_defaults(members: tuple[list[str], dict[str, Any]]) -> None:
    types = (STATIC / "wsredis.esm.d.ts").read_text(encoding="utf-8")
    _, _, options = types.partition("interface Options {")
    comments = {
        name: comment
        for comment, name in re.findall(r"/\*\*(.*?)\*/\s*(\w+)\?:", options, re.DOTALL)
    }
    defaults = members[1]
    assert set(comments) == set(defaults)
    for name, value in defaults.items():
        stated = re.findall(r"\((\d+|true|false|\"\w+\")\)", comments[name])
        assert stated == ([json.dumps(value)] if value else ["false"] if value is False else [])


def test_the_docs_state_every_option_and_its_default(
    members: tuple[list[str], dict[str, Any]],
) -> None:
    _, _, table = DOCS.read_text(encoding="utf-8").partition("| option | default | meaning |\n")
    table, _, _ = table.partition("\n\n")
    documented = {}
    for row in table.splitlines()[1:]:
        options, values = row.split(" | ")[:2]
        documented.update(zip(re.findall(r"`(\w+)`", options), values.split(", "), strict=True))

    def written(name: str, value: object) -> str:
        """Return how the table writes a default."""
        if not value and value is not False:
            return "the global one" if name == "WebSocket" else "none"
        return str(value) if type(value) is int else f"`{json.dumps(value)}`"

    assert documented == {name: written(name, value) for name, value in members[1].items()}


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
