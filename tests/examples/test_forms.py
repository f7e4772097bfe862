"""The forms of the examples in plain WSGI: which sizes they accept."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import io, json, sys
from importlib import import_module

pages = import_module(f"wsredis.examples.{sys.argv[1]}.app").pages
statuses = {}
for size in json.loads(sys.argv[2]):
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/say",
        "CONTENT_LENGTH": size,
        "wsgi.input": io.BytesIO(b"text=hello" + b"+" * 20000),
    }
    pages(environ, lambda status, headers: statuses.update({size: status}))
print(json.dumps(statuses))
"""
"""A program, as an example configures its whole process: prints the status for each size."""


@pytest.mark.parametrize(
    ("example", "accepted"), [("plain_wsgi", "303 See Other"), ("htmx_chat", "200 OK")]
)
def test_a_size_that_is_not_valid_or_too_large_is_a_bad_request(
    example: str, accepted: str
) -> None:
    good = ["10", "16384"]
    bad = ["", "0", "-1", "16385", "many", "1" * 5000]
    ran = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, example, json.dumps([*good, *bad])],
        env={**os.environ, "WSREDIS_REDIS": "memory://"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    wanted = dict.fromkeys(good, accepted) | dict.fromkeys(bad, "400 Bad Request")
    assert json.loads(ran.stdout) == wanted
