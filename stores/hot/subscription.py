"""A subscription to one channel of the hot store that reconnects by itself."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from logging_setup import OutageLog
from stores.hot.redis_client import NativeStore
from stores.hot.store import StoreRefused, StoreUnavailable
from timing.backoff import Backoff

_STEADY_S: Final = 5.0  # after a connection this long, the first reconnect comes without delay
_REFUSED_S: Final = 60.0  # until the next attempt of a user who may not subscribe

log = structlog.get_logger(__name__)


class Subscription:
    """Listens to one channel until it is closed, and logs when the connection is lost.

    `on_message` gets each payload. `on_connected` is called after each (re)connect: messages
    sent before it may have been missed. `live` is true while the subscription is connected. A user
    who may not subscribe misses all messages, so callers look by themselves too.
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
        """Starts listening; further calls do nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"listen {self._channel}")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pauses = Backoff(0.05, 1.0)
        clock = asyncio.get_running_loop().time
        outage = OutageLog(log, "subscription_lost", "subscription_restored")
        while True:
            connected_at, refused = clock(), False
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
                refused = isinstance(error, StoreRefused) and error.code == "NOPERM"
            finally:
                self.live = False
            await asyncio.sleep(_REFUSED_S if refused else pauses.pause_s())
