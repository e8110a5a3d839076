"""OKX's limits, refusals and faults over HTTP."""

import json
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.okx.rest import data

SWAP = "BTC-USDT-SWAP"
HISTORY = "rubik/stat/contracts/open-interest-history"


@pytest.fixture
def frozen_limits(start_simulator: StartSimulator) -> Simulator:
    """Three swaps; time stands still, and what passes is told to it."""
    return start_simulator(binance=0, bybit=0, okx=3, now=NOW_MS, frozen=True, speed=1)


def _ask(simulator: Simulator, path: str, **query: object) -> tuple[int, str]:
    status, _, body = simulator.full("GET", f"/api/v5/{path}", query=query)
    return status, json.loads(body)["code"]


@pytest.mark.parametrize(
    "path, query, limit",
    [
        ("market/candles", {"instId": SWAP, "bar": "1H", "limit": 1}, 40),
        ("market/history-candles", {"instId": SWAP, "bar": "1H", "limit": 1}, 20),
        ("public/time", {}, 10),
        ("market/tickers", {"instType": "SWAP"}, 20),
    ],
)
def test_windows_of_two_seconds(
    frozen_limits: Simulator, path: str, query: dict[str, object], limit: int
) -> None:
    sim = frozen_limits
    while True:
        started = sim.get("/sim/requests")["requests"]
        found = [_ask(sim, path, **query) for _ in range(limit + 2)]
        asked = sim.get("/sim/requests")["requests"][len(started) :]
        if asked[-1]["answered_s"] - asked[0]["arrived_s"] < 1.8:
            break
        sim.post("/sim/limits/reset")  # a busy machine: the window moved on
    assert found[:limit] == [(200, "0")] * limit
    # The status of 50011 is 429 or 200, by turns.
    assert sorted(found[limit:]) == [(200, "50011"), (429, "50011")]
    sim.post("/sim/clock", {"pass_ms": 2_001})
    assert _ask(sim, path, **query) == (200, "0")
    assert sim.stats()["limits_broken_total"] >= 2


def test_some_are_counted_by_instrument(frozen_limits: Simulator) -> None:
    sim = frozen_limits
    for symbol in (SWAP, "ETH-USDT-SWAP", "SOL-USDT-SWAP"):
        for _ in range(10):
            assert _ask(sim, HISTORY, instId=symbol, limit=1) == (200, "0")
    statuses = [_ask(sim, HISTORY, instId=SWAP, limit=1)[1] for _ in range(11)]
    assert "50011" in statuses
    assert [name for name in sim.stats()["limits_broken"] if "okx" in name] == [
        "okx 50011 open_interest"
    ]
    # Another address is not concerned.
    status, _, _ = sim.full(
        "GET", f"/api/v5/{HISTORY}?instId={SWAP}", headers={"X-Sim-Client": "other"}
    )
    assert status == 200


def test_status_is_asked_once_in_five_seconds(frozen_limits: Simulator) -> None:
    sim = frozen_limits
    found = [_ask(sim, "system/status")[1] for _ in range(2)]
    assert found[0] == "0"
    sim.post("/sim/clock", {"pass_ms": 5_001})
    assert _ask(sim, "system/status") == (200, "0")


@pytest.mark.parametrize("wanted, statuses", [("429", {429}), ("200", {200})])
def test_the_status_of_refusals_can_be_chosen(
    start_simulator: StartSimulator, wanted: str, statuses: set[int]
) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=1, okx_refusal=wanted)
    found = [_ask(sim, "public/time") for _ in range(60)]
    assert {status for status, code in found if code == "50011"} == statuses


def test_faults(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=3, now=NOW_MS, frozen=True, no_limits=True)

    def with_fault(path: str, rule: dict[str, object], **query: object) -> tuple[int, Any]:
        sim.post("/sim/faults", {"exchange": "okx", **rule})
        status, _, body = sim.full("GET", f"/api/v5/{path}", query=query)
        sim.delete("/sim/faults")
        return status, body

    candles = {"instId": SWAP, "bar": "1H", "limit": 9}
    for code, status in ((50011, 429), (50013, 429), (50001, 503), (50026, 500), (51001, 200)):
        found, body = with_fault("market/candles", {"kind": "okx_code", "code": code}, **candles)
        assert (found, json.loads(body)["code"]) == (status, str(code))
    found, body = with_fault(
        "market/candles", {"kind": "okx_code", "code": 50011, "status": 200}, **candles
    )
    assert (found, json.loads(body)["code"]) == (200, "50011")
    for status, code in ((503, "50001"), (500, "50026"), (429, "50011")):
        found, body = with_fault("public/time", {"kind": "status", "status": status})
        assert (found, json.loads(body)["code"]) == (status, code)
    for status in (403, 451, 502):
        found, body = with_fault("public/time", {"kind": "status", "status": status})
        assert found == status
        assert body.startswith(b"<html>")
    # Rules name a market as the exchange does, and a page is shortened by its `limit`.
    found, body = with_fault("market/candles", {"kind": "empty_body", "symbol": SWAP}, **candles)
    assert (found, body) == (200, b"")
    found, body = with_fault("market/candles", {"kind": "short_page"}, **candles)
    assert len(json.loads(body)["data"]) == 4
    for variant in ("negative_volume", "nan", "disputed", "exponent", "extra_element"):
        rule = {"kind": "nonsense", "variant": variant}
        usual = with_fault(HISTORY, {**rule, "symbol": "OTHER"}, instId=SWAP, limit=9)[1]
        found, body = with_fault(HISTORY, rule, instId=SWAP, limit=9)
        assert json.loads(body) != json.loads(usual), variant
    (window,) = json.loads(
        with_fault("system/status", {"kind": "okx_maintenance", "seconds": 60})[1]
    )["data"]
    assert (int(window["begin"]), int(window["end"])) == (NOW_MS, NOW_MS + 60_000)
    assert data(sim, "system/status") == []


def test_impossible_candles_and_corrections(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=1, now=NOW_MS, frozen=True, no_limits=True)
    hour = NOW_MS - NOW_MS % 3_600_000 - 3_600_000
    event = {"exchange": "okx", "symbol": SWAP}
    before = data(sim, "market/history-candles", instId=SWAP, bar="1H", limit=2)
    sim.post("/sim/faults", {"kind": "correction", "time": hour + 1, **event})
    after = data(sim, "market/history-candles", instId=SWAP, bar="1H", limit=2)
    assert float(after[1][5]) > float(before[1][5])
    sim.post("/sim/faults", {"kind": "impossible", "times": [hour], **event})
    for path in ("market/candles", "market/history-candles"):
        rows = data(sim, path, instId=SWAP, bar="1H", limit=2)
        assert rows[1][1:5] == ["0"] * 4


def test_listings_and_delistings(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=2, now=NOW_MS, frozen=True, no_limits=True)
    sim.post("/sim/faults", {"kind": "list_new", "exchange": "okx", "symbol": "NEW"})
    sim.post("/sim/faults", {"kind": "delist", "exchange": "okx", "symbol": "ETH-USDT-SWAP"})
    swaps = data(sim, "public/instruments", instType="SWAP")
    assert "NEW-USDT-SWAP" in {one["instId"] for one in swaps}
    assert "ETH-USDT-SWAP" not in {one["instId"] for one in swaps}
    assert _ask(sim, "market/candles", instId="ETH-USDT-SWAP", bar="1H") == (200, "51001")
    assert sim.stats()["rejected_total"] == 0  # the client could not have known
    assert data(sim, "public/funding-rate", instId="NEW-USDT-SWAP")[0]["prevFundingTime"] == ""


def test_a_settlement_is_told_as_processing_at_first(start_simulator: StartSimulator) -> None:
    settled_ms = NOW_MS - NOW_MS % 28_800_000 + 28_800_000
    sim = start_simulator(
        binance=0, bybit=0, okx=1, now=settled_ms - 1, frozen=True, no_limits=True
    )
    (before,) = data(sim, "public/funding-rate", instId=SWAP)
    assert (before["settState"], int(before["fundingTime"])) == ("settled", settled_ms)
    sim.post("/sim/clock", {"now_ms": settled_ms + 1_000})
    (during,) = data(sim, "public/funding-rate", instId=SWAP)
    assert (during["settState"], int(during["fundingTime"])) == ("processing", settled_ms)
    (row,) = data(sim, "public/funding-rate-history", instId=SWAP, limit=1)
    assert during["settFundingRate"] == row["realizedRate"]
    sim.post("/sim/clock", {"now_ms": settled_ms + 10_000})
    (after,) = data(sim, "public/funding-rate", instId=SWAP)
    assert after["settState"] == "settled"
    assert int(after["fundingTime"]) == settled_ms + 28_800_000
    assert int(after["prevFundingTime"]) == settled_ms
    assert after["settFundingRate"] == row["realizedRate"]
