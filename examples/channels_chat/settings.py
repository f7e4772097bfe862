"""The settings of the chat: those of ``startproject``, and those for Channels.

Changed for wsredis, with a comment at each place: one app, ``WSREDIS`` and ``CHANNEL_LAYERS``.

The settings are for trying things out on your own machine: the key is public and errors are shown.
"""

import os
from pathlib import Path

SECRET_KEY = "django-insecure-for-trying-it-out-on-ones-own-machine"
DEBUG = True  # with an empty ALLOWED_HOSTS, only localhost is allowed
ALLOWED_HOSTS: list[str] = []

INSTALLED_APPS = [
    "wsredis.adapters.django",  # for wsredis, instead of "daphne"
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "wsredis.examples.channels_chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "wsredis.examples.channels_chat.urls"
WSGI_APPLICATION = "wsredis.examples.channels_chat.wsgi.application"
ASGI_APPLICATION = "wsredis.examples.channels_chat.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DJANGO_CHAT_DB", "db.sqlite3"),
        "OPTIONS": {"timeout": 20},  # seconds
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGOUT_REDIRECT_URL = "index"
STATIC_URL = "/static/"
STATICFILES_DIRS = [Path(__file__).resolve().parent.parent / "static"]  # files that all chats share
TIME_ZONE = "UTC"
USE_TZ = True

# For wsredis: the application that gets the websockets.
WSREDIS = {
    "asgi": ASGI_APPLICATION,
    "max_message_size": 16 * 1024,  # bytes
}

# For wsredis: its layer, instead of "channels_redis.core.RedisChannelLayer". It uses the Redis
# server of wsredis; with "hosts" it uses another one.
CHANNEL_LAYERS = {"default": {"BACKEND": "wsredis.layers.RedisChannelLayer"}}
