"""``python -m wsredis.cli``: the ``wsredis`` command without the installed script."""

import sys

from .main import main

sys.exit(main())
