"""The tables of each exchange, compared with what its documentation says, copied by hand."""

from collections.abc import Sequence
from typing import Final

import pytest
from multidict import CIMultiDict

import venues
from budgets.refusals import judge
from data_collector.api_parser import (
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_schedule,
    parse_server_time,
    parse_tickers,
)
from data_collector.url_builder import history_request, listing_request, recent_funding_request
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from tests.venues.samples import samples_of
from tests.venues.test_bybit import bybit_answer
from venues.errors import (
    BadPayload,
    Banned,
    Blocked,
    ExchangeError,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.reading import AnswerFaults
from venues.venue import Endpoint, EndpointTable, Limit, Order, Request, Venue

BINANCE, BYBIT, OKX = Exchange.BINANCE, Exchange.BYBIT, Exchange.OKX
MIDNIGHT: Final = 1_767_225_600_000
DAY_MS: Final = 86_400_000
NOW_MS: Final = 1_786_820_400_000

# Its words for the lengths of candles, and their minutes.
BINANCE_CANDLES: Final = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360,
    "8h": 480, "12h": 720, "1d": 1440, "3d": 4320, "1w": 10080, "1M": None,
}  # fmt: skip
# Ours, its own and the minutes.
BYBIT_CANDLES: Final = [
    ("1m", "1", 1), ("3m", "3", 3), ("5m", "5", 5), ("15m", "15", 15), ("30m", "30", 30),
    ("1h", "60", 60), ("2h", "120", 120), ("4h", "240", 240), ("6h", "360", 360),
    ("12h", "720", 720), ("1d", "D", 1440), ("1w", "W", 10080), ("1M", "M", None),
]  # fmt: skip
BYBIT_OPEN_INTEREST: Final = {
    "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "1d": "1d"
}  # fmt: skip


def facts(exchange: Exchange) -> Venue:
    """The tables of an exchange, taken from its file."""
    return venues._venue(exchange)


def market(exchange: Exchange) -> Market:
    return samples_of(exchange).market


def faults(exchange: Exchange) -> AnswerFaults:
    return AnswerFaults(exchange, "klines", "BTCUSDT")


# --- requests, and what their answers are read with ----------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "target", "counter", "weight"),
    [
        (Endpoint.TIME, "/fapi/v1/time", "weight", 1),
        (Endpoint.INSTRUMENTS, "/fapi/v1/exchangeInfo", "weight", 1),
        (Endpoint.TICKERS, "/fapi/v1/ticker/24hr", "weight", 40),
        (Endpoint.PREMIUM_INDEX, "/fapi/v1/premiumIndex", "weight", 10),
        (Endpoint.FUNDING_INFO, "/fapi/v1/fundingInfo", "funding", 1),
    ],
)
def test_lists_of_binance(endpoint: Endpoint, target: str, counter: str, weight: int) -> None:
    request = listing_request(BINANCE, endpoint)
    assert (request.target, request.counter, request.weight) == (target, counter, weight)
    table = facts(BINANCE).table(endpoint)
    assert (table.page_limit, table.fixed, table.period, table.periods) == (0, (), "", {})
    assert table.horizon_ms is None
    assert facts(BINANCE).read_time(b'{"serverTime":5}', faults(BINANCE)) == 5


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        (Endpoint.TIME, "/v5/market/time"),
        (Endpoint.INSTRUMENTS, "/v5/market/instruments-info?category=linear&limit=1000"),
        (Endpoint.TICKERS, "/v5/market/tickers?category=linear"),
    ],
)
def test_lists_of_bybit(endpoint: Endpoint, target: str) -> None:
    request = listing_request(BYBIT, endpoint)
    assert (request.target, request.counter, request.weight) == (target, "requests", 1)
    answer = b'{"retCode":0,"result":{"timeNano":"5999999"}}'
    assert facts(BYBIT).read_time(answer, faults(BYBIT)) == 5


def test_lists_that_bybit_lacks() -> None:
    venue = facts(BYBIT)
    for endpoint in (Endpoint.FUNDING_INFO, Endpoint.PREMIUM_INDEX):
        assert venue.endpoints[endpoint] is None
        with pytest.raises(KeyError, match=f"bybit has no endpoint {endpoint}"):
            venue.table(endpoint)


def test_history_of_binance() -> None:
    def target(endpoint: Endpoint, period: Timeframe | None) -> str:
        request = history_request(
            market(BINANCE), endpoint, start_ms=5, end_ms=7, limit=9999, period=period
        )
        return f"{request.target} {request.counter} {request.weight}"

    window = "startTime=5&endTime=7"
    assert target(Endpoint.KLINES, Timeframe.H1) == (
        f"/fapi/v1/klines?symbol=BTCUSDT&interval=1h&{window}&limit=499 weight 2"
    )
    assert target(Endpoint.OPEN_INTEREST, Timeframe.H1) == (
        f"/futures/data/openInterestHist?symbol=BTCUSDT&period=1h&{window}&limit=500"
        " open_interest 1"
    )
    assert target(Endpoint.FUNDING, None) == (
        f"/fapi/v1/fundingRate?symbol=BTCUSDT&{window}&limit=1000 funding 1"
    )
    everybody = recent_funding_request(BINANCE, start_ms=5, end_ms=7)
    assert everybody.target == f"/fapi/v1/fundingRate?{window}&limit=1000"
    venue = facts(BINANCE)
    for endpoint in (Endpoint.KLINES, Endpoint.OPEN_INTEREST, Endpoint.FUNDING):
        table = venue.table(endpoint)
        assert table.order is Order.ASCENDING
        horizon_ms = 30 * DAY_MS if endpoint is Endpoint.OPEN_INTEREST else None
        assert table.horizon_ms == horizon_ms
    assert venue.recent_funding == (Endpoint.FUNDING, venue.read_funding)
    assert venue.default_funding_hours == 8
    assert venue.cheapest_candles == 99


def test_history_of_bybit() -> None:
    def target(endpoint: Endpoint, period: Timeframe | None) -> str:
        request = history_request(
            market(BYBIT), endpoint, start_ms=5, end_ms=7, limit=9999, period=period
        )
        return f"{request.target} {request.counter} {request.weight}"

    asked = "category=linear&symbol=BTCUSDT"
    assert target(Endpoint.KLINES, Timeframe.H1) == (
        f"/v5/market/kline?{asked}&interval=60&start=5&end=7&limit=1000 requests 1"
    )
    assert target(Endpoint.OPEN_INTEREST, Timeframe.H1) == (
        f"/v5/market/open-interest?{asked}&intervalTime=1h&startTime=5&endTime=7&limit=200"
        " requests 1"
    )
    assert target(Endpoint.FUNDING, None) == (
        f"/v5/market/funding/history?{asked}&startTime=5&endTime=7&limit=200 requests 1"
    )
    venue = facts(BYBIT)
    for endpoint in (Endpoint.KLINES, Endpoint.OPEN_INTEREST, Endpoint.FUNDING):
        table = venue.table(endpoint)
        assert table.order is Order.DESCENDING
        assert table.horizon_ms is None
    assert venue.recent_funding is None
    assert venue.default_funding_hours is None
    assert venue.cheapest_candles == 99  # every request weighs the same: few keep answers small


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10)]
)
def test_the_weight_of_candles_of_binance_goes_by_their_number(limit: int, weight: int) -> None:
    table = facts(BINANCE).table(Endpoint.KLINES)
    assert table.weight(limit) == weight
    assert table.weight(1500) == 10
    with pytest.raises(StopIteration):
        table.weight(1501)  # it serves no more


def test_errors_name_the_request_by_its_kind() -> None:
    btc = market(BYBIT)
    told = []
    for parse in (
        lambda: parse_server_time(BYBIT, b"x"),
        lambda: parse_klines(btc, b"x", interval_ms=HOUR_MS),
        lambda: parse_open_interest(btc, b"x", interval_ms=HOUR_MS),
        lambda: parse_funding(btc, b"x"),
        lambda: parse_instruments(BYBIT, b"x", quote="USDT"),
        lambda: parse_tickers(BYBIT, b"x"),
    ):
        with pytest.raises(BadPayload, match="not JSON: x") as raised:
            parse()
        told.append(raised.value.endpoint)
    assert told == ["time", "klines", "open_interest", "funding", "instruments", "tickers"]
    for endpoint, name in [
        (Endpoint.FUNDING_INFO, "funding_info"),
        (Endpoint.PREMIUM_INDEX, "premium_index"),
    ]:
        with pytest.raises(BadPayload, match=f"binance {name}: unexpected answer, or not JSON"):
            parse_schedule(BINANCE, endpoint, b"x")


def test_the_cost_of_a_request_unless_told() -> None:
    assert listing_request(BINANCE, Endpoint.TIME).weight == 1
    assert Request(BINANCE, Endpoint.TIME, "/", "weight") == Request(
        BINANCE, Endpoint.TIME, "/", "weight", weight=1, symbol=None
    )
    table = EndpointTable("/", "weight")
    assert (table.weight(), table.weight(10**9), table.page_limit) == (1, 1, 0)
    assert (table.symbol, table.start, table.end) == ("symbol", "startTime", "endTime")
    assert EndpointTable("/", "weight", weights=((0, 1), (9, 2))).weight() == 1


# --- periods -------------------------------------------------------------------------------------


def test_candles_of_binance_in_every_length() -> None:
    venue = facts(BINANCE)
    assert venue.table(Endpoint.KLINES).periods == {word: word for word in BINANCE_CANDLES}
    lengths_ms = [minutes * MINUTE_MS for minutes in BINANCE_CANDLES.values() if minutes]
    for sent_ms in lengths_ms:
        body = b'[[%d,"2","3","1","2","5",%d,"7",1,"1","1","0"]]' % (
            MIDNIGHT,
            MIDNIGHT + sent_ms - 1,
        )
        read = [venue.read_plain_klines(body, market(BINANCE), asked) for asked in lengths_ms]
        # One of another length than was asked for is none of ours.
        assert [found is not None for found in read] == [sent_ms == asked for asked in lengths_ms]


def test_open_interest_of_binance_in_every_length() -> None:
    served = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
    table = facts(BINANCE).table(Endpoint.OPEN_INTEREST)
    assert table.periods == {word: word for word in served}
    assert len(facts(BINANCE).read_open_interest(b"[]", market(BINANCE), faults(BINANCE))) == 0


def test_periods_of_bybit() -> None:
    venue = facts(BYBIT)
    candles = {ours: its for ours, its, _ in BYBIT_CANDLES}
    assert venue.table(Endpoint.KLINES).periods == candles
    assert venue.table(Endpoint.OPEN_INTEREST).periods == BYBIT_OPEN_INTEREST
    assert list(venue.read_klines(bybit_answer([]), market(BYBIT), HOUR_MS, faults(BYBIT))) == []


# --- limits and refusals -------------------------------------------------------------------------


def test_limits() -> None:
    assert facts(BINANCE).limits == {
        "weight": Limit(2400, 60, "X-MBX-USED-WEIGHT-1M", at_full_minutes=True),
        "funding": Limit(500, 300, None, at_full_minutes=False),
        "open_interest": Limit(1000, 300, None, at_full_minutes=False, burst=1.0),
    }
    assert facts(BYBIT).limits == {"requests": Limit(600, 5, None, at_full_minutes=False)}
    assert {
        name: (limit.quantity, limit.window_s, limit.header, limit.at_full_minutes)
        for name, limit in facts(OKX).limits.items()
    } == {
        "time": (10, 2, None, False),
        "instruments": (20, 2, None, False),
        "candles": (40, 2, None, False),
        "history_candles": (20, 2, None, False),
        "open_interest": (10, 2, None, False),
        "funding_now": (10, 2, None, False),
        "funding": (10, 2, None, False),
        "tickers": (20, 2, None, False),
        "status": (1, 5, None, False),
        # Of what is passed through alone.
        **{name: (20, 2, None, False) for name in ("ticker", "index_tickers", "price_limit")},
        **{name: (20, 2, None, False) for name in ("mark_candles", "index_candles")},
        **{f"history_{name}_candles": (10, 2, None, False) for name in ("mark", "index")},
        **{name: (10, 2, None, False) for name in ("open_interest_now", "mark_price")},
        "books": (40, 2, None, False),
        "trades": (100, 2, None, False),
        "ratios": (5, 2, None, False),
    }


def judged(
    exchange: Exchange, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()
) -> ExchangeError:
    request = listing_request(facts(exchange).exchange, Endpoint.TICKERS)
    error = judge(request, status, CIMultiDict(headers), body, NOW_MS)
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-1000, SourceDown),
        (-1001, SourceDown),
        (-1003, RateLimited),
        (-1007, SourceDown),
        (-1008, SourceDown),
        (-1016, SourceDown),
        (-1121, SymbolGone),
        (-1122, SymbolGone),
        (-1130, WindowRefused),
        (-4141, SymbolGone),
        (-4144, SymbolGone),
    ],
)
def test_codes_of_binance(code: int, kind: type[ExchangeError]) -> None:
    error = judged(BINANCE, 400, b'{"code":%d,"msg":"why"}' % code)
    assert type(error) is kind
    assert error.cause == f"{code} why"
    assert len(facts(BINANCE).codes) == 11


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10000, SourceDown),
        (10006, RateLimited),
        (10009, Blocked),
        (10016, SourceDown),
        (10018, Banned),
        (10024, Blocked),
        (10029, SymbolGone),
        (10429, SourceDown),
    ],
)
def test_codes_of_bybit(code: int, kind: type[ExchangeError]) -> None:
    error = judged(BYBIT, 200, b'{"retCode":%d,"retMsg":"why","result":{}}' % code)
    assert type(error) is kind
    assert error.cause == f"{code} why"
    assert len(facts(BYBIT).codes) == 8


@pytest.mark.parametrize("exchange", list(Exchange))
def test_statuses(exchange: Exchange) -> None:
    for status, kind in [(408, SourceDown), (429, RateLimited), (451, Blocked)]:
        assert type(judged(exchange, status, b"why")) is kind
    assert facts(exchange).statuses[451] is Restricted
    assert facts(exchange).statuses.get(418) is (Banned if exchange is BINANCE else None)
    assert len(facts(exchange).statuses) == (4 if exchange is BINANCE else 3)


@pytest.mark.parametrize(
    ("exchange", "status", "body", "pause_s"),
    [
        # A minute's weight; with 418 the ban is of 2 minutes to 3 days.
        (BINANCE, 429, b'{"code":-1003,"msg":"why"}', 60),
        (BINANCE, 418, b'{"code":-1003,"msg":"why"}', 300),
        (BINANCE, 418, b'{"code":-1003,"msg":"banned until %d"}' % (NOW_MS + 7000), 7),
        # "Too many visits" pass within a second; the other limit wants 10 minutes.
        (BYBIT, 200, b'{"retCode":10006,"retMsg":"why"}', 1),
        (BYBIT, 403, b"access too frequent", 600),
        # Every window is of two seconds.
        (OKX, 200, b'{"code":"50011","msg":"why"}', 2),
        (OKX, 429, b'{"code":"50011","msg":"why"}', 2),
        (OKX, 403, b"access too frequent", 2),
    ],
)
def test_pauses_where_nothing_is_said(
    exchange: Exchange, status: int, body: bytes, pause_s: int
) -> None:
    error = judged(exchange, status, body)
    assert isinstance(error, RateLimited | Banned)
    assert error.until_ms == NOW_MS + 1000 * pause_s


def test_bybit_says_when_its_limit_ends() -> None:
    headers = [("X-Bapi-Limit-Reset-Timestamp", str(NOW_MS + 3000))]
    error = judged(BYBIT, 200, b'{"retCode":10006,"retMsg":"why"}', headers)
    assert isinstance(error, RateLimited)
    assert error.until_ms == NOW_MS + 3000


@pytest.mark.parametrize("until", ["1786820500000", "17868205000001"])
def test_the_end_of_a_ban_has_13_digits(until: str) -> None:
    pattern = facts(BINANCE).banned_until
    assert pattern is not None
    found = pattern.search(f"ip(1.2.3.4) banned until {until}.")
    assert found is not None
    assert found[1] == until[:13]


def test_a_body_that_is_no_error() -> None:
    assert facts(BINANCE).success_prefix == b"["
    assert facts(BYBIT).success_prefix == b'{"retCode":0,'
    assert facts(OKX).success_prefix == b'{"code":"0",'
    assert facts(OKX).read_error(b'{"code":0}') is facts(OKX).read_error(b'{"code":"0"}') is None
    for exchange in Exchange:
        for body in (b"", b"[]", b"{}", b"7", b'{"code":null}', b'{"retCode":0}', b"<html>"):
            assert facts(exchange).read_error(body) is None


@pytest.mark.parametrize(
    ("exchange", "body", "code", "message"),
    [
        (BINANCE, b'{"code":-1121,"msg":"Invalid symbol."}', "-1121", "Invalid symbol."),
        (BINANCE, b'\xef\xbb\xbf{"code":0,"msg":"x"}', "0", "x"),
        (BINANCE, b'{"code":"000002"}', "000002", ""),
        (
            BINANCE,
            b'{"code":"000002","errorData":{"limit":"a","n":5,"other":"b"},"data":null}',
            "000002",
            "a; b",
        ),
        (BINANCE, b'{"code":1,"msg":"c","errorData":{"limit":"a"}}', "1", "c"),
        (BINANCE, b'{"code":"%b"}' % (b"1" * 41), "1" * 40, ""),
        (BYBIT, b'{"retCode":10001,"retMsg":"params error"}', "10001", "params error"),
        (BYBIT, b'{"retCode":-1}', "-1", ""),
        (BYBIT, b'{"retCode":%b,"retMsg":null}' % (b"1" * 41), "1" * 40, ""),
        (OKX, b'{"msg":"why","code":"51001","data":[]}', "51001", "why"),
        (OKX, b'\xef\xbb\xbf{"code":50011}', "50011", ""),
        (OKX, b'{"code":"%b","msg":null}' % (b"1" * 41), "1" * 40, ""),
    ],
)
def test_a_body_that_is_an_error(exchange: Exchange, body: bytes, code: str, message: str) -> None:
    assert facts(exchange).read_error(body) == (code, message)


@pytest.mark.parametrize(
    "text",
    [
        "params error: symbol invalid",
        "not supported symbols",
        "the symbol is closed",
        "symbol x does not exist",
        f"symbol {'x' * 79}closed",
    ],
)
def test_messages_of_bybit_about_a_contract_that_is_gone(text: str) -> None:
    error = judged(BYBIT, 200, b'{"retCode":10001,"retMsg":"%b"}' % text.encode())
    assert type(error) is SymbolGone


@pytest.mark.parametrize("text", ["closed", "intervaltime is invalid", f"symbol {'x' * 80}closed"])
def test_messages_of_bybit_about_something_else(text: str) -> None:
    error = judged(BYBIT, 200, b'{"retCode":10001,"retMsg":"%b"}' % text.encode())
    assert type(error) is not SymbolGone
