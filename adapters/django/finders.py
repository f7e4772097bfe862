"""The finder with which ``collectstatic`` and ``runserver`` find the browser client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseStorageFinder
from django.core.files.storage import FileSystemStorage

import wsredis

__all__ = ["ClientFinder"]


class ClientFinder(BaseStorageFinder):
    """The finder of ``wsredis/wsredis.js`` and the files beside it; `.apps` adds it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        folder = Path(wsredis.__file__).parent / "static"
        super().__init__(FileSystemStorage(location=folder), *args, **kwargs)
