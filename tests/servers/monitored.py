"""The site of ``webapp`` below a monitoring agent, which wraps the input and ``start_response``.

The wrapper of the input passes on all attributes, as those of New Relic and others do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from webapp import application as site


class Input:
    """A wrapper around ``wsgi.input`` that counts what is read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.size = 0

    def read(self, *args: int) -> bytes:
        data: bytes = self._stream.read(*args)
        self.size += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"] = Input(environ["wsgi.input"])

    def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        write = start_response(status, [*headers, ("X-Monitored", "yes")], *rest)

        def written(data: bytes) -> Any:
            return write(data)

        return written

    def passed_on(body: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from body
        finally:
            if hasattr(body, "close"):
                body.close()

    return passed_on(site(environ, started))
