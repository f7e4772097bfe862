from collections.abc import Sequence

from .connection import Connection
from .fanout import Left

def write_each(connections: Sequence[Connection], data: bytes) -> Left: ...
