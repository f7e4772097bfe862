"""A site as a user of Channels has it: sessions, users, consumers, and a layer."""

import os
from pathlib import Path

DEBUG = False
SECRET_KEY = "not a secret, only for tests"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "wsredis.adapters.django",
    "channels",
    "rooms",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SITE_DATABASE", str(Path(__file__).parent / "db.sqlite3")),
        "OPTIONS": {"timeout": 20},
        "CONN_MAX_AGE": None if "SITE_KEEPS_CONNECTIONS" in os.environ else 0,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ASGI_APPLICATION = "asgi.application"
WSGI_APPLICATION = "wsgi.application"
WSREDIS = {"asgi": "asgi.application", "routes": "rooms.ours.routes"}
REDIS = os.environ.get("WSREDIS_REDIS", "redis://127.0.0.1:6379/0")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": os.environ.get("SITE_LAYER", "wsredis.layers.RedisChannelLayer"),
        "CONFIG": {} if "SITE_LAYER" in os.environ else {"hosts": [REDIS]},
    }
}
USE_TZ = True
