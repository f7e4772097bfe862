"""Custom user models, and other classes for the rows of users, groups and sessions."""

import os

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Group, User
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

from wsredis.adapters.django import Publisher, connected, disconnected


class Member(AbstractBaseUser):
    """A user without groups and with an email address as the name."""

    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = "email"
    objects = BaseUserManager()


class Colleague(User):
    """The same table as that of users."""

    class Meta:
        proxy = True


class Employee(User):
    """A table of its own beside that of users."""

    desk = models.CharField(max_length=10)


class Manager(Employee):
    class Meta:
        proxy = True


class Team(Group):
    class Meta:
        proxy = True


class Department(Group):
    floor = models.CharField(max_length=10)


class Visit(AbstractBaseSession):
    """A session with the address of its client; see `visits`."""

    address = models.CharField(max_length=100, null=True)


def announce(signal, identity, facility, **said):
    """Tell who comes and goes; asks the database, as such a receiver does."""
    known = User.objects.filter(username=identity.user).exists()
    word = "came" if signal is connected else "went"
    Publisher(f"{facility}/presence", broadcast=True).publish(f"{identity.user} {known} {word}")


if os.environ.get("CHATSITE_ANNOUNCE"):
    connected.connect(announce)
    disconnected.connect(announce)
