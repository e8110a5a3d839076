"""CacheAnswers: answers of candles and histories from the documents and the kept rows.

What an exchange answered itself is given to others, too, as long as it answers the same.
"""

import asyncio
from collections import defaultdict
from collections.abc import Hashable
from decimal import Decimal
from functools import partial
from typing import Final, Protocol

import structlog

from documents.names import GLOBAL_FR
from facade.answers import CachedAnswer
from facade.candle_questions import CandleQuestion, answered_rows
from facade.exchange_times import ExchangeTimes, KnownTime
from facade.hearing import Heard, Hearing
from facade.history_questions import (
    FundingQuestion,
    InterestQuestion,
    asked_instants,
    funding_rows,
    funding_until,
    interest_rows,
    interest_until,
)
from facade.kept_contracts import KeptContracts
from facade.kept_rows import KeptRows
from facade.made_answers import NO_ANSWER, NOT_YET, MadeAnswer, MadeAnswers
from facade.market_rows import market_rows
from facade.passed_answers import lasts_until
from facade.question import Question
from facade.settlements import read_settlements
from facade.venue import FacadeVenue
from logging_setup import OutageLog
from market.markets import Exchange, UnreadableSeries
from market.timeframes import MINUTE_MS, Timeframe
from stores.hot.store import StoreUnavailable
from venues import VENUES
from venues.venue import Endpoint

MADE_BYTES: Final = 48 * 2**20
_TIME_TOLD_S: Final = 60.0
_NAMES: Final = {timeframe.interval_ms: str(timeframe) for timeframe in Timeframe}
_HEARD: Final = {"open_interest": Endpoint.OPEN_INTEREST, "funding": Endpoint.FUNDING}
# An answer of kept rows is made again after it: one of them may have been told in another way.
_AGAIN_MS: Final = 5 * MINUTE_MS
_ONE: Final = Decimal(1)
_THREADS: Final = 2
_MOST_LACKING: Final = 1_000  # of an exchange; any name may be asked for

log = structlog.get_logger(__name__)


class Document(Protocol):
    """One version of a document."""

    @property
    def version(self) -> Hashable: ...

    async def market(self, exchange: Exchange, symbol: str) -> bytes:
        """It with this market alone, by our symbol. Raises UnreadableSeries, StoreUnavailable."""
        ...


class Documents(Protocol):
    def version_lately(self, name: str) -> Hashable | None:
        """The version that was the newest a moment ago; None if nobody has looked."""
        ...

    async def newest(self, name: str) -> Document | None:
        """The newest version; None if nothing is published. Raises StoreUnavailable."""
        ...


class CacheAnswers:
    """Implements CachedAnswers. `forming_s`: how old a forming candle may be."""

    def __init__(
        self,
        documents: Documents,
        kept: KeptRows,
        contracts: KeptContracts,
        hearing: Hearing,
        *,
        forming_s: float,
        times: ExchangeTimes | None = None,
        made_bytes: int = MADE_BYTES,
    ) -> None:
        self._documents = documents
        self._kept = kept
        self._contracts = contracts
        self._hearing = hearing
        self._forming_s = forming_s
        self._times = times or ExchangeTimes()
        self._made = MadeAnswers(made_bytes)
        self._lacking: dict[Exchange, set[str]] = defaultdict(set)  # contracts of unknown sizes
        self._turns = asyncio.Semaphore(_THREADS)
        self._outage = OutageLog(log, "facade_cache_unreadable", "facade_cache_readable_again")

    def now_ms(self, exchange: Exchange) -> int:
        return self._times.now_ms(exchange)

    def time(self, exchange: Exchange) -> KnownTime:
        return self._times.known(exchange)

    def at_once(self, question: Question, time: KnownTime) -> CachedAnswer | None:
        """Candles that were asked for before, of a version that was the newest a moment ago: still
        what the exchange shows. A newer one can only have a candle that still changes as it was
        read later, or a correction."""
        asked = question.asked
        name = _NAMES.get(asked.step_ms) if isinstance(asked, CandleQuestion) else None
        version = None if name is None else self._documents.version_lately(name)
        made = None if version is None else self._made.kept((question.name, version))
        return None if made is None else _told(question, made, time)

    async def answer(self, question: Question, time: KnownTime) -> CachedAnswer | None:
        venue, exchange, now_ms = question.facade, question.exchange, time.now_ms
        if question.path.answerer == "time":
            told_ms = self._times.told_ms(exchange, _TIME_TOLD_S)
            if told_ms is None:
                return None
            return CachedAnswer((venue.time.told(told_ms), venue.closing(told_ms)), 0.0)
        try:
            made = await self._of_cache(question, now_ms)
            self._outage.recovered()
        except (StoreUnavailable, UnreadableSeries) as error:
            self._outage.failed(error)
            made = None
        told = None if made is None else _told(question, made, time)
        if told is not None:
            return told
        passed = self._made.kept(question.name)
        return None if passed is None else _told(question, passed, time)

    def lacks_contract(self, question: Question) -> bool:
        asked = question.asked
        return (
            isinstance(asked, CandleQuestion) and asked.symbol in self._lacking[question.exchange]
        )

    async def market(self, question: Question) -> str | None:
        native, venue = question.symbol or "", question.facade
        symbol = venue.our_symbol(native)
        try:
            contract = await self._contracts.size(venue.exchange, native) if symbol else None
            self._outage.recovered()
        except StoreUnavailable as error:
            self._outage.failed(error)
            return None
        return None if contract is None else symbol

    def passed(self, question: Question, body: bytes, asked_ms: int) -> None:
        venue, asked = question.facade, question.asked
        told_ms = venue.time.read(body)
        if told_ms is not None:
            self._times.note(venue.exchange, told_ms)
        unclosed = venue.unclosed(body)
        if unclosed is not None and _lists_contracts(question):
            self._hearing.hear(Heard(venue.exchange, Endpoint.INSTRUMENTS, None, body))
        if unclosed is None or question.path.answerer is None:
            return
        endpoint = _HEARD.get(question.path.answerer)
        if endpoint is not None:
            self._hearing.hear(Heard(venue.exchange, endpoint, question.symbol, body))
        forming_ms = int(self._forming_s * 1000)
        if asked is None:
            return
        until_ms = lasts_until(venue, asked, body, asked_ms, forming_ms)
        if until_ms is not None:
            self._made.keep(question.name, MadeAnswer(unclosed, asked_ms, until_ms))

    def dated(self, exchange: Exchange, date_ms: int) -> None:
        self._times.note_date(exchange, date_ms)

    async def aclose(self) -> None:
        await self._made.aclose()

    async def _of_cache(self, question: Question, now_ms: int) -> MadeAnswer | None:
        asked = question.asked
        symbol = None if asked is None else question.facade.our_symbol(asked.symbol)
        if symbol is None:
            return None
        match asked:
            case CandleQuestion():
                return await self._candles(question, asked, symbol, now_ms)
            case InterestQuestion():
                return await self._interest(question, asked, symbol, now_ms)
            case FundingQuestion():
                return await self._funding(question, asked, symbol, now_ms)
            case None:
                return None

    async def _candles(
        self, question: Question, asked: CandleQuestion, symbol: str, now_ms: int
    ) -> MadeAnswer | None:
        name = _NAMES.get(asked.step_ms)
        document = None if name is None else await self._documents.newest(name)
        if document is None:
            return None
        venue = question.facade

        async def make() -> MadeAnswer:
            async with self._turns:
                contract = await self._contract(venue, asked.symbol)
                if contract is None:
                    return NOT_YET
                text = await document.market(venue.exchange, symbol)
                work = partial(_made_candles, venue, asked, symbol, contract, text, now_ms)
                return await asyncio.to_thread(work, self._forming_s)

        return await self._made.get((question.name, document.version), make)

    async def _contract(self, venue: FacadeVenue, native: str) -> Decimal | None:
        """The coins in one contract; None if they are not known."""
        if venue.read_contracts is None:
            return _ONE
        size, lacking = await self._contracts.size(venue.exchange, native), self._lacking
        if size is not None:
            lacking[venue.exchange].discard(native)
        elif len(lacking[venue.exchange]) < _MOST_LACKING:
            lacking[venue.exchange].add(native)
        return size

    async def _interest(
        self, question: Question, asked: InterestQuestion, symbol: str, now_ms: int
    ) -> MadeAnswer | None:
        instants = asked_instants(asked, now_ms)
        document = None if instants is None else await self._documents.newest(GLOBAL_FR)
        if instants is None or document is None:
            return None
        until_ms = min(interest_until(asked, instants, now_ms), _again(now_ms))
        venue = question.facade

        async def make() -> MadeAnswer:
            # The exchange refuses a contract that it has delisted, and its rows are kept on.
            text = await document.market(venue.exchange, symbol)
            if read_settlements(text, venue.exchange, symbol) is None:
                return NO_ANSWER
            rows = await self._kept.read(
                *(venue.exchange, Endpoint.OPEN_INTEREST, asked.symbol),
                *(instants[0], instants[-1]),
                step_ms=asked.step_ms,
            )
            found = interest_rows(rows, instants)
            if found is None:
                return NOT_YET
            body = venue.interest([row.text for row in found], asked.symbol)
            return MadeAnswer(body, instants[-1], until_ms)

        key = (question.name, document.version, instants, until_ms)
        return await self._made.get(key, make)

    async def _funding(
        self, question: Question, asked: FundingQuestion, symbol: str, now_ms: int
    ) -> MadeAnswer | None:
        document = await self._documents.newest(GLOBAL_FR)
        if document is None:
            return None
        until_ms = min(funding_until(asked, now_ms), _again(now_ms))
        venue = question.facade

        async def make() -> MadeAnswer:
            text = await document.market(venue.exchange, symbol)
            known = read_settlements(text, venue.exchange, symbol)
            if known is None or not known.times:
                return NOT_YET
            rows = await self._kept.read(
                *(venue.exchange, Endpoint.FUNDING, asked.symbol, known.times[0], now_ms)
            )
            found = funding_rows(asked, rows, known, now_ms)
            if found is None:
                return NOT_YET
            body = venue.funding([row.text for row in found], asked.symbol)
            return MadeAnswer(body, known.checked_at_ms, until_ms)

        return await self._made.get((question.name, document.version, until_ms), make)


def _lists_contracts(question: Question) -> bool:
    """Whether its answer is the list of all contracts, as it is asked for here."""
    table = VENUES[question.exchange].table(Endpoint.INSTRUMENTS)
    return question.path.path == table.path and dict(question.query) == dict(table.fixed)


def _told(question: Question, made: MadeAnswer, time: KnownTime) -> CachedAnswer | None:
    """None where it may not be the exchange's answer any more."""
    now_ms = time.now_ms
    if made.body is None or now_ms + time.behind_ms >= made.until_ms:
        return None
    age_s = max(0, now_ms - made.checked_at_ms) / 1000
    return CachedAnswer((made.body, question.facade.closing(now_ms)), age_s)


def _made_candles(
    venue: FacadeVenue,
    question: CandleQuestion,
    symbol: str,
    contract: Decimal,
    text: bytes,
    now_ms: int,
    forming_s: float,
) -> MadeAnswer:
    rows, form = market_rows(text, venue.exchange, symbol), venue.candles
    if rows is None or not set(form.columns) <= set(rows.columns):
        return NO_ANSWER
    columns = [rows.columns.index(name) for name in form.columns]
    found = answered_rows(rows, question, columns, now_ms=now_ms, forming_s=forming_s)
    if found is None:
        return NO_ANSWER
    body = form.told(rows, found.lines, question, contract)
    return MadeAnswer(body, rows.checked_at_ms, found.until_ms)


def _again(now_ms: int) -> int:
    return now_ms - now_ms % _AGAIN_MS + _AGAIN_MS
