"""The collectors: what is wanted of each, which the database says."""

import asyncio
from collections.abc import Mapping

import structlog

from database import DatabaseUnavailable
from live.configured.desired import DesiredCollector, desired_of
from status.parts_state import DEADLINE_S
from status.stores import Stores

Wanted = Mapping[str, DesiredCollector]

log = structlog.get_logger(__name__)


async def wanted_collectors(stores: Stores) -> Wanted | None:
    """What is wanted of every collector, by name; None while the database does not tell."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return desired_of(await stores.database.collectors.read())
    except (DatabaseUnavailable, TimeoutError) as error:
        log.debug("collectors_not_read", error=str(error))
        return None
