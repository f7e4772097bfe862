"""A Flask site with common error trackers; ``/seen`` returns the errors they saw.

From the inside out: Sentry's integration of Flask, Werkzeug's debugger, OpenTelemetry's middleware
and a middleware that catches all exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sentry_sdk
from flask import Flask
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from werkzeug.debug import DebuggedApplication

from wsredis.adapters.flask import WSRedis

events: list[str] = []
caught: list[str] = []
answers: list[str] = []
spans = InMemorySpanExporter()


def keep(event: Any, hint: Any) -> None:
    """Keep what Sentry would send, and send nothing."""
    events.append(event["exception"]["values"][-1]["type"])


class CatchAll:
    """A middleware that reports all exceptions, of the call and of the body."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def started(status: str, *rest: Any) -> Any:
            answers.append(status)
            return start_response(status, *rest)

        try:
            return self._iterate(self._app(environ, started))
        except BaseException as exc:
            caught.append(type(exc).__name__)
            raise

    def _iterate(self, body: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from body
        except BaseException as exc:
            caught.append(type(exc).__name__)
            raise


sentry_sdk.init(
    dsn="http://key@localhost:9/1", before_send=keep, send_client_reports=False,
    auto_session_tracking=False,
)  # fmt: skip
app = Flask(__name__)
app.config["SECRET_KEY"] = "for tests"
WSRedis(app)


@app.get("/")
def index() -> str:
    return "ok"


@app.get("/seen")
def seen() -> dict[str, list[str]]:
    failed = [
        s.name for s in spans.get_finished_spans() if s.status.status_code is StatusCode.ERROR
    ]
    return {"sentry": events, "caught": caught, "failed": failed, "answers": answers}


@app.get("/fail")
def fail() -> str:
    raise LookupError("the session store has a secret problem")


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))


def outermost(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    return chain(environ, start_response)


chain = CatchAll(
    OpenTelemetryMiddleware(DebuggedApplication(app, evalex=False), tracer_provider=provider)
)
application = outermost
