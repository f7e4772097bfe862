"""What people fill in."""

from typing import Any

from django import forms
from django.contrib.auth.models import Group, User

from .channels import MAX_TEXT


class MessageForm(forms.Form):
    """A line of text."""

    text = forms.CharField(max_length=MAX_TEXT)

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user


class LetterForm(MessageForm):
    """A line for one person."""

    to = forms.ModelChoiceField(User.objects.none(), to_field_name="username", empty_label=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = User.objects.filter(is_active=True).exclude(pk=self.user.pk)
        self.fields["to"].queryset = others.order_by("username")


class GroupForm(MessageForm):
    """A line for one of the groups in which one is."""

    to = forms.ModelChoiceField(Group.objects.none(), to_field_name="name", empty_label=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to"].queryset = self.user.groups.order_by("name")


class EchoForm(MessageForm):
    """A line for oneself: wherever one has logged in, or in this browser only."""

    to = forms.ChoiceField(choices=[(name, name) for name in ("user", "session")])
