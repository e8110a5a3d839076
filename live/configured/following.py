"""Following: what is wanted of the collectors, as a process knows it, database or not."""

from typing import Final

import msgspec
import structlog

from live.configured.collector_file import CollectorFile
from live.configured.definition import to_ascii_json
from live.configured.desired import DesiredCollector, KnownFile, read_desired
from logging_setup import OutageLog
from stores.cold.collectors import LiveCollectors
from stores.cold.pool import DatabaseUnavailable
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import Backoff
from timing.clock import Clock

LOOK_EVERY_S: Final = 2.0
SLOWEST_LOOK_S: Final = 10.0  # while the database is away
RENEW_EVERY_S: Final = 3_600.0  # a file that no process has had for a week counts no more
_LONGEST_PATH: Final = 1_000
# The last state that a process read, for those that start while the database is away.
_KNOWN_KEY: Final = "live:collectors"

log = structlog.get_logger(__name__)


class Following:
    """`desired`: by name, what the file and the cold store say.

    While the database is away it stays as it was. A process that starts then takes what another one
    has read last, or what its own file says.
    """

    def __init__(
        self,
        file: CollectorFile,
        collectors: LiveCollectors,
        store: HotStore,
        clock: Clock,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        path = str(file.path).encode("ascii", "backslashreplace").decode()[:_LONGEST_PATH]
        self._own = KnownFile(path, file.modified_ms, file.collectors)
        self._collectors = collectors
        self._store = store
        self._clock = clock
        self._look_every_s = look_every_s
        self._text: str | None = None
        self._is_remembered = True
        self._outage = OutageLog(log, "collectors_not_read", "collectors_read_again")
        self._renewed_s: float | None = None  # None: the file is not taken yet
        self.desired: dict[str, DesiredCollector] = {}

    async def run(self) -> None:
        """Looks for changes until it is cancelled."""
        pauses = Backoff(self._look_every_s, max(self._look_every_s, SLOWEST_LOOK_S))
        if not await self._look():
            await self._recall()
        while True:
            await self._clock.sleep(pauses.pause_s())
            if await self._look():
                pauses.reset()

    async def _recall(self) -> None:
        """Begins without the database."""
        text = None
        try:
            text = await self._store.execute("GET", _KNOWN_KEY)
        except StoreUnavailable as error:
            log.warning("collectors_not_remembered", error=str(error))
        if text is None or not self._read(text):
            self._read(None)

    async def _look(self) -> bool:
        """Whether the database answered."""
        try:
            await self._tell_of_file()
            text = await self._collectors.read()
        except DatabaseUnavailable as error:
            self._outage.failed(error)
            return False
        except Exception as error:  # a fault of ours must not end the following
            log.exception("collectors_not_read")
            self._outage.failed(error)
            return False
        self._outage.recovered()
        if text != self._text:
            self._text = text
            self._is_remembered = not self._read(text)
        if not self._is_remembered:
            self._is_remembered = await self._remember(text)
        return True

    async def _tell_of_file(self) -> None:
        now_s, own = self._clock.monotonic_s(), self._own
        if self._renewed_s is None:
            definitions = to_ascii_json(own.collectors)
            newest_ms = await self._collectors.take_file(own.path, own.modified_ms, definitions)
            if newest_ms > own.modified_ms:
                log.warning("collectors_of_a_newer_file", file=own.path, modified_ms=newest_ms)
        elif now_s - self._renewed_s >= RENEW_EVERY_S:
            await self._collectors.still_read(own.path)
            self._is_remembered = False  # the hot store may have lost it
        else:
            return
        self._renewed_s = now_s

    def _read(self, text: str | bytes | None) -> bool:
        """Whether it can be read; if not, what is wanted stays as it was."""
        try:
            desired = read_desired(text, self._own)
        except msgspec.MsgspecError as error:
            log.error("collectors_unreadable", error=str(error))
            return False
        if desired != self.desired:
            self.desired = desired
            running = sum(each.runs for each in desired.values())
            log.info("collectors_wanted", collectors=len(desired), running=running)
        return True

    async def _remember(self, text: str) -> bool:
        try:
            await self._store.execute("SET", _KNOWN_KEY, text)
        except StoreUnavailable:
            return False  # it is tried again
        return True
