"""Rate limits: fixed minute, sliding windows, the way from 429 to 418, Bybit's 403."""

import json
import re
import time
from typing import Any

import pytest

from simulator.binance.limits import BinanceLimits, BinanceLimitSettings
from simulator.bybit.limits import BybitLimits, BybitLimitSettings
from simulator.clock import Clock
from simulator.stats import Stats
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator


class Time:
    """Monotonic nanoseconds moved by hand."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.ns

    def move(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class MeasuredLimits:
    """Limits with a clock moved by hand, starting at a full minute."""

    def __init__(self, *, bybit_ban_s: float = 600, **settings: Any) -> None:
        self.time = Time()
        start_ms = NOW_MS - NOW_MS % 60_000
        self.clock = Clock(start_ms, exchanges=("binance", "bybit"), monotonic_ns=self.time)
        self.stats = Stats()
        self.binance = BinanceLimits(BinanceLimitSettings(**settings), self.clock, self.stats)
        self.bybit = BybitLimits(BybitLimitSettings(ban_s=bybit_ban_s), self.clock, self.stats)

    def weigh(self, cost: int, client: str = "a") -> int:
        refusal = self.binance.take(client, "weight", cost)
        return 200 if refusal is None else refusal.status


def test_weight_in_a_fixed_minute() -> None:
    limits = MeasuredLimits()
    limits.time.move(59)
    assert [limits.weigh(1200), limits.weigh(1200)] == [200, 200]
    assert limits.binance.weight_used("a") == 2400
    limits.time.move(1.001)  # the next minute, not 60 s later
    assert limits.weigh(1) == 200
    assert limits.binance.weight_used("a") == 1


def test_429_then_418_with_doubling_bans() -> None:
    limits = MeasuredLimits(ban_s=120, grace_s=0.5)
    limits.weigh(2400)
    refusal = limits.binance.take("a", "weight", 1)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 60)
    limits.time.move(0.4)  # was on its way already
    assert limits.weigh(1) == 429
    limits.time.move(0.2)
    refusal = limits.binance.take("a", "data", 1)
    assert refusal is None  # another counter was not told to wait
    refusal = limits.binance.take("a", "weight", 1)
    assert refusal is not None
    assert refusal.status == 418
    assert refusal.until_ms == limits.clock.now_ms() + 120_000
    # Banned from everything, and the end does not move.
    limits.time.move(119)
    again = limits.binance.take("a", "data", 1)
    assert again is not None
    assert (again.status, again.until_ms) == (418, refusal.until_ms)
    assert limits.stats.requests_while_banned == 1
    limits.time.move(1.1)
    assert limits.weigh(2400) == 200
    assert limits.weigh(1) == 429
    limits.time.move(0.6)
    refusal = limits.binance.take("a", "weight", 1)
    assert refusal is not None
    assert refusal.until_ms == limits.clock.now_ms() + 240_000
    assert limits.stats.limits_broken["binance 418"] == 2


def test_heeding_a_429_costs_nothing() -> None:
    limits = MeasuredLimits()
    limits.weigh(2400)
    refusal = limits.binance.take("a", "weight", 1)
    assert refusal is not None
    limits.time.move(refusal.retry_after_s)
    assert limits.weigh(1) == 200


@pytest.mark.parametrize("counter, limit", [("funding", 500), ("data", 1000)])
def test_sliding_windows_of_5_minutes(counter: str, limit: int) -> None:
    limits = MeasuredLimits()

    def ask() -> bool:
        return limits.binance.take("a", counter, 1) is None

    assert all(ask() for _ in range(limit // 2))
    limits.time.move(200)
    assert all(ask() for _ in range(limit // 2))
    refusal = limits.binance.take("a", counter, 1)
    assert refusal is not None
    assert refusal.status == 429
    assert 99 <= refusal.retry_after_s <= 101
    limits.time.move(refusal.retry_after_s)
    assert ask()


def test_bybit_600_in_any_5_seconds() -> None:
    limits = MeasuredLimits(bybit_ban_s=600)
    assert all(limits.bybit.take("a") is None for _ in range(300))
    limits.time.move(4.9)
    assert all(limits.bybit.take("a") is None for _ in range(300))
    limits.time.move(0.2)
    assert all(limits.bybit.take("a") is None for _ in range(300))
    refusal = limits.bybit.take("a")
    assert refusal is not None
    assert refusal.status == 403
    limits.time.move(599)
    assert limits.bybit.take("a") is not None
    limits.time.move(1.1)
    assert limits.bybit.take("a") is None
    assert limits.stats.limits_broken["bybit 403"] == 1
    assert limits.stats.requests_while_banned == 1


def test_clients_are_counted_apart() -> None:
    limits = MeasuredLimits()
    assert limits.weigh(2400, "a") == 200
    assert limits.weigh(2400, "b") == 200
    assert limits.weigh(1, "a") == 429
    assert limits.stats.most_weight_in_a_minute == 2401


def test_without_limits_all_is_counted_and_nothing_refused() -> None:
    limits = MeasuredLimits(enabled=False)
    assert {limits.weigh(2400) for _ in range(5)} == {200}
    assert limits.stats.most_weight_in_a_minute == 12_000


def test_weights_by_limit(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=2, bybit=0, weight_limit=100_000)
    used = 0
    for query, weight in (
        ("klines?symbol=BTCUSDT&interval=4h&limit=99", 1),
        ("klines?symbol=BTCUSDT&interval=4h&limit=100", 2),
        ("klines?symbol=BTCUSDT&interval=4h&limit=499", 2),
        ("klines?symbol=BTCUSDT&interval=4h", 5),
        ("klines?symbol=BTCUSDT&interval=4h&limit=1000", 5),
        ("klines?symbol=BTCUSDT&interval=4h&limit=1001", 10),
        ("exchangeInfo", 1),
        ("time", 1),
        ("openInterest?symbol=BTCUSDT", 1),
        ("premiumIndex?symbol=BTCUSDT", 1),
        ("premiumIndex", 10),
        ("ticker/24hr", 40),
        ("klines?symbol=WRONG&interval=4h&limit=99", 1),  # a refused request costs too
    ):
        _, headers, _ = simulator.full("GET", f"/fapi/v1/{query}")
        now = int(headers["x-mbx-used-weight-1m"])
        if now != weight:  # else a minute began just before
            assert now - used == weight, query
        used = now
    # The header is wrong on ticker/price, as the documentation says.
    _, headers, _ = simulator.full("GET", "/fapi/v2/ticker/price")
    assert headers["x-mbx-used-weight-1m"] == "2"


def test_limits_over_http(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(
        binance=2, bybit=2, now=NOW_MS, data_limit=3, bybit_limit=3, ban_seconds=300,
        grace_seconds=0, frozen=True,
    )  # fmt: skip
    path = "/futures/data/openInterestHist?symbol=BTCUSDT&period=4h&limit=1"
    assert [simulator.full("GET", path)[0] for _ in range(3)] == [200] * 3
    status, headers, body = simulator.full("GET", path)
    assert (status, json.loads(body)["code"]) == (429, -1003)
    assert 1 <= int(headers["Retry-After"]) <= 300
    status, headers, body = simulator.full("GET", path)
    assert (status, json.loads(body)["code"]) == (418, -1003)
    until = re.search(r"IP\(127\.0\.0\.1\) banned until (\d{13})", body.decode())
    assert until is not None
    assert abs(int(until[1]) - NOW_MS - 300_000) < 1000
    assert simulator.full("GET", "/fapi/v1/time")[0] == 418
    # Another address is not concerned, and /sim never counts.
    assert simulator.full("GET", "/fapi/v1/time", headers={"X-Sim-Client": "other"})[0] == 200

    statuses = [simulator.full("GET", "/v5/market/time")[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 403, 403]
    status, headers, body = simulator.full("GET", "/v5/market/time")
    assert (status, body) == (403, b"access too frequent")

    stats = simulator.stats()
    assert stats["limits_broken"] == {"binance 429 data": 1, "binance 418": 1, "bybit 403": 1}
    assert stats["requests_while_banned"] == 3
    assert stats["requests"]["binance"]["open_interest"] == {"200": 3, "418": 1, "429": 1}
    assert stats["clients"]["binance"] == {"127.0.0.1": 6, "other": 1}
    simulator.post("/sim/stats/reset")
    assert simulator.stats()["total"] == 0
    simulator.post("/sim/limits/reset")
    assert simulator.full("GET", path)[0] == 200
    assert simulator.full("GET", "/v5/market/time")[0] == 200


def test_retry_after_can_be_switched_off(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=0, funding_limit=1, no_retry_after=True)
    simulator.full("GET", "/fapi/v1/fundingInfo")
    status, headers, _ = simulator.full("GET", "/fapi/v1/fundingRate?symbol=BTCUSDT")
    assert status == 429  # fundingRate and fundingInfo share a counter
    assert "Retry-After" not in headers


def test_rejected_parameters_are_listed(start_simulator: Any) -> None:
    simulator: Simulator = start_simulator(binance=1, bybit=1)
    simulator.full("GET", "/fapi/v1/klines?symbol=BTCUSDT&interval=4h&limit=2000")
    simulator.full("GET", "/v5/market/kline?symbol=BTCUSDT&interval=480")
    simulator.full("GET", "/fapi/v1/klines?symbol=BTCUSDT&interval=4h&limit=20")
    stats = simulator.stats()
    assert stats["rejected_total"] == 2
    assert [entry["query"] for entry in stats["rejected"]] == [
        "symbol=BTCUSDT&interval=4h&limit=2000",
        "symbol=BTCUSDT&interval=480",
    ]
    assert stats["limits_broken_total"] == 0
    assert stats["funding_requests"] == 0


def test_a_made_up_429_breaks_no_limit_for_those_on_their_way() -> None:
    limits = MeasuredLimits(grace_s=0.5)
    limits.binance.refuse_429("a", "weight", 5, by_fault=True)
    limits.time.move(0.4)
    assert limits.weigh(1) == 429
    assert limits.stats.limits_broken == {}
    limits.time.move(0.2)
    assert limits.weigh(1) == 418  # it could have known
    assert limits.stats.limits_broken == {"binance 418": 1}


def test_who_asks_in_spite_of_a_ban_is_told_from_who_was_on_the_way() -> None:
    limits = MeasuredLimits(grace_s=0.5)
    limits.binance.ban("a", 60)
    limits.bybit.ban("a", 60)
    limits.time.move(0.4)
    assert limits.weigh(1) == 418
    assert limits.bybit.take("a") is not None
    assert (limits.stats.requests_while_banned, limits.stats.requests_in_spite_of_ban) == (2, 0)
    limits.time.move(0.2)
    assert limits.weigh(1) == 418
    assert limits.bybit.take("a") is not None
    assert (limits.stats.requests_while_banned, limits.stats.requests_in_spite_of_ban) == (4, 2)


def test_when_each_request_came_and_was_answered(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=2, bybit=2, latency_ms=50)
    before_s = time.monotonic()
    assert sim.full("GET", "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=60")[0] == 200
    (asked,) = sim.get("/sim/requests")["requests"]
    assert (asked["exchange"], asked["endpoint"], asked["symbol"], asked["status"]) == (
        *("bybit", "klines", "BTCUSDT"),
        200,
    )
    assert before_s < asked["arrived_s"] < asked["answered_s"] < time.monotonic()
    assert asked["answered_s"] - asked["arrived_s"] >= 0.05
    sim.post("/sim/stats/reset")
    assert sim.get("/sim/requests")["requests"] == []


def test_answered_requests_are_counted_by_period(sim: Simulator) -> None:
    kline, interest = "/fapi/v1/klines", "/futures/data/openInterestHist"
    for interval in ("5m", "1d", "5m", "nonsense"):
        sim.full("GET", kline, query={"symbol": "BTCUSDT", "interval": interval})
    sim.get(interest, symbol="BTCUSDT", period="1h")
    sim.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval="D")
    sim.get("/v5/market/time", interval="5m")
    assert sim.stats()["periods"] == {
        "binance": {"klines": {"1d": 1, "5m": 2}, "open_interest": {"1h": 1}},
        "bybit": {"klines": {"D": 1}},
    }
