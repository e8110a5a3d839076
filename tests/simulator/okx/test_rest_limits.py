"""OKX's limits, refusals and faults over HTTP."""

import json
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.clock import Clock
from simulator.okx.limits import OkxLimits, OkxLimitSettings
from simulator.okx.wire import Okx
from simulator.stats import Stats
from tests.fixtures.simulator import NOW_MS, Simulator
from tests.simulator.okx.rest import data

SWAP = "BTC-USDT-SWAP"
HISTORY = "rubik/stat/contracts/open-interest-history"


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 0, "bybit": 0, "okx": 3, "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    """Three swaps at NOW_MS, with limits, and what earlier tests have done to the markets."""
    _shared.post("/sim/clock", {"now_ms": NOW_MS})
    _shared.post("/sim/limits/reset")
    _shared.post("/sim/stats/reset")
    yield _shared
    _shared.delete("/sim/faults")


class MeasuredLimits:
    """Limits with a clock moved by hand."""

    def __init__(self, **settings: Any) -> None:
        self.ns = 1_000_000_000_000
        self.stats = Stats()
        clock = Clock(NOW_MS, exchanges=("okx",), monotonic_ns=lambda: self.ns)
        self._limits = OkxLimits(OkxLimitSettings(**settings), clock, self.stats)

    def move(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)

    def refused(self, endpoint: str, times: int, client: str = "a", **query: str) -> list[int]:
        """The statuses of those that are refused of so many requests."""
        found = [self._limits.take(client, endpoint, query) for _ in range(times)]
        return [status for status in found if status is not None]


# Requests in 2 seconds, by the documentation's page of each path; the status one in 5 seconds.
DOCUMENTED = {
    "public/time": 10, "public/instruments": 20, "market/candles": 40,
    "market/history-candles": 20, "public/open-interest": 20,
    "rubik/stat/contracts/open-interest-history": 10, "public/funding-rate": 10,
    "public/funding-rate-history": 10, "public/mark-price": 10, "market/tickers": 20,
    "market/books": 40, "system/status": 1,
}  # fmt: skip


@pytest.mark.parametrize("path, limit", DOCUMENTED.items())
def test_windows(path: str, limit: int) -> None:
    endpoint, span_s = Okx.paths[f"/api/v5/{path}"], 5.0 if path == "system/status" else 2.0
    limits = MeasuredLimits()
    assert limits.refused(endpoint, limit, instId=SWAP) == []
    limits.move(span_s - 0.001)
    # The status of 50011 is 429 or 200, by turns.
    assert limits.refused(endpoint, 2, instId=SWAP) == [429, 200]
    assert limits.refused(endpoint, 1, client="b", instId=SWAP) == []
    assert limits.stats.limits_broken == {f"okx 50011 {endpoint}": 2}
    limits.move(span_s)
    assert limits.refused(endpoint, 1, instId=SWAP) == []


def test_some_are_counted_by_instrument() -> None:
    limits = MeasuredLimits()
    for symbol in (SWAP, "ETH-USDT-SWAP", "SOL-USDT-SWAP"):
        assert limits.refused("open_interest", 10, instId=symbol) == []
        assert limits.refused("klines", 10, instId=symbol) == []
    assert len(limits.refused("open_interest", 1, instId=SWAP)) == 1
    assert limits.refused("klines", 10, instId=SWAP) == []
    assert len(limits.refused("klines", 1, instId="BTC-USDT")) == 1  # by address alone


def test_without_limits_nothing_is_refused() -> None:
    limits = MeasuredLimits(enabled=False)
    assert limits.refused("klines", 100) == []
    assert limits.stats.most_in_window["okx klines"] == 100


def _ask(simulator: Simulator, path: str, **query: object) -> tuple[int, str]:
    status, _, body = simulator.full("GET", f"/api/v5/{path}", query=query)
    return status, json.loads(body)["code"]


@pytest.mark.parametrize("wanted, statuses", [("429", [429] * 2), ("200", [200] * 2)])
def test_the_status_of_refusals_can_be_chosen(wanted: str, statuses: list[int]) -> None:
    options = Namespace(no_limits=False, grace_seconds=0.5, okx_refusal=wanted)
    settings = OkxLimitSettings.from_options(options)
    limits = MeasuredLimits(refusal_statuses=settings.refusal_statuses)
    assert limits.refused("system_status", 3) == statuses


def test_refusals_over_http(sim: Simulator) -> None:
    found = [_ask(sim, "system/status") for _ in range(3)]  # one in 5 seconds is admitted
    assert found[0] == (200, "0")
    assert set(found[1:]) <= {(200, "50011"), (429, "50011"), (200, "0")}
    assert "50011" in {code for _, code in found}
    sim.post("/sim/limits/reset")
    assert _ask(sim, "system/status") == (200, "0")


def test_faults(sim: Simulator) -> None:
    def with_fault(path: str, rule: dict[str, object], **query: object) -> tuple[int, Any]:
        sim.post("/sim/faults", {"exchange": "okx", **rule})
        status, _, body = sim.full("GET", f"/api/v5/{path}", query=query)
        sim.delete("/sim/faults")
        sim.post("/sim/limits/reset")
        return status, body

    candles = {"instId": SWAP, "bar": "1H", "limit": 9}
    for code, status in ((50011, 429), (50013, 429), (50001, 503), (50026, 500), (51001, 200)):
        found, body = with_fault("market/candles", {"kind": "okx_code", "code": code}, **candles)
        assert (found, json.loads(body)["code"]) == (status, str(code))
    found, body = with_fault(
        "market/candles", {"kind": "okx_code", "code": 50011, "status": 200}, **candles
    )
    assert (found, json.loads(body)["code"]) == (200, "50011")
    for status, text in ((503, "50001"), (500, "50026"), (429, "50011")):
        found, body = with_fault("public/time", {"kind": "status", "status": status})
        assert (found, json.loads(body)["code"]) == (status, text)
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
        rule: dict[str, object] = {"kind": "nonsense", "variant": variant}
        usual = with_fault(HISTORY, {**rule, "symbol": "OTHER"}, instId=SWAP, limit=9)[1]
        found, body = with_fault(HISTORY, rule, instId=SWAP, limit=9)
        assert json.loads(body) != json.loads(usual), variant
    (window,) = json.loads(
        with_fault("system/status", {"kind": "okx_maintenance", "lasts_s": 60})[1]
    )["data"]
    assert (int(window["begin"]), int(window["end"])) == (NOW_MS, NOW_MS + 60_000)
    assert data(sim, "system/status") == []


def test_impossible_candles_and_corrections(sim: Simulator) -> None:
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


def test_listings_and_delistings(sim: Simulator) -> None:
    sim.post("/sim/faults", {"kind": "list_new", "exchange": "okx", "symbol": "NEW"})
    sim.post("/sim/faults", {"kind": "delist", "exchange": "okx", "symbol": "ETH-USDT-SWAP"})
    swaps = data(sim, "public/instruments", instType="SWAP")
    assert "NEW-USDT-SWAP" in {one["instId"] for one in swaps}
    assert "ETH-USDT-SWAP" not in {one["instId"] for one in swaps}
    assert _ask(sim, "market/candles", instId="ETH-USDT-SWAP", bar="1H") == (200, "51001")
    assert sim.stats()["rejected_total"] == 0  # the client could not have known
    assert data(sim, "public/funding-rate", instId="NEW-USDT-SWAP")[0]["prevFundingTime"] == ""


def test_a_settlement_is_told_as_processing_at_first(sim: Simulator) -> None:
    settled_ms = NOW_MS - NOW_MS % 28_800_000 + 28_800_000
    sim.post("/sim/clock", {"now_ms": settled_ms - 1})
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
