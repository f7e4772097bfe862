"""docs/from-channels.md is correct: both versions of its chat are the same to clients."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.utils.module_loading import import_string

PAGE = (Path(__file__).parents[2] / "docs" / "from-channels.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILES = {text.split()[1]: text for text in BLOCKS if text.startswith("# ")}
(TEST,) = (text for text in BLOCKS if not text.startswith("# "))

SETTINGS = """
SECRET_KEY = "not a secret, only for tests"
INSTALLED_APPS = [
    "wsredis.adapters.django", "django.contrib.auth", "django.contrib.contenttypes",
    "django.contrib.sessions",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""

DAPHNE = "class DaphneProcess: pass"
"""What `channels.testing` imports, and these tests do not use."""

MAIN = """
import asyncio
asyncio.run(test_a_chat())
"""

BEFORE = TEST.replace("after.routing import routes", "before.routing import application").replace(
    "URLRouter(routes)", "application"
)


@pytest.mark.parametrize("text", [TEST, BEFORE], ids=["after", "before"])
def test_its_test_passes(text: str, tmp_path: Path) -> None:
    assert len(FILES) == 4
    others = {"settings.py": SETTINGS, "main.py": text + MAIN, "daphne/testing.py": DAPHNE}
    for name, content in {**FILES, **others}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    start = "import django; django.setup(); import main"
    environ: dict[str, Any] = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", start], cwd=tmp_path, env=environ, check=True, timeout=60)


@pytest.mark.parametrize(
    "name", ["channels.consumer.SyncConsumer", "channels.generic.websocket.JsonWebsocketConsumer"]
)
def test_each_member_of_channels_is_there(name: str) -> None:
    theirs, last = import_string(name), name.rpartition(".")[2]
    ours = import_string(f"wsredis.consumers.{last}")
    members = [each for each in dir(theirs) if not each.startswith("_")]
    assert len(members) > 3
    assert [each for each in members if not hasattr(ours, each)] == []
