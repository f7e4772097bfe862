"""The Autobahn cases, against an endpoint that echoes, on uWSGI without a router."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..servers.support import BIN, HOST

pytestmark = [pytest.mark.conformance, pytest.mark.servers]

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}  # not strict: a matter of timing
CLOSED = {"OK", "INFORMATIONAL"}


def run_cases(port: int, output: Path, *selection: str) -> dict[str, dict[str, Any]]:
    """Run cases and return their results by number."""
    command = [str(BIN / "kosoku"), "-p", "2", *selection, "-o", str(output), f"{HOST}:{port}"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100, check=False
    )
    index = output / "index.json"
    assert index.exists(), done.stdout.decode(errors="replace")[-4000:]
    ((_, results),) = json.loads(index.read_text()).items()
    return dict(results)


def test_sections_1_to_7_and_10_have_no_failure(start: Callable[..., Any], tmp_path: Path) -> None:
    site = start("uwsgi-gevent", app="echo.py", redis="memory://echo")
    with site.wire("/") as wire:  # a server that hangs would cost the whole time limit
        wire.send_frame(1, b"there?")
        assert wire.receive_text() == "there?"
    results = run_cases(site.port, tmp_path, "-x", "9.*", "-x", "12.*", "-x", "13.*")
    failed = {
        number: (case["behavior"], case["behaviorClose"])
        for number, case in results.items()
        if case["behavior"] not in PASSED or case["behaviorClose"] not in CLOSED
    }
    assert not failed
    assert len(results) == 247
    assert {number.split(".")[0] for number in results} == set("1234567") | {"10"}
