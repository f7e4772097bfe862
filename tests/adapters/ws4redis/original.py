"""The original package, 0.6.0, patched for today's Django; a separate program.

``python original.py publish`` reads lines of JSON, ``{"to": {...}, "message": [...]}``, and
publishes each; ``python original.py serve PORT`` serves its websockets on Django's server. The
folder it was installed into is in ``WS4REDIS_ORIGINAL``. What today's Django lacks is put in its
place, and nothing in the package itself is changed.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.environ["WS4REDIS_ORIGINAL"])

import django.utils
import six
from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http.response import HttpResponseBase

sys.modules["django.utils.six"] = django.utils.six = six
sys.modules["django.utils.six.moves"] = six.moves
LimitedStream.stream = property(lambda stream: stream._read.__self__)
HttpResponseBase._headers = property(lambda answer: dict(enumerate(answer.headers.items())))

settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "ws4redis"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SECRET_KEY="a key that only the tests know",
    WEBSOCKET_URL="/ws/",
    WS4REDIS_CONNECTION={
        "host": "127.0.0.1", "port": int(os.environ["MYAPP_REDIS"]), "protocol": 2,
    },
)  # fmt: skip

import ws4redis  # noqa: E402

assert ws4redis.__version__ == "0.6.0"
assert ws4redis.__file__.startswith(os.environ["WS4REDIS_ORIGINAL"])

urlpatterns: list[object] = []
django.setup()


def publish() -> None:
    from ws4redis.publisher import RedisPublisher
    from ws4redis.redis_store import RedisMessage

    for line in sys.stdin:
        order = json.loads(line)
        RedisPublisher(**order["to"]).publish_message(RedisMessage(bytes(order["message"])), 10)
        print("done", flush=True)


def serve(port: int) -> None:
    from ws4redis.django_runserver import application, run

    run("127.0.0.1", port, application, threading=True)


if sys.argv[1] == "publish":
    publish()
else:
    serve(int(sys.argv[2]))
