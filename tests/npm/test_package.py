"""The package for npm: what it contains, its types, and the browsers that it supports."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import tarfile
from pathlib import Path

import pytest

from wsredis.version import VERSION

from ..test_release import load
from .conftest import CLIENT, Node, npm

pytestmark = pytest.mark.xdist_group("npm")

ROOT = CLIENT.parents[2]
PACKAGE = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
DOCS = ROOT / "docs" / "javascript.md"

BROWSERS = {"chrome": "93", "edge": "93", "firefox": "92", "safari": "15.4"}
"""The oldest supported versions, which docs/javascript.md states."""

FEATURES = {
    "JSON.parse": (3, 3.5, 4),
    "JSON.stringify": (3, 3.5, 4),
    "Math.max": (1, 1, 1),
    "Math.min": (1, 1, 1),
    "Math.random": (1, 1, 1),
    "Number.isFinite": (19, 16, 9),
    "Object.entries": (54, 47, 10.1),
    "Object.freeze": (5, 4, 5),
    "Object.fromEntries": (73, 63, 12.1),
    "Object.hasOwn": (93, 92, 15.4),
    "Object.keys": (5, 4, 5),
    "Object.prototype": (1, 1, 1),
    "Promise.reject": (32, 29, 8),
    "Promise.resolve": (32, 29, 8),
    "document.documentElement": (1, 1, 1),
    "document.readyState": (3, 3.6, 5),
    "document.visibilityState": (33, 18, 7),
    "globalThis.WSRedis": (71, 65, 12.1),
    "globalThis.WebSocket": (71, 65, 12.1),
    "globalThis.document": (71, 65, 12.1),
    "globalThis.htmx": (71, 65, 12.1),
    "globalThis.location": (71, 65, 12.1),
    "globalThis.reportError": (71, 65, 12.1),  # the client does without it
    "performance.now": (24, 15, 8),
}
"""The functions of the platform that the client uses: Chrome, Firefox and Safari that have them."""

FUNCTION = re.compile(
    r"(?<![\w.])(Array|CSS|JSON|Math|Number|Object|Promise|document|globalThis|performance)"
    r"\??\.(\w+)"
)


def sources() -> list[Path]:
    return sorted(path for path in CLIENT.iterdir() if path.suffix in (".js", ".mjs", ".cjs"))


def test_the_generated_files_are_up_to_date() -> None:
    generated = runpy.run_path(str(ROOT / "scripts" / "client.py"))["generate"]()
    assert {"LICENSE", "package.json", "wsredis.cjs", "wsredis.js", "wsredis.mjs"} <= set(generated)
    for name, text in generated.items():
        assert (CLIENT / name).read_text(encoding="utf-8") == text, f"run scripts/client.py: {name}"


def test_it_has_the_name_version_and_license_of_the_project() -> None:
    assert (PACKAGE["name"], PACKAGE["version"], PACKAGE["license"]) == ("wsredis", VERSION, "MIT")
    assert "dependencies" not in PACKAGE


def test_the_archive_contains_every_file_of_the_folder(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        names = set(archive.getnames())
    assert names == {f"package/{path.name}" for path in CLIENT.iterdir()}
    assert packed.name == f"wsredis-{VERSION}.tgz"


@pytest.mark.parametrize(
    ("version", "problem"), [(VERSION, ""), ("9.9.9", "Run scripts/client.py")]
)
def test_a_release_packs_it(packed: Path, tmp_path: Path, version: str, problem: str) -> None:
    release = load(ROOT / "scripts" / "release")
    if problem:
        with pytest.raises(release.ReleaseError, match=problem):
            release.pack(ROOT, tmp_path / "packed", version)
    else:
        assert release.pack(ROOT, tmp_path / "packed", version).name == packed.name


def test_a_release_checks_that_it_holds_the_files_of_the_commit(
    packed: Path, tmp_path: Path
) -> None:
    release = load(ROOT / "scripts" / "release")
    client = tmp_path / "wsredis" / "static" / "wsredis"
    shutil.copytree(CLIENT, client)
    shutil.copy(ROOT / "wsredis" / "version.py", tmp_path / "wsredis")
    shutil.copy(ROOT / "LICENSE", tmp_path)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "client.py", tmp_path / "scripts")
    release.check_package(packed, tmp_path)
    (client / "README.md").write_text("changed")
    (client / "new.js").touch()
    with pytest.raises(release.ReleaseError, match=r"differs from wsredis/:\s+README.md\s+new.js$"):
        release.check_package(packed, tmp_path)
    (client / "wsredis.mjs").unlink()
    (client / "wsredis.js").write_text("changed")
    with pytest.raises(
        release.ReleaseError, match=r"^Not up to date: wsredis.js, wsredis.mjs\. Run scripts/client"
    ):
        release.check_package(packed, tmp_path)


def test_a_release_checks_that_it_installs(packed: Path, tmp_path: Path) -> None:
    release = load(ROOT / "scripts" / "release")
    release.check_package_installs(packed, tmp_path / "installed")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "package.json").write_text('{"name": "wsredis", "version": "1.0.0"}')
    (empty / "index.js").write_text("exports.WSRedis = {};")
    npm("pack", empty, folder=tmp_path)
    with pytest.raises(release.ReleaseError, match=r"of wsredis-1\.0\.0\.tgz is"):
        release.check_package_installs(tmp_path / "wsredis-1.0.0.tgz", tmp_path / "other")


def paths(value: object) -> list[str]:
    if isinstance(value, dict):
        return [path for each in value.values() for path in paths(each)]
    return [str(value)]


def test_every_path_of_package_json_is_a_file() -> None:
    entries = [PACKAGE[key] for key in ("exports", "main", "module", "types", "unpkg", "jsdelivr")]
    for path in paths(dict(enumerate([*entries, *PACKAGE["sideEffects"]]))):
        assert (CLIENT / path).is_file(), path
    assert list(PACKAGE["exports"]["."]) == ["script", "import", "require", "default"]


def test_only_files_with_side_effects_say_so() -> None:
    acting = {f"./{path.name}" for path in sources() if "\n(() => {" in path.read_text("utf-8")}
    assert set(PACKAGE["sideEffects"]) == acting


def test_node_imports_and_requires_it(node: Node) -> None:
    program = """
        import { createRequire } from "node:module";
        import Default, { WSRedis } from "wsredis";
        import { register } from "wsredis/htmx";
        const { WSRedis: Required } = createRequire(import.meta.url)("wsredis");
        console.log(JSON.stringify([Default === WSRedis, Required.name, typeof register]));
    """
    said = node("--input-type=module", "--eval", program)
    assert json.loads(said) == [True, "WSRedis", "function"]


def test_typescript_accepts_the_types(node: Node, packages: Path) -> None:
    tsc = packages / "typescript" / "bin" / "tsc"
    options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"]
    options += ["--lib", "es2022,dom", "--types", ""]
    node(tsc, *options, "types.mts", "types.cts")
    node(tsc, *options, "script.ts")


def test_no_syntax_is_newer_than_the_browsers(node: Node) -> None:
    target = ",".join(f"{name}{version}" for name, version in BROWSERS.items())
    assert json.loads(node("targets.mjs", target, *sources())) == []
    # Private methods are newer than Chrome 83: the check itself works.
    client = CLIENT / "wsredis.esm.js"
    assert json.loads(node("targets.mjs", "chrome83", client)) == [str(client)]


def test_no_function_is_newer_than_the_browsers() -> None:
    used = {
        ".".join(found) for path in sources() for found in FUNCTION.findall(path.read_text("utf-8"))
    }
    assert used == set(FEATURES)
    oldest = [max(FEATURES[name][index] for name in used) for index in range(3)]
    assert oldest == [float(BROWSERS[name]) for name in ("chrome", "firefox", "safari")]


def test_the_docs_state_the_browsers() -> None:
    text = " ".join(DOCS.read_text(encoding="utf-8").split())
    for name, version in BROWSERS.items():
        assert f"{name.capitalize()} {version}" in text
