"""One channel of the hot store, heard for as long as somebody listens."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from logging_setup import OutageLog
from stores.hot.redis_client import NativeStore
from stores.hot.store import StoreUnavailable
from timing.backoff import Backoff

_STEADY_S: Final = 5.0  # a listener that was connected for so long is connected again at once

log = structlog.get_logger(__name__)


class Subscription:
    """One channel, heard for as long as this is open; reconnects by itself, and says so.

    `on_message` gets each payload. `on_connected` is called each time the subscription stands
    anew: messages sent before that were missed. `live` says whether it stands now.
    """

    def __init__(
        self,
        store: NativeStore,
        channel: str,
        on_message: Callable[[bytes], None],
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._channel = channel
        self._on_message = on_message
        self._on_connected = on_connected
        self._task: asyncio.Task[None] | None = None
        self.live = False

    def start(self) -> None:
        """Begins to listen; does nothing if it has begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"listen {self._channel}")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pauses = Backoff(0.05, 1.0)
        clock = asyncio.get_running_loop().time
        outage = OutageLog(log, "listening_lost", "listening_again")
        while True:
            connected_at = clock()
            try:
                async with self._store.listen(self._channel) as messages:
                    self.live = True
                    connected_at = clock()
                    outage.recovered(channel=self._channel)
                    self._on_connected()
                    async for message in messages:
                        self._on_message(message)
            except StoreUnavailable as error:
                if clock() - connected_at > _STEADY_S:
                    pauses.reset()
                outage.failed(error, channel=self._channel)
            finally:
                self.live = False
            await asyncio.sleep(pauses.pause_s())
