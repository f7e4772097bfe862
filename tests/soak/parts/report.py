"""The figures of a soak run as a table."""

from __future__ import annotations

from .course import Course

__all__ = ["table"]

FIGURES = (
    "greenlets",
    "timer watchers",
    "io watchers",
    "WebSocket objects",
    "descriptors",
    "threads",
)


def table(course: Course) -> str:
    """Return the events of a run, and the resources of each worker at its start and end."""
    counts, codes = course.crowd.counts, course.crowd.codes
    quiet = ", ".join(f"{seconds:.1f}" for seconds in course.quiet)
    rows = {
        "sockets opened": counts["opened"],
        "sockets open at the same time": course.most,
        "handshakes aborted by clients": counts["aborted handshakes"],
        "handshakes refused or lost in faults": counts["refused"] + counts["lost handshakes"],
        "stalls": counts["stalls"],
        "revocations": counts["revocations"],
        "published by the publisher": counts["published by the publisher"],
        "published by sockets": counts["published by sockets"],
        "sent to groups": counts["sent to groups"],
        "messages received": course.talk.heard,
        "published in faults without receivers": counts["published without receivers"],
        "missed by slow readers, and counted": course.talk.dropped,
    }
    lines = [f"{name:<38}{value:>12,}" for name, value in rows.items()]
    lines.append(
        "sockets ended with: " + ", ".join(f"{code} {n:,}" for code, n in codes.most_common())
    )
    lines.append(f"longest pause of the clients: {course.crowd.longest:.1f} s")
    lines.append(f"seconds until nothing was left: {quiet}")
    for name in ("slow_consumers", "messages_dropped", "timeouts", "gaps", "unpublished"):
        numbers = [str(worker["stats"][name]) for worker in course.end]
        lines.append(f"{name:<38}{' and '.join(numbers):>12}")
    lines.append(f"{'':<38}{'at the start':>24}{'at the end':>24}")
    pairs = list(zip(course.start, course.end, strict=True))
    for name in FIGURES:
        before, after = (", ".join(f"{p[i]['held'].get(name, 0):,}" for p in pairs) for i in (0, 1))
        lines.append(f"{name:<38}{before:>24}{after:>24}")
    for name in ("blocks", "malloc", "anonymous"):
        before, after = (", ".join(f"{p[i]['memory'][name]:,}" for p in pairs) for i in (0, 1))
        lines.append(f"{'memory: ' + name:<38}{before:>24}{after:>24}")
    served = [b["stats"]["accepted"] - a["stats"]["accepted"] for a, b in pairs]
    lines.append(f"{'sockets served in between':<38}{'':>24}{', '.join(map(str, served)):>24}")
    return "\n".join(lines)
