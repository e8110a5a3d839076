"""Candles from the cache: what is answered is what the exchange answers, to the last digit."""

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facade.candle_questions import CandleQuestion, answered_rows
from facade.exchanges import FACADES
from facade.market_rows import MarketRows, plain
from facade.venue import FacadeVenue
from market.markets import Exchange

STEP_MS = 300_000
WIDE = (
    *("open", "high", "low", "close", "volume", "turnover", "open_interest", "funding_rate"),
    *("trades", "taker_buy_volume", "taker_buy_turnover"),
)
BINANCE, BYBIT, OKX = (FACADES[Exchange(each)] for each in ("binance", "bybit", "okx"))
PATHS = {
    BINANCE.exchange: "/fapi/v1/klines",
    BYBIT.exchange: "/v5/market/kline",
    OKX.exchange: "/api/v5/market/candles",
}


@dataclass
class ToldByExchange:
    """A market at an exchange: by open time the decimal texts of its candles, as they are told."""

    candles: dict[int, list[str]]
    now_ms: int

    def answer(self, first_ms: int | None, last_ms: int | None, limit: int, newest: bool) -> Any:
        """What the exchange answers with, by the rules of its documentation."""
        found = [
            (opened, cells)
            for opened, cells in sorted(self.candles.items())
            if (first_ms is None or opened >= first_ms) and (last_ms is None or opened <= last_ms)
        ]
        return found[-limit:] if newest else found[:limit]

    def document(self, checked_at_ms: int, rows: int) -> MarketRows:
        """What a collection then has of it: floats in their shortest form."""
        then = {each: cells for each, cells in self.candles.items() if each <= checked_at_ms}
        kept = sorted(then.items())[-rows:]
        return MarketRows(
            columns=WIDE,
            interval_ms=STEP_MS,
            times=[opened for opened, _ in kept],
            cells=[[plain(repr(float(cell))) for cell in cells] for _, cells in kept],
            checked_at_ms=checked_at_ms,
            is_stale=False,
        )


def decimal_text(draw: st.DrawFn, decimals: int, largest: int) -> str:
    """With all its decimals, as exchanges write them."""
    units = draw(st.integers(1, largest * 10**decimals))
    return f"{Decimal(units).scaleb(-decimals):.{decimals}f}"


@st.composite
def markets(draw: st.DrawFn) -> ToldByExchange:
    count = draw(st.integers(35, 60))
    first_ms = 1_786_816_800_000
    decimals = [draw(st.integers(0, 8)) for _ in range(3)]
    largest = 10 ** draw(st.integers(1, 12))
    candles = {}
    for number in range(count):
        if number > 40 and draw(st.integers(0, 30)) == 0:
            continue  # a hole
        price = decimal_text(draw, decimals[0], 10**5)
        volume, turnover = (decimal_text(draw, each, largest) for each in decimals[1:])
        candles[first_ms + number * STEP_MS] = [
            *(price, price, price, price, volume, turnover, "1", "1"),
            *(str(draw(st.integers(0, 10**6))), volume, turnover),
        ]
    now_ms = max(candles) + draw(st.integers(0, STEP_MS - 1))
    return ToldByExchange(candles, now_ms)


def told(
    facade: FacadeVenue,
    rows: MarketRows,
    query: dict[str, str],
    now_ms: int,
    *,
    path: str | None = None,
    contract: str = "1",
) -> Any:
    """The answer from the cache, None where it is left to the exchange."""
    form = facade.candles
    question = facade.asked[path or PATHS[facade.exchange]](query)
    if not isinstance(question, CandleQuestion) or question.step_ms != rows.interval_ms:
        return None
    columns = [rows.columns.index(name) for name in form.columns]
    found = answered_rows(rows, question, columns, now_ms=now_ms, forming_s=60)
    if found is None:
        return None
    body = form.told(rows, found.lines, question, Decimal(contract))
    return None if body is None else orjson.loads(body + facade.closing(now_ms))


@settings(max_examples=300, deadline=None)
@given(market=markets(), data=st.data())
def test_an_answer_is_the_exchanges_own(market: ToldByExchange, data: st.DataObject) -> None:
    age_ms = data.draw(st.integers(0, 2 * STEP_MS))
    rows = market.document(market.now_ms - age_ms, data.draw(st.integers(30, 70)))
    times = sorted(market.candles)
    moment = st.none() | st.integers(times[0] - STEP_MS, market.now_ms + STEP_MS)
    first_ms, last_ms = data.draw(moment), data.draw(moment)
    limit = data.draw(st.integers(1, 80))
    query = {"symbol": "BTCUSDT", "interval": "5m", "limit": str(limit)}
    query |= {} if first_ms is None else {"startTime": str(first_ms)}
    query |= {} if last_ms is None else {"endTime": str(last_ms)}
    answer = told(BINANCE, rows, query, market.now_ms)
    if answer is None:
        return
    expected = market.answer(first_ms, last_ms, limit, newest=first_ms is None)
    assert [row[0] for row in answer] == [opened for opened, _ in expected]
    for row, (opened, cells) in zip(answer, expected, strict=True):
        assert row[6] == opened + STEP_MS - 1
        values = [row[place] for place in (1, 2, 3, 4, 5, 7, 8, 9, 10)]
        theirs = [cells[place] for place in (0, 1, 2, 3, 4, 5, 8, 9, 10)]
        assert [Decimal(str(each)) for each in values] == list(map(Decimal, theirs))


def usual(now_ms: int, age_ms: int = 0) -> MarketRows:
    """50 candles up to the forming one, as a bot's market has them."""
    opened = [now_ms // STEP_MS * STEP_MS - back * STEP_MS for back in range(49, -1, -1)]
    candles = {
        each: [
            *("63043.40", "63083.00", "63011.60", "63026.30"),
            *(f"{number}.068", f"7034{number}.01700"),
            *("1", "1", str(number), "460.737", f"2903{number}.72240"),
        ]
        for number, each in enumerate(opened, 1000)
    }
    return ToldByExchange(candles, now_ms).document(now_ms - age_ms, 50)


NOW_MS = 1_786_816_800_000 + 12_345


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, None),  # 500 rows are wanted, 50 are there
        ({"limit": "50"}, 50),
        ({"limit": "51"}, None),
        ({"limit": "20", "startTime": str(NOW_MS - 10 * STEP_MS)}, 10),
        ({"limit": "5", "startTime": str(NOW_MS - 10 * STEP_MS)}, 5),
        ({"limit": "5", "endTime": str(NOW_MS - 10 * STEP_MS)}, 5),
        # Which end the limit cuts is not known.
        (
            {
                "limit": "5",
                "startTime": str(NOW_MS - 10 * STEP_MS),
                "endTime": str(NOW_MS - STEP_MS),
            },
            None,
        ),
        ({"limit": "0"}, None),
        ({"limit": "1501"}, None),
        ({"limit": "5", "startTime": "soon"}, None),
        ({"limit": "5", "interval": "1m"}, None),
        ({"limit": "5", "interval": "5M"}, None),
    ],
)
def test_what_the_cache_answers(query: dict[str, str], count: int | None) -> None:
    asked = {"symbol": "BTCUSDT", "interval": "5m", **query}
    answer = told(BINANCE, usual(NOW_MS), asked, NOW_MS)
    assert (None if answer is None else len(answer)) == count


def test_a_forming_candle_is_told_while_it_is_young() -> None:
    query = {"symbol": "BTCUSDT", "interval": "5m", "limit": "3"}
    assert told(BINANCE, usual(NOW_MS, age_ms=12_000), query, NOW_MS) is not None
    later_ms = NOW_MS + 61_000
    assert told(BINANCE, usual(NOW_MS), query, later_ms) is None
    # One that was read 12 s after its close may still change; those before it do not any more.
    just_closed = {**query, "endTime": str(NOW_MS - STEP_MS)}
    assert told(BINANCE, usual(NOW_MS), just_closed, NOW_MS + 59_000) is not None
    assert told(BINANCE, usual(NOW_MS), just_closed, later_ms) is None
    closed = {**query, "endTime": str(NOW_MS - 2 * STEP_MS)}
    assert told(BINANCE, usual(NOW_MS), closed, later_ms) is not None


def test_a_candle_that_was_read_before_its_close_is_not_told_as_closed() -> None:
    query = {"symbol": "BTCUSDT", "interval": "5m", "limit": "3"}
    after_the_close = NOW_MS // STEP_MS * STEP_MS + STEP_MS + 100
    forming = str(after_the_close - 100 - 1)
    assert told(BINANCE, usual(NOW_MS), query, after_the_close) is None
    assert told(BINANCE, usual(NOW_MS), {**query, "endTime": forming}, after_the_close) is None


def test_columns_that_are_null_are_left_to_the_exchange() -> None:
    rows = usual(NOW_MS)
    for line in rows.cells[:10]:
        assert isinstance(line, list)
        line[8:] = ["null"] * 3
    query = {"symbol": "BTCUSDT", "interval": "5m"}
    assert told(BINANCE, rows, {**query, "limit": "40"}, NOW_MS) is not None
    assert told(BINANCE, rows, {**query, "limit": "41"}, NOW_MS) is None
    bybit = {"symbol": "BTCUSDT", "interval": "5", "category": "linear", "limit": "50"}
    answer = told(BYBIT, rows, bybit, NOW_MS)
    assert answer["result"]["list"][0][0] == str(rows.times[-1])  # the newest first
    assert len(answer["result"]["list"]) == 50
    assert answer["result"]["list"][-1] == [
        *(str(rows.times[0]), "63043.4", "63083", "63011.6", "63026.3", "1000.068", "70341000.017")
    ]


def test_a_start_within_a_candle_is_that_candles_at_one_exchange_and_the_nexts_at_another() -> None:
    rows = usual(NOW_MS)
    start = str(rows.times[-3] + 1)
    answer = told(
        BINANCE, rows, {"symbol": "BTCUSDT", "interval": "5m", "startTime": start}, NOW_MS
    )
    assert [row[0] for row in answer] == rows.times[-2:]
    query = {"symbol": "BTCUSDT", "interval": "5", "start": start}
    answer = told(BYBIT, rows, query, NOW_MS)
    assert [row[0] for row in answer["result"]["list"]] == [
        str(each) for each in reversed(rows.times[-3:])
    ]


@pytest.mark.parametrize(
    ("largest", "decimals", "exact"),
    [
        ("9999999999", 5, True),  # 15 digits
        ("44999999999", 5, True),  # 16, and no other of 5 decimals has the same float64
        ("99999999999", 5, False),  # 16, and another may have
        ("123456789012", 8, False),
        ("0", 20, False),
        ("0", 15, True),
    ],
)
def test_numbers_of_too_many_digits_are_left_to_the_exchange(
    largest: str, decimals: int, exact: bool
) -> None:
    count = 100
    opened = [NOW_MS // STEP_MS * STEP_MS - back * STEP_MS for back in range(count)]
    parts = [str(7 * 10**decimals // (11 + place)).zfill(decimals) for place in range(count)]
    turnovers = [f"{largest}.{part[-decimals:]}" for part in parts]
    cells = dict(zip(opened, turnovers, strict=True))
    candles = {each: [*["1.5"] * 5, text, *["1"] * 5] for each, text in cells.items()}
    rows = ToldByExchange(candles, NOW_MS).document(NOW_MS, count)
    found = [rows.are_exact(range(line, line + 1), [5]) for line in range(count)]
    assert all(found) if exact else not any(found)
    for time_ms, row in zip(rows.times, rows.cells, strict=True):
        assert not exact or Decimal(row[5]) == Decimal(cells[time_ms])


@pytest.mark.parametrize("count", [40, 120, 1000])
@pytest.mark.parametrize("whole_digits", range(8, 13))
@pytest.mark.parametrize("decimals", range(4, 9))
def test_ever_so_many_numbers_of_too_many_digits_show_none(
    count: int, whole_digits: int, decimals: int
) -> None:
    """Some of them are short as float64 by chance, more among more of them."""
    chance = Random(count)  # noqa: S311
    span = 10 ** (whole_digits + decimals)
    # Turnovers of a market vary by half of them, so none is small enough to show all its places.
    units = [chance.randrange(span * 45 // 100, span * 85 // 100) for _ in range(count)]
    turnovers = [f"{Decimal(each).scaleb(-decimals):f}" for each in units]
    candles = {
        NOW_MS // STEP_MS * STEP_MS - back * STEP_MS: [*["1.5"] * 5, text, *["1"] * 5]
        for back, text in enumerate(turnovers)
    }
    rows = ToldByExchange(candles, NOW_MS).document(NOW_MS, count)
    for line, (time_ms, row) in enumerate(zip(rows.times, rows.cells, strict=True)):
        if rows.are_exact(range(line, line + 1), [5]):
            assert Decimal(row[5]) == Decimal(candles[time_ms][5])
    if whole_digits + decimals <= 15:
        assert rows.are_exact(range(count), [5])


def test_few_numbers_show_little() -> None:
    candles = {NOW_MS // STEP_MS * STEP_MS: [*["1.5"] * 5, "123456789.012345", *["1"] * 5]}
    rows = ToldByExchange(candles, NOW_MS).document(NOW_MS, 1)
    assert rows.are_exact(range(1), [0, 4])  # a short text is no chance
    assert not rows.are_exact(range(1), [5])


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.0", "0"),
        ("1e-07", "0.0000001"),
        ("1.5e-9", "0.0000000015"),
        ("1e22", "10000000000000000000000"),
        ("63043.40", "63043.4"),
        ("100.0", "100"),
        ("100", "100"),
        ("-0.0001", "-0.0001"),
        ("null", "null"),
    ],
)
def test_numbers_are_told_without_exponents(number: str, text: str) -> None:
    assert plain(number) == text
