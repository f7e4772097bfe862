"""A subscriber that publishes in its own way."""

from django.contrib.auth.models import User
from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import RedisSubscriber


class Counting(RedisSubscriber):
    """Add to each message how many users there are, which the database must be asked for."""

    def publish_message(self, message, expire=None):
        counted = f"{message.decode()} to {User.objects.count()}"
        return super().publish_message(RedisMessage(counted), expire)
