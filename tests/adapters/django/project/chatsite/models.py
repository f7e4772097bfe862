"""A custom user model, without groups and with an email address as the name."""

import os

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import User
from django.db import models

from wsredis.adapters.django import Publisher, connected, disconnected


class Member(AbstractBaseUser):
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = "email"
    objects = BaseUserManager()


def announce(signal, identity, facility, **said):
    """Tell who comes and goes; asks the database, as such a receiver does."""
    known = User.objects.filter(username=identity.user).exists()
    word = "came" if signal is connected else "went"
    Publisher(f"{facility}/presence", broadcast=True).publish(f"{identity.user} {known} {word}")


if os.environ.get("CHATSITE_ANNOUNCE"):
    connected.connect(announce)
    disconnected.connect(announce)
