"""Functions that are called after a commit of a SQLAlchemy session.

Each function waits in the transaction in which it was registered. The commit of a nested
transaction passes its functions to the outer one, the commit of the outermost one calls them, and
the end of a transaction drops those that still wait in it: so none is left after a rollback or a
close.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

__all__ = ["on_commit"]

WAITING = "wsredis.waiting"
"""The key of ``session.info`` under which the waiting functions are, by transaction."""


def on_commit(session: Session | scoped_session[Any], call: Callable[[], None]) -> None:
    """Call a function when the current transaction has committed, or at once if there is none."""
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
    """Pass the functions of the committed transaction to the outer one, or call them."""
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
