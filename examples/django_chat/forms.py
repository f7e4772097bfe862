"""The forms of the chats."""

from typing import Any

from django import forms
from django.contrib.auth.models import Group, User

from .channels import MAX_TEXT


class MessageForm(forms.Form):
    """A message."""

    text = forms.CharField(max_length=MAX_TEXT)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user


class LetterForm(MessageForm):
    """A message to another user."""

    to = forms.ModelChoiceField(User.objects.none(), to_field_name="username", empty_label=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = User.objects.filter(is_active=True).exclude(pk=self.user.pk)
        self.fields["to"].queryset = others.order_by("username")


class GroupForm(MessageForm):
    """A message to one of the user's groups."""

    to = forms.ModelChoiceField(Group.objects.none(), to_field_name="name", empty_label=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to"].queryset = self.user.groups.order_by("name")


class EchoForm(MessageForm):
    """A message to oneself: in all browsers where the user is logged in, or in this one only."""

    to = forms.ChoiceField(choices=[(name, name) for name in ("user", "session")])
