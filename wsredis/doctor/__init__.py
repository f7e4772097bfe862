"""``wsredis doctor``: test a site's websockets from outside and name the faulty directive.

`client` connects to the site, `examination` runs the steps, `connection`, `answers` and `silence`
interpret the results, `remedies` has the configuration to write, and `report` prints it.
"""

from .command import add_doctor_arguments, run_doctor

__all__ = ["add_doctor_arguments", "run_doctor"]
