"""The facade's parts: what it asks exchanges with, and what keeps rows of their answers."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from api.parts import FacadeParts, Parts
from config import Settings
from stores.hot.store import HotStore

if TYPE_CHECKING:
    from budgets.exchange_client import Heard


@contextlib.asynccontextmanager
async def keeping_answers(settings: Settings, store: HotStore) -> AsyncIterator["Heard | None"]:
    """Who is told of each answer of an exchange; None where FACADE is off."""
    if not settings.facade:
        yield None
        return
    from facade.hearing import hearing

    async with hearing(store) as found:
        yield found.note


@contextlib.asynccontextmanager
async def with_facade(settings: Settings, parts: Parts) -> AsyncIterator[Parts]:
    """The parts of an API process; with those that questions are passed through with, if FACADE is
    on."""
    if not settings.facade:
        yield parts
        return
    # Imported here: without the facade an API process asks no exchange.
    from budgets.exchange_client import ExchangeClient

    async with ExchangeClient(settings, store=parts.store) as client:
        yield parts.with_facade(FacadeParts(client))
