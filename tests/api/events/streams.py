"""Listeners for tests: streams read as the WHATWG's event stream interpretation says, by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

WITHIN_S: Final = 20.0


@dataclass(frozen=True)
class Event:
    kind: str
    data: Any
    id: str  # the last event id when it came


@dataclass
class Stream:
    """An open stream; `last_id` and `retry_ms` as a browser would have them."""

    answer: aiohttp.ClientResponse
    last_id: str = ""
    retry_ms: int | None = None
    comments: int = 0
    _lines: list[str] = field(default_factory=list)
    _rest: bytes = b""

    async def next(self) -> Event:
        """The next event. Raises EOFError at the end of the stream."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                event = self._dispatched()
                if event is not None:
                    return event
                self._feed(await self.answer.content.readany())

    async def take(self, count: int) -> list[Event]:
        return [await self.next() for _ in range(count)]

    async def until_comment(self) -> None:
        """Waits for a comment; no event may come before it."""
        before = self.comments
        async with asyncio.timeout(WITHIN_S):
            while self.comments == before:
                assert self._dispatched() is None
                if self.comments == before:
                    self._feed(await self.answer.content.readany())

    async def until_end(self) -> None:
        """Reads up to the end of the stream, and passes by what still comes."""
        with contextlib.suppress(EOFError):
            while True:
                await self.next()

    def _feed(self, data: bytes) -> None:
        if not data and self.answer.content.at_eof():
            raise EOFError
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += (line.decode() for line in lines)

    def _dispatched(self) -> Event | None:
        """The first event of the lines that have come."""
        event = None
        while event is None and "" in self._lines:
            event = self._block()
        return event

    def _block(self) -> Event | None:
        """The lines up to a blank one; they need not make an event."""
        end = self._lines.index("")
        block, self._lines = self._lines[:end], self._lines[end + 1 :]
        kind, data = "message", []
        for line in block:
            if line.startswith(":"):
                self.comments += 1
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "event":
                    kind = value
                case "data":
                    data.append(value)
                case "id":
                    self.last_id = value
                case "retry":
                    self.retry_ms = int(value)
                case _:
                    raise AssertionError(f"no field of an event: {line}")
        return Event(kind, orjson.loads("\n".join(data)), self.last_id) if data else None

    async def open(self) -> None:
        """Reads the beginning, which is no event."""
        async with asyncio.timeout(WITHIN_S):
            while "" not in self._lines:
                self._feed(await self.answer.content.readany())
        assert self._block() is None
        assert self.comments == 1


@contextlib.asynccontextmanager
async def listening(
    port: int, query: str = "", last_id: str = "", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    """A listener that has joined: its first bytes have come. It comes back with `last_id`."""
    sent = dict(headers or {}) | ({"Last-Event-ID": last_id} if last_id else {})
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.get(f"http://127.0.0.1:{port}/events?{query}", headers=sent) as answer,
    ):
        assert answer.status == 200, await answer.text()
        stream = Stream(answer, last_id)
        await stream.open()
        yield stream
