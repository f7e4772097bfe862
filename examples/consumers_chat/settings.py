"""The settings of the chat: those of ``startproject``, one app more, and ``WSREDIS``.

The settings are for trying things out on your own machine: the key is public and errors are shown.
"""

import os
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent

SECRET_KEY = "django-insecure-for-trying-it-out-on-ones-own-machine"
DEBUG = True  # with an empty ALLOWED_HOSTS, only localhost is allowed
ALLOWED_HOSTS: list[str] = []

INSTALLED_APPS = [
    "wsredis.adapters.django",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "wsredis.examples.consumers_chat",
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
ROOT_URLCONF = "wsredis.examples.consumers_chat.urls"
WSGI_APPLICATION = "wsredis.examples.consumers_chat.wsgi.application"
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
STATICFILES_DIRS = [EXAMPLES / "static"]  # files that all chats share
FIXTURE_DIRS = [EXAMPLES / "channels_chat" / "fixtures"]
TIME_ZONE = "UTC"
USE_TZ = True

WSREDIS = {
    "routes": "wsredis.examples.consumers_chat.routing.routes",
    "max_message_size": 16 * 1024,  # bytes
}
