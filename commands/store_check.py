"""The check of the hot store: at start whether it can be used, and always whose data it holds."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Final

import structlog

from commands.errors import CannotStart
from config import Settings
from logging_setup import OutageLog
from stores.hot.inspection import inspect
from stores.hot.opening import open_hot_store
from stores.hot.owner import OWNER_KEY, Installation, Mode, OtherOwner, claim
from stores.hot.store import HotStore, StoreRefused, StoreUnavailable
from timing.backoff import Backoff, stop_or

_FIRST_RETRY_S: Final = 0.2
_SLOWEST_RETRY_S: Final = 2.0
# How often the owner record is claimed again: a store that was emptied, or that evicted it, would
# let others in. Upstash bills every command.
_CLAIMED_EVERY_S: Final = {"native": 2.0, "upstash": 600.0}
_LATER: Final = (
    "the next start is refused: set INSTALLATION_ID here too, or another REDIS_PREFIX there"
)

log = structlog.get_logger(__name__)


class StoreCheck:
    """The check of one store for these settings.

    `tell`: whether to log, once, what will go less well than it could. `own`: whether it is the
    embedded store of DATA_DIR, which no other installation can use. `writes`: whether the process,
    or a child of it, writes documents. `child`: whether its parent was let in before.
    """

    def __init__(
        self,
        settings: Settings,
        store: HotStore,
        *,
        own: bool,
        tell: bool = True,
        writes: bool = True,
        child: bool = False,
    ) -> None:
        self._store = store
        self._tell = tell
        self._own = own
        self._mode: Mode = "read" if not writes else "start" if tell else "keep"
        shape = settings.documents_hold()
        self._ours = Installation(
            settings.exchange_addresses(),
            settings.installation_id,
            shape if writes else {name: shape[name] for name in ("QUOTE", "EXCHANGES")},
        )
        self._let_in, self._told_id = child, False
        self._variable = "REDIS_URL" if store.kind == "native" else "UPSTASH_REDIS_REST_URL"

    async def once(self) -> None:
        """Checks the store and records this installation as the owner of its keys.

        Raises CannotStart, with a line that says what to do, and StoreUnavailable.
        """
        found = await inspect(self._store)
        if self._tell:
            self._tell = False
            for event, fields in found.warnings:
                log.warning(event, **fields)
        if found.refusal is not None:
            raise CannotStart(f"{self._variable}: {found.refusal}")
        try:
            await self._claim()
        except StoreRefused as error:
            if error.transient:
                raise
            log.warning("owner_not_recorded", error=str(error))  # a full store can still be read

    async def _claim(self) -> None:
        """Raises CannotStart if the keys belong to others, and StoreUnavailable.

        Who comes after us with an INSTALLATION_ID ends nobody that has none and was let in: what
        the keys hold is the same.
        """
        found = await claim(self._store, self._ours, mode=self._mode, own=self._own)
        if self._let_in and found.other is not None and found.other.lacks_id:
            if not self._told_id:
                self._told_id = True
                log.warning("installation_id_set_by_others", theirs=found.other.theirs, hint=_LATER)
            return
        if found.other is not None:
            raise CannotStart(f"{self._variable}: {_refusal(found.other, self._store.prefix)}")
        self._let_in = True
        if self._mode == "start":
            self._mode = "keep"
            if found.differing:
                log.warning(
                    "store_filled_with_other_settings",
                    **{
                        name: f"{theirs} before, {self._ours.shape[name]} here"
                        for name, theirs in found.differing.items()
                    },
                    hint="the next runs replace the documents; if another installation uses these"
                    " keys too, set another REDIS_PREFIX here",
                )

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

    async def keep(self, stop: asyncio.Event) -> None:
        """Records us as the owner again and again until `stop`, as the record may be lost. Raises
        CannotStart once the keys belong to others."""
        while not await stop_or(stop, _CLAIMED_EVERY_S[self._store.kind]):
            with contextlib.suppress(StoreUnavailable):
                await self._claim()


async def run_with_checked_store(
    settings: Settings,
    stop: asyncio.Event,
    work: Coroutine[object, object, int],
    *,
    own: bool,
    tell: bool,
    keep: bool = True,
    writes: bool = True,
) -> int:
    """Runs `work`, which ends after `stop`, once the store is checked or turned out to be away.

    Beside the work, one that was away is checked as soon as it answers, and the owner record is
    kept if `keep` (a child process leaves that to its parent). Raises CannotStart if the store is
    refused, after the end of the work.
    """
    store = open_hot_store(settings, client_name="perpcache-check")
    check = StoreCheck(settings, store, own=own, tell=tell, writes=writes, child=not keep)
    try:
        known = True
        try:
            await check.once()
        except StoreUnavailable:
            known = False
        except BaseException:
            work.close()
            raise

        async def go_on() -> None:
            if not known:
                await check.until_known(stop)
            if keep:
                await check.keep(stop)

        return await run_beside(go_on(), work, stop)
    finally:
        await store.aclose()


async def run_beside(
    check: Coroutine[object, object, None],
    work: Coroutine[object, object, int],
    stop: asyncio.Event,
) -> int:
    """Runs `work`, and `check` until it ends; sets `stop` when `check` raises CannotStart, and
    raises that after the end of the work."""

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
    if other.field == "QUOTE":
        return (
            f"{keys} hold markets quoted in {other.theirs}, not in {other.ours} (QUOTE): "
            f"set another REDIS_PREFIX or, {take_over}"
        )
    if other.field == "EXCHANGES":
        return (
            f"{keys} hold the data of {other.theirs} alone, of which EXCHANGES={other.ours} has "
            f"none: set another REDIS_PREFIX or, {take_over}"
        )
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
