"""A document in the making: a market that it cannot hold costs the others nothing."""

import math
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from jobs import document_draft
from jobs.document_draft import DocumentDraft
from market.markets import Exchange, Market, MarketSeries, Row
from market.timeframes import HOUR_MS, Timeframe

AS_OF_MS = 1_795_185_441_250
FIRST_MS = Timeframe.H1.window_start(AS_OF_MS, 150)


def series(symbol: str, rows: Sequence[Row], stale_since_ms: int | None = None) -> MarketSeries:
    market = Market(Exchange.BINANCE, symbol, symbol.removesuffix("USDT"), "USDT")
    return MarketSeries(market, rows, AS_OF_MS, stale_since_ms)


def rows(count: int = 150, seed: int = 1) -> list[Row]:
    closes = [100 + 10 * math.sin(seed * n) + n / 10 for n in range(count)]
    return [
        (FIRST_MS + n * HOUR_MS, close, close, close, close, 1.0, 2.0, None, None)
        for n, close in enumerate(closes)
    ]


def finished(draft: DocumentDraft) -> Any:
    document = draft.finish(version=1, as_of_ms=AS_OF_MS, updated_at_ms=AS_OF_MS, missing=[])
    return orjson.loads(document.inflate())


def off_grid(found: list[Row]) -> list[Row]:
    return [(time + 1, *rest) for time, *rest in found]  # type: ignore[misc]


def unsorted(found: list[Row]) -> list[Row]:
    return found[::-1]


def not_a_number(found: list[Row]) -> list[Row]:
    return [*found[:-1], (*found[-1][:4], math.nan, *found[-1][5:])]


def too_short(found: list[Row]) -> list[Row]:
    return [row[:5] for row in found]  # type: ignore[misc]


@pytest.mark.parametrize("held", [1, 2, 16])
@pytest.mark.parametrize("spoilt", [off_grid, unsorted, not_a_number, too_short])
def test_rows_that_are_none_are_one_markets_trouble(
    monkeypatch: pytest.MonkeyPatch, held: int, spoilt: Any
) -> None:
    monkeypatch.setattr(document_draft, "_BATCH_SIZE", held)
    alone = DocumentDraft(Timeframe.H1, "collected", {})
    for number, symbol in enumerate(("AUSDT", "CUSDT", "DUSDT")):
        alone.add(series(symbol, rows(seed=number)))
    expected = finished(alone)

    draft = DocumentDraft(Timeframe.H1, "collected", {})
    draft.add(series("AUSDT", rows(seed=0)))
    draft.add(series("BUSDT", spoilt(rows(seed=9))))
    draft.add(series("CUSDT", rows(seed=1)))
    draft.add(series("DUSDT", rows(seed=2)))
    document = finished(draft)
    assert document["markets"] == expected["markets"]
    assert [(lack[1], lack[2]) for lack in map(tuple, map(dict.values, document["missing"]))] == [
        ("BUSDT", "klines")
    ]
    assert (draft.markets, draft.rows) == (3, 450)
    assert set(draft.computed) == {"binance:AUSDT", "binance:CUSDT", "binance:DUSDT"}


def test_what_is_known_stays_where_nothing_is_computed() -> None:
    known = {
        "binance:AUSDT": {"hurst": 0.1, "rank": 7.0},
        "binance:BUSDT": {"hurst": 0.2, "rank": 8.0},
    }
    draft = DocumentDraft(Timeframe.H1, "collected", known)
    draft.add(series("AUSDT", rows()))
    draft.add(series("BUSDT", rows(), stale_since_ms=AS_OF_MS - 1))
    fresh, stale = (market["meta"] for market in finished(draft)["markets"])
    assert fresh["rank"] == 7.0
    assert fresh["hurst"] == draft.computed["binance:AUSDT"]["hurst"] != 0.1
    assert stale == {"hurst": 0.2, "rank": 8.0}
