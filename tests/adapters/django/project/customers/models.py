"""An application with a user model that is a child of another, installed instead of `chatsite`."""

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Group
from django.db import models


class Account(AbstractBaseUser):
    """The parent of a user model, which has the fields that matter."""

    number = models.AutoField(primary_key=True)
    name = models.CharField(max_length=10, unique=True)
    is_active = models.BooleanField(default=True)
    USERNAME_FIELD = "name"
    objects = BaseUserManager()


class Customer(Account):
    """A user model that is a child, and has a model of its own for its groups."""

    groups = models.ManyToManyField(Group, through="Membership", related_name="customers")


class Membership(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE)
    group = models.ForeignKey(Group, models.CASCADE)
    since = models.DateField(null=True)
