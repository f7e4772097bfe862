import os

from wsredis.adapters.django import get_websocket_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")

application = get_websocket_application()
