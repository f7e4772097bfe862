#!/usr/bin/env python3
"""The site's manage.py, as ``startproject`` writes it."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run a command of the site."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsredis.examples.consumers_chat.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
