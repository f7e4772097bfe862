"""The package in Node, with the WebSocket class of the package ws, and what the docs say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from ..gate import Gate
from .conftest import Node
from .test_package import DOCS, PACKAGE

pytestmark = pytest.mark.xdist_group("npm")


@pytest.mark.parametrize("gate", ["threads"], indirect=True)
def test_the_class_of_ws_can_be_used(gate: Callable[..., Gate], node: Node) -> None:
    site = gate(allowed_channels=lambda request, requested: requested)
    keys = "subscribe-broadcast&publish-broadcast&echo"
    said = node("websocket_class.mjs", f"ws://127.0.0.1:{site.port}/ws/news?{keys}")
    assert json.loads(said) == [{"id": 7}, "closed", True]


def test_no_version_of_node_is_claimed_that_no_test_runs_in(node: Node) -> None:
    tested = int(node("--print", "process.versions.node").split(".")[0])
    (claimed,) = re.findall(r"\bNode (\d+)", DOCS.read_text(encoding="utf-8"))
    assert int(claimed) <= tested
    # Package managers would refuse the package where only a bundler reads it.
    assert "engines" not in PACKAGE
