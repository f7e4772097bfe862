"""The result of a run as a table: the median of each figure, and its ratio to the floor."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from servers import SERVERS
from targets import TARGETS, Verdict

__all__ = ["LINES", "Result", "Row", "markdown", "median", "ratio", "table", "verdicts"]

COLUMNS = {
    "floor": "C floor",
    "floor_join": "C, joins",
    "floor2": "C, joins, 2",
    "wsredis": "wsredis",
    "wsredis2": "2 workers",
    "bare": "bare uWSGI",
    "nchan": "nchan",
    "node": "Node ws",
    "picows": "picows",
    "websockets": "websockets",
    "socketio": "Socket.IO",
    "uvicorn": "uvicorn",
    "uvicorn_layer": "uvicorn, our layer",
    "uwsgi_hosted": "hosted, uWSGI",
    "patched_hosted": "hosted, patched",
    "gunicorn_hosted": "hosted, gunicorn",
    "consumers": "consumers",
    "patched_consumers": "consumers, patched",
    "daphne": "daphne",
    "ws4redis": "ws4redis",
}


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Args:
        about: the machine and the versions.
        sizes: the numbers of the run.
        rounds: for each round the figures of each server.
        absent: servers that could not be installed, and why.
        problems: the errors during the run.
    """

    about: dict[str, Any]
    sizes: dict[str, Any]
    rounds: list[dict[str, dict[str, float]]]
    absent: dict[str, str]
    problems: list[str]


@dataclass(frozen=True)
class Row:
    """A figure: its title in the table, where `{...}` is one of the sizes, and its unit."""

    text: str
    scale: float = 1.0
    digits: int = 2
    ratio: bool = False


LINES = {
    "fan_few_cpu": Row("CPU, fan-out to {few:,} (µs)", 1e6),
    "fan_small_cpu": Row("CPU, fan-out to {small:,} (µs)", 1e6, ratio=True),
    "fan_large_cpu": Row("CPU, fan-out to {large:,} (µs)", 1e6, ratio=True),
    "fan_huge_cpu": Row("CPU, fan-out to {huge:,} (µs)", 1e6, ratio=True),
    "saturated_cpu": Row("CPU, {depths[0]} outstanding (µs)", 1e6, ratio=True),
    "saturated4_cpu": Row("CPU, 4 outstanding (µs)", 1e6),
    "saturated2_cpu": Row("CPU, 2 outstanding (µs)", 1e6),
    "saturated_rate": Row("deliveries, {depths[0]} outstanding (thousand/s)", 1e-3, 0),
    "middle_cpu": Row("CPU, {middle:,} bytes (µs)", 1e6, 1),
    "compressed_cpu": Row("CPU, {middle:,} bytes, compressed (µs)", 1e6, 1),
    "long_cpu": Row("CPU, {long:,} bytes (µs)", 1e6, 0),
    "unicast_cpu": Row("CPU, one of {users:,} users (µs)", 1e6, 1),
    "groups_cpu": Row("CPU, one of {groups:,} groups of {group_members} (µs)", 1e6, 1),
    "inbound_cpu": Row("CPU, message from a socket (µs)", 1e6, 1),
    "inbound_trips": Row("Redis round trips, message from a socket"),
    "hosted_async_cpu": Row("CPU, group of {hosted:,}, async consumers (µs)", 1e6, 1),
    "hosted_sync_cpu": Row("CPU, group of {hosted:,}, sync consumers (µs)", 1e6, 1),
    "hosted_bare_cpu": Row("CPU, group of {hosted:,}, bare ASGI application (µs)", 1e6, 1),
    "hosted_shared_cpu": Row("CPU, group of {hosted:,}, shared handler (µs)", 1e6, 1),
    "hosted_plain_cpu": Row("CPU, broadcast to {hosted:,} beside consumers (µs)", 1e6, 1),
    "hosted_large_async_cpu": Row("CPU, group of {large:,}, async consumers (µs)", 1e6, 1),
    "hosted_large_sync_cpu": Row("CPU, group of {large:,}, sync consumers (µs)", 1e6, 1),
    "hosted_large_shared_cpu": Row("CPU, group of {large:,}, shared handler (µs)", 1e6, 1),
    "hosted_large_plain_cpu": Row("CPU, broadcast to {large:,} beside consumers (µs)", 1e6, 1),
    "hosted_free_p50": Row("p50, group of {hosted:,}, sync consumers (ms)"),
    "hosted_free_p99": Row("p99, group of {hosted:,}, sync consumers (ms)"),
    "hosted_blocked_p50": Row("p50, the same while {blocked} handlers block (ms)"),
    "hosted_blocked_p99": Row("p99, the same while {blocked} handlers block (ms)"),
    "fan_small_p50": Row("p50, {small:,} (ms)"),
    "fan_small_p99": Row("p99, {small:,} (ms)"),
    "crowd_small_p50": Row("p50, {small:,} beside {large:,} idle (ms)"),
    "crowd_small_p99": Row("p99, {small:,} beside {large:,} idle (ms)"),
    "churn_p50": Row("p50, {small:,} while sockets come and go (ms)"),
    "churn_p99": Row("p99, {small:,} while sockets come and go (ms)"),
    "fan_large_p50": Row("p50, {large:,} (ms)", digits=1),
    "fan_large_p99": Row("p99, {large:,} (ms)", digits=1),
    "crowd_large_p50": Row("p50, {large:,} beside {large:,} idle (ms)", digits=1),
    "crowd_large_p99": Row("p99, {large:,} beside {large:,} idle (ms)", digits=1),
    "fan_small_rate": Row("pace, fan-out to {small:,} (broadcasts/s)", digits=0),
    "fan_large_rate": Row("pace, fan-out to {large:,} (broadcasts/s)", digits=1),
    "unicast_p50": Row("p50, unicast (ms)"),
    "unicast_p99": Row("p99, unicast (ms)"),
    "fair_whole": Row("a broadcast to {huge:,}, until all have it (ms)", digits=1),
    "fair_unicast": Row("  a unicast behind it (ms)", digits=1),
    "fair_ping": Row("  a ping during it (ms)", digits=1),
    "fair_page": Row("  a page during it (ms)", digits=1),
    "idle_pss": Row("memory, idle connection (KiB, PSS)", 1 / 1024),
    "handshake_cpu": Row("CPU, handshake, 128 at a time (µs)", 1e6, 0),
    "storm_cpu": Row("CPU, handshake, {storm:,} at once, warm (µs)", 1e6, 0),
    "storm_cold_cpu": Row("CPU, handshake, {storm:,} at once, cold (µs)", 1e6, 0),
    "storm_p99": Row("p99, handshake, {storm:,} at once, warm (ms)", digits=0),
    "storm_cold_p99": Row("p99, handshake, {storm:,} at once, cold (ms)", digits=0),
}


def median(result: Result, server: str, figure: str) -> float | None:
    """Return the median over the rounds, or None if there are no figures."""
    found = [r[server][figure] for r in result.rounds if figure in r.get(server, {})]
    return statistics.median(found) if found else None


def ratio(result: Result, server: str, figure: str, base: str = "floor") -> float | None:
    """Return the median of the ratios within each round: a slow minute counts on both sides."""
    found = [
        r[server][figure] / r[base][figure]
        for r in result.rounds
        if figure in r.get(server, {}) and r.get(base, {}).get(figure)
    ]
    return statistics.median(found) if found else None


def lines_of(result: Result) -> list[list[str]]:
    """Return the table, with the header row first; figures that no server has are left out."""
    present = [key for key in COLUMNS if any(r.get(key) for r in result.rounds)]
    lines = [["", *(COLUMNS[key] for key in present)]]
    for figure, row in LINES.items():
        text = row.text.format(**result.sizes)
        found = [median(result, key, figure) for key in present]
        if all(value is None for value in found):
            continue
        lines.append([text, *(_shown(value, row.scale, row.digits) for value in found)])
        if row.ratio:
            ratios = [ratio(result, key, figure) for key in present]
            if any(value is not None for value in ratios):
                lines.append(["  times the floor", *(_shown(value, 1, 2) for value in ratios)])
    return lines


def _shown(value: float | None, scale: float, digits: int) -> str:
    return "" if value is None else f"{value * scale:,.{digits}f}"


def table(result: Result) -> str:
    """Return the table for a terminal."""
    lines = lines_of(result)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    return "\n".join(text)


def judged(result: Result) -> list[Verdict]:
    """Return the verdict on each target for which this run has the figures."""
    found = [target.judge(result.rounds, result.sizes) for target in TARGETS]
    return [verdict for verdict in found if verdict is not None]


def verdicts(result: Result) -> str:
    """Return the targets, the missing servers and the problems, a line for each."""
    lines = [f"{verdict.word:<8} {verdict.text}: {verdict.shown}" for verdict in judged(result)]
    lines += [f"left out {title}: {why}" for title, why in result.absent.items()]
    lines += [f"problem  {text}" for text in result.problems]
    return "\n".join(["", *lines])


def markdown(result: Result, name: str) -> str:
    """Return the result for a page of that name: when and where, the table, the targets."""
    about = ", ".join(f"{key} {value}" for key, value in result.about.items())
    head, *body = lines_of(result)
    few = result.sizes["rounds"]
    far = [COLUMNS[server.key] for server in SERVERS if server.far]
    far = [title for title in head if title in far]
    fewer = f" ({few} for {', '.join(far)})" if far and few < len(result.rounds) else ""
    lines = [
        f"Medians of {len(result.rounds)} rounds{fewer}; {about}.",
        "",
        f"![CPU for each delivered message]({name}.svg)",
        "",
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
        *(f"| {' | '.join(cell.strip() for cell in line)} |" for line in body),
    ]
    titles = {COLUMNS[server.key]: server.title for server in SERVERS}
    short = [f"“{word}”: {titles[word]}" for word in head[1:] if word != titles[word]]
    if short:
        lines += ["", f"Abbreviations in the table header: {'; '.join(short)}."]
    if found := judged(result):
        lines += ["", "| target | measured | |", "|---|---:|---|"]
        lines += [f"| {v.text} | {v.shown} | {v.word} |" for v in found]
    lines += [f"\nLeft out: {title} ({why})." for title, why in result.absent.items()]
    return "\n".join(lines)
