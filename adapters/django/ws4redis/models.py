"""No models: only the receiver of ``user_logged_in``, which projects import from here."""

from .groups import store_groups_in_session

__all__ = ["store_groups_in_session"]
