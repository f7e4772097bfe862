from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from wsredis.embedded import EmbeddedRedis

from .proxies import needs_apache, needs_nginx

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
COMPILER = shlex.split(os.environ.get("CC", "cc"))

SIZES = {
    "rounds": 3,
    "few": 100,
    "small": 1000,
    "large": 5000,
    "huge": 10000,
    "storm": 2000,
    "middle": 4096,
    "long": 65536,
    "users": 2000,
    "groups": 2000,
    "group_members": 10,
    "hosted": 500,
    "blocked": 5,
    "depths": [16, 4, 2],
}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc and uses epoll"),
    pytest.mark.skipif(not shutil.which(COMPILER[0]), reason="there is no C compiler"),
]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    if not Path(sys.executable).with_name("uwsgi").exists():
        pytest.skip("uWSGI is not installed beside this Python")
    return [sys.executable, str(FOLDER / "run.py"), "--tiny", "--build", str(tmp_path / "build")]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of the benchmark as it imports itself, and forget it afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return __import__(name)

    yield load
    for name in set(sys.modules) - before:
        found = getattr(sys.modules[name], "__file__", None)
        if found and Path(found).parent == FOLDER:
            del sys.modules[name]


def processes_naming(folder: Path) -> list[int]:
    """Return the processes whose command line names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("name", ["floor", "load"])
def test_the_c_programs_compile_without_a_warning(name: str, tmp_path: Path) -> None:
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    source, program = FOLDER / f"{name}.c", tmp_path / name
    subprocess.run([*COMPILER, *flags, "-o", str(program), str(source)], check=True)
    assert program.is_file()


@pytest.mark.servers
def test_a_small_run_takes_every_figure_of_wsredis_and_the_floor(
    command: list[str], modules: Any, tmp_path: Path
) -> None:
    # A scenario refuses its figures when a connection has missed a message or had one twice.
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- the benchmark's last run begins -->\nthe run before\n"
        "<!-- the benchmark's last run ends -->\nafter\n"
    )
    servers = ("floor", "wsredis", "wsredis2", "floor_join", "floor2", "bare")
    ours = ["--servers", ",".join(servers), "--page", str(page)]
    done = subprocess.run([*command, *ours], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    result = json.loads((tmp_path / "build" / "result.json").read_text())
    assert result["problems"] == []
    (figures,) = result["rounds"]
    assert set(figures) == set(servers)
    rows = {name for name in modules("report").LINES if not name.startswith("hosted_")}
    assert set(rows) <= set(figures["wsredis"])
    assert all(figures["wsredis"][name] > 0 for name in rows if name != "idle_pss")
    assert "MISSED" in done.stdout or "reached" in done.stdout
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "the run before" not in text
    assert "| C floor |" in text
    ElementTree.parse(tmp_path / "page.svg")
    assert not processes_naming(tmp_path)


@pytest.mark.servers
@pytest.mark.parametrize(
    "key", ["uvicorn_layer", "uwsgi_hosted", "patched_hosted", "gunicorn_hosted"]
)
def test_a_small_run_takes_every_figure_of_an_asgi_application(
    command: list[str], modules: Any, tmp_path: Path, key: str
) -> None:
    run, stage = modules("run"), modules("stage")
    (server,) = (each for each in modules("servers").SERVERS if each.key == key)
    run.compile_programs(tmp_path)
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "python").symlink_to(sys.prefix)  # which has the same packages
    cpus = {workers: run.choose_cpus(workers) for workers in (1, 2)}
    with EmbeddedRedis() as store, (tmp_path / "log").open("wb") as log:
        theatre = stage.Theatre(modules("sizes").TINY, tmp_path, store, log, cpus)
        figures, problems = run.measure(theatre, server, frozenset(["idle", "hosted"]))
    assert problems == [], (tmp_path / "log").read_text(errors="replace")
    for name in ("hosted_async_cpu", "hosted_sync_cpu", "hosted_bare_cpu", "handshake_cpu"):
        assert figures[name] > 0


@pytest.mark.servers
@pytest.mark.parametrize("key", ["consumers", "patched_consumers"])
def test_a_small_run_takes_every_figure_of_consumers(
    command: list[str], modules: Any, tmp_path: Path, key: str
) -> None:
    done = subprocess.run([*command, "--servers", key], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    result = json.loads((tmp_path / "build" / "result.json").read_text())
    assert result["problems"] == []
    figures = result["rounds"][0][key]
    rows = {name for name in modules("report").LINES if name.startswith("hosted_")}
    for name in rows - {"hosted_bare_cpu"} | {"handshake_cpu"}:
        assert figures[name] > 0
    assert "consumers on uWSGI" in done.stdout
    assert not processes_naming(tmp_path)


@pytest.mark.servers
@needs_nginx
@needs_apache
def test_a_small_run_behind_proxies_delivers_every_message_and_tells_what_each_costs(
    command: list[str], tmp_path: Path
) -> None:
    words = [str(FOLDER / "proxies.py"), "--quick", "--connections", "20", *command[-2:]]
    done = subprocess.run([command[0], *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "build" / "proxies.json").read_text())
    (figures,) = result["rounds"]
    assert list(figures) == ["direct", "router", "nginx", "apache"]
    assert all(found["fan_small_cpu"] > 0 for found in figures.values())
    assert done.stdout.count("\n| ") == len(figures)
    assert not processes_naming(tmp_path)


@pytest.mark.servers
def test_the_calls_of_every_row_are_counted_and_are_the_same_on_another_run(
    modules: Any, tmp_path: Path
) -> None:
    calls = modules("calls")
    words = [sys.executable, str(FOLDER / "calls.py"), "--tiny"]
    file = tmp_path / "calls.json"
    texts = [calls.text_of(key, calls.TINY) for key in calls.LINES]

    first = subprocess.run([*words, "--json", str(file)], capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    for text in texts:
        (line,) = (line for line in lines if line.startswith(f"{text}  "))
        assert all(float(figure) > 0 for figure in line.removeprefix(text).split())
    run = calls.Run.read(file)
    assert list(run.costs) == list(calls.LINES)
    assert "fan-out: C" in lines[0] or "fan-out: Python" in lines[0]

    compared = [*words, "--compare", str(file), "--top", "3"]
    second = subprocess.run(compared, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "different:" not in second.stdout
    assert second.stdout.count(" +0.00") == 2 * len(texts), second.stdout


def test_functions_whose_calls_have_changed_are_listed_the_most_changed_first(
    modules: Any,
) -> None:
    calls = modules("calls")
    before = calls.Cost(3.0, 1.0, {"hub.same": 1.0, "hub.gone": 1.0, "len (C)": 2.0})
    after = calls.Cost(4.0, 1.0, {"hub.same": 1.0, "len (C)": 5.0})
    lines = calls.most_changed("row", before, after, 9).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["len", "(C)", "2.00", "5.00", "+3.00"],
        ["hub.gone", "1.00", "0.00", "-1.00"],
    ]


@pytest.mark.servers
def test_ctrl_c_in_the_middle_of_a_run_leaves_no_process(
    command: list[str], tmp_path: Path
) -> None:
    words = [*command, "--servers", "floor,wsredis"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        assert run.stderr
        while run.poll() is None and b"round 1" not in run.stderr.readline():
            pass
        run.send_signal(signal.SIGINT)
        try:
            assert run.wait(30) == 130
        finally:
            run.kill()
    assert not processes_naming(tmp_path)


def test_a_server_that_cannot_be_installed_is_left_out_with_the_reason(
    modules: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = modules("environment").install(tmp_path / "build", ["node", ""])
    assert missing == {"node": "npm is not installed"}


def recorded(modules: Any, **changes: dict[str, float]) -> Any:
    """Return the result of a run in which wsredis costs what the floor does."""
    report = modules("report")
    figures = dict.fromkeys(report.LINES, 1e-06)
    servers = ("floor", "wsredis", "wsredis2", "nchan", "node", "uvicorn", "socketio")
    found = {server: {**figures, **changes.get(server, {})} for server in servers}
    return report.Result({"date": "2026-01-01"}, SIZES, [found] * 3, {"picows": "no"}, [])


def test_a_target_tells_whether_it_is_reached_and_what_was_measured(modules: Any) -> None:
    result = recorded(modules, wsredis={"fan_small_cpu": 1.2e-6}, uvicorn={"fan_large_cpu": 1e-4})
    lines = modules("report").verdicts(result).splitlines()
    assert "MISSED   fan-out to 1,000: CPU, times the floor: 1.20 (≤ 1.15)" in lines
    assert "reached  fan-out to 5,000: CPU, times the floor: 1.00 (≤ 1.15)" in lines
    assert (
        "reached  fan-out to 5,000: CPU of Channels on uvicorn, times ours: 100.00 (≥ 30)" in lines
    )
    assert "left out picows: no" in lines


def test_an_application_on_uwsgi_is_compared_with_the_same_one_on_uvicorn(modules: Any) -> None:
    report = modules("report")
    figures = dict.fromkeys(report.LINES, 1e-04) | {"idle_pss": 30 * 1024}
    ours = figures | {"hosted_async_cpu": 1.05e-04, "hosted_sync_cpu": 1.4e-04}
    rounds = [{"uvicorn_layer": figures, "uwsgi_hosted": ours}]
    lines = report.verdicts(report.Result({}, SIZES, rounds, {}, [])).splitlines()
    assert lines[1:] == [
        "reached  hosted on uWSGI: CPU of a delivery by async consumers,"
        " times uvicorn with the same layer: 1.05 (≤ 1.1)",
        "MISSED   hosted on uWSGI: CPU of a delivery by sync consumers,"
        " times uvicorn with the same layer: 1.40 (≤ 1.3)",
        "reached  hosted on uWSGI: CPU of a handshake,"
        " times uvicorn with the same layer: 1.00 (≤ 1)",
        "reached  hosted on uWSGI: memory of a connection: 30.00 KiB (≤ 45 KiB)",
    ]


def test_consumers_are_compared_with_channels_and_with_a_broadcast(modules: Any) -> None:
    report = modules("report")
    theirs = dict.fromkeys(report.LINES, 2e-04) | {"hosted_async_cpu": 0.9e-04}
    ours = dict.fromkeys(report.LINES, 1e-05) | {
        "hosted_shared_cpu": 1.4e-05,
        "idle_pss": 13 * 1024,
        "handshake_cpu": 290e-06,
        "hosted_blocked_p99": 1.4e-05,
    }
    rounds = [{"uvicorn": theirs, "consumers": ours}]
    lines = report.verdicts(report.Result({}, SIZES, rounds, {}, [])).splitlines()
    of_channels = "CPU of {} consumers of Channels on uvicorn, times our sync"
    begins = "consumers on uWSGI"
    assert lines[1:] == [
        f"reached  {begins}, 500: {of_channels.format('sync')}: 20.00 (≥ 10)",
        f"MISSED   {begins}, 500: {of_channels.format('async')}: 9.00 (≥ 10)",
        f"MISSED   {begins}, 500: CPU with a shared handler, times a broadcast: 1.40 (≤ 1.3)",
        f"reached  {begins}, 5,000: {of_channels.format('sync')}: 20.00 (≥ 10)",
        f"reached  {begins}, 5,000: {of_channels.format('async')}: 20.00 (≥ 10)",
        f"reached  {begins}, 5,000: CPU with a shared handler, times a broadcast: 1.00 (≤ 1.3)",
        f"MISSED   {begins}: memory of a connection: 13.00 KiB (≤ 12 KiB)",
        f"reached  {begins}: CPU of a handshake: 290.00 µs (≤ 300 µs)",
        f"reached  {begins}: latency while 5 others block: p99, times that without: 1.40 (≤ 1.5)",
    ]


def test_a_target_without_its_figures_is_not_judged(modules: Any) -> None:
    report = modules("report")
    result = report.Result({}, SIZES, [{"wsredis": {"idle_pss": 2048.0}}], {}, ["it broke"])
    assert report.verdicts(result).splitlines() == [
        "",
        "reached  idle: memory of a connection: 2.00 KiB (≤ 3 KiB)",
        "problem  it broke",
    ]


def test_ratios_are_those_within_a_round(modules: Any) -> None:
    report = modules("report")
    rounds = [
        {"floor": {"fan_small_cpu": floor}, "wsredis": {"fan_small_cpu": ours}}
        for floor, ours in ((1.0, 2.0), (10.0, 11.0), (5.0, 6.0))
    ]
    result = report.Result({}, SIZES, rounds, {}, [])
    assert report.ratio(result, "wsredis", "fan_small_cpu") == pytest.approx(1.2)
    assert report.median(result, "wsredis", "fan_small_cpu") == 6.0


@pytest.mark.parametrize(
    ("rounds", "first"),
    [
        (5, "Medians of 5 rounds (3 for Socket.IO, uvicorn); date 2026-01-01."),
        (3, "Medians of 3 rounds; date 2026-01-01."),
    ],
)
def test_a_page_says_which_servers_had_fewer_rounds(modules: Any, rounds: int, first: str) -> None:
    result = replace(recorded(modules), rounds=recorded(modules).rounds[:1] * rounds)
    assert modules("report").markdown(result, "page").splitlines()[0] == first


def test_the_chart_is_a_picture_with_a_bar_for_each_server(modules: Any) -> None:
    picture = ElementTree.fromstring(modules("chart").draw(recorded(modules)))
    bars = [found for found in picture.iter() if found.tag.endswith("rect")]
    assert len(bars) == 1 + 2 * 7  # the background, and both panels


def test_a_page_without_marks_stays_as_it_is(modules: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing to fill\n")
    with pytest.raises(ValueError, match="must have the lines"):
        modules("page").fill(page, "new")
    assert page.read_text() == "nothing to fill\n"
