"""Build the optional loop in C, and the description for the package index.

Everything else about the distribution is in setup.cfg.
"""

import posixpath
import re
import runpy
from configparser import RawConfigParser
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent

CODE = re.compile(r"(?ms)(^(`{3,}|~{3,}).*?^\2|(?<!`)(`+)(?!`).*?(?<!`)\3(?!`))")
"""Fenced code and code spans, in which nothing is a link."""

RELATIVE = r"(?![a-zA-Z][a-zA-Z0-9+.-]*:|//)"
LINK = re.compile(
    rf"""(?m)(\]\(|^\[[^\]\n]+\]:[ ]*|\b(?:href|src)="){RELATIVE}([^\s)"#]*)(\#[^\s)"]*)?"""
)
IMAGES = {".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp"}


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown with absolute addresses in place of relative links and images.

    Args:
        text: a page at the top of the repository.
        repository: the address of the repository on GitHub, without a slash at its end.
        tag: the tag in the addresses, so that they name the files of this release.
    """

    def absolute(match: re.Match[str]) -> str:
        before, path, fragment = match.groups("")
        kind = "raw" if posixpath.splitext(path)[1] in IMAGES else "blob"
        if path.endswith("/"):
            kind = "tree"
        path = posixpath.normpath(path.lstrip("/")) if path else "README.md"
        return f"{before}{repository}/{kind}/{tag}/{path}{fragment}"

    parts: list[str] = []
    end = 0
    for code in CODE.finditer(text):
        parts += [LINK.sub(absolute, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(absolute, text[end:])])


def repository() -> str:
    """Return the address in setup.cfg's ``project_urls`` that is called Source."""
    config = RawConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["metadata"]["project_urls"].strip().splitlines()
    return dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines)["Source"]


def long_description() -> str:
    """Return the README as the package index shows it."""
    version = runpy.run_path(str(ROOT / "wsredis" / "version.py"))["VERSION"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return absolute_links(readme, repository(), f"v{version}")


if __name__ == "__main__":
    setup(
        long_description=long_description(),
        # Optional: where there is no compiler, the loop in wsredis/hub/fanout.py is used.
        ext_modules=[Extension("wsredis.hub._fanout", ["wsredis/hub/_fanout.c"], optional=True)],
    )
