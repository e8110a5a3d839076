"""Outbox: all addresses of NOTIFY_URLS; a message counts as told when the first of them took it."""

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
        self._sending: set[asyncio.Task[bool]] = set()

    async def send(self, text: Text) -> bool:
        """Whether a destination took the message; returns as soon as that is known, and goes on
        with the others."""
        tasks = [asyncio.create_task(self._send(each, text)) for each in self.destinations]
        self._sending.update(tasks)
        for task in tasks:
            task.add_done_callback(self._sending.discard)
        for end in asyncio.as_completed(tasks):
            if await end:
                return True
        return False

    async def aclose(self) -> None:
        """Drops what was not taken yet."""
        await asyncio.gather(*(each.aclose() for each in self.destinations))
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _send(self, destination: Destination, text: Text) -> bool:
        why = await destination.send(text)
        if why is None:
            log.info("notification_sent", to=destination.name, title=text.title)
        else:
            log.warning("notification_not_sent", to=destination.name, title=text.title, error=why)
        return why is None
