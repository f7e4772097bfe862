"""The step that looks for the script of the browser client."""

from __future__ import annotations

from . import remedies
from .client import Answer, Client, NoAnswer
from .report import Fault, NotTested, Remedy

__all__ = ["look_for_script"]

PATHS = ("/static/wsredis/wsredis.js", "/_wsredis/wsredis.js")
"""Where the script usually is: with Django or a copied folder, and with Flask."""

MARK = "WSRedis"
"""A name that the script contains."""


def look_for_script(client: Client, path: str) -> str:
    """Return where the script of the browser client is.

    Args:
        client: connects to the site.
        path: the path from which pages load it; "" to try the usual ones.

    Raises:
        Fault: it is not at that path, or browsers would not run it.
        NotTested: no path is given, and it is at none of the usual ones.
    """
    prefix = client.address.prefix
    if path:
        answer = _get(client, path)
        if answer is None or not _is_script(answer):
            raise _missing(client, path, answer)
        return f"the browser client is at {path}"
    tried = (*PATHS, f"{prefix}wsredis.js")
    for each in tried:
        if (answer := _get(client, each)) is not None and _is_script(answer):
            return f"the browser client is at {each}"
    raise NotTested(
        f"the browser client is not at {', '.join(tried)}; if pages load it from elsewhere, test"
        f" that with --script PATH; else serve it: with Django, run collectstatic and serve"
        f" STATIC_ROOT, or set the option serve_client and load {prefix}wsredis.js"
    )


def _get(client: Client, path: str) -> Answer | None:
    try:
        return client.get(path)
    except (OSError, NoAnswer):
        return None


def _type(answer: Answer) -> str:
    return str(answer.headers.get_content_type() if "Content-Type" in answer.headers else "")


def _is_script(answer: Answer) -> bool:
    return answer.status == 200 and MARK in answer.body and "javascript" in _type(answer)


def _missing(client: Client, path: str, answer: Answer | None) -> Fault:
    """Return the fault that a script which browsers cannot run indicates."""
    seen = f"{path}: {answer or 'no answer'}"
    if answer is not None and answer.status == 200 and MARK in answer.body:
        return Fault(
            f"{seen}, with the content type {_type(answer) or '(none)'}",
            "script-type",
            "The server does not call the script JavaScript, so browsers may refuse to run it.",
            *remedies.javascript(answer.server),
        )
    return Fault(
        seen,
        "no-script",
        "The script of the browser client is not there, so pages have no WSRedis.",
        *remedies.client_script(client.address.prefix),
        Remedy("or correct the path in the page"),
    )
