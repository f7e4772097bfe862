from collections.abc import Sequence

from .fanout import Unsent
from .subscriber import Subscriber

def write_each(subscribers: Sequence[Subscriber], data: bytes) -> Unsent: ...
