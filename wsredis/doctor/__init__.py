"""``wsredis doctor``: look at a site's websockets from outside and name the faulty directive.

`client` talks, `examination` takes one step after the other, `connection`, `answers` and `silence`
judge what they bring, `remedies` knows what to write, and `report` shows it.
"""

from .command import add_doctor_arguments, run_doctor

__all__ = ["add_doctor_arguments", "run_doctor"]
