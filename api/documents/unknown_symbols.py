"""Unknown symbols: decides whether they get a 404 or a header, with suggestions."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Final
from urllib.parse import quote

import structlog

from api.answers import NO_CACHE, Answer, Header, problem
from database import DatabaseUnavailable
from market.markets import Market

_READ_DEADLINE_S: Final = 1.0
# Lists change a few times a day; a new market may count as unknown for this long.
_FRESH_S: Final = 60.0
_RETRY_S: Final = 10.0
# Limits of the work on requested symbols, which are untrusted input.
_MOST_COMPARED: Final = 3
_LONGEST_COMPARED: Final = 32
_MOST_NAMED: Final = 50
_LONGEST_NAMED: Final = 64
_NEAR_EACH: Final = 3

log = structlog.get_logger(__name__)


class ListedSymbols:
    """The symbols that the exchanges list, in upper case, cached for a minute.

    `read` returns the listed markets. While it fails, the symbols of the last success are used.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[Market]]],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock_s = clock_s
        self._symbols: frozenset[str] = frozenset()
        self._due_s = float("-inf")
        self._reading = asyncio.Lock()

    async def current(self) -> frozenset[str]:
        """The symbols. Queries at most once a minute, every 10 s after a failure; waits <= 1 s."""
        async with self._reading:
            if self._clock_s() >= self._due_s:
                self._due_s = self._clock_s() + await self._refresh()
        return self._symbols

    async def _refresh(self) -> float:
        """Reads the lists; returns the seconds until the next read."""
        try:
            async with asyncio.timeout(_READ_DEADLINE_S):
                markets = await self._read()
        except (DatabaseUnavailable, TimeoutError) as error:
            log.debug("listed_symbols_not_read", error=str(error) or "no answer in time")
            return _RETRY_S
        self._symbols = frozenset(market.symbol.upper() for market in markets)
        return _FRESH_S


def similar_symbols(requested: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Known symbols that resemble the requested ones, best match first. CPU work: some ms."""
    found: dict[str, None] = {}
    for symbol in sorted(requested)[:_MOST_COMPARED]:
        near = get_close_matches(symbol[:_LONGEST_COMPARED], known, _NEAR_EACH)
        found |= dict.fromkeys(near)
    return tuple(found)


async def judge_absent(
    absent: frozenset[str],
    requested: Collection[str] | None,
    listed: frozenset[str],
    similar: Callable[[frozenset[str]], Awaitable[Sequence[str]]],
) -> Answer | list[Header]:
    """A 404 if all requested symbols are unknown; else the header of a 200 that names the unknown.

    `absent`: requested symbols that the document lacks. One that is listed is known, and needs no
    header. `similar` returns suggestions for the requested symbols, given the listed ones.
    """
    unknown = absent - listed
    if unknown == requested:
        return _unknown_symbols_answer(unknown, await similar(listed))
    return [unknown_header(unknown)] if unknown else []


async def judge_absent_assets(
    absent: frozenset[str],
    requested: Collection[str] | None,
    _: frozenset[str],
    similar: Callable[[frozenset[str]], Awaitable[Sequence[str]]],
) -> Answer | list[Header]:
    """The same for assets of the overview, which has all of them."""
    if absent == requested:
        return unknown_assets(absent, await similar(frozenset()))
    return [unknown_header(absent)] if absent else []


def unknown_assets(names: Collection[str], near: Sequence[str]) -> Answer:
    """The 404 for a request whose assets are all unknown."""
    which = "this asset" if len(names) == 1 else "any of these assets"
    hint = f"did you mean {', '.join(near)}?" if near else "GET /market lists the assets"
    return problem(404, f"no market is of {which}: {hint}", NO_CACHE, unknown_header(names))


def unknown_header(symbols: Iterable[str]) -> Header:
    """X-Unknown-Symbols with the symbols, percent-encoded because they are input."""
    named = sorted(symbols)
    texts = [quote(symbol[:_LONGEST_NAMED], safe="") for symbol in named[:_MOST_NAMED]]
    if len(named) > _MOST_NAMED:
        texts.append("...")
    return (b"x-unknown-symbols", ", ".join(texts).encode())


def _unknown_symbols_answer(symbols: Collection[str], near: Sequence[str]) -> Answer:
    """The 404 for a query whose symbols are all unknown."""
    which = "this symbol" if len(symbols) == 1 else "any of these symbols"
    hint = f": did you mean {', '.join(near)}?" if near else ""
    detail = f"no listed market has {which}{hint or '; GET /coins lists them'}"
    return problem(404, detail, NO_CACHE, unknown_header(symbols))
