"""A document in the making: a market that it cannot hold costs the others nothing."""

import math
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from documents.building import DocumentBuilder
from jobs import document_draft
from jobs.document_draft import DocumentDraft
from market.markets import Exchange, Market, MarketSeries, Meta, Row
from market.metadata import MetadataBatch
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


@pytest.mark.parametrize("held", [1, 3, 16])
@pytest.mark.parametrize("bad", [Timeframe.H4, Timeframe.H8])
def test_documents_of_one_collection_refuse_a_market_together(
    monkeypatch: pytest.MonkeyPatch, held: int, bad: Timeframe
) -> None:
    """What serves its candles of 4h and not of 8h would look right and be half."""
    monkeypatch.setattr(document_draft, "_BATCH_SIZE", held)
    drafts = {each: DocumentDraft(each, "collected", {}) for each in (Timeframe.H4, Timeframe.H8)}
    DocumentDraft.join(drafts.values())
    for symbol in ("AUSDT", "BUSDT", "CUSDT"):
        for timeframe, draft in drafts.items():
            first_ms = Timeframe.H8.window_start(AS_OF_MS, 150)
            found = [
                (first_ms + n * timeframe.interval_ms, *row[1:]) for n, row in enumerate(rows(20))
            ]
            wrong = symbol == "BUSDT" and timeframe is bad
            draft.add(series(symbol, not_a_number(found) if wrong else found))
    for draft in drafts.values():
        draft.encode_rest()
    for draft in drafts.values():
        document = finished(draft)
        assert [market["symbol"] for market in document["markets"]] == ["AUSDT", "CUSDT"]
        assert [missing["symbol"] for missing in document["missing"]] == ["BUSDT"]
        assert (draft.markets, draft.rows) == (2, 40)
        assert not [key for key in draft.computed if "BUSDT" in key]


def test_whatever_fails_while_a_market_is_encoded_is_its_own_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = DocumentBuilder.add

    def failing(builder: DocumentBuilder, found: MarketSeries, meta: Meta) -> None:
        if found.market.symbol == "BUSDT":
            raise RecursionError("a mistake of ours")
        add(builder, found, meta)

    monkeypatch.setattr(DocumentBuilder, "add", failing)
    draft = DocumentDraft(Timeframe.H1, "collected", {})
    for symbol in ("AUSDT", "BUSDT", "CUSDT"):
        draft.add(series(symbol, rows()))
    document = finished(draft)
    assert [market["symbol"] for market in document["markets"]] == ["AUSDT", "CUSDT"]
    assert [missing["reason"] for missing in document["missing"]] == [
        "internal error: RecursionError"
    ]


def test_metadata_that_cannot_be_computed_costs_no_rows_and_no_other_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finish = MetadataBatch.finish
    batches: list[list[str]] = []
    add = MetadataBatch.add

    def noted(batch: MetadataBatch, key: str, *rest: Any) -> None:
        vars(batch).setdefault("keys", []).append(key)
        add(batch, key, *rest)

    def failing(batch: MetadataBatch) -> dict[str, Meta]:
        keys = vars(batch).get("keys", [])
        batches.append(keys)
        if "binance:BUSDT" in keys:
            raise ZeroDivisionError("a mistake of ours")
        return finish(batch)

    monkeypatch.setattr(MetadataBatch, "add", noted)
    monkeypatch.setattr(MetadataBatch, "finish", failing)
    draft = DocumentDraft(Timeframe.H1, "collected", {})
    for symbol in ("AUSDT", "BUSDT", "CUSDT"):
        draft.add(series(symbol, rows()))
    document = finished(draft)
    assert [market["symbol"] for market in document["markets"]] == ["AUSDT", "BUSDT", "CUSDT"]
    assert set(draft.computed) == {"binance:AUSDT", "binance:CUSDT"}
    assert document["missing"] == []
