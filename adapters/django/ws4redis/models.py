"""No tables: only the name under which projects know the receiver of ``user_logged_in``."""

from .groups import store_groups_in_session

__all__ = ["store_groups_in_session"]
