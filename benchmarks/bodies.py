"""The CPU time to make documents from the exchanges' answers, with the answers in memory."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from benchmarks.machine import ROOT
from benchmarks.report import Sample
from cache_manager import PIECE_BYTES
from data_collector.api_parser import parse_klines, parse_open_interest
from data_collector.data_processing import aggregate_4h_to_8h, merge_data
from data_collector.url_builder import endpoint_table, history_request
from documents.building import DocumentBuilder
from documents.stored_text import TextStream
from market.markets import Exchange, FundingSeries, Market, MarketSeries
from market.rows import TimedValues
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from venues.venue import Endpoint, Request

_H4: Final = Timeframe.H4
_FEWEST_CANDLES: Final = 40  # shorter answers are not measured
_ROUNDS: Final = 5  # of each sample


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer bodies of one market."""

    market: Market
    klines: bytes
    open_interest: Sequence[bytes]


def recorded_folder() -> Path | None:
    """The folder of recorded answers: RECORDED_DATA, or beside the project; None if absent."""
    folder = Path(os.environ.get("RECORDED_DATA", ROOT.parent / "shared" / "fixtures"))
    return folder.resolve() if folder.is_dir() else None


async def ask(
    address: str, as_of_ms: int, history: int, each: int, markets: Sequence[dict[str, Any]]
) -> list[Answers]:
    """The answers for up to `each` markets of each exchange, as a cold collection gets them."""
    left = dict.fromkeys(Exchange, each)
    found = []
    async with aiohttp.ClientSession(address) as client:
        for listed in markets:
            exchange = Exchange(listed["exchange"])
            if not left[exchange] or not listed["collected"]:
                continue
            market = Market(exchange, listed["symbol"], listed["base"], listed["quote"])
            pages = _pages(market, Endpoint.KLINES, as_of_ms, history)
            # The newest page of candles suffices, as the exchange's limit is larger.
            klines = await _body(client, pages[-1])
            if klines.count(b"[") < _FEWEST_CANDLES:
                continue
            snapshots = [
                await _body(client, page)
                for page in _pages(market, Endpoint.OPEN_INTEREST, as_of_ms, history)
            ]
            found.append(Answers(market, klines, snapshots))
            left[exchange] -= 1
    return found


def _pages(market: Market, endpoint: Endpoint, as_of_ms: int, history: int) -> list[Request]:
    table = endpoint_table(market.exchange, endpoint)
    first_ms = _H4.window_start(as_of_ms, history)
    if table.horizon_ms is not None:
        first_ms = max(first_ms, as_of_ms - min(table.horizon_ms, 30 * DAY_MS))
        first_ms += -first_ms % _H4.interval_ms
    page_ms = table.page_limit * _H4.interval_ms
    return [
        history_request(
            market,
            endpoint,
            start_ms=start_ms,
            end_ms=min(start_ms + page_ms - _H4.interval_ms, _H4.floor(as_of_ms)),
            limit=table.page_limit,
            period=_H4,
        )
        for start_ms in range(first_ms, as_of_ms, page_ms)
    ]


async def _body(client: aiohttp.ClientSession, request: Request) -> bytes:
    async with client.get(request.target) as answer:
        answer.raise_for_status()
        return await answer.read()


def compare(answers: Sequence[Answers], as_of_ms: int, history: int) -> Sample:
    """CPU ms per market: bodies to stored documents, and orjson.loads of the same bodies.

    Both are measured alternately, several times, with garbage collection on, as in the worker.
    """
    series = {each.market.key: _funding(each.market, as_of_ms, history) for each in answers}
    ours_s = other_s = 0.0
    for _ in range(_ROUNDS):
        began = time.process_time()
        _make(answers, series, as_of_ms, history)
        between = time.process_time()
        for each in answers:
            orjson.loads(each.klines)
            for page in each.open_interest:
                orjson.loads(page)
        ours_s += between - began
        other_s += time.process_time() - between
    markets = len(answers) * _ROUNDS
    return Sample(ours_s * 1000 / markets, other_s * 1000 / markets)


def _funding(market: Market, as_of_ms: int, history: int) -> FundingSeries:
    first_ms = _H4.window_start(as_of_ms, history)
    first_ms -= first_ms % (8 * HOUR_MS)
    rows = [(time_ms, 1e-4) for time_ms in range(first_ms, as_of_ms, 8 * HOUR_MS)]
    return FundingSeries(market, TimedValues.of(rows), 8, as_of_ms)


def _make(
    answers: Sequence[Answers], funding: dict[str, FundingSeries], as_of_ms: int, history: int
) -> None:
    """Parses, merges, makes 8h, encodes and compresses, without the metadata numbers."""
    sheets = {
        _H4: DocumentBuilder(_H4, "collected"),
        Timeframe.H8: DocumentBuilder(Timeframe.H8, "aggregated"),
    }
    interval_ms = _H4.interval_ms
    start_ms = _H4.window_start(as_of_ms, history)
    for each in answers:
        candles = parse_klines(each.market, each.klines, interval_ms=interval_ms).rows
        pages = [
            parse_open_interest(each.market, page, interval_ms=interval_ms).rows
            for page in each.open_interest
        ]
        snapshots = TimedValues.joined([TimedValues.of(page) for page in pages])
        merged = merge_data(
            candles,
            snapshots,
            funding[each.market.key],
            timeframe=_H4,
            as_of_ms=as_of_ms,
            history_candles=history,
        )
        eight = aggregate_4h_to_8h(merged.rows, window_start_ms=start_ms, exact=merged.exact)
        sheets[_H4].add(MarketSeries(each.market, merged.rows, as_of_ms), {"hurst": 0.5})
        sheets[Timeframe.H8].add(MarketSeries(each.market, eight, as_of_ms), {"hurst": 0.5})
    for sheet in sheets.values():
        document = sheet.finish_deflated(
            version=1, as_of_ms=as_of_ms, updated_at_ms=as_of_ms, missing=()
        )
        # The same step as in publishing, without the store.
        stream = TextStream(document, PIECE_BYTES["native"])
        while stream.piece():
            pass
