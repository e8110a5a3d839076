"""The check of the hot store at start: whether it can be used, and whose data its keys hold."""

import asyncio
from collections.abc import Coroutine
from typing import Final

import structlog

from commands.errors import CannotStart
from config import Settings
from logging_setup import OutageLog
from stores.hot.inspection import inspect
from stores.hot.opening import open_hot_store
from stores.hot.owner import OWNER_KEY, OtherOwner, claim
from stores.hot.store import HotStore, StoreRefused, StoreUnavailable
from timing.backoff import Backoff, stop_or

_FIRST_RETRY_S: Final = 0.2
_SLOWEST_RETRY_S: Final = 2.0

log = structlog.get_logger(__name__)


class StoreCheck:
    """The check of one store for these settings.

    `tell`: whether to log, once, what will go less well than it could.
    """

    def __init__(self, settings: Settings, store: HotStore, *, tell: bool = True) -> None:
        self._settings = settings
        self._store = store
        self._tell = tell

    async def once(self) -> None:
        """Checks the store and records this installation as the owner of its keys.

        Raises CannotStart, with a line that says what to do, and StoreUnavailable.
        """
        store, settings = self._store, self._settings
        variable = "REDIS_URL" if store.kind == "native" else "UPSTASH_REDIS_REST_URL"
        found = await inspect(store)
        if self._tell:
            self._tell = False
            for event, fields in found.warnings:
                log.warning(event, **fields)
        if found.refusal is not None:
            raise CannotStart(f"{variable}: {found.refusal}")
        try:
            other = await claim(store, settings.exchange_addresses(), settings.installation_id)
        except StoreRefused as error:
            if error.transient:
                raise
            log.warning("owner_not_recorded", error=str(error))  # a full store can still be read
            return
        if other is not None:
            raise CannotStart(f"{variable}: {_refusal(other, store.prefix)}")

    async def until_known(self, stop: asyncio.Event) -> None:
        """`once`, again while the store is away or read-only, until `stop`. Raises CannotStart."""
        outage = OutageLog(log, "store_not_checked", "store_checked")
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        while not stop.is_set():
            try:
                await self.once()
            except StoreUnavailable as error:
                outage.failed(error)
                await stop_or(stop, backoff.pause_s())
            else:
                outage.recovered()
                return


async def run_with_checked_store(
    settings: Settings,
    stop: asyncio.Event,
    work: Coroutine[object, object, int],
    *,
    tell: bool,
) -> int:
    """Runs `work`, which ends after `stop`, once the store is checked or turned out to be away.

    It is then checked beside the work as soon as it answers. Raises CannotStart if it is refused,
    after the end of the work.
    """
    store = open_hot_store(settings, client_name="perpcache-check")
    check = StoreCheck(settings, store, tell=tell)
    try:
        try:
            await check.once()
        except StoreUnavailable:
            return await _beside(check.until_known(stop), work, stop)
        except BaseException:
            work.close()
            raise
    finally:
        await store.aclose()
    return await work


async def _beside(
    check: Coroutine[object, object, None],
    work: Coroutine[object, object, int],
    stop: asyncio.Event,
) -> int:
    async def stop_if_refused() -> None:
        try:
            await check
        except CannotStart:
            stop.set()
            raise

    checking = asyncio.create_task(stop_if_refused(), name="check of the store")
    try:
        code = await work
    finally:
        checking.cancel()  # no effect on one that has ended
        await asyncio.wait([checking])
    if not checking.cancelled():
        checking.result()
    return code


def _refusal(other: OtherOwner, prefix: str) -> str:
    keys = f"its keys with REDIS_PREFIX {prefix!r}" if prefix else "its keys without REDIS_PREFIX"
    take_over = f"to take them over, first run DEL {prefix}{OWNER_KEY} there"
    if other.field is not None:
        return (
            f"{keys} hold the data of {other.field} at {other.theirs}, not at {other.ours}: "
            f"set another REDIS_PREFIX or, {take_over}"
        )
    ours = "this one has none" if other.ours is None else f"not {other.ours}"
    return (
        f"{keys} belong to the installation with INSTALLATION_ID {other.theirs} ({ours}): "
        f"set another REDIS_PREFIX, or INSTALLATION_ID={other.theirs} if this is a part of it; "
        f"{take_over}"
    )
