"""uvicorn's HTTP protocol, with deadlines for clients that say nothing or take nothing.

uvicorn.Config(app, http=ServingProtocol)
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.cache import ABORT_EXTENSION

HEAD_DEADLINE_S: Final = 10.0


class ServingProtocol(HttpToolsProtocol):
    """Cuts a connection whose request head is not complete in time, from its opening or, on one
    that is kept alive, from the first byte. Lets the application cut one that takes no bytes."""

    head_deadline_s = HEAD_DEADLINE_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT_EXTENSION: self.transport.abort}  # type: ignore[dict-item]
        self._arm()

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self.head_deadline_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
