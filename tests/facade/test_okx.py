"""OKX's questions and answers as its documentation has them: windows, bars, contracts, errors."""

from dataclasses import astuple
from decimal import Decimal
from typing import Any

import orjson
import pytest

from facade.candle_questions import CandleQuestion, Keeps
from facade.exchanges import FACADES
from facade.history_questions import FundingQuestion, InterestQuestion
from facade.market_rows import MarketRows
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS
from tests.facade.bots import FUNDING, INTEREST, KLINES, OKX, OLD_KLINES
from tests.facade.test_candle_questions import NOW_MS, STEP_MS, told, usual
from venues.venue import Endpoint

FACADE = FACADES[Exchange("okx")]
NATIVE = "BTC-USDT-SWAP"
CANDLES, OLD_CANDLES = KLINES[OKX], OLD_KLINES[OKX]


def asked(path: str, **query: object) -> Any:
    return FACADE.asked[path]({"instId": NATIVE} | {name: str(query[name]) for name in query})


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ({}, None),  # of one minute
        ({"bar": "5m"}, (300_000, 100, Keeps.NEWEST, None, None)),
        ({"bar": "4H", "limit": 300}, (4 * HOUR_MS, 300, Keeps.NEWEST, None, None)),
        ({"bar": "4H", "limit": 301}, None),
        # Both are exclusive.
        ({"bar": "1H", "before": 1000, "limit": 5}, (HOUR_MS, 5, Keeps.NEWEST, 1001, None)),
        ({"bar": "1H", "after": 1000}, (HOUR_MS, 100, Keeps.NEWEST, None, 999)),
        ({"bar": "1H", "before": 10, "after": 20}, (HOUR_MS, 100, Keeps.UNKNOWN, 11, 19)),
        # Those that open at 16:00 UTC are not ours.
        *(({"bar": bar}, None) for bar in ("6H", "12H", "1D", "8H", "1h", "5min", "1Wutc", "1M")),
        ({"bar": "6Hutc"}, (6 * HOUR_MS, 100, Keeps.NEWEST, None, None)),
        ({"bar": "1Dutc"}, (DAY_MS, 100, Keeps.NEWEST, None, None)),
        ({"bar": "5m", "limit": "ten"}, None),
        ({"bar": "5m", "after": "now"}, None),
    ],
)
def test_candles_are_asked_for(query: dict[str, object], question: tuple[Any, ...] | None) -> None:
    found = asked(CANDLES, **query)
    assert (None if found is None else astuple(found)) == (
        None if question is None else (NATIVE, *question, 1440, True)
    )


def test_old_candles_are_asked_for_without_the_forming_one() -> None:
    question = CandleQuestion(NATIVE, HOUR_MS, 100, Keeps.NEWEST, None, 999, tells_forming=False)
    assert asked(OLD_CANDLES, bar="1H", after=1000) == question
    assert asked(OLD_CANDLES, bar="1H", limit=101) is None  # 100 at most, or 300: it is disputed


@pytest.mark.parametrize(
    ("path", "query", "count"),
    [
        (CANDLES, {"limit": "50"}, 50),
        (CANDLES, {"limit": "51"}, None),  # 50 are there
        (CANDLES, {"limit": "20", "before": str(NOW_MS - 10 * STEP_MS)}, 10),
        (CANDLES, {"limit": "5", "before": str(NOW_MS - 10 * STEP_MS)}, 5),  # the newest
        (CANDLES, {"limit": "5", "after": str(NOW_MS - 10 * STEP_MS)}, 5),
        # Which of more than the limit lie between is not known.
        (CANDLES, {"limit": "5", "before": "1", "after": str(NOW_MS)}, None),
        (OLD_CANDLES, {"limit": "5"}, None),
        (OLD_CANDLES, {"limit": "5", "after": str(NOW_MS - 10 * STEP_MS)}, 5),
    ],
)
def test_what_the_cache_answers(path: str, query: dict[str, str], count: int | None) -> None:
    query = {"instId": NATIVE, "bar": "5m", **query}
    answer = told(FACADE, usual(NOW_MS), query, NOW_MS, path=path, contract="0.01")
    assert (None if answer is None else len(answer["data"])) == count


def test_bounds_are_no_rows_themselves() -> None:
    rows = usual(NOW_MS)
    query = {"instId": NATIVE, "bar": "5m"}
    bounds = {"before": str(rows.times[10]), "after": str(rows.times[14])}
    answer = told(FACADE, rows, query | bounds, NOW_MS)
    assert [int(row[0]) for row in answer["data"]] == list(reversed(rows.times[11:14]))


def test_candles_have_their_volume_in_contracts_and_say_whether_they_closed() -> None:
    rows = usual(NOW_MS)
    query = {"instId": NATIVE, "bar": "5m", "limit": "2"}
    answer = told(FACADE, rows, query, NOW_MS, contract="0.01")
    assert answer == {
        "code": "0",
        "msg": "",
        "data": [
            [str(opened), *prices, f"{number}06.8", f"{number}.068", f"7034{number}.017", closed]
            for opened, number, closed in ((rows.times[49], 1049, "0"), (rows.times[48], 1048, "1"))
            for prices in [("63043.4", "63083", "63011.6", "63026.3")]
        ],
    }
    # The closed one was read after its end; the other one is told as open until its own.
    later = told(FACADE, usual(NOW_MS, age_ms=20_000), query, NOW_MS, contract="1000")
    assert later is None  # it was read before the end of the last
    thousands = told(FACADE, rows, query, NOW_MS, contract="1000")
    assert [row[5] for row in thousands["data"]] == ["1.049068", "1.048068"]


def test_contracts_that_are_no_decimals_are_left_to_the_exchange() -> None:
    query = {"instId": NATIVE, "bar": "5m", "limit": "2"}
    assert told(FACADE, usual(NOW_MS), query, NOW_MS, contract="0.3") is None


def test_only_the_newest_1440_candles_are_told_by_their_path() -> None:
    """The service may have more."""
    count = 1500
    newest_ms = NOW_MS // STEP_MS * STEP_MS
    rows = MarketRows(
        columns=("open", "high", "low", "close", "volume", "turnover"),
        interval_ms=STEP_MS,
        times=[newest_ms - back * STEP_MS for back in range(count - 1, -1, -1)],
        cells=[["1.5", "1.5", "1.5", "1.5", "2.25", "3.375"]] * count,
        checked_at_ms=NOW_MS,
        is_stale=False,
    )
    query = {"instId": NATIVE, "bar": "5m", "limit": "100"}
    for back, is_told in ((1339, True), (1340, False), (1400, False)):
        ends = query | {"after": str(newest_ms - back * STEP_MS + 1)}
        assert (told(FACADE, rows, ends, NOW_MS) is not None) == is_told, back
        assert told(FACADE, rows, ends, NOW_MS, path=OLD_CANDLES) is not None


@pytest.mark.parametrize(
    ("native", "symbol"),
    [
        ("BTC-USDT-SWAP", "BTCUSDT"),
        ("1000X-USDT-SWAP", "1000XUSDT"),
        ("BTC-USDT", None),  # spot
        ("BTC-USDT-261225", None),
        ("BTCUSDT", None),
        ("BTC-USDT-SWAP-SWAP", None),
        ("", None),
    ],
)
def test_our_name_of_a_market(native: str, symbol: str | None) -> None:
    assert FACADE.our_symbol(native) == symbol


@pytest.mark.parametrize(
    ("query", "window"),
    [
        ({"period": "1H"}, (None, None)),
        ({"period": "1H", "begin": 1, "end": 2 * HOUR_MS + 1}, (1, 2 * HOUR_MS + 1)),
        # Whether a row of that very instant is told, nobody has said.
        ({"period": "1H", "begin": 0, "end": 1}, None),
        ({"period": "1H", "end": HOUR_MS}, None),
        *(({"period": period}, None) for period in ("1D", "6H", "8H", "1h")),
        ({"period": "1H", "limit": 101}, None),
        ({}, None),
    ],
)
def test_open_interest_is_asked_for(
    query: dict[str, object], window: tuple[int | None, int | None] | None
) -> None:
    expected = None
    if window is not None:
        expected = InterestQuestion(NATIVE, HOUR_MS, 100, *window, kept_ms=1439 * HOUR_MS)
    assert asked(INTEREST[OKX], **query) == expected


def test_settlements_are_asked_for() -> None:
    path, kept_ms = FUNDING[OKX], 88 * DAY_MS
    usually = FundingQuestion(NATIVE, 10, None, None, forward=False, kept_ms=kept_ms)
    assert asked(path, limit=10) == usually
    since = FundingQuestion(NATIVE, 400, 1001, None, forward=False, kept_ms=kept_ms)
    assert asked(path, limit=400, before=1000) == since
    assert asked(path) is None  # how many are told, has changed
    assert asked(path, limit=401) is None
    assert asked(path, limit=10, before=1000, after=2000) is None


def test_the_coins_in_a_contract_are_read_from_the_list() -> None:
    entries: list[Any] = [
        {"instId": NATIVE, "ctVal": "0.01", "ctMult": "1", "lotSz": "0.01"},
        {"instId": "DOGE-USDT-SWAP", "ctVal": "1000", "ctMult": "1"},
        {"instId": "X-USDT-SWAP", "ctVal": "0.1", "ctMult": "10"},
        {"instId": "BTC-USDT", "ctVal": "", "ctMult": ""},
        {"instId": "A-USDT-SWAP", "ctVal": "0", "ctMult": "1"},
        {"instId": "B-USDT-SWAP", "ctVal": "NaN", "ctMult": "1"},
        {"instId": "C-USDT-SWAP"},
        *(None, [], "D-USDT-SWAP"),
    ]
    assert FACADE.read_contracts is not None
    found = FACADE.read_contracts(orjson.dumps({"code": "0", "msg": "", "data": entries}))
    assert found == {
        NATIVE: Decimal("0.01"),
        "DOGE-USDT-SWAP": Decimal(1000),
        "X-USDT-SWAP": Decimal(1),
    }


def test_rows_of_open_interest_are_of_the_market_that_was_asked_for() -> None:
    body = b'{"code":"0","msg":"","data":[["3600000","10","0.1","8571"],["0","20","0.2","17000"]]}'
    read = FACADE.read_rows[Endpoint.OPEN_INTEREST]
    assert [(row.native, row.time_ms) for row in read(body, NATIVE)] == [
        (NATIVE, 3_600_000),
        (NATIVE, 0),
    ]
    assert list(read(body, None)) == []  # nobody knows of which


@pytest.mark.parametrize(
    ("body", "time_ms"),
    [
        (b'{"code":"0","msg":"","data":[{"ts":"1597026383085"}]}', 1_597_026_383_085),
        (b'{"code":"0","data":[{"ts":"1597026383085"}],"msg":""}', 1_597_026_383_085),
        # The time of an order book is not that of the answer.
        (b'{"code":"0","msg":"","data":[{"asks":[],"bids":[],"ts":"1597026383085"}]}', None),
        (b'{"code":"50011","msg":"Too Many Requests","data":[]}', None),
    ],
)
def test_the_exchanges_time_is_read(body: bytes, time_ms: int | None) -> None:
    assert FACADE.time.read(body) == time_ms
    if time_ms is not None:
        assert FACADE.time.read(FACADE.time.told(time_ms)) == time_ms


@pytest.mark.parametrize(
    ("status", "told_status", "code"),
    [
        (400, 400, "51000"),
        (403, 403, "50111"),
        (404, 404, "50005"),
        (418, 429, "50011"),  # there is no ban
        (429, 429, "50011"),
        (502, 503, "50001"),
        (504, 400, "50004"),
        (500, 500, "50026"),
    ],
)
def test_errors_have_the_exchanges_form(status: int, told_status: int, code: str) -> None:
    answer, body = FACADE.error(status, "Perpcache: why")
    assert answer == told_status
    assert orjson.loads(body) == {"code": code, "msg": "Perpcache: why", "data": []}
