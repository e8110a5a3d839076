"""What each exchange's parsers make of answers that say less, or something else, than usual."""

import json
from functools import partial
from typing import Any, Final

import pytest

from market.markets import Exchange, Market
from market.timeframes import HOUR_MS
from tests.fixtures.exchange_answers import ANSWERS, history_body
from tests.venues.test_facts import MIDNIGHT, facts, faults, market
from venues.errors import BadPayload
from venues.venue import Endpoint

BINANCE: Final = Exchange.BINANCE
BYBIT: Final = Exchange.BYBIT


def bybit(listed: str, **said: str | None) -> bytes:
    """An answer with this list, and a result that says so."""
    told = "".join(f'"{key}":{json.dumps(value)},' for key, value in said.items())
    return f'{{"retCode":0,"result":{{{told}"list":{listed}}}}}'.encode()


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"symbol": "BTCUSDT", "category": "linear"}, True),
        ({"symbol": "BTCUSDT"}, True),
        ({"symbol": "BTCUSDT", "category": "spot"}, False),
        ({"symbol": "BTCUSDT", "category": None}, False),
        ({"symbol": "ETHUSDT", "category": "linear"}, False),
        ({"category": "linear"}, False),
        ({}, False),
    ],
)
def test_what_bybit_says_of_the_market(said: dict[str, str | None], read: bool) -> None:
    venue = facts(BYBIT)
    candles = bybit(f'[["{MIDNIGHT}","2","3","1","2","5","7"]]', **said)
    interest = bybit(f'[{{"openInterest":"4","timestamp":"{MIDNIGHT}"}}]', **said)
    odd = bybit(f'[{{"openInterest":"4","timestamp":"{MIDNIGHT}"}},7]', **said)
    plain = venue.read_plain_klines(candles, market(BYBIT), HOUR_MS)
    assert (plain is not None) is read
    if read:
        assert len(venue.read_klines(candles, market(BYBIT), HOUR_MS, faults(BYBIT))) == 1
        for body in (interest, odd):
            found = venue.read_open_interest(body, market(BYBIT), faults(BYBIT))
            assert list(found) == [(MIDNIGHT, 2.0)]
        return
    category, symbol = said.get("category", "linear"), said.get("symbol", "")
    with pytest.raises(BadPayload, match=rf"an answer about {category} ?{symbol}$"):
        venue.read_klines(candles, market(BYBIT), HOUR_MS, faults(BYBIT))
    for body in (interest, odd):
        with pytest.raises(BadPayload, match=rf"an answer about {category} ?{symbol}$"):
            venue.read_open_interest(body, market(BYBIT), faults(BYBIT))
    # An empty list may come without the symbol.
    assert venue.read_klines(bybit("[]", **said), market(BYBIT), HOUR_MS, faults(BYBIT)) == []


@pytest.mark.parametrize("code", ["10016", '"10016"', "-1", "1e4", "null", '"E1"'])
def test_what_says_that_it_is_an_error_is_no_list(code: str) -> None:
    """One that was not recognised as such, because of its size or form, may have an empty one."""
    venue, said = facts(BYBIT), {"symbol": "BTCUSDT", "category": "linear"}
    empty, of_one = (
        bybit(listed, **said).replace(b'"retCode":0', b'"retCode":%b' % code.encode())
        for listed in ("[]", f'[["{MIDNIGHT}","2","3","1","2","5","7"]]')
    )
    assert venue.read_plain_klines(of_one, market(BYBIT), HOUR_MS) is None
    clock = b'{"retCode":%b,"result":{"timeNano":"1688639403423213947"}}' % code.encode()
    for read in (
        lambda: venue.read_klines(empty, market(BYBIT), HOUR_MS, faults(BYBIT)),
        lambda: venue.read_open_interest(empty, market(BYBIT), faults(BYBIT)),
        lambda: venue.read_funding(empty, faults(BYBIT)),
        lambda: venue.read_instruments(empty, "USDT", faults(BYBIT)),
        lambda: venue.read_tickers(empty, faults(BYBIT)),
        lambda: venue.read_time(clock, faults(BYBIT)),
    ):
        with pytest.raises(BadPayload, match="retCode"):
            read()


def test_a_list_of_another_name_is_none_of_rows() -> None:
    row = f'["{MIDNIGHT}","2","3","1","2","5","7"]'
    said = bybit("[]", symbol="BTCUSDT", category="linear")[1:]
    for name in ("a", "ab", "abc", "list2"):
        body = f'{{"{name}":[{row}],'.encode() + said
        assert facts(BYBIT).read_plain_klines(body, market(BYBIT), HOUR_MS) is None
        assert facts(BYBIT).read_klines(body, market(BYBIT), HOUR_MS, faults(BYBIT)) == []


def test_another_market_is_named_in_100_characters_at_most() -> None:
    body = bybit('[["1"]]', symbol="x" * 200)
    with pytest.raises(BadPayload) as raised:
        facts(BYBIT).read_klines(body, market(BYBIT), HOUR_MS, faults(BYBIT))
    assert raised.value.cause == ("an answer about linear " + "x" * 200)[:100]


@pytest.mark.parametrize(
    "nothing",
    [
        b'{"retCode":0,"result":null}',
        bybit("null"),
        bybit("[]"),
        bybit("null")[:-1] + b',"more":{"list":[["1"]]}}',
    ],
)
def test_no_rows_of_bybit(nothing: bytes) -> None:
    venue = facts(BYBIT)
    assert venue.read_plain_klines(nothing, market(BYBIT), HOUR_MS) is None
    assert venue.read_klines(nothing, market(BYBIT), HOUR_MS, faults(BYBIT)) == []
    assert len(venue.read_open_interest(nothing, market(BYBIT), faults(BYBIT))) == 0
    assert venue.read_funding(nothing, faults(BYBIT)) == []
    assert venue.read_tickers(nothing, faults(BYBIT)) == []


@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_history_has_3000_rows_at_most(exchange: Exchange) -> None:
    venue, btc, answers = facts(exchange), market(exchange), ANSWERS[exchange]

    def body(endpoint: Endpoint, row: Any, rows: int) -> bytes:
        return history_body(btc, endpoint, [row] * rows)

    interest = partial(body, Endpoint.OPEN_INTEREST, answers.interest(btc.native, 5, "1"))
    assert (
        list(venue.read_open_interest(interest(3000), btc, faults(exchange))) == [(5, 1.0)] * 3000
    )
    odd = answers.candle(5, HOUR_MS, ["1"] * 4, "1", "1")[:1]
    candles = partial(body, Endpoint.KLINES, odd)
    problems = faults(exchange)
    assert venue.read_klines(candles(3000), btc, HOUR_MS, problems) == []
    assert len(problems.left_out) == 3000
    funding = partial(body, Endpoint.FUNDING, answers.settlement(btc.native, 5, "1"))
    assert len(venue.read_funding(funding(3000), faults(exchange))) == 3000
    for read in (
        lambda: venue.read_klines(candles(3001), btc, HOUR_MS, faults(exchange)),
        lambda: venue.read_open_interest(interest(3001), btc, faults(exchange)),
        lambda: venue.read_funding(funding(3001), faults(exchange)),
    ):
        with pytest.raises(BadPayload, match="3001 entries, more than 3000"):
            read()


@pytest.mark.parametrize("exchange", list(Exchange))
def test_open_interest_in_its_usual_form_is_read_at_once(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"venues.{exchange}._LOOSE_OPEN_INTEREST", None)
    btc = market(exchange)
    for count in (1, 3000):
        rows = [
            ANSWERS[exchange].interest(btc.native, time_ms, f"{time_ms}.5")
            for time_ms in range(1, count + 1)
        ]
        body = history_body(btc, Endpoint.OPEN_INTEREST, rows)
        read = list(facts(exchange).read_open_interest(body, btc, faults(exchange)))
        assert read == [(time_ms, time_ms + 0.5) for time_ms in range(1, count + 1)]


@pytest.mark.parametrize(
    ("kind", "settled"),
    [
        ("Regular", (5, "BTCUSDT", -0.5, True)),
        ("", (5, "BTCUSDT", -0.5, True)),
        (None, (5, "BTCUSDT", -0.5, True)),
        ("Special", (5, "BTCUSDT", 0.0, False)),
        ("New", "its type is unknown: 'New'"),
        (7, "its type is unknown: '7'"),
    ],
)
def test_types_of_settlements_of_binance(kind: object, settled: object) -> None:
    row = {"symbol": "BTCUSDT", "fundingTime": 5, "fundingRate": "-0.5", "rateType": kind}
    for rows in ([row], [7, row]):
        problems = faults(BINANCE)
        found: list[object] = list(facts(BINANCE).read_funding(json.dumps(rows).encode(), problems))
        found += [left.reason for left in problems.left_out[len(rows) - 1 :]]
        assert found == [settled]


def test_a_special_charge_needs_no_rate_and_a_settlement_needs_one() -> None:
    problems = faults(BINANCE)
    rows = [
        {"symbol": "BTCUSDT", "fundingTime": 5, "rateType": "Special"},
        {"symbol": "BTCUSDT", "fundingTime": 6},
        {"symbol": "BTCUSDT", "fundingRate": "1"},
    ]
    found = facts(BINANCE).read_funding(json.dumps(rows).encode(), problems)
    assert found == [(5, "BTCUSDT", 0.0, False)]
    assert problems.left_out == [
        (6, "its rate is not a number: blank", False, 1),
        (5, "its time cannot be read: blank", True, 1),
    ]


def test_open_interest_of_another_symbol() -> None:
    venue = facts(BINANCE)
    own = '{"symbol":"BTCUSDT","sumOpenInterest":"1","timestamp":5}'
    other = '{"symbol":"ETHUSDT","sumOpenInterest":"1","timestamp":6}'
    problems = faults(BINANCE)
    found = venue.read_open_interest(f"[{own},{other}]".encode(), market(BINANCE), problems)
    assert list(found) == [(5, 1.0)]
    assert problems.left_out == [(6, "open interest of another symbol: 'ETHUSDT'", False, 1)]
    with pytest.raises(BadPayload, match="open interest of another symbol"):
        venue.read_open_interest(f"[{other}]".encode(), market(BINANCE), faults(BINANCE))


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"openInterest": "5", "singleOpenInterest": "2"}, 2.0),
        ({"openInterest": "5", "singleOpenInterest": None}, 2.5),
        ({"openInterest": "5", "singleOpenInterest": ""}, 2.5),
        ({"openInterest": "5"}, 2.5),
        ({"openInterest": "", "singleOpenInterest": "2"}, 2.0),
        ({"openInterest": ""}, "open interest is not a number: blank"),
        ({"openInterest": "5", "singleOpenInterest": "x"}, "open interest is not a number: 'x'"),
    ],
)
def test_both_sides_of_bybits_open_interest(entry: dict[str, object], value: object) -> None:
    problems = faults(BYBIT)
    body = bybit(json.dumps([entry | {"timestamp": "5"}]), symbol="BTCUSDT")
    rows = facts(BYBIT).read_open_interest(body, market(BYBIT), problems)
    assert [*(number for _, number in rows), *(row.reason for row in problems.left_out)] == [value]


def test_lists_that_say_less() -> None:
    one = '{"symbol":"A"}'
    assert facts(BYBIT).read_tickers(bybit(f"[{one}]"), faults(BYBIT)) == [("A", None, None, None)]
    for reader in (facts(BINANCE).read_tickers, *facts(BINANCE).schedule.values()):
        assert reader(f"[{one}]".encode(), faults(BINANCE)) in ([], [("A", None, None, None)])


@pytest.mark.parametrize(
    ("minutes", "hours"),
    [(60, 1), (120, 2), (240, 4), ("480", 8), (1440, 24), (30, None), (90, None), (300, None)],
)
def test_funding_intervals_of_bybits_contracts(minutes: object, hours: int | None) -> None:
    contract = {
        "symbol": "A", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "B",
        "quoteCoin": "USDT", "settleCoin": "USDT", "fundingInterval": minutes,
    }  # fmt: skip
    for cursor, kept in [("x", "x"), (None, ""), (7, "")]:
        body = bybit(json.dumps([contract]))[:-2] + b',"nextPageCursor":%b}}' % (
            json.dumps(cursor).encode()
        )
        page = facts(BYBIT).read_instruments(body, "USDT", faults(BYBIT))
        assert page.rows == [(Market(BYBIT, "A", "B", "USDT"), hours)]
        assert (page.sent, page.cursor) == (1, kept)
    del contract["fundingInterval"]
    page = facts(BYBIT).read_instruments(bybit(json.dumps([contract])), "USDT", faults(BYBIT))
    assert page.rows[0].funding_interval_hours is None
    assert page.cursor == ""
