"""Any body at all: a parser gives rows, or a BadPayload of that market, and takes linear time."""

import contextlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from budgets.refusals import judge
from data_collector.api_parser import (
    parse_all_funding,
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_schedule,
    parse_server_time,
    parse_tickers,
)
from data_collector.url_builder import listing_request
from market.left_out import read_left_out
from market.markets import Exchange
from market.timeframes import HOUR_MS
from tests.fixtures.cpu_time import least_cpu_s
from tests.venues.samples import samples_of
from venues import VENUES
from venues.errors import BadPayload, ExchangeError
from venues.reading import is_name
from venues.venue import Endpoint

H4: Final = 4 * HOUR_MS
MEGABYTE: Final = 10**6
Parse = Callable[[bytes], Any]


def parsers(exchange: Exchange) -> dict[str, Parse]:
    market = samples_of(exchange).market
    request = listing_request(exchange, Endpoint.TIME)
    found: dict[str, Parse] = {
        "klines": lambda body: parse_klines(market, body, interval_ms=HOUR_MS),
        "open interest": lambda body: parse_open_interest(market, body, interval_ms=HOUR_MS),
        "funding": lambda body: parse_funding(market, body),
        "time": lambda body: parse_server_time(exchange, body),
        "instruments": lambda body: parse_instruments(exchange, body, quote="USDT"),
        "tickers": lambda body: parse_tickers(exchange, body),
        "refusal": lambda body: judge(request, 400, CIMultiDict(), body, 1_786_820_400_000),
        "error": VENUES[exchange].read_error,
    }
    if VENUES[exchange].recent_funding is not None:
        found["all funding"] = lambda body: parse_all_funding(exchange, body)
    for endpoint in VENUES[exchange].schedule:
        found[endpoint] = lambda body, of=endpoint: parse_schedule(exchange, of, body)  # type: ignore[misc]
    return found


def check(exchange: Exchange, name: str, parse: Parse, body: bytes) -> None:
    """Fails unless the parser gives sound rows or an error of the exchange."""
    try:
        found = parse(body)
    except BadPayload as error:
        assert error.exchange is exchange
        return
    if name in ("klines", "open interest", "funding"):
        times = [row[0] for row in found.rows]
        assert times == sorted(set(times))
        assert all(0 < time_ms < 10**15 for time_ms in times)
        assert all(read_left_out(row.text()) is not None for row in found.left_out)
        assert found.sent >= len(times) + len(found.left_out)
    if name in ("klines", "open interest"):
        assert not any(time_ms % HOUR_MS for time_ms in times)
    if name == "klines":
        for row in found.rows:
            assert 0 < row.low <= min(row.open, row.close)
            assert max(row.open, row.close) <= row.high < float("inf")
            assert row.volume.replace(".", "").isdecimal()
            assert row.turnover.replace(".", "").isdecimal()
    elif name == "instruments":
        assert all(is_name(row.market.symbol) and is_name(row.market.base) for row in found.rows)
        assert all(0 <= row.market.launched_ms < 10**15 for row in found.rows)
    elif name == "refusal":
        assert found is None or isinstance(found, ExchangeError)


# --- mutated bodies ------------------------------------------------------------------------------

PUT: Final = [
    *'0159.,:"[]{}-eE \\', "null", "true", '""', "NaN", "1e5", "-0", "1_0", "0x1", " 1", "+1",
    "\x00", "\ud800", "\\ud800", "\\u0000", "²", "٣", "[" * 2000, '{"a":' * 2000, "9" * 5000,
    '"list":null', '"list":[', '"data":null', '"data":[',
    "],[", "},{", "\\\\", '\\"', "9" * 30, "A" * 9000, "\ufeff", "/",
]  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Exchange, bytes]:
    """A sample of an exchange, cut, doubled and written over in some places."""
    exchange = draw(st.sampled_from(list(Exchange)))
    body = draw(st.sampled_from(samples_of(exchange).answers))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(body)))
        end = min(len(body), begin + draw(st.sampled_from([0, 0, 1, 2, 8, 40, 200])))
        put = draw(st.sampled_from(PUT)).encode("utf-8", "surrogatepass")
        body = body[:begin] + (put or body[begin:end] * 2) + body[end:]
    return exchange, body


@settings(max_examples=400, deadline=None)
@given(bodies())
def test_a_mutated_answer_gives_rows_or_an_error_of_the_exchange(
    mutated: tuple[Exchange, bytes],
) -> None:
    exchange, body = mutated
    for name, parse in parsers(exchange).items():
        check(exchange, name, parse, body)


json_values: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


def _replaced(value: Any, path: Sequence[int], put: Any) -> Any:
    """The JSON value with the one at `path` replaced; a path that is too long ends early."""
    if not path or not isinstance(value, list | dict) or not value:
        return put
    if isinstance(value, list):
        at = path[0] % len(value)
        return [*value[:at], _replaced(value[at], path[1:], put), *value[at + 1 :]]
    key = sorted(value)[path[0] % len(value)]
    return {**value, key: _replaced(value[key], path[1:], put)}


@settings(max_examples=300, deadline=None)
@example(Exchange.BINANCE, 2, [0, 4], -1)  # a time before 1970, which a document names as it is
@given(
    st.sampled_from(list(Exchange)),
    st.integers(0, 99),
    st.lists(st.integers(0, 20), max_size=5),
    json_values,
)
def test_any_value_in_any_place(exchange: Exchange, which: int, path: list[int], put: Any) -> None:
    answers = samples_of(exchange).answers
    value = _replaced(json.loads(answers[which % len(answers)]), path, put)
    body = json.dumps(value).encode("utf-8", "surrogatepass")
    for name, parse in parsers(exchange).items():
        check(exchange, name, parse, body)


def test_recorded_answers_with_one_place_written_over(recorded_data: Path) -> None:
    for exchange in Exchange:
        for file in sorted((recorded_data / str(exchange)).glob("*.json"))[:40]:
            body = file.read_bytes()[:200_000]
            for place, put in enumerate(PUT):
                at = place * len(body) // len(PUT)
                text = put.encode("utf-8", "surrogatepass")
                for name, parse in parsers(exchange).items():
                    check(exchange, name, parse, body[:at] + text + body[at + 1 :])


# --- the time it takes ---------------------------------------------------------------------------

# Repeated up to a megabyte, alone and within each form of answer.
ROW: Final = '[1786816800000,"1","1","1","1","1",1,"1"],'
SNAPSHOT: Final = '{"symbol":"BTCUSDT","sumOpenInterest":"","timestamp":3600000},'
SHAPES: Final = [
    "[", "{", '{"a":', "[[],", "[],", "{},", '"', '",', "\\", '\\"', ",", "9", "-", "1e9,", " ",
    "symbol", "symbol closed ", "too many ", "<a ", "<", "IP (", "banned until 1", "\ud83d",
    '["1",', "null,", '"list":', '"list":[', '"list":[[', '"data":', '"data":[', '"data":[[',
    '"symbols":[[]],', "]]", "0.", "\\u",
    '["1786816800000","1","1","1","1","1","1"],',
    '{"symbol":"BTCUSDT","fundingTime":1,"fundingRate":"x"},',
    '["1786816800000","1","1","1","1","1","1","1","1"],',
    '["1786816800000","1","x","1"],',
    ROW, SNAPSHOT,
]  # fmt: skip
FRAMES: Final = [
    ("", ""),
    ("[", "]"),
    ("[[", "]]"),
    ('{"retCode":0,"result":{"symbol":"BTCUSDT","category":"linear","list":[', "]}}"),
    ('{"code":"0","msg":"","data":[', "]}"),
    ('{"symbols":[', "]}"),
    ('{"code":-1,"msg":"', '"}'),
    ('{"retCode":10001,"retMsg":"', '"}'),
]


def longest(shape: str, before: str, after: str, size: int) -> bytes:
    """The shape repeated up to `size` bytes, within a frame."""
    unit = shape.encode("utf-8", "surrogatepass")
    many = unit * (size // len(unit))
    return before.encode() + (many.rstrip(b",") if after else many) + after.encode()


def slow_parsers(exchange: Exchange, body: bytes, most_s: float) -> dict[str, int]:
    """The parsers that take longer for the body each time, with ms."""

    def parsed(parse: Parse) -> None:
        with contextlib.suppress(BadPayload):
            parse(body)

    took_s = {
        name: least_cpu_s(partial(parsed, parse), most_s)
        for name, parse in parsers(exchange).items()
    }
    return {name: round(1000 * least_s) for name, least_s in took_s.items() if least_s >= most_s}


@pytest.mark.parametrize("exchange", list(Exchange))
def test_no_shape_takes_more_than_linear_time(exchange: Exchange) -> None:
    # Quadratic time would be seconds for a body of this size.
    slow = {}
    for shape in SHAPES:
        for before, after in FRAMES:
            body = longest(shape, before, after, MEGABYTE // 6)
            if found := slow_parsers(exchange, body, 0.05):
                slow[shape, before] = found
    assert slow == {}


@pytest.mark.parametrize("shape", ["[", "[],", "{},", "9", '"', "null,", ROW, SNAPSHOT])
@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_megabyte_takes_no_longer_than_50_ms(exchange: Exchange, shape: str) -> None:
    for before, after in FRAMES[1:5]:
        body = longest(shape, before, after, MEGABYTE)
        assert slow_parsers(exchange, body, 0.05) == {}
