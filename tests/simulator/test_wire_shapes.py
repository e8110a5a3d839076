"""Bodies look as the recorded ones do: keys and their order, types, decimals, sorting."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.simulator import Simulator


def _load(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_bytes())


def _shape(value: Any) -> Any:
    """Types all the way down; of a list those of its first entry."""
    if isinstance(value, dict):
        return {name: _shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def test_binance_klines(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "binance/klines_BTCUSDT_1h_limit2_2026-08-15.json")
    found = frozen.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=2)
    for mine, theirs in zip(found, recorded, strict=True):
        assert [type(value) for value in mine] == [type(value) for value in theirs]
        assert mine[6] - mine[0] == theirs[6] - theirs[0] == 3_599_999
        for place in (1, 2, 3, 4, 5, 7, 9, 10):
            assert _decimals(mine[place]) == _decimals(theirs[place]), place
        assert mine[11] == theirs[11] == "0"
    assert found[0][0] < found[1][0]


def test_bybit_klines(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "bybit/kline_BTCUSDT_60_limit2_2026-08-15.json")
    found = frozen.get(
        "/v5/market/kline", category="linear", symbol="BTCUSDT", interval="60", limit=2
    )
    assert list(found) == list(recorded)
    assert list(found["result"]) == list(recorded["result"])
    assert _shape(found) == _shape(recorded)
    newest, before = found["result"]["list"]
    assert int(newest[0]) - int(before[0]) == 3_600_000
    assert all(not value.endswith(("0", ".")) for value in newest[1:] if "." in value)


def test_binance_open_interest(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "binance/openInterestHist_BTCUSDT_1h_limit2_2026-08-15.json")
    found = frozen.get("/futures/data/openInterestHist", symbol="BTCUSDT", period="1h", limit=2)
    assert [list(row) for row in found] == [list(row) for row in recorded]
    assert _shape(found) == _shape(recorded)
    for row in found:
        assert {_decimals(row[name]) for name in list(row)[1:4]} == {8}


def test_bybit_open_interest(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "bybit/open-interest_BTCUSDT_1h_limit2_2026-08-15.json")
    newer = _load(recorded_data, "bybit/open-interest_doc-2026.json")
    query = {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "1h", "limit": 2}
    found = frozen.get("/v5/market/open-interest", **query)
    assert list(found["result"]) == list(recorded["result"])
    assert _shape(found) == _shape(newer)
    old = frozen.get(
        "/v5/market/open-interest",
        **query, startTime=1_790_000_000_000, endTime=1_791_000_000_000,
    )  # fmt: skip
    assert _shape(old["result"]["list"]) == _shape(recorded["result"]["list"])
    assert {_decimals(row["openInterest"]) for row in found["result"]["list"]} == {8}


def test_binance_funding(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "binance/fundingRate_BTCUSDT_limit2_2026-08-15.json")
    found = frozen.get("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=2)
    assert [list(row) for row in found] == [list(row) for row in recorded]
    assert _shape(found) == _shape(recorded)
    assert {_decimals(row["fundingRate"]) for row in found} == {8}
    assert {_decimals(row["markPrice"]) for row in found} == {8}
    oldest = _load(recorded_data, "binance/fundingRate_BTCUSDT_2019-09-10_empty-markPrice.json")
    first = frozen.get(
        "/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=oldest[0]["fundingTime"], limit=1
    )
    assert [list(row) for row in first] == [list(row) for row in oldest]
    assert first[0]["markPrice"] == oldest[0]["markPrice"] == ""


def test_bybit_funding(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "bybit/funding-history_BTCUSDT_limit2_2026-08-15.json")
    found = frozen.get("/v5/market/funding/history", category="linear", symbol="BTCUSDT", limit=2)
    assert _shape(found) == _shape(recorded)
    rows = found["result"]["list"]
    assert list(rows[0]) == list(recorded["result"]["list"][0])
    assert int(rows[0]["fundingRateTimestamp"]) - int(rows[1]["fundingRateTimestamp"]) == 28_800_000


def test_exchange_info(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "binance/exchangeInfo_2026-07-03T1708Z.json")
    found = frozen.get("/fapi/v1/exchangeInfo")
    assert list(found) == list(recorded)
    for name in ("rateLimits", "assets"):
        assert _shape(found[name]) == _shape(recorded[name])
    assert found["rateLimits"] == recorded["rateLimits"]
    mine, theirs = found["symbols"][0], recorded["symbols"][0]
    assert list(mine) == list(theirs)
    for name in mine:
        if name != "filters":
            assert type(mine[name]) is type(theirs[name]), name
    assert {item["filterType"] for item in mine["filters"]} == {
        item["filterType"] for item in theirs["filters"]
    }
    # What must not be collected is there, as recorded: kinds, quotes, states.
    kinds = {(s["contractType"], s["status"], s["quoteAsset"]) for s in found["symbols"]}
    for kind in (
        ("CURRENT_QUARTER", "TRADING", "USDT"),
        ("NEXT_QUARTER", "TRADING", "USDT"),
        ("PERPETUAL", "PENDING_TRADING", "USDT"),
        ("PERPETUAL", "SETTLING", "USDT"),
        ("PERPETUAL", "TRADING", "USDC"),
        ("PERPETUAL", "TRADING", "BTC"),
        ("TRADIFI_PERPETUAL", "TRADING", "USDT"),
    ):
        assert kind in kinds
        assert kind in {
            (s["contractType"], s["status"], s["quoteAsset"]) for s in recorded["symbols"]
        }
    assert found["serverTime"] != frozen.get("/fapi/v1/time")["serverTime"]  # no clock


def test_funding_info_and_premium_index(frozen: Simulator, recorded_data: Path) -> None:
    recorded = _load(recorded_data, "binance/fundingInfo_2026-07-04T2030Z.json")
    found = frozen.get("/fapi/v1/fundingInfo")
    assert [list(row) for row in found[:1]] == [list(row) for row in recorded[:1]]
    assert _shape(found) == _shape(recorded)
    recorded = _load(recorded_data, "binance/premiumIndex_all_2026-07-04T0450Z.json")
    found = frozen.get("/fapi/v1/premiumIndex")
    assert _shape(found) == _shape(recorded)
    assert list(found[0]) == list(recorded[0])
    dated = next(row for row in found if "_" in row["symbol"])
    assert (dated["lastFundingRate"], dated["nextFundingTime"]) == ("", 0)
    one = frozen.get("/fapi/v1/premiumIndex", symbol="BTCUSDT")
    assert list(one) == list(recorded[0])


def test_time_and_errors(frozen: Simulator, recorded_data: Path) -> None:
    assert _shape(frozen.get("/fapi/v1/time")) == _shape(
        _load(recorded_data, "binance/time_2026-08-09.json")
    )
    status, _, body = frozen.full("GET", "/fapi/v1/premiumIndex?symbol=NOSUCHPAIR")
    assert status == 400
    assert json.loads(body) == _load(recorded_data, "binance/error_400_invalid_symbol.json")


@pytest.mark.parametrize("symbol, status", [("BTCUSDT", "Trading"), ("PREDICTUSDT", "PreLaunch")])
def test_instruments(frozen: Simulator, recorded_data: Path, symbol: str, status: str) -> None:
    sample = "BTCUSDT" if status == "Trading" else "PreLaunch"
    recorded = _load(recorded_data, f"bybit/instruments-info_linear_{sample}_doc-2025.json")
    found = frozen.get(
        "/v5/market/instruments-info", category="linear", symbol=symbol, status=status
    )
    mine, theirs = found["result"]["list"][0], recorded["result"]["list"][0]
    shape = _shape(theirs)
    assert {name: _shape(mine[name]) for name in shape} == shape
    assert mine["status"] == status
    assert list(found["result"]) == list(recorded["result"])
    if status == "PreLaunch":
        assert [phase["phase"] for phase in mine["preListingInfo"]["phases"]] == [
            phase["phase"] for phase in theirs["preListingInfo"]["phases"]
        ]


def test_headers(frozen: Simulator, recorded_data: Path) -> None:
    """The weight header where it was recorded, none on fundingRate; a Date of exchange time."""
    with_weight = (recorded_data / "binance/exchangeInfo_2026-07-03T1708Z.headers.txt").read_text()
    without = (
        recorded_data / "binance/fundingRate_ETHUSDT_limit3_2026-07-04.headers.txt"
    ).read_text()
    assert "x-mbx-used-weight-1m" in with_weight
    assert "x-mbx-used-weight" not in without
    _, headers, _ = frozen.full("GET", "/fapi/v1/exchangeInfo")
    assert int(headers["x-mbx-used-weight-1m"]) >= 1
    assert headers["Content-Type"] == "application/json"
    assert headers["Date"] == "Fri, 20 Nov 2026 14:37:21 GMT"
    _, headers, _ = frozen.full("GET", "/fapi/v1/fundingRate?symbol=ETHUSDT&limit=3")
    assert not [name for name in headers if name.lower().startswith("x-mbx")]
    assert headers["Content-Type"] == "application/json;charset=UTF-8"
    assert f"content-type: {headers['Content-Type']}" in without
    _, headers, _ = frozen.full("GET", "/futures/data/openInterestHist?symbol=ETHUSDT&period=4h")
    assert not [name for name in headers if name.lower().startswith("x-mbx")]
    _, headers, _ = frozen.full("GET", "/v5/market/time")
    assert not [name for name in headers if name.lower().startswith("x-bapi")]
