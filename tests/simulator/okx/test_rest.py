"""OKX's rules: envelopes, windows, bars, units, lists and codes."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator
from tests.simulator.okx.rest import candles, data, times

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STEP = 4 * HOUR_MS
FORMING = NOW_MS - NOW_MS % STEP
SWAP = "BTC-USDT-SWAP"


@pytest.mark.parametrize(
    "path, query, status, code, text",
    [
        ("market/candles", {}, 400, "50014", "Parameter instId can not be empty."),
        ("market/candles", {"instId": "BTCUSDT"}, 200, "51001", None),
        ("market/candles", {"instId": "btc-usdt-swap"}, 200, "51001", None),
        ("market/candles", {"instId": "PREDICT-USDT-SWAP", "bar": "1H"}, 200, "51001", None),
        ("market/candles", {"instId": SWAP, "bar": "8H"}, 400, "51000", "Parameter bar error"),
        ("market/candles", {"instId": SWAP, "bar": "1h"}, 400, "51000", "Parameter bar error"),
        ("market/history-candles", {"instId": SWAP, "bar": "8Hutc"}, 400, "51000", None),
        ("market/candles", {"instId": SWAP, "bar": "1H", "after": "now"}, 400, "51000", None),
        ("market/candles", {"instId": SWAP, "bar": "1H", "limit": 0}, 400, "51000", None),
        ("public/open-interest", {}, 400, "50014", None),
        ("public/open-interest", {"instType": "PERP"}, 400, "51000", None),
        ("rubik/stat/contracts/open-interest-history", {}, 400, "50014", None),
        (
            "rubik/stat/contracts/open-interest-history",
            {"instId": SWAP, "period": "8H"},
            *(400, "51000", "Parameter period error"),
        ),
        ("rubik/stat/contracts/open-interest-history", {"instId": "BTC-USDT"}, 200, "51001", None),
        ("public/funding-rate", {}, 400, "50014", None),
        ("public/funding-rate", {"instId": "BTC-USDT"}, 200, "51001", None),
        ("public/funding-rate-history", {"instId": "ANY"}, 200, "51001", None),
        ("public/instruments", {}, 400, "50014", None),
        ("public/instruments", {"instType": "SWAP", "instId": "BTC-USDT"}, 200, "51001", None),
        ("market/tickers", {"instType": "PERP"}, 400, "51000", None),
    ],
)
def test_wrong_parameters(
    okx: Simulator, path: str, query: dict[str, object], status: int, code: str, text: str | None
) -> None:
    found, _, body = okx.full("GET", f"/api/v5/{path}", query=query)
    answer = json.loads(body)
    assert (found, answer["code"], answer["data"]) == (status, code, [])
    assert text is None or answer["msg"] == text
    assert answer["msg"]


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def test_all_values_are_strings(okx: Simulator) -> None:
    for path, query in (
        ("public/time", {}),
        ("market/candles", {"instId": SWAP, "bar": "1H"}),
        ("public/open-interest", {"instType": "SWAP"}),
        ("rubik/stat/contracts/open-interest-history", {"instId": SWAP}),
        ("public/funding-rate", {"instId": "ANY"}),
        ("public/funding-rate-history", {"instId": SWAP}),
        ("public/mark-price", {"instType": "SWAP"}),
        ("market/tickers", {"instType": "SWAP"}),
    ):
        values = _leaves(data(okx, path, **query))
        assert values
        assert all(isinstance(value, str) for value in values), path
    assert int(data(okx, "public/time")[0]["ts"]) == NOW_MS
    assert data(okx, "system/status") == []


def test_windows_are_exclusive_and_newest_first(okx: Simulator) -> None:
    def found(**query: object) -> list[int]:
        return times(candles(okx, SWAP, "4H", **query))

    assert found(limit=3) == [FORMING, FORMING - STEP, FORMING - 2 * STEP]
    assert found() == [FORMING - STEP * index for index in range(100)]
    start = FORMING - 400 * STEP
    assert found(after=start, limit=2) == [start - STEP, start - 2 * STEP]
    assert found(after=start + 1, limit=1) == [start]
    # A lone `before` gives the newest page, not the one next to it.
    assert found(before=start, limit=2) == [FORMING, FORMING - STEP]
    assert found(before=FORMING - STEP) == [FORMING]
    assert found(before=FORMING) == []
    assert found(before=start, after=start + 3 * STEP) == [start + 2 * STEP, start + STEP]
    assert found(before=start, after=start + 3 * STEP, limit=1) == [start + 2 * STEP]
    assert found(after=1) == []
    # Times in seconds: nothing, not an error.
    assert found(after=NOW_MS // 1000) == []
    assert len(found(limit=300)) == len(found(limit=9999)) == 300


def test_candles_end_after_1440_rows_and_the_history_goes_on(okx: Simulator) -> None:
    def walk(path: str) -> list[int]:
        seen: list[int] = []
        while len(seen) < 1600:
            after = {"after": seen[-1]} if seen else {}
            page = times(data(okx, path, instId=SWAP, bar="5m", limit=300, **after))
            if not page:
                break
            seen += page
        return seen

    newest = NOW_MS - NOW_MS % 300_000
    assert walk("market/candles") == [newest - 300_000 * index for index in range(1440)]
    assert walk("market/history-candles")[:1600] == [newest - 300_000 * i for i in range(1600)]


# The hours (UTC) at which candles open: without "utc" the day begins at 16:00 UTC.
OPENS = {
    "2H": range(0, 24, 2), "4H": range(0, 24, 4), "6H": (4, 10, 16, 22), "6Hutc": (0, 6, 12, 18),
    "12H": (4, 16), "12Hutc": (0, 12), "1D": (16,), "1Dutc": (0,),
}  # fmt: skip


@pytest.mark.parametrize("bar", OPENS)
@pytest.mark.parametrize("symbol", [SWAP, "BNB-USDT-SWAP", "BEAM-USDT-SWAP"])
def test_bars_open_in_their_time_zone_and_add_up(okx: Simulator, bar: str, symbol: str) -> None:
    rows = candles(okx, symbol, bar, limit=60)
    assert {time % DAY_MS for time in times(rows)} <= {hour * HOUR_MS for hour in OPENS[bar]}
    step = times(rows)[0] - times(rows)[1]
    hours: list[list[str]] = []
    while not hours or int(hours[-1][0]) > int(rows[-1][0]):
        after = {"after": hours[-1][0]} if hours else {}
        hours += data(
            okx, "market/history-candles", instId=symbol, bar="1H", limit=300, **after
        )  # fmt: skip
    for row in rows:
        time = int(row[0])
        part = [hour for hour in reversed(hours) if time <= int(hour[0]) < time + step]
        assert row[1] == part[0][1]
        assert row[4] == part[-1][4]
        assert Decimal(row[2]) == max(Decimal(hour[2]) for hour in part)
        assert Decimal(row[3]) == min(Decimal(hour[3]) for hour in part)
        for place in (5, 6, 7):
            assert Decimal(row[place]) == sum(Decimal(hour[place]) for hour in part)
        assert row[8] == ("0" if time + step > NOW_MS else "1")


def test_contracts_and_coins(okx: Simulator) -> None:
    """A swap's first volume counts contracts and its second coins; a spot market's second, too, is
    quote currency. An inverse contract is a number of dollars."""
    instruments = data(okx, "public/instruments", instType="SWAP")
    values = set()
    for instrument in instruments:
        if instrument["state"] != "live" or instrument["ctType"] != "linear":
            continue
        value = Decimal(instrument["ctVal"]) * Decimal(instrument["ctMult"])
        values.add(value)
        for row in candles(okx, instrument["instId"], "1H", limit=20):
            assert Decimal(row[5]) * value == Decimal(row[6])
            assert Decimal(row[5]) % Decimal(instrument["lotSz"]) == 0
    assert len(values) > 3
    assert {i["ctVal"] for i in instruments if i["instId"] == SWAP} == {"0.01"}
    for row in candles(okx, "BTC-USDT", "1H", limit=20):
        assert row[6] == row[7]
        assert Decimal(row[3]) <= Decimal(row[7]) / Decimal(row[5]) <= Decimal(row[2])
    for row in candles(okx, "BTC-USD-SWAP", "1H", limit=20):
        assert 0 <= Decimal(row[7]) - Decimal(row[5]) * 100 < 100


def test_a_forming_candle_without_trades_repeats_the_previous_close(okx: Simulator) -> None:
    quiet = 0
    for instrument in data(okx, "public/instruments", instType="SWAP"):
        if instrument["state"] == "live":
            rows = candles(okx, instrument["instId"], "5m", limit=200)
            for row, before in pairwise(rows):
                if row[5] == "0":
                    quiet += 1
                    assert row[1:5] == [before[4]] * 4
    assert quiet > 100


def test_instruments(okx: Simulator) -> None:
    swaps = data(okx, "public/instruments", instType="SWAP")
    ours = [
        one for one in swaps
        if (one["ctType"], one["settleCcy"], one["state"]) == ("linear", "USDT", "live")
    ]  # fmt: skip
    assert len([one for one in ours if one["instCategory"] == "1"]) == 20
    assert {one["state"] for one in swaps} == {"live", "preopen", "suspend", "test"}
    assert {one["settleCcy"] for one in swaps} == {"USDT", "USDC", "BTC", "ETH"}
    for one in swaps:
        assert (one["baseCcy"], one["quoteCcy"]) == ("", "")
        assert one["instId"] == f"{one['instFamily']}-SWAP" == f"{one['uly']}-SWAP"
        assert one["ctType"] == "inverse" or one["instFamily"].partition("-")[0] == one["ctValCcy"]
    spot = data(okx, "public/instruments", instType="SPOT")
    assert {one["instId"] for one in spot} == {
        one["instFamily"] for one in ours if one["instCategory"] == "1"
    }
    assert {(one["ctVal"], one["settleCcy"], one["quoteCcy"]) for one in spot} == {("", "", "USDT")}
    assert data(okx, "public/instruments", instType="OPTION") == []
    (one,) = data(okx, "public/instruments", instType="SWAP", instId=SWAP)
    assert one in swaps
    family = data(okx, "public/instruments", instType="SWAP", instFamily="BTC-USD")
    assert [one["instId"] for one in family] == ["BTC-USD-SWAP"]


def test_tickers_agree_with_the_series(okx: Simulator) -> None:
    for kind, symbol in (("SWAP", SWAP), ("SPOT", "BTC-USDT")):
        every = data(okx, "market/tickers", instType=kind)
        assert len(every) >= 20
        assert {row["instType"] for row in every} == {kind}
        (ticker,) = (row for row in every if row["instId"] == symbol)
        assert ticker["last"] == candles(okx, symbol, "5m", limit=1)[0][4]
        day = candles(okx, symbol, "1Dutc", limit=1)[0]
        assert ticker["sodUtc0"] == day[1]
        assert ticker["sodUtc8"] == candles(okx, symbol, "1D", limit=1)[0][1]
        factor = Decimal("0.01") if kind == "SWAP" else Decimal(ticker["last"])
        about = Decimal(ticker["volCcy24h"]) / Decimal(ticker["vol24h"]) / factor
        assert about == 1 if kind == "SWAP" else abs(about - 1) < Decimal("0.1")
        assert Decimal(ticker["bidPx"]) < Decimal(ticker["askPx"])
    (mark,) = data(okx, "public/mark-price", instType="SWAP", instId=SWAP)
    assert mark["markPx"] == candles(okx, SWAP, "5m", limit=1)[0][4]


def test_open_interest_windows(okx: Simulator) -> None:
    def found(**query: object) -> list[list[str]]:
        rows: list[list[str]] = data(
            okx, "rubik/stat/contracts/open-interest-history", instId=SWAP, **query
        )
        return rows

    rows = found()
    assert len(rows) == len(found(limit=500)) == 100
    step = 300_000
    assert times(rows) == [times(rows)[0] - step * index for index in range(100)]
    assert NOW_MS - 480_000 < times(rows)[0] <= NOW_MS - 5_000
    for row in rows:
        assert Decimal(row[1]) * Decimal("0.01") == Decimal(row[2])
    old = times(rows)[0] - 1000 * step
    assert times(found(begin=old, end=old + 2 * step)) == [old + 2 * step, old + step, old]
    assert times(found(end=old, limit=1)) == [old]
    # The history has 1,440 entries.
    oldest = times(rows)[0] - 1439 * step
    assert times(found(begin=0, end=oldest + step)) == [oldest + step, oldest]
    assert {time % DAY_MS for time in times(found(period="1D", limit=5))} == {16 * HOUR_MS}
    assert {time % DAY_MS for time in times(found(period="1Dutc", limit=5))} == {0}
    six = {time % DAY_MS // HOUR_MS for time in times(found(period="6H", limit=9))}
    assert six == {4, 10, 16, 22}
    every = data(okx, "public/open-interest", instType="SWAP")
    assert len(every) > 20
    (now,) = (row for row in every if row["instId"] == SWAP)
    assert Decimal(now["oi"]) * Decimal("0.01") == Decimal(now["oiCcy"])


def test_funding_windows(okx: Simulator) -> None:
    def found(**query: object) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = data(okx, "public/funding-rate-history", **query)
        return rows

    rows = found(instId=SWAP)
    stamps = [int(row["fundingTime"]) for row in rows]
    # Every 8 hours, for 3 months.
    assert stamps == [stamps[0] - 8 * HOUR_MS * index for index in range(len(rows))]
    assert 270 < len(rows) < 280
    assert found(instId=SWAP, after=stamps[10], limit=2) == rows[11:13]
    assert found(instId=SWAP, before=stamps[10]) == rows[:10]
    assert found(instId=SWAP, before=stamps[14], after=stamps[10]) == rows[11:14]
    assert any(row["fundingRate"] != row["realizedRate"] for row in rows)
    hourly = found(instId="TURBO-USDT-SWAP")
    assert len(hourly) == 400
    every = data(okx, "public/funding-rate", instId="ANY")
    swaps = data(okx, "public/instruments", instType="SWAP")
    assert [row["instId"] for row in every] == [
        one["instId"] for one in swaps if one["state"] == "live"
    ]
    (now,) = data(okx, "public/funding-rate", instId=SWAP)
    assert now in every
    assert now["settFundingRate"] == rows[0]["realizedRate"]
    assert int(now["prevFundingTime"]) == stamps[0]
    assert int(now["fundingTime"]) == stamps[0] + 8 * HOUR_MS
    assert int(now["nextFundingTime"]) == stamps[0] + 16 * HOUR_MS
    assert (now["settState"], now["method"]) == ("settled", "current_period")
    assert now["nextFundingRate"] == ""
