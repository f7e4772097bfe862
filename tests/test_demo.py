"""What the demo asks for before it starts anything; `test_cli` and the browser tests run it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

import wsredis.demo
from wsredis.cli import main
from wsredis.embedded import free_port


@pytest.mark.parametrize(
    ("framework", "missing", "says"),
    [
        ("django", "django", "there is no django here: pip install 'wsredis[django]'"),
        ("flask", "flask", "there is no flask here: pip install 'wsredis[flask]'"),
        ("flask", "flask_login", "there is no flask_login here: pip install 'Flask-Login'"),
    ],
)
def test_a_missing_framework_is_named_with_what_to_install(
    framework: str,
    missing: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def find(name: str) -> Any:
        return None if name == missing else find_spec(name)

    monkeypatch.setattr(wsredis.demo, "find_spec", find)
    assert main(["demo", f"--{framework}", "--port", str(free_port())]) == 2
    assert capsys.readouterr().err == f"wsredis: {says}\n"


def test_one_framework_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["demo", "--django", "--flask"])
    assert refused.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
