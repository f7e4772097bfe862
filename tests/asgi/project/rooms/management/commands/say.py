"""A command that publishes from a process without websockets."""

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("name")
        parser.add_argument("text")

    def handle(self, *args, name, text, **options):
        event = {"type": "room.said", "text": text}
        async_to_sync(get_channel_layer().group_send)(f"room-{name}", event)
