"""Wait for a condition inside an event loop, never for a fixed time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], T], *, timeout_s: float = 60.0) -> T:
    """Return the first true answer of *condition*; TimeoutError when none comes."""
    async with asyncio.timeout(timeout_s):
        while not (answer := condition()):  # noqa: ASYNC110  # the condition is about something that sets no event
            await asyncio.sleep(0.01)
    return answer
