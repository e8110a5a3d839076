"""The facade's part of a process that asks exchanges: it keeps rows of their answers."""

import contextlib
from collections.abc import AsyncIterator

from budgets.exchange_client import Heard
from config import Settings
from stores.hot.store import HotStore


@contextlib.asynccontextmanager
async def keeping_answers(settings: Settings, store: HotStore) -> AsyncIterator[Heard | None]:
    """Who is told of each answer of an exchange; None where FACADE is off."""
    if not settings.facade:
        yield None
        return
    from facade.hearing import hearing

    async with hearing(store) as found:
        yield found.note
