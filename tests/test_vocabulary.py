"""One thing has one word: names, documentation and messages use none that was replaced.

`WORDS` and `NAMES` are about names in code, `PHRASES` about everything that is read: documentation,
docstrings, comments, messages, help. The old words stand in `wsredis/deprecated.py`, which accepts
them, and in `CHANGELOG.md`, which lists them; and here.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXCEPTIONS = {"wsredis/deprecated.py", "CHANGELOG.md"}

WORDS = {
    "admission": "limits",
    "answered": "acked",
    "apart": "exceptions",
    "beats": "heartbeats",
    "cut": "abort",
    "expel": "kick",
    "farewell": "pending_close or exit_hooks",
    "flood": "over_limit",
    "flooding": "over_limit",
    "floods": "over_limit",
    "intake": "rate",
    "kept": "retained",
    "listeners": "subscribers",
    "obey": "apply",
    "obeys": "apply",
    "outbox": "send_buffer",
    "piece": "chunk",
    "pieces": "chunks",
    "rows": "batches, or lines of a table",
    "seat": "slot",
    "seats": "slots",
    "shed": "messages_dropped",
    "sheds": "drops",
    "unanswered": "unacked",
    "validity": "expiry",
    "wish": "requested, or a key of it",
    "wished": "requested",
    "wishes": "requested",
}
"""Words that no name has, and what to write instead."""

NAMES = {
    "_early": "_cursors",
    "is_ahead": "over_watermark",
    "left_with": "on_partial_write",
    "make_way": "should_yield",
    "outbox_bytes": "send_buffer_bytes",
    "put_first": "send_retained",
}
"""Whole names, and what to write instead."""

PHRASES = [
    (r"\bwish(?:es|ed)?\b", "requested (channels); one is a key", "a browser's wishes"),
    (r"outbox", "send buffer", "bytes wait in its outbox"),
    (r"wants_kept", "wants_retained", "set `wants_kept` to False"),
    (r"`(?:dropped|flooding|shed)`", "the key of stats of today", "counted as `dropped`"),
    (
        r"\b(?:stats\(\)|numbers)\[.(?:dropped|flooding|shed).\]",
        "the key of stats of today",
        'stats()["shed"] grows',
    ),
    (r"\bkept (?:last )?(?:messages?|ones?|values?)\b", "retained message", "the kept message"),
    (
        r"\bmessages? (?:that )?(?:is|are|was|were|be) kept\b|\bfor which (?:it|one) is kept\b",
        "retained",
        "the last message is kept",
    ),
    (
        r"\bkeeps? (?:a|its|no|the|their)(?: last)? messages?\b",
        "retain",
        "channels that keep no message",
    ),
    (r"\bin rows\b|\brows? of (?:\d+|listeners|sockets)\b", "batch", "they stand in rows of 128"),
    (r"\bpieces?\b", "chunk", "all rows get one piece"),
    (r"\b(?:\d+|many) listeners\b|\blisteners of\b.{0,9}\bchannel", "subscribers", "128 listeners"),
    (r"\bshed(?:s|ding)?\b", "dropped", "messages are shed"),
    (r"\badmission\b", "limits", "the admission of a process"),
    (r"\bseats?\b", "slot", "who took a seat"),
    (r"\b(?:intake|floods?|flooding)\b", "rate limit, over the limit", "a flood ends with 1008"),
    (r"\bunanswered\b", "unacked, not acknowledged", "what is unanswered"),
    (r"\bvalidity\b", "expiry", "the validity of a session"),
    (r"\bobey(?:s|ed)?\b", "apply, revocation", "all workers obey"),
    (r"\bexpel(?:s|led)?\b", "kick", "whoever is expelled"),
    (r"(?:^|(?<=\s))cuts?(?=[\s.,;:])", "end, close, abort", "a silent socket is cut."),
    (r"\b(?:farewell|goodbye)s?\b", "close frame, drain", "the old one says goodbye"),
    (
        r"\b(?:gives?|gave|given|giving) way\b",
        "is dropped (a message), yields (a greenlet)",
        "what gives way then",
    ),
    (
        r"\b(?:is|are|was|were|be|been) away\b|\bRedis away\b",
        "is unavailable",
        "Redis is away",
    ),
    (r"\b(?:makes?|made|making) no sense\b|\bsenseless\b", "is not valid", "it makes no sense"),
    (r"\bmend(?:s|ed|ing)?\b", "fix", "faults are mended"),
    (
        r"\bspeaks?\b(?!\.| (?:to|for)\b)|\bspoken\b",
        "support, use, serve",
        "a port that speaks websocket",
    ),
    (
        r"\b(?:hold(?:s|ing)?|held) (?!up\b|back\b|for\b)(?:\S+ ){0,3}?websockets?\b",
        "serve websockets; has so many websockets open",
        "servers that hold websockets",
    ),
    (
        r"\bwho (?:he|it|one|she|somebody|someone|they|this|you) (?:is|are)\b"
        r"|\bwho (?:is|are) (?:he|it|she|they|you)\b|\bfound out who\b",
        "identity",
        "a resolver says who somebody is",
    ),
    (r"\bcharacters of chance\b", "random characters", "32 characters of chance"),
]
"""Expressions in which a space stands for any white space, what to write instead, an example."""

COMPILED = [
    (re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), instead)
    for pattern, instead, _ in PHRASES
]


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def python_files() -> list[Path]:
    found = [ROOT / "scripts" / name for name in ("conformance", "release", "test")]
    for folder in ("wsredis", "adapters", "examples", "scripts"):
        found += (ROOT / folder).rglob("*.py")
    found += (ROOT / "benchmarks").glob("*.py")
    return sorted(file for file in found if relative(file) not in EXCEPTIONS)


def other_files() -> list[Path]:
    found = [ROOT / name for name in ("CONTRIBUTING.md", "README.md", "SECURITY.md", "Makefile")]
    found += (ROOT / "docs").glob("*.md")
    for pattern in ("*.md", "*.c", "*.h"):
        found += (ROOT / "benchmarks").glob(pattern)
    for pattern in (
        "*.conf",
        "*.ini",
        "*.service",
        "*.yaml",
        "*.html",
        "*.js",
        "*.jsx",
        "Dockerfile",
    ):
        found += (ROOT / "examples").rglob(pattern)
    for pattern in ("*.c", "*.pyi", "*.js", "*.mjs", "*.ts", "*.mts"):
        found += (ROOT / "wsredis").rglob(pattern)
    return sorted(found)


# Names


def words_of(name: str) -> list[str]:
    """Split snake_case and CamelCase."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def keys_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield strings that are used as names: keys, and what `get`, `getattr` and the like take."""
    found: list[ast.expr | None] = []
    if isinstance(node, ast.Subscript):
        found = [node.slice]
    elif isinstance(node, ast.Dict):
        found = list(node.keys)
    elif isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in ("get", "pop", "setdefault", "getattr", "setattr", "hasattr", "attrgetter"):
            found = list(node.args[:2])
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if names in (["__slots__"], ["__all__"]) and node.value is not None:
            found = [each for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
    for each in found:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.lineno, each.value


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every name of a syntax tree with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.Name():
                yield node.lineno, node.id
            case ast.Attribute():
                yield node.lineno, node.attr
            case ast.arg() | ast.keyword() if node.arg:
                yield node.lineno, node.arg
            case ast.alias():
                yield from ((node.lineno, part) for part in node.name.split("."))
                yield node.lineno, node.asname or ""
            case ast.ImportFrom():
                yield from ((node.lineno, part) for part in (node.module or "").split("."))
            case ast.Global() | ast.Nonlocal():
                yield from ((node.lineno, name) for name in node.names)
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
                yield node.lineno, node.name
        yield from keys_of(node)


def bad_names(place: str, source: str) -> list[str]:
    """Return a line for each name that has an old word, once for a name."""
    stem = Path(place).stem
    found: dict[str, int] = {}
    for line, name in [(1, stem), *names_in(ast.parse(source))]:
        found[name] = min(line, found.get(name, line))
    bad = []
    for name, line in sorted(found.items(), key=lambda item: item[1]):
        instead = [NAMES[name]] if name in NAMES else []
        instead += [f"{word} -> {WORDS[word]}" for word in words_of(name) if word in WORDS]
        if instead:
            bad.append(f"{place}:{line}: the name {name!r}: write {', '.join(instead)}")
    return bad


# What is read


def texts_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield docstrings, other strings and comments of a program, each with its first line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    comments: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("#! ")
    lines = sorted(comments)
    starts = lines[:1] + [line for before, line in pairwise(lines) if line != before + 1]
    for start in starts:
        together = [comments[start]]
        while start + len(together) in comments:
            together.append(comments[start + len(together)])
        yield start, "\n".join(together)


def bad_phrases(place: str, first: int, text: str) -> list[str]:
    """Return a line for each old phrase in a text that begins on a line of a file."""
    # The name of a test is the test's own sentence, and in C and its like comments have a margin.
    text = re.sub(r"tests/[\w/]+\.py::\w+", lambda found: "." * len(found[0]), text)
    text = re.sub(r"(?m)^( *)(?:\*|//|[#;]+)(?= )", r"\1 ", text)
    bad = []
    for pattern, instead in COMPILED:
        for match in pattern.finditer(text):
            line = first + text.count("\n", 0, match.start())
            shown = " ".join(match[0].split())
            bad.append(f"{place}:{line}: {shown!r}: write {instead}")
    return bad


# The tests


def test_no_name_has_an_old_word() -> None:
    bad = [
        line
        for file in python_files()
        for line in bad_names(relative(file), file.read_text("utf-8"))
    ]
    assert not bad, "\n" + "\n".join(bad)


def test_no_docstring_comment_or_message_has_an_old_phrase() -> None:
    bad = []
    for file in python_files():
        for line, text in texts_in(file.read_text(encoding="utf-8")):
            bad += bad_phrases(relative(file), line, text)
    assert not bad, "\n" + "\n".join(bad)


def test_no_documentation_has_an_old_phrase() -> None:
    bad = []
    for file in other_files():
        bad += bad_phrases(relative(file), 1, file.read_text(encoding="utf-8"))
    assert not bad, "\n" + "\n".join(bad)


# The tests of these tests


def test_the_files_are_found() -> None:
    programs = {relative(file) for file in python_files()}
    some = {"wsredis/hub/hub.py", "adapters/flask/conf.py", "scripts/test", "benchmarks/report.py"}
    assert some | {"examples/plain_wsgi/app.py"} <= programs
    assert not EXCEPTIONS & programs
    others = {relative(file) for file in other_files()}
    assert {"README.md", "SECURITY.md", "docs/operating.md", "benchmarks/README.md"} <= others
    assert not EXCEPTIONS & others
    assert all((ROOT / name).is_file() for name in EXCEPTIONS)


@pytest.mark.parametrize(
    "source",
    [
        "import a.outbox",
        "from outbox import x",
        "import x as outbox",
        "def outbox(): pass",
        "async def outbox(): pass",
        "class OutBoxed:\n outbox = 1",
        "class TCPOutbox: pass",
        "def f(outbox): pass",
        "f(max_outbox=1)",
        "x.outbox",
        "_outbox = 1",
        "MAX_OUTBOX: int",
        "x['outbox']",
        "x = {'outbox': 1}",
        "x.get('outbox_bytes')",
        "getattr(x, 'outbox')",
        "__slots__ = ('a', *('outbox',))",
        "try: pass\nexcept E as outbox: pass",
    ],
)
def test_an_old_word_is_found_in_every_kind_of_name(source: str) -> None:
    (line, *_) = bad_names("a/b.py", f"\n{source}")
    assert re.fullmatch(r"a/b\.py:[23]: the name '.*': write .*send_buffer.*", line)


@pytest.mark.parametrize("word", WORDS)
def test_each_old_word_is_found(word: str) -> None:
    for name in (f"max_{word}", f"{word.title()}Of", f"_{word}", word.upper()):
        assert bad_names("b.py", f"{name} = 1"), name


@pytest.mark.parametrize("name", NAMES)
def test_each_old_name_is_found(name: str) -> None:
    assert bad_names("b.py", f"x.{name}()") != []


def test_the_name_of_a_file_is_a_name() -> None:
    assert bad_names("wsredis/outbox.py", "") != []


def test_a_name_of_today_is_not_found() -> None:
    source = "heartbeats = row = answer = early = x.execute(ahead=1)['send_buffer_bytes']"
    assert bad_names("b.py", source) == []


@pytest.mark.parametrize(
    ("pattern", "example"), [(pattern, example) for pattern, _, example in PHRASES]
)
def test_each_old_phrase_is_found(pattern: str, example: str) -> None:
    for text in (example, example.replace(" ", "\n"), f"It is so: {example.capitalize()}"):
        assert re.search(pattern.replace(" ", r"\s+"), text, re.IGNORECASE)
        assert bad_phrases("a.md", 1, text) != []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""Redis is\n  away."""', 1),
        ('def f():\n    """Say that Redis is away."""', 2),
        ("x = 1  # Redis is away", 1),
        ("# Redis is\n# away", 1),
        ("x = 1\n# It says that\n# Redis is away", 3),
        ('raise E(f"{x} is away")', 1),
        ('log.info("Redis "\n  "is away")', 1),
    ],
)
def test_an_old_phrase_is_found_wherever_something_is_read(source: str, line: int) -> None:
    bad = [each for first, text in texts_in(source) for each in bad_phrases("b.py", first, text)]
    assert bad == [f"b.py:{line}: 'is away': write is unavailable"]


def test_a_phrase_is_found_across_the_margin_of_a_comment() -> None:
    assert bad_phrases("a.c", 1, "/* Redis is\n * away */") != []
    assert bad_phrases("a.conf", 1, "    # Redis is\n    # away") != []


def test_plain_english_is_not_found() -> None:
    text = """
    A row of the table, the first end, an answered ping, what a proxy keeps to itself. Drivers hold
    up every websocket. Two are kept open. Who is logged in may speak to everybody. A fault `cut`.
    - `tests/servers/test_limits.py::test_what_is_within_the_limits_is_no_flood`
    """
    assert bad_phrases("a.md", 1, text) == []
