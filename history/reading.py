"""Reads ranges of the record: surveyed first, in one state, and then told block by block.

A survey reads the times of all rows of a page and since when each is known: their number, where the
page ends, and a digest that names this very answer. The rows themselves are read in blocks, each in
a transaction of its own, so that a slow reader holds no connection. All of them are read as of the
state that was surveyed, which later changes do not touch; should one have come all the same, the
digest tells, and the answer is not ended as if it were whole.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from difflib import get_close_matches
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Final

from history.markets import FoundMarkets, find_markets
from history.page import Page
from history.rows import (
    DIGEST_BYTES,
    MarketDigest,
    Points,
    State,
    interest_of,
    merged,
    read_revisions,
    read_span,
    settled_of,
)
from history.selection import Block, MarketName, Place, Selection, Span, Survey
from market.rows import TimedValues
from stores.cold.history.tables import HistoryTables, Snapshot
from stores.cold.pool import DatabaseUnavailable

# Until the database has told which markets it knows.
_FIRST_ANSWER_S: Final = 2.5
# Connections that reading takes at once: others of the pool's four are for the rest of the API.
_AT_ONCE: Final = 3
_NEAR: Final = 3
_LONGEST_COMPARED: Final = 32


class RecordChanged(Exception):
    """Rows that belong to the surveyed state were stored after it was surveyed."""


class HistoryReader:
    """Reads ranges of the record. `name`: of the database, in errors. All methods raise
    DatabaseUnavailable."""

    def __init__(self, tables: HistoryTables, name: str = "the database") -> None:
        self._tables = tables
        self._name = name
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Snapshot]:
        async with self._turns, self._tables.snapshot() as snapshot:
            yield snapshot

    async def find_markets(self, asked: Iterable[tuple[str | None, str]]) -> FoundMarkets:
        """The markets of these exchanges (None: of any) and symbols, in any case."""
        try:
            async with asyncio.timeout(_FIRST_ANSWER_S), self._snapshot() as snapshot:
                return await find_markets(snapshot, list(asked))
        except TimeoutError:
            raise DatabaseUnavailable(
                f"{self._name} did not answer within {_FIRST_ANSWER_S:g} s"
            ) from None

    async def near(self, symbol: str) -> list[str]:
        """Recorded symbols that resemble this one."""
        async with self._snapshot() as snapshot:
            known = sorted({key.symbol for key in await snapshot.series()})
        asked = symbol[:_LONGEST_COMPARED].upper()
        return await asyncio.to_thread(get_close_matches, asked, known, _NEAR)

    async def survey(
        self,
        selection: Selection,
        *,
        limit: int | None = None,
        after: Place | None = None,
        pin_ms: int | None = None,
    ) -> Survey:
        """Finds what the page of `limit` rows behind `after` holds. `pin_ms`: of the first page, if
        this is a later one."""
        async with self._snapshot() as snapshot:
            is_first = pin_ms is None
            if pin_ms is None:
                pin_ms = await _newest(snapshot.newest_change, selection)
            page = Page(State(selection, pin_ms), limit)
            for market in selection.markets:
                if after is None or market >= after.market:
                    is_begun = after is not None and market == after.market
                    begin_ms = after.time_ms + 1 if after and is_begun else selection.stored_from_ms
                    await _survey_market(snapshot, page, market, begin_ms)
                if page.is_full:
                    break
            if is_first and not page.is_full:
                superseded_ms = await _newest(snapshot.newest_supersession, selection)
                pin_ms = max(page.newest_ms, superseded_ms)
        return page.survey(pin_ms)

    async def blocks(self, selection: Selection, survey: Survey) -> AsyncGenerator[Block, None]:
        """The rows that were surveyed. Raises RecordChanged at the end if they are others."""
        total = blake2b(digest_size=DIGEST_BYTES)
        state = State(selection, survey.pin_ms)
        for _, group in groupby(survey.spans, key=itemgetter(0)):
            spans, digest = list(group), MarketDigest()
            settled: TimedValues | None = None
            for span in spans:
                async with self._snapshot() as snapshot:
                    if selection.revisions:
                        block = await read_revisions(snapshot, state, span, digest)
                    else:
                        if settled is None:
                            whole = span._replace(to_ms=spans[-1].to_ms)
                            settled = await _read_settled(snapshot, state, whole, digest)
                        rows, interest = await read_span(snapshot, state, span, digest)
                        block = merged(state, span.market, rows, interest, settled)
                if len(block):
                    yield block
            total.update(digest.digest())
        if total.digest() != survey.digest:
            raise RecordChanged


async def _newest(find: Callable[..., Awaitable[int | None]], selection: Selection) -> int:
    """The greatest time that is found of what is read; 0 for none."""
    found = [await find(keys, from_ms, to_ms) for keys, from_ms, to_ms in selection.reads()]
    return max((time_ms for time_ms in found if time_ms is not None), default=0)


async def _survey_market(snapshot: Snapshot, page: Page, market: MarketName, begin_ms: int) -> None:
    """Adds the market's rows from `begin_ms` on to the page."""
    state = page.state
    key, end_ms = state.selection.key(market), state.selection.stored_to_ms
    page.begin(market)
    pieces = snapshot.stream(
        [key],
        begin_ms,
        end_ms,
        as_of_ms=state.as_of_ms,
        unrecorded=state.unrecorded,
        with_values=False,
    )
    if state.selection.revisions:
        ends = [end async for end in page.ends_of_blocks(pieces)]
        for first_ms, last_ms in zip([begin_ms, *ends], [*ends, end_ms], strict=True):
            if first_ms < last_ms and not page.is_full:
                found = await snapshot.revisions([key], first_ms, last_ms)
                page.add_revisions(market, first_ms, last_ms, found[key])
        page.end()
        return
    async with aclosing(pieces):
        async for _, piece in pieces:
            page.add(market, state.kept(piece))
            if page.is_full:
                break
    if (whole := page.whole()) is not None:
        if state.selection.interest:
            async for points in interest_of(snapshot, state, whole, with_values=False):
                page.digest.add_interest(points)
                page.add_known(points.known_at)
        if state.selection.rates:
            async for points in settled_of(snapshot, state, whole, with_values=False):
                page.digest.add_settled(points)
                page.add_known(points.known_at)
    page.end()


async def _read_settled(
    snapshot: Snapshot, state: State, whole: Span, digest: MarketDigest
) -> TimedValues:
    """All settlements that decide the rates of a market's rows; none where rates are not asked."""
    if not state.selection.rates:
        return Points.joined(()).as_values()
    settled = Points.joined([each async for each in settled_of(snapshot, state, whole)])
    digest.add_settled(settled)
    return settled.as_values()
