"""The source archive, the description on the package index, and the checks of scripts/release."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from wsredis.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://example.com/alice/site"

FOLDERS = ("adapters", "benchmarks", "docs", "examples", "scripts", "tests", "wsredis")
FILES = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md")
FILES += ("SECURITY.md", "pyproject.toml", "ruff.toml", "setup.cfg", "setup.py")

LEFT = ("*.egg-info", "*.py[co]", "*.so", "__pycache__", "build", "node_modules", ".?*_cache")
LEFT += ("dist", "package-lock.json")
"""Files that tools leave in these folders."""

STRAY = {
    "docs/left.pyc",
    "wsredis/hub/_fanout.so",
    "examples/react_chat/dist/index.html",
    "examples/react_chat/node_modules/react/index.js",
    "examples/react_chat/package-lock.json",
}
"""Such files, which the tests put into the tree."""

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


def load(path: Path) -> Any:
    """Import a script, whose name has no suffix."""
    loader = importlib.machinery.SourceFileLoader(f"{path.stem}_file", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def release() -> Any:
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return load(ROOT / "scripts/release")
    finally:
        sys.dont_write_bytecode = kept


@pytest.fixture(scope="module")
def absolute_links() -> Any:
    return runpy.run_path(str(ROOT / "setup.py"))["absolute_links"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the files of a release, since building writes into the tree."""
    tree = tmp_path_factory.mktemp("release") / "tree"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns(*LEFT))
    for name in FILES:
        shutil.copy(ROOT / name, tree)
    for name in STRAY:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    return tree


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", "dist", "."],
        cwd=tree,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (archive,) = (tree / "dist").iterdir()
    return archive


@pytest.fixture(scope="module")
def members(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as tar:
        return {each.name.partition("/")[2] for each in tar.getmembers() if each.isfile()}


@pytest.fixture(scope="module")
def metadata(sdist: Path) -> Message:
    with tarfile.open(sdist) as tar:
        file = tar.extractfile(f"wsredis-{VERSION}/PKG-INFO")
        assert file is not None
        return message_from_bytes(file.read())


def project_urls(metadata: Any) -> dict[str, str]:
    return dict(line.split(", ", 1) for line in metadata.get_all("Project-URL"))


# The source archive


def test_the_source_archive_is_named_after_the_version(sdist: Path) -> None:
    assert sdist.name == f"wsredis-{VERSION}.tar.gz"


def test_the_source_archive_holds_every_file(tree: Path, members: set[str]) -> None:
    wanted = {
        file.relative_to(tree).as_posix()
        for folder in FOLDERS
        for file in (tree / folder).rglob("*")
        if file.is_file()
    }
    assert {"docs/glossary.md", "tests/conftest.py", "examples/plain_wsgi/app.py"} <= wanted
    assert (wanted - STRAY) | set(FILES) <= members
    assert not STRAY & members


def test_the_source_archive_holds_nothing_else(members: set[str]) -> None:
    tops = {name.split("/")[0] for name in members}
    assert tops == {*FOLDERS, *FILES, "PKG-INFO", "wsredis.egg-info"}


# The description on the package index


def test_the_description_is_the_readme_with_absolute_links(metadata: Message) -> None:
    text = metadata.get_payload(decode=True)
    assert isinstance(text, bytes)
    description = text.decode()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert metadata["Description-Content-Type"] == "text/markdown"
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert len(targets) == len(re.findall(r"\]\(([^)]+)\)", readme)) > 10
    assert all(target.startswith("https://") for target in targets)
    source = project_urls(metadata)["Source"]
    for kind in ("blob", "raw", "tree"):
        description = description.replace(f"{source}/{kind}/v{VERSION}/", "")
    description = description.replace("](README.md#", "](#")  # links within the page
    assert description.strip() == re.sub(r"(examples/\w+)/\)", r"\1)", readme).strip()


def test_the_links_of_the_readme_lead_to_files(metadata: Message) -> None:
    start = f"{re.escape(project_urls(metadata)['Source'])}/(?:blob|raw|tree)/v{VERSION}/"
    found = re.findall(rf"\]\({start}([^)#]+)", str(metadata.get_payload()))
    assert found
    for path in found:
        assert (ROOT / path).exists(), path


def test_what_is_installed_has_the_same_description() -> None:
    description = importlib.metadata.metadata("wsredis").get_payload()
    assert f"/blob/v{VERSION}/docs/identity.md" in str(description)


@pytest.mark.parametrize("installed", [False, True])
def test_the_addresses_of_the_project(installed: bool, metadata: Message) -> None:
    urls = project_urls(importlib.metadata.metadata("wsredis") if installed else metadata)
    source = urls["Source"]
    assert re.fullmatch(r"https://github\.com/[\w-]+/wsredis", source)
    assert urls == {
        "Documentation": f"{source}/tree/main/docs",
        "Source": source,
        "Changelog": f"{source}/blob/main/CHANGELOG.md",
        "Issues": f"{source}/issues",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md)", "[a](R/blob/v1/docs/a.md)"),
        ("[a](./docs/a.md#b)", "[a](R/blob/v1/docs/a.md#b)"),
        ("[a](/docs/a.md)", "[a](R/blob/v1/docs/a.md)"),
        ("[a](#b)", "[a](R/blob/v1/README.md#b)"),
        ('[a](docs/a.md "title")', '[a](R/blob/v1/docs/a.md "title")'),
        ("[`a`](examples/a/)", "[`a`](R/tree/v1/examples/a)"),
        ("![a](docs/a.svg)", "![a](R/raw/v1/docs/a.svg)"),
        ("[![a](a.png)](b.md)", "[![a](R/raw/v1/a.png)](R/blob/v1/b.md)"),
        ('<img src="docs/a.png">', '<img src="R/raw/v1/docs/a.png">'),
        ("[a]\n\n[a]: docs/a.md", "[a]\n\n[a]: R/blob/v1/docs/a.md"),
    ],
)
def test_a_relative_link_becomes_absolute(absolute_links: Any, text: str, expected: str) -> None:
    assert absolute_links(text, REPOSITORY, "v1") == expected.replace("R/", f"{REPOSITORY}/")


@pytest.mark.parametrize(
    "text",
    [
        "[a](https://example.com/a.md)",
        "[a](//example.com/a.md)",
        "[a](mailto:alice@example.com)",
        "`[a](docs/a.md)` and ``[`a`](a.md)``",
        '```html\n<script src="/static/a.js"></script>\n```',
        "~~~\n[a](docs/a.md)\n```\n[a](docs/a.md)\n~~~",
        "a(b)",
    ],
)
def test_other_text_stays_as_it_is(absolute_links: Any, text: str) -> None:
    assert absolute_links(text, REPOSITORY, "v1") == text


# The checks of scripts/release


def test_a_version_without_a_section_is_refused(release: Any) -> None:
    text = "# Changelog\n\n## 0.2.0 (2026-01-31)\n\n## 0.1.10\n"
    assert release.changelog_heading(text, "0.2.0") == "(2026-01-31)"
    assert release.changelog_heading(text, "0.1.10") == ""
    with pytest.raises(release.ReleaseError, match=r"no section for 0\.1\.1, the version in"):
        release.changelog_heading(text, "0.1.1")


def test_the_changelog_has_a_section_for_this_version(release: Any) -> None:
    release.changelog_heading((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), VERSION)


def test_the_commands_upload_each_artefact_to_its_index(release: Any) -> None:
    names = ("wsredis-0.1.0.tar.gz", "wsredis-0.1.0-py3-none-any.whl", "wsredis-0.1.0.tgz")
    artefacts = [release.DIST / name for name in names]
    assert release.commands("0.1.0", artefacts, "main") == [
        'git tag -a v0.1.0 -m "wsredis 0.1.0"',
        "git push origin main v0.1.0",
        "pipx run twine upload dist/wsredis-0.1.0.tar.gz dist/wsredis-0.1.0-py3-none-any.whl",
        "npm publish ./dist/wsredis-0.1.0.tgz",
    ]


def test_packing_needs_npm(release: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(release.ReleaseError, match="apt-get install npm"):
        release.pack(ROOT, tmp_path / "packed", VERSION)


def test_bad_links_of_a_page_are_found(release: Any, tmp_path: Path) -> None:
    (tmp_path / "a.md").touch()
    html = "".join(
        f'<a href="{target}">a</a>'
        for target in (
            "#a",
            "https://example.com/",
            f"{REPOSITORY}/blob/v1/a.md#b",
            f"{REPOSITORY}/blob/v1/b.md",
            "docs/a.md",
        )
    )
    html += '<img src="a.svg">'
    assert list(release.bad_links(html, REPOSITORY, "v1", tmp_path)) == [
        f"{REPOSITORY}/blob/v1/b.md: no such file",
        "docs/a.md: not absolute",
        "a.svg: not absolute",
    ]


def test_wrong_files_of_a_source_archive_are_found(release: Any) -> None:
    tracked = {*release.REQUIRED, "setup.cfg", "wsredis/a.py", ".gitignore"}
    archived = {*release.REQUIRED, "setup.cfg", "PKG-INFO", "wsredis.egg-info/SOURCES.txt"}
    assert release.wrong_files({*archived, "wsredis/a.py"}, tracked) == []
    assert release.wrong_files({*archived, "wsredis/a.so"} - {"LICENSE"}, tracked) == [
        "LICENSE: missing; see MANIFEST.in",
        "wsredis/a.py: missing; see MANIFEST.in",
        "wsredis/a.so: not in git",
    ]


class Checkout:
    """A small project that scripts/release is run in.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/release", folder / "scripts")
        (folder / "wsredis").mkdir()
        (folder / "wsredis/version.py").write_text('VERSION = "1.2.3"\n')
        (folder / "CHANGELOG.md").write_text("## 1.2.3 (unreleased)\n")

    def git(self, *words: str) -> None:
        author = ["-c", "user.name=alice", "-c", "user.email=alice@example.com"]
        subprocess.run(["git", *author, *words], cwd=self.folder, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--no-gpg-sign", "-m", "Change it")

    def release(self) -> str:
        """Return the reason for which a release is refused."""
        done = subprocess.run(
            [sys.executable, "scripts/release"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert "==" not in done.stdout  # nothing was begun
        assert not (self.folder / "dist").exists()
        return done.stderr.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.git("init", "-q")
    made.commit()
    return made


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    assert "is not a git checkout" in Checkout(tmp_path).release()


@needs_git
def test_a_changed_file_is_refused(checkout: Checkout) -> None:
    (checkout.folder / "CHANGELOG.md").write_text("## 1.2.3\n")
    assert checkout.release().endswith(
        "uncommitted changes. Commit, stash or remove them:\n M CHANGELOG.md"
    )


@needs_git
def test_a_new_file_is_refused(checkout: Checkout) -> None:
    (checkout.folder / "wsredis/new.py").touch()
    assert checkout.release().endswith("?? wsredis/new.py")


@needs_git
def test_a_missing_section_is_refused(checkout: Checkout) -> None:
    (checkout.folder / "CHANGELOG.md").write_text("## 1.2.2\n")
    checkout.commit()
    assert checkout.release().startswith("release: CHANGELOG.md has no section for 1.2.3")


@needs_git
def test_a_version_that_was_released_before_is_refused(checkout: Checkout) -> None:
    checkout.git("tag", "v1.2.3")
    (checkout.folder / "README.md").touch()
    checkout.commit()
    assert checkout.release().startswith("release: The tag v1.2.3 is on another commit")


@pytest.mark.parametrize(
    ("script", "argument", "code"),
    [
        ("release", "--help", 0), ("release", "--upload", 2), ("test", "--help", 0),
        ("client.py", "--help", 0), ("client.py", "--check", 2),
    ],
)  # fmt: skip
def test_a_script_prints_its_usage_and_begins_nothing(
    tmp_path: Path, script: str, argument: str, code: int
) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / script, tmp_path / "scripts")
    done = subprocess.run(
        [sys.executable, f"scripts/{script}", argument],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code
    assert f"Usage: scripts/{script}" in done.stdout
    assert "==" not in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["scripts"]
