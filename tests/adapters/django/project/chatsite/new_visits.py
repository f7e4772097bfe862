"""A session engine that makes a new session where there is none with a key."""

from . import visits


class SessionStore(visits.SessionStore):
    def load(self):
        content = super().load()
        if self.session_key is None:
            self._session_cache = {}
            self.create()
        return content
