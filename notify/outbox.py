"""Outbox: all addresses of NOTIFY_URLS; one that takes a message makes it told, others follow."""

import asyncio
from collections.abc import Sequence

import structlog

from notify.destination import Destination
from notify.texts import Text

log = structlog.get_logger(__name__)


class Outbox:
    """Sends to all destinations at once; none waits for another."""

    def __init__(self, destinations: Sequence[Destination] = ()) -> None:
        self.destinations = destinations
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, text: Text) -> bool:
        """Whether a destination took the message; returns as soon as that is known, and goes on
        with the others."""
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._send_to_all(text, taken))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return await asyncio.shield(taken)

    async def aclose(self) -> None:
        """Drops what was not taken yet."""
        await asyncio.gather(*(each.aclose() for each in self.destinations))
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send_to_all(self, text: Text, taken: "asyncio.Future[bool]") -> None:
        try:
            await asyncio.gather(*(self._send(each, text, taken) for each in self.destinations))
        finally:
            if not taken.done():
                taken.set_result(False)

    async def _send(
        self, destination: Destination, text: Text, taken: "asyncio.Future[bool]"
    ) -> None:
        why = await destination.send(text, taken)
        if why is not None:
            log.warning("notification_not_sent", to=destination.name, title=text.title, error=why)
            return
        log.info("notification_sent", to=destination.name, title=text.title)
        if not taken.done():
            taken.set_result(True)
