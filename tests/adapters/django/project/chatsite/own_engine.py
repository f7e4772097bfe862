"""A session engine with a column and with methods of its own."""

from django.contrib.sessions.backends.db import SessionStore as DatabaseSession

calls = []


class SessionStore(DatabaseSession):
    """A session whose row has the address that is in its content."""

    @classmethod
    def get_model_class(cls):
        from .models import Visit

        return Visit

    def create_model_instance(self, data):
        visit = super().create_model_instance(data)
        visit.address = data.get("address")
        return visit

    async def asave(self, must_create=False):
        calls.append("asave")
        await super().asave(must_create)

    async def adelete(self, session_key=None):
        calls.append("adelete")
        await super().adelete(session_key)

    @classmethod
    def clear_expired(cls):
        calls.append("clear_expired")
        super().clear_expired()
