"""The settings of a site as the manual of django-websocket-redis has them."""

import os

DEBUG = bool(os.environ.get("MYAPP_DEBUG"))
SECRET_KEY = "a key that only the tests know"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "myapp.urls"
STATIC_URL = "/static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("MYAPP_DB", ":memory:"),
    }
}
INSTALLED_APPS = (
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "ws4redis",
    "myapp",
)
MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.static",
                "ws4redis.context_processors.default",
            ]
        },
    }
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short"}},
    "root": {"handlers": ["console"], "level": "DEBUG"},
    "loggers": {"django.server": {"handlers": ["console"], "propagate": False}},
}

WSGI_APPLICATION = "ws4redis.django_runserver.application"
WEBSOCKET_URL = "/ws/"
WS4REDIS_CONNECTION = {"host": "127.0.0.1", "port": int(os.environ.get("MYAPP_REDIS", "6379"))}
WS4REDIS_EXPIRE = 7200
WS4REDIS_PREFIX = "demo"
WS4REDIS_HEARTBEAT = "--heartbeat--"
if "MYAPP_SUBSCRIBER" in os.environ:
    WS4REDIS_SUBSCRIBER = os.environ["MYAPP_SUBSCRIBER"]
