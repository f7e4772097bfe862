"""The examples of the page on identity work: its Python runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

import wsredis.identity

PAGE = (Path(__file__).parents[2] / "docs/identity.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

SITE = """
from types import SimpleNamespace

SECRET = "a secret of the tests that has more than 32 bytes"

def application(environ, start_response):
    start_response("200 OK", [])
    return []

def load_key(key):
    return key and SimpleNamespace(owner="alice", groups=[], expires=None, revoked=key == "old")

def user_of(environ):
    return environ["user"]
"""

AFTER = """
import webob
from wsredis import Identity
if "load_key" in SNIPPET:
    assert identity(webob.Request.blank("/")) is None
    assert identity(webob.Request.blank("/", headers={"X-Api-Key": "new"})) == Identity("alice")
if "TicketResolver" in SNIPPET:
    from wsredis.tickets import issue_ticket
    environ = {"QUERY_STRING": "ticket=" + issue_ticket("alice")}
    assert TicketResolver()(webob.Request(environ)) == Identity("alice")
if "def ticket" in SNIPPET:
    assert len(ticket({"user": "alice"}, print)[0]) == 48
"""


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) == 7


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_runs(snippet: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "keys.json").write_text(
        json.dumps({"keys": [ECAlgorithm.to_jwk(key, as_dict=True)]})
    )
    (tmp_path / "mysite.py").write_text(SITE)
    program = f"from mysite import *\n{snippet}\nSNIPPET = {snippet!r}\n{AFTER}"
    (tmp_path / "snippet.py").write_text(program)
    subprocess.run(
        [sys.executable, "snippet.py"],
        cwd=tmp_path,
        env={"WSREDIS_REDIS": "memory://", "PATH": ""},
        check=True,
        timeout=60,
    )


def test_every_resolver_is_named() -> None:
    resolvers = [name for name in wsredis.identity.__all__ if name.endswith("Resolver")]
    resolvers.remove("IdentityResolver")
    assert [name for name in (*resolvers, "TicketResolver") if f"`{name}(" not in PAGE] == []
