"""``js/ws4redis.js``, run by Node, without a network and with the live server."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import playwright
import ws4redis
from ws4redis.publisher import RedisPublisher

from .conftest import Live

HERE = Path(__file__).parent / "js"
SCRIPT = Path(ws4redis.__file__).parent / "static" / "js" / "ws4redis.js"
NODE = str(Path(playwright.__file__).parent / "driver" / "node")


def test_the_script_passes_its_tests_in_node() -> None:
    ran = subprocess.run(
        [NODE, str(HERE / "ws4redis.test.mjs")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_script_talks_to_a_live_server_and_leaves_nothing_behind(
    site: Any, live: Live, room: str
) -> None:
    site(WS4REDIS_HEARTBEAT="--heartbeat--")
    site(WSREDIS={"origins": ["*"]})  # Node sends none of its own
    uri = f"ws://{live.host}/ws/{room}?subscribe-broadcast&publish-broadcast&echo"
    command = [NODE, str(HERE / "live.mjs"), str(SCRIPT), uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        assert page.stdout.readline() == "of the page\n"
        RedisPublisher(facility=room, broadcast=True).publish_message("of the server", 0)
        assert page.communicate(timeout=30) == ("of the server\n", None)
        assert page.returncode == 0


def test_the_script_is_quiet_and_needs_no_jquery() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert "console." not in text
    assert "$." not in text
    assert "jQuery(" not in text
