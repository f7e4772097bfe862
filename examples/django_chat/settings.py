"""The settings of the chats: those of ``startproject``, and ``WSREDIS``.

They are for trying things out on your own machine: the key is public and errors are shown.
"""

import os
from pathlib import Path

SECRET_KEY = "django-insecure-for-trying-it-out-on-ones-own-machine"
DEBUG = True  # with an empty ALLOWED_HOSTS, only localhost is allowed
ALLOWED_HOSTS: list[str] = []

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "wsredis.adapters.django",
    "wsredis.examples.django_chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "wsredis.examples.django_chat.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "wsredis.examples.django_chat.urls"
WSGI_APPLICATION = "wsredis.examples.django_chat.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "wsredis.adapters.django.context_processors.websocket",
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
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "index"
STATIC_URL = "/static/"
STATICFILES_DIRS = [Path(__file__).resolve().parent.parent / "static"]  # files that all chats share
TIME_ZONE = "UTC"
USE_TZ = True

WSREDIS = {
    "allowed_channels": "wsredis.examples.django_chat.channels.allowed_channels",
    "endpoint": "wsredis.examples.django_chat.channels.SignedEndpoint",
    "expire": 3600,  # seconds for which the last message is retained for new and reloaded pages
    "max_message_size": 16 * 1024,  # bytes
    "binary": False,
}
