#!/usr/bin/env python3
"""Generate the files of the browser client that are not written by hand.

Usage: scripts/client.py

``wsredis/static/wsredis`` is the folder of static files and the npm package. ``wsredis.esm.js`` and
``wsredis.htmx.esm.js`` contain the code, ``wsredis.esm.d.ts`` the types. From them come the classic
scripts, the CommonJS module, ``wsredis.mjs`` and their types; ``package.json`` gets the version of
``wsredis/version.py``. The files are committed, and a test fails if they are not up to date.
"""

from __future__ import annotations

import re
import runpy
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "wsredis" / "static" / "wsredis"

NOTE = "Generated from {} by scripts/client.py: do not edit."
SCRIPT = '// {note}\n(() => {{\n  "use strict";\n{before}\n{body}\n\n  {after}\n}})();\n'
CJS = '// {note}\n"use strict";\n\n{body}\n\nmodule.exports = {{ WSRedis, default: WSRedis }};\n'
MODULE = "export { WSRedis, default } from"

IMPORT = re.compile(r"^import .*\n+", re.MULTILINE)
EXPORT = re.compile(r"^export (?:default \w+;|\{[^}]*\};|(?=[a-z]))", re.MULTILINE)


def plain(source: str) -> str:
    """Return the code of a module without its imports and exports."""
    return EXPORT.sub("", IMPORT.sub("", source)).strip()


def script(name: str, after: str, before: str = "") -> str:
    """Return a module as a classic script.

    Args:
        name: the file of the module.
        after: a statement behind its code, such as the assignment of a global.
        before: a statement before its code.
    """
    body = textwrap.indent(plain(read(name)), "  ")
    before = f"  {before}\n" if before else ""
    return SCRIPT.format(note=NOTE.format(name), before=before, body=body, after=after)


def read(name: str) -> str:
    """Return a file of the client."""
    return (CLIENT / name).read_text(encoding="utf-8")


def generate() -> dict[str, str]:
    """Return the text of each generated file, by its name."""
    code, types, htmx = "wsredis.esm.js", "wsredis.esm.d.ts", "wsredis.htmx.esm.js"
    version = runpy.run_path(str(ROOT / "wsredis" / "version.py"))["VERSION"]
    note = NOTE.format(code)
    of_types = f"// {NOTE.format(types)}\n"
    return {
        "LICENSE": (ROOT / "LICENSE").read_text(encoding="utf-8"),
        "package.json": re.sub(r'("version": )"[^"]*"', rf'\1"{version}"', read("package.json")),
        "wsredis.cjs": CJS.format(note=note, body=plain(read(code))),
        "wsredis.d.cts": of_types + read(types),
        "wsredis.d.mts": f'{of_types}{MODULE} "./wsredis.esm.js";\n',
        "wsredis.d.ts": f"{of_types}{plain(read(types))}\n",
        "wsredis.htmx.js": script(
            htmx, "register(globalThis.htmx);", "const { WSRedis } = globalThis;"
        ),
        "wsredis.js": script(code, "globalThis.WSRedis = WSRedis;"),
        "wsredis.mjs": f'// {note}\n{MODULE} "./wsredis.esm.js";\n',
    }


def main(arguments: list[str]) -> int:
    """Write the files and return the exit code."""
    if arguments:
        print(__doc__)
        return 0 if arguments[0] in ("-h", "--help") else 2
    for file, text in generate().items():
        (CLIENT / file).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
