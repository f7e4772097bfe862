"""The settings of the site under test; those that vary by test come from the environment."""

import json
import os

SECRET_KEY = "a key that only the tests know"
DEBUG = bool(os.environ.get("CHATSITE_DEBUG"))
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver", "chat.example"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "wsredis.adapters.django",
    "chatsite",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "chatsite.urls"
WSGI_APPLICATION = "chatsite.wsgi.application"
STATIC_URL = "/static/"
USE_TZ = True
# Models of an application without migrations cannot have parents in one that has some.
MIGRATION_MODULES = dict.fromkeys(["auth", "contenttypes", "sessions"])
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("CHATSITE_DB", ":memory:"),
        "OPTIONS": {"timeout": 20},
        "TEST": {"NAME": os.environ.get("CHATSITE_TEST_DB")},
    }
}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "wsredis.adapters.django.context_processors.websocket",
            ]
        },
    }
]
WSREDIS = {"allowed_channels": "chatsite.channels.members"}
locals().update(json.loads(os.environ.get("CHATSITE_SETTINGS", "{}")))
