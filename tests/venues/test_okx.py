"""OKX: its documented requests, recorded answers, and what its refusals mean."""

import json
from collections import Counter
from typing import Final

import pytest

from data_collector.api_parser import (
    parse_all_funding,
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_maintenance,
    parse_open_interest,
    parse_tickers,
)
from data_collector.url_builder import history_request, recent_funding_request
from market.candles import Candle
from market.markets import Exchange, Market
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from market.unread_entries import UnreadEntry
from tests.venues.samples import Samples
from venues import VENUES
from venues.errors import BadPayload, BadRequest, RateLimited, SourceDown, SymbolGone
from venues.reading import AnswerFaults, Maintenance, Ticker
from venues.venue import Endpoint

OKX: Final = Exchange.OKX
BTC: Final = Market(OKX, "BTCUSDT", "BTC", "USDT", native="BTC-USDT-SWAP", contract_size=0.01)
M5: Final = 5 * MINUTE_MS
T0: Final = 1_790_164_800_000

_FUNDING_NOW: Final = (
    b'{"code":"0","msg":"","data":[{"formulaType":"withRate","fundingRate":"0.0000263463215391",'
    b'"fundingTime":"1790380800000","instId":"BTC-USDT-SWAP","instType":"SWAP",'
    b'"method":"current_period","nextFundingRate":"","nextFundingTime":"1790409600000",'
    b'"prevFundingTime":"1790352000000","settFundingRate":"0.0000341625964238",'
    b'"settState":"settled","ts":"1790358563915"},'
    # Its interval becomes 4 h at the next settlement.
    b'{"fundingTime":"1790380800000","instId":"ETH-USDT-SWAP","nextFundingTime":"1790395200000",'
    b'"prevFundingTime":"1790352000000","settFundingRate":"0.0001","settState":"processing"},'
    # A new one that has not settled yet.
    b'{"fundingTime":"1790380800000","instId":"NEW-USDT-SWAP","nextFundingTime":"1790395200000",'
    b'"prevFundingTime":"","settFundingRate":"","settState":"settled"}]}'
)
# As recorded 2022 to 2026, or as the documentation shows them.
SAMPLES: Final = Samples(
    market=BTC,
    time=(b'{"code":"0","msg":"","data":[{"ts":"1597026383085"}]}', 1597026383085),
    klines=(
        b'{"code":"0","data":[["1790162100000","85717.9","85722","85701.6","85701.6","3676.49",'
        b'"36.7649","3151022.15994","0"],["1790161800000","85821.6","85821.7","85666.7","85717.8",'
        b'"27164.55","271.6455","23287754.86518","1"]]}',
        M5,
        [
            Candle(
                *(1790161800000, 85821.6, 85821.7, 85666.7, 85717.8),
                *("271.6455", "23287754.86518"),
            ),
            Candle(
                *(1790162100000, 85717.9, 85722.0, 85701.6, 85701.6),
                *("36.7649", "3151022.15994"),
            ),
        ],
    ),
    open_interest=(
        b'{"code":"0","data":[["1728734400000","2663107.29999999861","26631.0729999999861",'
        b'"1676426045.349999124995"],["1728730800000","2663000","26630","1676426000"]],"msg":""}',
        HOUR_MS,
        [(1728730800000, 26630.0), (1728734400000, 26631.0729999999861)],
    ),
    funding=(
        b'{"code":"0","msg":"","data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",'
        b'"fundingRate":"0.0001515032","realizedRate":"0.00015","fundingTime":"1704067200000"},'
        b'{"instType":"SWAP","instId":"BTC-USDT-SWAP","fundingRate":"-0.0000236017",'
        b'"realizedRate":"-0.00002","fundingTime":"1704038400000"}]}',
        [(1704038400000, -0.00002), (1704067200000, 0.00015)],
    ),
    instruments=(
        b'{"code":"0","data":[{"alias":"","baseCcy":"","category":"1","ctMult":"1",'
        b'"ctType":"inverse","ctVal":"100","ctValCcy":"USD","expTime":"","instId":"BTC-USD-SWAP",'
        b'"instType":"SWAP","listTime":"1611916828000","quoteCcy":"","settleCcy":"BTC",'
        b'"state":"live","uly":"BTC-USD"},{"alias":"","baseCcy":"","ctMult":"1",'
        b'"ctType":"linear","ctVal":"0.01","ctValCcy":"BTC","expTime":"","instCategory":"1",'
        b'"instFamily":"BTC-USDT","instId":"BTC-USDT-SWAP","instIdCode":10459,"instType":"SWAP",'
        b'"listTime":"1573557408000","lotSz":"0.01","quoteCcy":"","ruleType":"normal",'
        b'"settleCcy":"USDT","state":"live","uly":"BTC-USDT"}],"msg":""}',
        [(BTC, "BTC-USDT-SWAP", 0.01, 1573557408000, None)],
    ),
    turnovers=(
        b'{"code":"0","msg":"","data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",'
        b'"last":"50000.5","volCcy24h":"200","vol24h":"20000","ts":"1790358564077"},'
        b'{"instType":"SWAP","instId":"NEW-USDT-SWAP","last":"","volCcy24h":"0","vol24h":"0",'
        b'"ts":"1790358564077"}]}',
        {"BTC-USDT-SWAP": 10_000_100.0, "NEW-USDT-SWAP": None},
    ),
    schedule={
        Endpoint.FUNDING_INFO: (
            _FUNDING_NOW,
            [
                Ticker("BTC-USDT-SWAP", None, 1790380800000, 8),
                Ticker("ETH-USDT-SWAP", None, 1790380800000, 8),
                Ticker("NEW-USDT-SWAP", None, 1790380800000, 4),
            ],
        )
    },
    # Source: the error codes of the API's documentation, and measured statuses.
    refusals=[
        (429, b'{"code":"50011","msg":"Too Many Requests","data":[]}', RateLimited),
        (200, b'{"code":"50011","msg":"Too Many Requests","data":[]}', RateLimited),
        (200, b'{"code":"50040","msg":"Too frequent operations","data":[]}', RateLimited),
        (429, b'{"code":"50013","msg":"Systems are busy","data":[]}', SourceDown),
        (503, b'{"code":"50001","msg":"Service temporarily unavailable","data":[]}', SourceDown),
        (400, b'{"code":"50004","msg":"API endpoint request timeout","data":[]}', SourceDown),
        (500, b'{"code":"50026","msg":"System error","data":[]}', SourceDown),
        (410, b'{"code":"50005","msg":"This endpoint is offline","data":[]}', BadRequest),
        (400, b'{"code":"51000","msg":"Parameter bar error","data":[]}', BadRequest),
        (400, b'{"code":"50014","msg":"Parameter instId can not be empty.","data":[]}', BadRequest),
        (200, b'{"code":"51001","msg":"Instrument ID doesn\'t exist.","data":[]}', SymbolGone),
    ],
)


def _target(endpoint: Endpoint, period: Timeframe | None, as_of_ms: int | None = None) -> str:
    return history_request(
        BTC, endpoint, start_ms=T0, end_ms=T0 + HOUR_MS - 1, limit=999, period=period,
        as_of_ms=as_of_ms,
    ).target  # fmt: skip


def test_a_window_includes_both_of_its_ends() -> None:
    """Of `before`, `after` rows at the very times are not sent; of `begin` nobody says."""
    assert _target(Endpoint.FUNDING, None) == (
        "/api/v5/public/funding-rate-history?instId=BTC-USDT-SWAP"
        f"&before={T0 - 1}&after={T0 + HOUR_MS}&limit=400"
    )
    assert _target(Endpoint.KLINES, Timeframe.D1, T0) == (
        "/api/v5/market/candles?instId=BTC-USDT-SWAP&bar=1Dutc"
        f"&before={T0 - 1}&after={T0 + HOUR_MS}&limit=300"
    )
    assert _target(Endpoint.OPEN_INTEREST, Timeframe.H6) == (
        "/api/v5/rubik/stat/contracts/open-interest-history?instId=BTC-USDT-SWAP&period=6Hutc"
        f"&begin={T0 - 1}&end={T0 + HOUR_MS - 1}&limit=100"
    )


def test_what_the_newest_candles_do_not_reach_is_asked_of_the_history() -> None:
    def path(end_ms: int, limit: int, as_of_ms: int | None) -> str:
        start_ms = T0 - 3000 * M5
        return history_request(
            BTC, Endpoint.KLINES, start_ms=start_ms, end_ms=end_ms + M5 - 1, limit=limit,
            period=Timeframe.M5, as_of_ms=as_of_ms,
        ).target.split("?")[0]  # fmt: skip

    newest, old = "/api/v5/market/candles", "/api/v5/market/history-candles"
    assert path(T0, 300, T0) == newest
    assert path(T0 - 1000 * M5, 300, T0) == newest  # its oldest row is the 1300th
    assert path(T0 - 1200 * M5, 300, T0) == old
    assert path(T0, 300, None) == old


def test_pages_that_both_serve_use_both_limits() -> None:
    """40 requests in 2 s are allowed of the newest candles, 20 of the history."""
    markets = [Market(OKX, f"A{n}USDT", f"A{n}", "USDT") for n in range(300)]

    def asked(end_ms: int, rows: int = 199) -> Counter[str]:
        return Counter(
            history_request(
                market, Endpoint.KLINES, start_ms=end_ms - (rows - 1) * M5,
                end_ms=end_ms + M5 - 1, limit=rows, period=Timeframe.M5, as_of_ms=T0 + 1,
            ).target.split("?")[0].rpartition("/")[2]
            for market in markets
        )  # fmt: skip

    newest = asked(T0)
    assert newest.total() == 300
    assert 40 < newest["history-candles"] < 80  # one of five
    assert asked(T0, rows=3) == {"candles": 300}  # what the history may lack
    older = asked(T0 - 301 * M5)
    assert older.total() == 300
    assert 120 < older["history-candles"] < 180  # every other


def test_the_last_settlements_of_all_but_for_those_that_are_being_processed() -> None:
    request = recent_funding_request(OKX, start_ms=T0, end_ms=T0)
    assert request.target == "/api/v5/public/funding-rate?instId=ANY"
    page = parse_all_funding(OKX, _FUNDING_NOW)
    assert page.rows == [("BTC-USDT-SWAP", 1790352000000, 0.0000341625964238)]


def _instruments(**changed: str) -> bytes:
    fields = {
        "instId": "BTC-USDT-SWAP", "ctType": "linear", "settleCcy": "USDT",
        "ctValCcy": "BTC", "ctVal": "0.01", "ctMult": "1", "state": "live", "ruleType": "normal",
        "instCategory": "1", "listTime": "1573557408000", **changed,
    }  # fmt: skip
    row = ",".join(f'"{name}":"{value}"' for name, value in fields.items())
    return f'{{"code":"0","msg":"","data":[{{{row}}}]}}'.encode()


def test_the_coins_in_a_contract_are_its_value_times_its_multiplier() -> None:
    for value, times, size in (("0.1", "100", 10.0), ("0.1", "3", 0.3), ("1e-4", "1", 0.0001)):
        page = parse_instruments(OKX, _instruments(ctVal=value, ctMult=times), quote="USDT")
        assert [row.market.contract_size for row in page.rows] == [size]


def test_contracts_that_are_not_collected() -> None:
    for changed in (
        {"ctType": "inverse"}, {"settleCcy": "USDC"}, {"state": "preopen"}, {"state": "test"},
        {"ruleType": "pre_market"}, {"instCategory": "3"},
        {"instId": "BTC-USDC-SWAP"}, {"instId": "BTC-USDT-261225"},
    ):  # fmt: skip
        page = parse_instruments(OKX, _instruments(**changed), quote="USDT")
        assert (page.rows, page.unread) == ([], []), changed


def test_a_suspended_contract_is_kept_where_it_is_known_and_not_taken_anew() -> None:
    page = parse_instruments(OKX, _instruments(state="suspend"), quote="USDT")
    assert page.rows == []
    assert page.unread == [UnreadEntry("BTCUSDT", "suspended at the exchange")]


def test_one_without_a_size_is_left_out_alone() -> None:
    for value in ("", "0", "-1", "nan", "1e400"):
        body = _instruments(ctVal=value)
        second = _instruments(instId="ETH-USDT-SWAP", ctValCcy="ETH")
        both = body[:-2] + b"," + second[second.index(b"[") + 1 :]
        page = parse_instruments(OKX, both, quote="USDT")
        assert [row.market.symbol for row in page.rows] == ["ETHUSDT"]
        assert [entry.symbol for entry in page.unread] == ["BTCUSDT"]


def test_an_entry_that_cannot_be_read_tells_our_symbol() -> None:
    broken = _instruments().replace(b"[", b'[{"instId":"X-USDT-SWAP","ctType":5},')
    page = parse_instruments(OKX, broken, quote="USDT")
    assert [row.market.symbol for row in page.rows] == ["BTCUSDT"]
    assert [entry.symbol for entry in page.unread] == ["XUSDT"]


def test_odd_rows_are_left_out_alone() -> None:
    candles = (
        b'{"code":"0","msg":"","data":[["1790162100000","1","2","0.5","1.5","7","","8","1"],'
        b'["1790161800000","1","2","0.5","1.5","7","8","9","1","more"]]}'
    )
    page = parse_klines(BTC, candles, interval_ms=M5)
    assert page.rows == [Candle(1790161800000, 1.0, 2.0, 0.5, 1.5, "8", "9")]
    assert [row.time_ms for row in page.left_out] == [1790162100000]
    interest = b'{"code":"0","data":[["1728734400000","2"],["1728730800000","2","","3"],["x"]]}'
    found = parse_open_interest(BTC, interest, interval_ms=HOUR_MS)
    assert len(found.rows) == 0
    assert len(found.left_out) == 3
    assert parse_klines(BTC, b'{"code":"0","msg":"","data":[]}', interval_ms=M5).rows == []
    assert parse_klines(BTC, b'{"code":"0","msg":"","data":null}', interval_ms=M5).rows == []


@pytest.mark.parametrize("code", ['"50011"', "51001", '"-1"', '""', "null", '"E1"'])
def test_what_says_that_it_is_an_error_is_no_list(code: str) -> None:
    """One that was not recognised as such, because of its size or form, may have an empty one."""
    venue = VENUES[OKX]
    faults = AnswerFaults(OKX, "klines", "BTCUSDT")

    def body(listed: str) -> bytes:
        return f'{{"code":{code},"msg":"","data":{listed}}}'.encode()

    assert venue.read_plain_klines(body('[["1","1","1","1","1","1","1","1","1"]]'), BTC, M5) is None
    for read in (
        lambda: venue.read_klines(body("[]"), BTC, M5, faults),
        lambda: venue.read_open_interest(body("[]"), BTC, faults),
        lambda: venue.read_funding(body("[]"), faults),
        lambda: venue.read_instruments(body("[]"), "USDT", faults),
        lambda: venue.read_tickers(body("[]"), faults),
        lambda: venue.schedule[Endpoint.FUNDING_INFO](body("[]"), faults),
        lambda: venue.read_time(body('[{"ts":"1597026383085"}]'), faults),
    ):
        with pytest.raises(BadPayload, match="code"):
            read()


def test_another_list_of_that_name() -> None:
    row = '{"instId":"BTC-USDT-SWAP","last":"2","volCcy24h":"3"}'
    ticker = Ticker("BTC-USDT-SWAP", 6.0)
    before = f'{{"code":"0","more":{{"data":[7]}},"data":[{row}]}}'
    assert parse_tickers(OKX, before.encode()) == [ticker]
    after = f'{{"code":"0","data":[{row}],"more":{{"data":[7]}}}}'
    assert parse_tickers(OKX, after.encode()) == [ticker]
    with pytest.raises(BadPayload, match="not to be told from others"):
        parse_tickers(OKX, (before[:-1] + ',"again":{"data":[7]}}').encode())


def test_open_interest_that_says_more_or_less_is_read_row_by_row() -> None:
    body = (
        b'{"code":"0","data":[["1728734400000","2","3","4","5"],["1728730800000","","2"],'
        b'["1728727200000","1","","3"]]}'
    )
    found = parse_open_interest(BTC, body, interval_ms=HOUR_MS)
    assert list(found.rows) == [(1728730800000, 2.0), (1728734400000, 3.0)]
    assert [row.time_ms for row in found.left_out] == [1728727200000]


def test_a_settlement_without_its_settled_rate_is_no_settlement() -> None:
    """The prediction beside it is another number."""
    body = (
        b'{"code":"0","data":[{"instId":"BTC-USDT-SWAP","fundingRate":"0.0001","realizedRate":"",'
        b'"fundingTime":"1704067200000"}]}'
    )
    page = parse_funding(BTC, body)
    assert page.rows == []
    assert [row.time_ms for row in page.left_out] == [1704067200000]


def test_three_months_of_settlements_are_served() -> None:
    assert VENUES[OKX].table(Endpoint.FUNDING).reach_ms(1) == 90 * DAY_MS
    table = VENUES[OKX].table(Endpoint.OPEN_INTEREST)
    assert table.reach_ms(M5) == 5 * DAY_MS
    assert table.reach_ms(DAY_MS) == 1440 * DAY_MS


def test_the_maintenance_that_ends_last_of_those_that_market_data_may_be_away_for() -> None:
    def window(**fields: object) -> dict[str, object]:
        usual = {"begin": "1672823400000", "end": "1672823520000", "href": "", "env": "1"}
        kind = {"serviceType": "5", "state": "ongoing", "title": "Trading account system upgrade"}
        return {**usual, **kind, "system": "unified", "maintType": "1", **fields}

    def told(*windows: dict[str, object]) -> Maintenance | None:
        body = json.dumps({"code": "0", "data": windows, "msg": ""}).encode()
        return parse_maintenance(OKX, body)

    usual = Maintenance("Trading account system upgrade", 1672823520000)
    assert told() is None
    assert told(window()) == usual
    later = window(end="1672823999000", title="Perpetuals", serviceType="3")
    assert told(window(), later, window()) == Maintenance("Perpetuals", 1672823999000)
    for state in ("scheduled", "pre_open", "completed", "canceled"):
        assert told(window(state=state)) is None
    assert told(window(env="2"), window(serviceType="7")) is None
    # What is not told, or nonsense.
    assert told(window(end="", serviceType=None, env=None)) == usual._replace(end_ms=0)
    assert told(window(end="9" * 20, title=["?"])) == Maintenance("", 0)
    assert parse_maintenance(Exchange.BINANCE, b"{}") is None
    with pytest.raises(BadPayload):
        parse_maintenance(OKX, b"<html>")
