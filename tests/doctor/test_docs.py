"""The page on the doctor lists all findings, and shows the real output."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path

import wsredis.doctor
from wsredis.doctor import add_doctor_arguments

PAGE = (Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8")


def test_every_fault_is_in_the_table() -> None:
    found = set()
    for file in Path(wsredis.doctor.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Fault":
                found.add(ast.literal_eval(node.args[1]))
    table = PAGE.partition("## What it finds")[2]
    cells = [line.rsplit("|", 2)[1] for line in table.splitlines() if line.startswith("|")]
    named = re.findall(r"`([a-z0-9.-]+)`(?! *\))", " ".join(cells[2:]))
    assert set(named) - {"http-websockets"} == found


def test_every_option_is_in_the_table() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_doctor_arguments(parser)
    options = {text for action in parser._actions for text in action.option_strings}
    table = PAGE.partition("| option |")[2].partition("\n\n")[0]
    assert set(re.findall(r"--[a-z]+", table)) >= options
