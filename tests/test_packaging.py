from __future__ import annotations

import configparser
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wsredis.version
from wsredis.version import VERSION

ROOT = Path(__file__).resolve().parent.parent

# Where a package stands in the tree, where that is not its name: package_dir in setup.cfg.
FOLDERS = {
    "ws4redis": "adapters/django/ws4redis",
    "wsredis.adapters": "adapters",
    "wsredis.examples": "examples",
}

# What tools leave between the files of a package.
LEFT = {"__pycache__", "node_modules"}


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def files_of(folder: str, pattern: str) -> Iterator[Path]:
    """Go through the files of a package; a folder below it may be a package of another name."""
    others = [ROOT / other for other in FOLDERS.values() if other.startswith(f"{folder}/")]
    for file in (ROOT / folder).rglob(pattern):
        if not any(file.is_relative_to(other) for other in others):
            yield file


def installed_files() -> set[str]:
    files = importlib.metadata.files("wsredis") or []
    # With the tree on the path, as under ``python -m pytest``, what is found lists its sources.
    if any(name.name.startswith("__editable__") or name.name == "setup.cfg" for name in files):
        pytest.skip("an editable installation lists no files; `make test` installs the wheel")
    return {name.as_posix() for name in files}


def in_a_new_process(program: str) -> object:
    found = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    return json.loads(found.stdout)


def test_the_tests_import_what_is_installed() -> None:
    imported = Path(wsredis.version.__file__).resolve()
    installed = importlib.metadata.distribution("wsredis")
    in_place = ROOT / "wsredis" / "version.py"
    editable = any(name.name.startswith("__editable__") for name in installed.files or [])
    wheel = Path(str(installed.locate_file("wsredis/version.py"))).resolve()
    assert imported == (in_place if editable else wheel)


def test_setup_cfg_names_every_package_on_the_disk(setup_cfg: configparser.ConfigParser) -> None:
    on_disk = set()
    for package, folder in {"wsredis": "wsredis", **FOLDERS}.items():
        for module in files_of(folder, "__init__.py"):
            parts = module.parent.relative_to(ROOT / folder).parts
            on_disk.add(".".join((package, *parts)))
    assert set(setup_cfg["options"]["packages"].split()) == on_disk


def test_every_module_lies_in_a_named_package() -> None:
    for folder in ("wsredis", *FOLDERS.values()):
        for module in (ROOT / folder).rglob("*.py"):
            if "deploy" in module.parts:  # files to copy, which nobody imports
                continue
            assert (module.parent / "__init__.py").is_file(), module


def test_package_dir_maps_what_stands_at_the_top(setup_cfg: configparser.ConfigParser) -> None:
    lines = setup_cfg["options"]["package_dir"].strip().splitlines()
    assert dict(line.split(" = ") for line in lines) == FOLDERS


def test_the_version_stands_in_one_place() -> None:
    assert importlib.metadata.version("wsredis") == VERSION


def test_the_wheel_carries_every_file_of_its_packages() -> None:
    installed = installed_files()
    wanted = {"wsredis/py.typed", "wsredis/static/wsredis/wsredis.js"}
    for package, folder in {"wsredis": "wsredis", **FOLDERS}.items():
        for file in files_of(folder, "*"):
            inside = file.relative_to(ROOT / folder)
            if file.suffix == ".c":  # what it was compiled to is beside it
                continue
            if file.is_file() and not any(part[0] == "." or part in LEFT for part in inside.parts):
                wanted.add(f"{package.replace('.', '/')}/{inside.as_posix()}")
    assert wanted <= installed
    assert any(
        name.startswith("wsredis/examples/plain_wsgi/") and name.endswith(".html")
        for name in installed
    )


def test_the_wheel_carries_nothing_else() -> None:
    tops = {name.split("/")[0] for name in installed_files() if not name.startswith("../")}
    assert tops == {"ws4redis", "wsredis", f"wsredis-{VERSION}.dist-info"}


def test_the_license_goes_with_the_wheel() -> None:
    assert f"wsredis-{VERSION}.dist-info/licenses/LICENSE" in installed_files()
    assert importlib.metadata.metadata("wsredis")["License-Expression"] == "MIT"


def test_the_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="wsredis")
    assert command.value == "wsredis.cli.main:main"


def test_importing_wsredis_loads_no_framework_and_patches_nothing() -> None:
    state = in_a_new_process("""if True:
        import json, socket, ssl, subprocess, sys, threading, time
        names = [(m, n) for m in (socket, ssl, subprocess, threading, time) for n in dir(m)]
        before = [getattr(m, n) for m, n in names]
        import wsredis
        after = [getattr(m, n, None) for m, n in names]
        changed = [f"{m.__name__}.{n}" for (m, n), a, b in zip(names, before, after)
                   if a is not b]
        loaded = [n for n in ("django", "flask", "uwsgi", "gunicorn") if n in sys.modules]
        print(json.dumps({"changed": changed, "loaded": loaded}))
    """)
    assert state == {"changed": [], "loaded": []}
