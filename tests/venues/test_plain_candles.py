"""Answers read as a matrix give what answers read row by row give: the same rows, or the same
refusal. The second way is taken where simdjson is absent, so that is how it is asked for here."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_collector.api_parser import parse_klines
from data_collector.data_processing import aggregate_4h_to_8h, merge_data
from market.candles import Candles, new_candle
from market.exact_sums import Texts
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.markets import market
from venues import VENUES, plain_candles
from venues.errors import BadPayload

pytest.importorskip("simdjson")

ROOT = Path(__file__).resolve().parents[2]
H4 = 4 * HOUR_MS
MIDNIGHT = 1_767_225_600_000
BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT


@contextmanager
def without_simdjson() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_candles, "simdjson", None)
        yield


def outcome(
    exchange: Exchange, body: bytes, symbol: str, interval_ms: int, *, trade_columns: bool
) -> Any:
    found = market(exchange, symbol)
    try:
        page = parse_klines(found, body, interval_ms=interval_ms, trade_columns=trade_columns)
    except BadPayload as error:
        return str(error)
    return (list(page.rows), *page[1:])


def agree(exchange: Exchange, body: bytes, symbol: str, interval_ms: int) -> None:
    """Fails where the two ways differ for the body, with the columns of trades or without."""
    for trade_columns in (False, True):
        read = partial(outcome, exchange, body, symbol, interval_ms, trade_columns=trade_columns)
        result = read()
        with without_simdjson():
            assert read() == result


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


Wire = tuple[int, str, str, str, str, str, str]


def binance_klines(rows: Sequence[Wire]) -> bytes:
    return compact([
        [time, *prices, volume, time + H4 - 1, turnover, 5, "1.5", "2.25", "0"]
        for time, *prices, volume, turnover in rows
    ])  # fmt: skip


def bybit_klines(rows: Sequence[Wire]) -> bytes:
    listed = [[str(time), *rest] for time, *rest in reversed(rows)]
    result = {"symbol": "XUSDT", "category": "linear", "list": listed, "nextPageCursor": ""}
    return compact({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1})


KLINES = [(BINANCE, binance_klines), (BYBIT, bybit_klines)]
decimals = st.decimals(0, 10**9, places=7) | st.decimals(0, 10**13, places=2)
texts = decimals.map(lambda value: f"{value:f}") | st.integers(0, 10**17).map(str)


@st.composite
def candles(draw: st.DrawFn) -> list[Wire]:
    places = draw(st.sets(st.integers(0, 60), min_size=1, max_size=12))
    rows = []
    for place in sorted(places):
        prices = sorted(draw(st.lists(st.integers(1, 10**9), min_size=4, max_size=4)))
        low, opened, close, high = (f"{Decimal(price) / 1000:f}" for price in prices)
        amounts = draw(texts), draw(texts)
        rows.append((MIDNIGHT + place * H4, opened, high, low, close, *amounts))
    return rows


# --- the same rows -----------------------------------------------------------------------------


@pytest.mark.parametrize(("exchange", "wire"), KLINES)
@settings(max_examples=100, deadline=None)
@given(rows=candles())
def test_candles(exchange: Exchange, wire: Callable[[Sequence[Wire]], bytes], rows: Any) -> None:
    body = wire(rows)
    plain = VENUES[exchange].read_plain_klines(body, market(exchange, "XUSDT"), H4)
    assert plain is not None
    assert isinstance(plain.texts[0], Texts)  # read as a matrix
    assert plain == [
        new_candle((row[0], *map(float, row[1:5]), *row[5:], *[None] * 3)) for row in rows
    ]
    agree(exchange, body, "XUSDT", H4)


@pytest.mark.parametrize(("exchange", "wire"), KLINES)
@settings(max_examples=100, deadline=None)
@given(rows=candles())
def test_8h_sums_are_of_the_decimals_that_were_sent(
    exchange: Exchange, wire: Callable[[Sequence[Wire]], bytes], rows: Any
) -> None:
    page = parse_klines(market(exchange, "XUSDT"), wire(rows), interval_ms=H4)
    assert isinstance(page.rows, Candles)
    merged = merge_data(
        page.rows, [], None, timeframe=Timeframe.H4, as_of_ms=rows[-1][0], history_candles=99
    )
    groups: dict[int, list[Wire]] = {}
    for row in rows:
        groups.setdefault(row[0] // (2 * H4) * 2 * H4, []).append(row)
    made = aggregate_4h_to_8h(merged.rows, window_start_ms=0, exact=merged.exact)
    assert [(row[0], row[5], row[6]) for row in made] == [
        (time, *(float(sum(Decimal(row[column]) for row in group)) for column in (5, 6)))
        for time, group in groups.items()
    ]


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("length_ms", [MINUTE_MS, HOUR_MS, 2 * H4, 42 * H4])
def test_a_candle_that_ends_as_one_of_another_interval_is_none(
    length_ms: int, quoted: bool
) -> None:
    rows = json.loads(binance_klines([(MIDNIGHT + n * H4, *("2",) * 6) for n in range(3)]))
    rows[1][6] = rows[1][0] + length_ms - 1
    if quoted:
        rows[1][6], rows[1][7] = str(rows[1][6]), "2e0"
    body = compact(rows)
    agree(BINANCE, body, "XUSDT", H4)
    page = parse_klines(market(BINANCE, "XUSDT"), body, interval_ms=H4)
    assert [row[0] for row in page.rows] == [MIDNIGHT, MIDNIGHT + 2 * H4]
    assert [row.text() for row in page.left_out] == [
        f"row at {MIDNIGHT + H4} left out: a candle of {length_ms} ms, not of {H4}"
    ]


@pytest.mark.parametrize("end", [0, -1, "", None, [], {}, 1.5, "x", MIDNIGHT, MIDNIGHT + H4])
def test_an_end_of_no_interval_is_not_looked_at(end: Any) -> None:
    rows = json.loads(binance_klines([(MIDNIGHT, *("2",) * 6)]))
    rows[0][6] = end
    agree(BINANCE, compact(rows), "XUSDT", H4)
    page = parse_klines(market(BINANCE, "XUSDT"), compact(rows), interval_ms=H4)
    assert [row[0] for row in page.rows] == [MIDNIGHT]


def test_recorded_answers(recorded_data: Path) -> None:
    files = [
        ("binance/klines_BTCUSDT_4h_2024-01.json", H4),
        ("bybit/kline_1000BONKUSDT_60_limit1000_2025-10-22.json", HOUR_MS),
        ("bybit/kline_BTCUSDT_5_limit1000_2025-10-22.json", 5 * MINUTE_MS),
    ]  # fmt: skip
    for name, interval_ms in files:
        body = (recorded_data / name).read_bytes().strip()
        exchange, symbol = Exchange(name.split("/")[0]), name.split("_")[1]
        page = parse_klines(market(exchange, symbol), body, interval_ms=interval_ms)
        assert isinstance(page.rows, Candles), name
        assert isinstance(page.rows.texts[0], Texts), name
        agree(exchange, body, symbol, interval_ms)


def test_without_simdjson_every_answer_takes_the_other_parser() -> None:
    code = (
        "import sys; sys.modules['simdjson'] = None; from venues import plain_candles as p; "
        "assert p.plain_candles(b'', None, 1) is None"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)  # noqa: S603
    with without_simdjson():
        body = binance_klines(GOOD)
        assert VENUES[BINANCE].read_plain_klines(body, market(BINANCE, "XUSDT"), H4) is None


# --- the same refusals -------------------------------------------------------------------------

GOOD: list[Wire] = [
    (MIDNIGHT + n * H4, "10.50", "11.25", "9.75", "10", "123.40", "1300.5") for n in range(4)
]
BODIES = [(BINANCE, binance_klines(GOOD)), (BYBIT, bybit_klines(GOOD))]
ODD = ["-0", "-1.5", "1e5", "1E5", " 1", "1 ", "+1", "01", "5.", ".5", "", "1.2.3", "0x1", "nan"]


@pytest.mark.parametrize("value", [*ODD, "1e999", "9" * 40, "9" * 400, "1,2"])
@pytest.mark.parametrize("column", range(1, 7))
@pytest.mark.parametrize(("exchange", "wire"), KLINES)
def test_odd_numbers(
    exchange: Exchange, wire: Callable[[Sequence[Wire]], bytes], column: int, value: str
) -> None:
    rows: list[Any] = [list(row) for row in GOOD]
    rows[1][column] = value
    agree(exchange, wire(rows), "XUSDT", H4)


@pytest.mark.parametrize(("exchange", "body"), BODIES)
def test_every_body_cut_short(exchange: Exchange, body: bytes) -> None:
    for length in range(len(body)):
        agree(exchange, body[:length], "XUSDT", H4)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(BODIES),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 3),
    st.sampled_from([*'0159.,"[]{}-eE :aX\\', "],[", '","', "0" * 30, "null"]),
)
def test_a_body_damaged_anywhere(
    chosen: tuple[Exchange, bytes], where: float, taken: int, put: str
) -> None:
    exchange, body = chosen
    at = int(where * len(body))
    agree(exchange, body[:at] + put.encode() + body[at + taken :], "XUSDT", H4)
