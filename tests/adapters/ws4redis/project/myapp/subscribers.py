"""A subscriber with its own publish_message."""

from django.contrib.auth.models import User
from ws4redis.redis_store import RedisMessage
from ws4redis.subscriber import RedisSubscriber


class Counting(RedisSubscriber):
    """A subscriber that adds the number of users, from the database, to each message."""

    def publish_message(self, message, expire=None):
        counted = f"{message.decode()} to {User.objects.count()}"
        return super().publish_message(RedisMessage(counted), expire)
