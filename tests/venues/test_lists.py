"""Lists of contracts: an entry that cannot be read is left out alone, and told in a log."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from data_collector.api_parser import parse_instruments, parse_schedule, parse_tickers
from market.markets import Exchange
from market.unread_entries import NOT_CLEAR, UNUSABLE_NAME, UnreadEntry
from tests.fixtures.exchange_answers import ANSWERS
from tests.venues.test_bybit import bybit_answer
from venues.errors import BadPayload
from venues.reading import MOST_ENTRIES
from venues.venue import Endpoint

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT


def contract(exchange: Exchange, symbol: Any, **changes: Any) -> dict[str, Any]:
    """An entry of the list; `changes` by our names of its fields, or by its own. `named`: another
    name of the contract."""
    answers = ANSWERS[exchange]
    base = symbol[:-4] if isinstance(symbol, str) else "X"
    entry = answers.contract(answers.native(symbol) if isinstance(symbol, str) else symbol, base)
    if (named := changes.pop("named", None)) is not None:
        entry[answers.names["symbol"]] = answers.native(named)
    return entry | {answers.names.get(name, name): value for name, value in changes.items()}


def body(exchange: Exchange, entries: list[Any]) -> bytes:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in entries]
    return ANSWERS[exchange].contracts(",".join(texts))


ODD: Final = [
    "null",
    "7",
    '"text"',
    "[]",
    "{}",
    '{"symbol":null}',
    '{"symbol":5}',
    '{"symbol":"\\ud800USDT"}',
    '{"symbol":"AUSDT","status":[1]}',
    '{"symbol":"AUSDT","status":"\\ud800"}',
    '{"symbol":"AUSDT","x":' + "[" * 5000 + "]" * 5000 + "}",
    '{"symbol":"AUSDT","x":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
    '{"symbol":"A\\qUSDT"}',
    '{"symbol":"AUSDT" "status":1}',
    '{"symbol":"],[,\\\\\\"AUSDT","status":{}}',
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("exchange", list(Exchange))
def test_one_odd_entry_costs_itself(exchange: Exchange, odd: str) -> None:
    answers = ANSWERS[exchange]
    odd = odd.replace('"symbol"', f'"{answers.names["symbol"]}"')
    odd = odd.replace('"status"', f'"{answers.names["status"]}"')
    listed = [contract(exchange, "BTCUSDT"), odd, contract(exchange, "ETHUSDT")]
    with capture_logs() as logs:
        page = parse_instruments(exchange, body(exchange, listed), quote="USDT")
    assert [row.market.symbol for row in page.rows] == ["BTCUSDT", "ETHUSDT"]
    assert [(log["event"], log["endpoint"], log["entries"]) for log in logs] == [
        ("list_entries_left_out", "instruments", 1)
    ]
    assert page.cursor == ("first%3D1" if exchange is BYBIT else "")


@pytest.mark.parametrize(
    "name",
    [
        "A" * 9000 + "USDT", "A" * 61 + "USDT", "A/BUSDT", "A:BUSDT", "A,BUSDT", 'A"USDT', "A USDT",
        "A\\USDT", "A\nUSDT", "\x1b]0;titleUSDT", "A\u202eUSDT", "A\x00USDT", "\ufeffUSDT",
    ],
)  # fmt: skip
@pytest.mark.parametrize("what", ["symbol", "base"])
@pytest.mark.parametrize("exchange", list(Exchange))
def test_names_that_would_break_keys_tables_or_terminals(
    exchange: Exchange, what: str, name: str
) -> None:
    odd = contract(exchange, "AUSDT", **{"named" if what == "symbol" else what: name})
    with capture_logs() as logs:
        page = parse_instruments(
            exchange, body(exchange, [contract(exchange, "龙虾USDT"), odd]), quote="USDT"
        )
    assert [row.market.symbol for row in page.rows] == ["龙虾USDT"]
    (log,) = logs
    assert "cannot be used" in log["causes"][0]
    assert log["causes"][0].isprintable()
    assert len(log["causes"][0]) < 200


@pytest.mark.parametrize(
    ("launched", "known"),
    [
        ("9" * 30, 0), (10**30, 0), (10**15, 0), ("", 0), (None, 0), ("²", 0), ("٣", 0), ("-5", 0),
        ("1_0", 0), ("+1", 0), (" 1", 0), ("0x10", 0), ("NaN", 0), ("9" * 5000, 0),
        ("1567965300000", 1567965300000), (1567965300000, 1567965300000),
        (1.5679653e12, 1567965300000), ("1.5679653e12", 1567965300000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_launch_that_cannot_be_is_unknown(exchange: Exchange, launched: Any, known: int) -> None:
    listed = [contract(exchange, "BTCUSDT"), contract(exchange, "ETHUSDT", launched=launched)]
    page = parse_instruments(exchange, body(exchange, listed), quote="USDT")
    assert [row.market.symbol for row in page.rows] == ["BTCUSDT", "ETHUSDT"]
    assert page.rows[1].market.launched_ms == known


@pytest.mark.parametrize("blank", [None, "", [], {}, "many", True])
def test_blanks_about_others_cost_no_schedule_and_no_turnover(blank: Any) -> None:
    btc = {"symbol": "BTCUSDT", "nextFundingTime": 1673280000000, "time": 1, "quoteVolume": "5"}
    dead = dict.fromkeys(btc, blank) | {"symbol": "DEADUSDT"}
    info = [{"symbol": "BTCUSDT", "fundingIntervalHours": 4}]
    info += [{"symbol": "DEADUSDT", "fundingIntervalHours": blank}]
    premium = parse_schedule(BINANCE, Endpoint.PREMIUM_INDEX, json.dumps([dead, btc]).encode())
    assert {row.native: row.next_funding_ms for row in premium}["BTCUSDT"] == 1673280000000
    intervals = parse_schedule(BINANCE, Endpoint.FUNDING_INFO, json.dumps(info).encode())
    assert [(row.native, row.funding_interval_hours) for row in intervals] == [("BTCUSDT", 4)]
    day = parse_tickers(BINANCE, json.dumps([btc, dead, None, blank]).encode())
    assert {row.native: row.turnover_24h for row in day}["BTCUSDT"] == 5.0
    ticker = {"symbol": "BTCUSDT", "turnover24h": "7", "nextFundingTime": "1673280000000"}
    ticker["fundingIntervalHour"] = "8"
    dead = dict.fromkeys(ticker, blank) | {"symbol": "DEADUSDT"}
    found = {row.native: row for row in parse_tickers(BYBIT, bybit_answer([dead, ticker, blank]))}
    assert found["BTCUSDT"] == ("BTCUSDT", 7.0, 1673280000000, 8)
    assert found.get("DEADUSDT", ("DEADUSDT", None, None, None))[1:] == (None, None, None)


def test_a_negative_turnover_is_unknown() -> None:
    rows = [{"symbol": "A", "quoteVolume": value} for value in ("-1", "1e3", "inf", "1e999")]
    found = parse_tickers(BINANCE, json.dumps(rows).encode())
    assert [row.turnover_24h for row in found] == [None, 1000.0, None, None]


@pytest.mark.parametrize("exchange", list(Exchange))
def test_a_list_of_which_nothing_can_be_read_is_no_list(exchange: Exchange) -> None:
    with pytest.raises(BadPayload, match="none of 2 entries can be read"):
        parse_instruments(exchange, body(exchange, ["null", "7"]), quote="USDT")
    many = ["{}"] * (MOST_ENTRIES + 1)
    with pytest.raises(BadPayload, match=f"{MOST_ENTRIES + 1} entries, more than {MOST_ENTRIES}"):
        parse_instruments(exchange, body(exchange, many), quote="USDT")


def test_keys_twice_and_other_lists_before_ours() -> None:
    text = (
        '{"retCode":0,"retMsg":"\\"list\\":[[","result":{"list":[{"symbol":"AUSDT","symbol":'
        '"BTCUSDT","turnover24h":"5"}],"category":"linear"},"retExtInfo":{"list":[{"code":0}]}}'
    )
    assert parse_tickers(BYBIT, text.encode()) == [("BTCUSDT", 5.0, None, None)]
    text = (
        '{"retCode":0,"retExtInfo":{"list":[{"code":0}]},"result":{"category":"linear","list":['
        '{"symbol":"BTCUSDT","turnover24h":"5"}]}}'
    )
    assert parse_tickers(BYBIT, text.encode()) == [("BTCUSDT", 5.0, None, None)]
    text = text.replace("}]}}", '}]},"more":{"list":[7]}}')
    with pytest.raises(BadPayload, match="not to be told from others"):
        parse_tickers(BYBIT, text.encode())


@pytest.mark.parametrize(
    "odd",
    [
        {"x": "\ud800"},
        {"x": float("nan")},
        {"base": ""},
        {"base": None},
        {"base": "A B"},
        {"base": 7},
        {"status": None},
        {"status": ""},
        {"status": " "},
        {"status": 1},
        {"status": ["Trading"]},
        {"status": "Trading "},
        {"status": "TRADING\u200b"},
        {"contractType": None},
        {"contractType": "", "status": None},
        {"contractType": {}},
        {"named": "AUSDT "},
        {"named": "\tAUSDT\u00a0\ufeff"},
        {"named": "A USDT"},
        {"named": "AUSDT ", "status": None},
        {"named": "AUSDT ", "status": 1},
        {"x": [{"symbol": "BUSDT"}], "status": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("exchange", list(Exchange))
def test_an_unreadable_entry_of_a_known_contract_names_it(
    exchange: Exchange, odd: dict[str, Any]
) -> None:
    """So that the list does not count as one that lacks it."""
    entries = [contract(exchange, "BTCUSDT"), contract(exchange, "AUSDT", **odd)]
    page = parse_instruments(exchange, body(exchange, entries), quote="USDT")
    readable = {row.market.symbol for row in page.rows}
    assert "BTCUSDT" in readable
    assert "AUSDT" in readable | {entry.symbol for entry in page.unread}


@pytest.mark.parametrize("exchange", list(Exchange))
def test_an_entry_that_says_nothing_of_its_status_names_it_and_needs_no_blanks(
    exchange: Exchange,
) -> None:
    entries = []
    names = ANSWERS[exchange].names
    told = [names[name] for name in ("status", "contractType", "quote", "settle") if name in names]
    for number, name in enumerate(told):
        entry = contract(exchange, f"A{number}USDT")
        del entry[name]
        entries.append(entry)
    page = parse_instruments(exchange, body(exchange, entries), quote="USDT")
    assert page.rows == []
    assert page.unread == [
        UnreadEntry(f"A{number}USDT", NOT_CLEAR, expected=True) for number in range(len(told))
    ]


@pytest.mark.parametrize("exchange", list(Exchange))
def test_an_entry_that_says_clearly_that_it_is_none_of_ours_is_nobodys_loss(
    exchange: Exchange,
) -> None:
    """Whatever else it does not say."""
    entries = [
        contract(exchange, "AUSDT", status="SETTLING", contractType=""),
        contract(exchange, "CUSDT", status=None, contractType="TRADIFI_PERPETUAL"),
        contract(exchange, "DUSDT", base=None, settle="BTC"),
        contract(exchange, "E USDT", contractType="PERPETUAL DELIVERING"),
    ]
    in_usdc = contract(exchange, "BUSDT", status=None)
    name = ANSWERS[exchange].names.get("quote", ANSWERS[exchange].names["symbol"])
    in_usdc[name] = in_usdc[name].replace("USDT", "USDC")
    with capture_logs() as logs:
        page = parse_instruments(exchange, body(exchange, [*entries, in_usdc]), quote="USDT")
    assert (page.rows, page.unread, logs) == ([], [], [])
    # Nor is one that says nothing at all, unless its contract is known.
    for blank in (None, ""):
        names = ANSWERS[exchange].names
        nothing = dict.fromkeys(contract(exchange, "BUSDT"), blank) | {
            names["symbol"]: ANSWERS[exchange].native("BUSDT")
        }
        nothing |= {names["launched"]: "1", "isPreListing": False}
        page = parse_instruments(exchange, body(exchange, [nothing]), quote="USDT")
        # An id may have the quote.
        expected = "quote" not in names
        assert page.unread == [UnreadEntry("BUSDT", NOT_CLEAR, expected=expected)]


@pytest.mark.parametrize("exchange", list(Exchange))
def test_names_that_cannot_be_used_are_told(exchange: Exchange) -> None:
    entries = [
        contract(exchange, "A/BUSDT", base="A"),
        contract(exchange, "X" * 9000, base="X"),
        contract(exchange, "", base="A"),
        contract(exchange, "CUSDT", base="C/D"),
    ]
    page = parse_instruments(exchange, body(exchange, entries), quote="USDT")
    # Where the id has the quote, none at all does not say it.
    of_none = UNUSABLE_NAME if "quote" in ANSWERS[exchange].names else NOT_CLEAR
    assert page.unread == [
        UnreadEntry(name, of_none if not name else UNUSABLE_NAME, expected=True)
        for name in ("A/BUSDT", "X" * 500, "", "CUSDT")
    ]


def test_the_recorded_list_of_binance_leaves_no_question_open(recorded_data: Path) -> None:
    text = (recorded_data / "binance" / "exchangeInfo_2026-07-03T1708Z.json").read_bytes()
    page = parse_instruments(BINANCE, text, quote="USDT")
    assert (len(page.rows), page.unread) == (530, [])
