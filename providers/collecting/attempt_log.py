"""Attempts of this process on their way into the database, some at a time, and what they used."""

import asyncio
from collections import deque
from typing import Final

import structlog

from database import DatabaseUnavailable
from providers.attempts import Attempt
from providers.collecting.requests_made import count_request
from providers.collecting.usage_log import UsageLog
from providers.resources import Resource
from stores.cold.providers.conduct import AttemptRow, ProviderConduct
from stores.hot.store import StoreUnavailable
from timing.backoff import stop_or

# While the database is away; what comes then is counted and left out, oldest first.
_MOST_WAITING: Final = 5_000
_EVERY_S: Final = 10.0
_LAST_S: Final = 0.7  # when the process ends

log = structlog.get_logger(__name__)


class AttemptLog:
    """`note` takes attempts and never waits; `run` stores them every 10 s until it is stopped."""

    def __init__(self, conduct: ProviderConduct, host: str, usage: UsageLog | None = None) -> None:
        self._conduct = conduct
        self._host = host
        self.usage = usage
        self._used: dict[str, Resource] = {}
        self._waiting: deque[AttemptRow] = deque(maxlen=_MOST_WAITING)
        self.dropped = 0

    def note(self, attempt: Attempt) -> None:
        self.dropped += len(self._waiting) == _MOST_WAITING
        count_request(attempt)
        self._used[attempt.resource.id] = attempt.resource
        failed = attempt.error_class
        self._waiting.append(
            AttemptRow(
                resource=attempt.resource.id,
                at_ms=attempt.started_at_ms,
                outcome="ok" if failed is None else str(failed),
                status=attempt.status,
                ms=attempt.ms,
                message=attempt.message[:1000] if failed is not None else None,
                host=self._host,
            )
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Stores what was noted until `stop`, and then what is left, if that is quick."""
        while not await stop_or(stop, _EVERY_S):
            await self.flush()
        try:
            async with asyncio.timeout(_LAST_S):
                await self.flush()
        except TimeoutError:
            log.warning("provider_attempts_lost", attempts=len(self._waiting))

    async def flush(self) -> None:
        """Stores what waits. While the database is away it stays."""
        rows = list(self._waiting)
        if not rows:
            return
        try:
            await self._conduct.add_attempts(rows)
        except DatabaseUnavailable as error:
            log.warning("provider_attempts_wait", waiting=len(rows), error=str(error))
            return
        for row in rows:
            if self._waiting and self._waiting[0] is row:
                self._waiting.popleft()
        await self._store_usage()

    async def _store_usage(self) -> None:
        if self.usage is None:
            return
        try:
            await self.usage.store(list(self._used.values()))
        except (DatabaseUnavailable, StoreUnavailable) as error:
            log.warning("provider_usage_not_stored", error=str(error))
        else:
            self._used.clear()
