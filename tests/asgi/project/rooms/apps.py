"""The application of the rooms; each process notes the queries of all of its threads."""

from django.apps import AppConfig
from django.db.backends.signals import connection_created

queries = []
"""The statements of this process since they were read last."""


class RoomsConfig(AppConfig):
    name = "rooms"

    def ready(self):
        connection_created.connect(watch)


def watch(connection, **kwargs):
    if note not in connection.execute_wrappers:  # which stay when it connects again
        connection.execute_wrappers.append(note)


def note(execute, sql, params, many, context):
    queries.append(sql)
    return execute(sql, params, many, context)
