"""What happens after a commit: calls that wait in a session of SQLAlchemy.

Each call waits at the transaction in which it was made. The commit of a nested transaction hands
its calls to the one around it, the commit of the outermost one makes them, and the end of a
transaction drops what still waits at it: so nothing is left after a rollback or a close.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

__all__ = ["on_commit"]

WAITING = "wsredis.waiting"
"""Where a session keeps what waits: calls by transaction."""


def on_commit(session: Session | scoped_session[Any], call: Callable[[], None]) -> None:
    """Call when the transaction that runs now has been committed, at once if there is none."""
    session = session() if isinstance(session, scoped_session) else session
    if (transaction := _innermost(session)) is None:
        call()
        return
    if WAITING not in session.info:
        session.info[WAITING] = {}
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_transaction_end", _ended)
    session.info[WAITING].setdefault(transaction, []).append(call)


def _innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _committed(session: Session) -> None:
    """Hand on what waits at the transaction of this commit, or do it."""
    transaction = _innermost(session)
    calls = session.info[WAITING].pop(transaction, [])
    outer = transaction and transaction.parent
    if outer is not None:
        session.info[WAITING].setdefault(outer, []).extend(calls)
        return
    for call in calls:
        call()


def _ended(session: Session, transaction: SessionTransaction) -> None:
    session.info[WAITING].pop(transaction, None)
