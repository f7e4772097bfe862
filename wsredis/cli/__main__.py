"""``python -m wsredis.cli``: the ``wsredis`` command where no script is installed."""

import sys

from .main import main

sys.exit(main())
