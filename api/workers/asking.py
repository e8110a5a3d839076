"""Deadlines of what routes ask of the stores, so that every answer comes within 3 s."""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from database import DatabaseUnavailable

DEADLINE_S: Final = 2.7

T = TypeVar("T")


async def asked(asking: Awaitable[T], within_s: float = DEADLINE_S) -> T:
    """What it returns. Raises DatabaseUnavailable where nothing comes in time."""
    try:
        async with asyncio.timeout(within_s):
            return await asking
    except TimeoutError:
        raise DatabaseUnavailable(f"the database did not answer within {DEADLINE_S:g} s") from None
