"""An event loop that says nothing of what ends after it.

Where one array of a checkpoint is damaged, Orbax gives up and closes its event loop; its reads of
the other arrays end later, and each would print a trace that the loop is closed, though the error
itself was raised.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any


class _Loop(asyncio.SelectorEventLoop):
    def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        try:
            return super().call_soon_threadsafe(*args, **options)
        except RuntimeError:
            if not self.is_closed():
                raise
            return None


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _Loop()


@contextlib.contextmanager
def without_late_traces() -> Iterator[None]:
    """Event loops that are made here drop what is to be called after they are closed."""
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_Policy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)
