"""The collectors as GET /status shows them: what is wanted of each, and what it does."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from api.collectors.shown import actual_json
from database import DatabaseUnavailable
from live.configured.actual import collector_states
from live.configured.desired import DesiredCollector, desired_of
from status.parts_state import DEADLINE_S
from status.stores import Stores
from stores.hot.store import StoreUnavailable

Wanted = Mapping[str, DesiredCollector]

log = structlog.get_logger(__name__)


async def wanted_collectors(parts: Stores) -> Wanted | None:
    """What is wanted of every collector, by name; None while the database does not tell."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return desired_of(await parts.database.collectors.read())
    except (DatabaseUnavailable, TimeoutError) as error:
        log.debug("collectors_not_read", error=str(error))
        return None


async def collectors_json(
    parts: Stores, wanted: Wanted | None, *, store_is_there: bool
) -> list[dict[str, Any]] | None:
    """The form of `CollectorStatus`; one command of the hot store if there is any collector."""
    if wanted is None:
        return None
    states = {}
    if store_is_there:
        try:
            async with asyncio.timeout(DEADLINE_S):
                states = await collector_states(parts.store, wanted)
        except (StoreUnavailable, TimeoutError) as error:
            log.debug("collector_states_not_read", error=str(error))
    return [
        {
            "name": name,
            "exchange": str(each.definition.exchange),
            "data_types": [str(kind) for kind in each.definition.data_types],
            "symbols": len(each.symbols),
            "enabled": each.enabled,
            "running": each.runs,
            "actual": actual_json(states.get(name)),
        }
        for name, each in wanted.items()
    ]
