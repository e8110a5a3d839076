"""What exchanges serve no more: null in the rows, and told once for an exchange."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.missing import lacks_by_market
from documents.reading import decode_series
from jobs.document_draft import DocumentDraft
from jobs.endings import is_failure
from jobs.unserved import Unserved
from market.markets import Exchange, Market, MarketSeries, Missing
from market.rows import Rows
from market.timeframes import DAY_MS, Timeframe
from venues import VENUES
from venues.venue import Endpoint

OKX, BINANCE = Exchange.OKX, Exchange.BINANCE
M5 = Timeframe.M5
STEP_MS = M5.interval_ms
AS_OF_MS = 1_795_185_441_250
SERVED_MS = -(-(AS_OF_MS - 1440 * STEP_MS) // STEP_MS) * STEP_MS
FUNDED_MS = -(-(AS_OF_MS - 90 * DAY_MS) // DAY_MS) * DAY_MS


def series(
    name: str,
    first_ms: int,
    known_ms: int | None,
    *,
    exchange: Exchange = OKX,
    timeframe: Timeframe = M5,
    funded_ms: int = 0,
) -> MarketSeries:
    """Candles from `first_ms` on, with open interest from `known_ms` and rates from `funded_ms`."""
    rows = Rows.of(
        [
            (
                *(time_ms, 1.0, 2.0, 0.5, 1.5, 10.0, 15.0),
                7.0 if known_ms is not None and time_ms >= known_ms else None,
                0.001 if time_ms >= funded_ms else None,
            )
            for time_ms in range(first_ms, timeframe.floor(AS_OF_MS) + 1, timeframe.interval_ms)
        ]
    )
    return MarketSeries(Market(exchange, f"{name}USDT", name, "USDT"), rows, AS_OF_MS)


def told(*found: MarketSeries, timeframe: Timeframe = M5) -> list[Missing]:
    unserved = Unserved(timeframe)
    for each in found:
        unserved.add(each)
    return list(unserved.told(AS_OF_MS))


def entry(known_ms: int, part: str = "open_interest") -> Missing:
    why = f"okx serves none from before {known_ms}"
    return Missing(OKX, None, part, why)  # type: ignore[arg-type]


OLD_MS = SERVED_MS - 560 * STEP_MS  # of 2,000 candles


def test_an_exchange_is_told_once_and_not_its_markets() -> None:
    assert told(*(series(name, OLD_MS, SERVED_MS) for name in "ABC")) == [entry(SERVED_MS)]
    (only,) = told(series("A", OLD_MS, None))  # nothing at all: what is served is told by itself
    assert only == entry(SERVED_MS)


def test_rows_kept_from_before_lack_nothing() -> None:
    kept_ms = SERVED_MS - 100 * STEP_MS
    assert told(series("A", OLD_MS, OLD_MS)) == []
    # One that has been kept for as long as the service runs.
    assert told(series("A", OLD_MS, kept_ms)) == [entry(kept_ms)]
    # The time from which on it is known of all.
    of_both = told(series("A", OLD_MS, kept_ms), series("B", OLD_MS, SERVED_MS))
    assert of_both == [entry(SERVED_MS)]


def test_young_markets_and_holes_are_something_else() -> None:
    young_ms = SERVED_MS + 30 * STEP_MS
    assert told(series("A", young_ms, young_ms + STEP_MS)) == []
    assert told(series("A", SERVED_MS, None)) == []
    # What comes later than is served is not too old.
    assert told(series("A", OLD_MS, young_ms)) == [entry(SERVED_MS)]


def test_three_months_of_rates_in_documents_of_days() -> None:
    first_ms = FUNDED_MS - 300 * DAY_MS
    days = series("A", first_ms, 0, timeframe=Timeframe.D1, funded_ms=FUNDED_MS)
    assert told(days, timeframe=Timeframe.D1) == [entry(FUNDED_MS, "funding_rate")]
    assert told(series("A", first_ms, 0, timeframe=Timeframe.D1), timeframe=Timeframe.D1) == []


def test_8h_reach_as_far_as_the_4h_that_they_are_made_of() -> None:
    step_ms = Timeframe.H8.interval_ms
    served_ms = -(-(AS_OF_MS - 720 * step_ms) // step_ms) * step_ms
    found = series("A", served_ms - step_ms, None, timeframe=Timeframe.H8)
    assert told(found, timeframe=Timeframe.H8) == [entry(served_ms)]
    assert told(series("A", served_ms, None, timeframe=Timeframe.H8), timeframe=Timeframe.H8) == []


@pytest.mark.parametrize("exchange", Exchange)
def test_only_where_the_table_says_so(exchange: Exchange) -> None:
    """An entry without a symbol means, to readers of before, that an exchange brought nothing."""
    first_ms = AS_OF_MS - AS_OF_MS % DAY_MS - 2000 * DAY_MS
    found = series(
        "A", first_ms, None, exchange=exchange, timeframe=Timeframe.D1, funded_ms=AS_OF_MS
    )
    tables = [VENUES[exchange].table(each) for each in (Endpoint.OPEN_INTEREST, Endpoint.FUNDING)]
    assert [each.part for each in told(found, timeframe=Timeframe.D1)] == [
        part
        for part, table in zip(("open_interest", "funding_rate"), tables, strict=True)
        if table.reach_is_told
    ]
    assert {table.reach_is_told for table in tables} == {exchange is OKX}


@given(
    st.lists(
        st.tuples(st.integers(-40, 40), st.one_of(st.none(), st.integers(-60, 60))), max_size=6
    )
)
def test_any_rows(markets: list[tuple[int, int | None]]) -> None:
    found = [
        series(
            f"M{n}",
            SERVED_MS + first * STEP_MS,
            None if known is None else SERVED_MS + known * STEP_MS,
        )
        for n, (first, known) in enumerate(markets)
    ]
    # Row by row: the newest null that is too old, of any market that has none before it.
    nulls = []
    for each in found:
        for row in each.rows:
            if row[0] >= SERVED_MS or row[7] is not None:
                break
            nulls.append(row[0])
    assert told(*found) == ([entry(max(nulls) + STEP_MS)] if nulls else [])


def test_a_document_says_it_and_nobody_takes_it_for_a_failure() -> None:
    draft = DocumentDraft(M5, "collected", {})
    for each in (series("A", OLD_MS, SERVED_MS), series("B", OLD_MS, SERVED_MS)):
        draft.add(each)
    draft.add(series("BTC", OLD_MS, None, exchange=BINANCE))
    body = draft.finish(version=2, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[]).inflate()
    document = orjson.loads(body)
    (lack,) = document["missing"]
    assert lack == {
        "exchange": "okx",
        "symbol": None,
        "part": "open_interest",
        "reason": f"okx serves none from before {SERVED_MS}",
    }
    assert not is_failure(Missing(OKX, None, "open_interest", lack["reason"]))
    assert is_failure(Missing(OKX, None, "listing", "down"))
    assert not any(series.lacks_open_interest for series in decode_series(body).values())
    assert lacks_by_market(document["missing"]).keys() <= {"okx:None"}


def test_a_refused_market_says_nothing() -> None:
    draft = DocumentDraft(M5, "collected", {})
    draft.add(series("A", OLD_MS, OLD_MS + STEP_MS))
    other = DocumentDraft(M5, "collected", {})
    DocumentDraft.join([draft, other])
    other.add(MarketSeries(series("A", OLD_MS, None).market, [(1, 2)], AS_OF_MS))  # type: ignore[list-item]
    for each in (draft, other):
        each.encode_rest()
    body = draft.finish(version=2, as_of_ms=AS_OF_MS, updated_at_ms=1, missing=[]).inflate()
    assert [(lack["symbol"], lack["part"]) for lack in orjson.loads(body)["missing"]] == [
        ("AUSDT", "klines")
    ]
