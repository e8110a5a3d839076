"""HttpClients: the HTTP clients of one run, opened when first asked for, closed with the run."""

from types import TracebackType
from typing import Self

from config import Settings
from workers.browser_http import BrowserSender
from workers.http import Http, Sender
from workers.plain_http import PlainSender


class HttpClients:
    """One client for each browser that is asked for, and one without."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._senders: dict[str | None, Sender] = {}
        self._clients: dict[str | None, Http] = {}

    def client(self, impersonate: str | None) -> Http:
        """Raises BrowserMissing, or ValueError for a browser that is not known."""
        if impersonate not in self._clients:
            sender: Sender
            if impersonate is None:
                sender = PlainSender(self._settings)
            else:
                sender = BrowserSender(self._settings, impersonate)
            self._senders[impersonate] = sender
            self._clients[impersonate] = Http(sender)
        return self._clients[impersonate]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sender in self._senders.values():
            await sender.aclose()
