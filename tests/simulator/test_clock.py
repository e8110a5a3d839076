"""The exchanges' clock: instants, speed, moves, and what passes by each of them."""

import argparse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.clock import Clock
from simulator.clock_settings import clock_settings
from simulator.command_line import add_arguments
from simulator.instants import instant_ms, iso
from tests.fixtures.simulator import NOW_MS, StartSimulator
from tests.simulator.test_limits import MeasuredLimits, Time

# 2026-03-01T23:58:30Z by `date -u -d @1772409510`.
LATE_MS = 1_772_409_510_000
MIDNIGHT_MS = 1_772_409_600_000
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    "given",
    [
        "2026-03-01T23:58:30Z",
        "2026-03-01T23:58:30.000+00:00",
        "2026-03-02T00:58:30+01:00",
        "2026-03-01 23:58:30Z",
        str(LATE_MS),
        LATE_MS,
    ],
)
def test_an_instant_in_every_form(given: object) -> None:
    assert instant_ms(given) == LATE_MS


def test_an_instant_as_text() -> None:
    assert iso(LATE_MS) == "2026-03-01T23:58:30Z"
    assert iso(LATE_MS + 7) == "2026-03-01T23:58:30.007Z"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("2026-03-01T23:58:30", "2026-03-01T23:58:30Z"),  # of which zone?
        ("2026-03-01", "such as"),
        ("midnight", "'midnight'"),
        ("2026-02-30T00:00:00Z", "'2026-02-30T00:00:00Z'"),
        ("", "such as"),
        (None, "'None'"),
        (True, "'True'"),
        (1.5, "'1.5'"),
        ([LATE_MS], "such as"),
        (0, "1970-01-01T00:00:00Z"),
        (LATE_MS // 1000, "1970-01-21"),  # seconds
        ("2019-12-31T23:59:59.999Z", "2020-01-01T00:00:00Z"),
        ("2100-01-01T00:00:00Z", "before 2100-01-01T00:00:00Z"),
        (10**18, "1000000000000000000 ms"),
        (-(10**18), "-1000000000000000000 ms"),
        ("9" * 5000, "9" * 30 + " ms"),
    ],
)
def test_an_instant_that_cannot_be(given: object, told: str) -> None:
    with pytest.raises(ValueError, match="time must") as error:
        instant_ms(given)
    assert told in str(error.value)
    assert len(str(error.value)) < 200


@given(st.one_of(st.text(), st.datetimes(timezones=st.timezones()).map(str), st.integers()))
def test_any_text_is_an_instant_or_an_error(text: object) -> None:
    try:
        time_ms = instant_ms(text)
    except ValueError:
        return
    assert instant_ms(iso(time_ms)) == time_ms


def test_speed_changes_without_a_jump() -> None:
    time = Time()
    clock = Clock(LATE_MS, exchanges=["binance"], speed=10, monotonic_ns=time)
    began_s = clock.elapsed_s()
    time.move(2)
    assert (clock.now_ms(), clock.real_s(5)) == (LATE_MS + 20_000, 0.5)
    clock.set(speed=1000)
    assert clock.now_ms() == LATE_MS + 20_000
    time.move(0.5)
    assert clock.now_ms() == clock.flowing_ms() == LATE_MS + 520_000
    clock.set(now_ms=LATE_MS, speed=1)  # a move is no time that passes
    time.move(3)
    assert clock.now_ms() == LATE_MS + 3000
    assert clock.elapsed_s() - began_s == pytest.approx(523)
    assert clock.monotonic_s() == pytest.approx(1005.5)


def test_frozen_time_passes_for_limits_at_the_speed_too() -> None:
    time = Time()
    clock = Clock(LATE_MS, frozen=True, speed=60, monotonic_ns=time)
    time.move(2)
    assert (clock.now_ms(), clock.flowing_ms()) == (LATE_MS, LATE_MS + 120_000)


def test_a_move_that_cannot_be_changes_nothing() -> None:
    clock = Clock(LATE_MS, exchanges=["binance", "bybit"], frozen=True)
    before = clock.as_json()
    moves: list[dict[str, Any]] = [
        {"now_ms": MIDNIGHT_MS, "skew_ms": {"kraken": 1}},
        {"now_ms": MIDNIGHT_MS, "speed": 0},
        {"now_ms": MIDNIGHT_MS, "speed": 1000.5},
        {"frozen": False, "advance_ms": 200 * 366 * DAY_MS},
        {"frozen": False, "advance_ms": -20 * 366 * DAY_MS},
        {"frozen": False, "skew_ms": {"binance": 5, "bybit": 200 * 366 * DAY_MS}},
    ]
    for move in moves:
        with pytest.raises(ValueError, match=r"speed must|time must|no exchange"):
            clock.set(**move)
        assert clock.as_json() == before
    with pytest.raises(ValueError, match="time must"):
        Clock(5)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "JSON object"),
        ("now", "JSON object"),
        ({"noww": 1}, "'noww'"),
        ({"now": LATE_MS, "now_ms": LATE_MS}, "give one"),
        ({"now": "23:58"}, "now: the time must"),
        ({"now_ms": 1.5}, "now_ms: the time must"),
        ({"advance_ms": 1.5}, "advance_ms: must be whole"),
        ({"advance_ms": True}, "advance_ms: must be whole"),
        ({"frozen": 1}, "frozen: must be true or false"),
        ({"speed": "2"}, "speed: must be a number"),
        ({"skew_ms": [1]}, "skew_ms: must be an object"),
        ({"skew_ms": {"bybit": None}}, "skew_ms: must be whole"),
    ],
)
def test_a_body_that_cannot_be(body: object, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        clock_settings(body)
    assert told in str(error.value)


def test_limits_and_bans_at_ten_times_the_speed() -> None:
    limits = MeasuredLimits(bybit_ban_s=600)
    limits.clock.set(speed=10)
    assert all(limits.bybit.take("a") is None for _ in range(600))
    limits.time.move(0.51)  # 5.1 s of the exchange's
    assert limits.bybit.take("a") is None
    for _ in range(600):
        limits.bybit.take("a")
    limits.time.move(59.9)
    assert limits.bybit.take("a") is not None
    limits.time.move(0.2)
    assert limits.bybit.take("a") is None
    limits.weigh(2400, "b")
    limits.time.move(6)
    assert limits.weigh(2400, "b") == 200


def test_a_move_is_no_time_in_which_windows_empty() -> None:
    limits = MeasuredLimits()
    assert all(limits.bybit.take("a") is None for _ in range(600))
    assert all(limits.binance.take("a", "data", 1) is None for _ in range(1000))
    limits.clock.set(advance_ms=DAY_MS)
    assert limits.bybit.take("a") is not None
    assert limits.binance.take("a", "data", 1) is not None
    assert limits.weigh(2400) == 200
    limits.clock.set(advance_ms=60_000)
    assert limits.weigh(2400) == 200  # this window is a minute of exchange time


@pytest.mark.parametrize("frozen", [False, True])
def test_time_that_passes_at_once_empties_windows(frozen: bool) -> None:
    limits = MeasuredLimits()
    limits.clock.set(now_ms=LATE_MS, frozen=frozen)
    assert all(limits.bybit.take("a") is None for _ in range(600))
    assert all(limits.binance.take("a", "data", 1) is None for _ in range(1000))
    limits.clock.set(pass_ms=5_001)
    assert limits.clock.now_ms() == LATE_MS + 5_001
    assert limits.bybit.take("a") is None
    assert limits.binance.take("a", "data", 1) is not None
    limits.clock.set(pass_ms=300_000)
    assert limits.binance.take("a", "data", 1) is None
    with pytest.raises(ValueError, match="pass_ms"):
        limits.clock.set(pass_ms=-1)
    assert limits.clock.now_ms() == LATE_MS + 305_001


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--now", "2019-12-31T00:00:00Z"], "2020-01-01T00:00:00Z"),
        (["--now", "1.5"], "2026-03-01T23:58:30Z"),
        (["--speed", "0.5"], "1 to 1000"),
        (["--speed", "1001"], "1 to 1000"),
        (["--speed", "nan"], "at least 0"),
    ],
)
def test_options_that_cannot_be(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(options)
    assert told in capsys.readouterr().err


def test_midnight_comes_when_asked(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=2, bybit=2, now="2026-03-01T23:58:30Z", latency_ms=5)

    def candles() -> list[int]:
        """The open times of the newest day candles, of both exchanges."""
        query = {"symbol": "BTCUSDT", "limit": 2}
        bybit = sim.get("/v5/market/kline", category="linear", interval="D", **query)
        rows = sim.get("/fapi/v1/klines", interval="1d", **query)
        assert [int(row[0]) for row in bybit["result"]["list"]] == [row[0] for row in rows[::-1]]
        return [row[0] for row in rows]

    assert LATE_MS <= sim.get("/fapi/v1/time")["serverTime"] < LATE_MS + 60_000
    yesterday_ms = MIDNIGHT_MS - DAY_MS
    assert candles() == [yesterday_ms - DAY_MS, yesterday_ms]
    clock = sim.post("/sim/clock", {"now": "2026-03-02T00:00:00Z"})
    assert MIDNIGHT_MS <= clock["now_ms"] < MIDNIGHT_MS + 60_000
    assert (clock["now"][:16], clock["speed"]) == ("2026-03-02T00:00", 1.0)
    assert candles() == [yesterday_ms, MIDNIGHT_MS]
    _, headers, _ = sim.full("GET", "/fapi/v1/time")
    assert headers["Date"].startswith("Mon, 02 Mar 2026 00:0")
    newest = sim.get("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=1)[-1]
    assert MIDNIGHT_MS <= newest["fundingTime"] < MIDNIGHT_MS + 100
    # Snapshots come up to three minutes later.
    sim.post("/sim/clock", {"now": "2026-03-02T00:03:01Z"})
    oi = sim.get("/futures/data/openInterestHist", symbol="BTCUSDT", period="1d", limit=1)
    assert oi[-1]["timestamp"] == MIDNIGHT_MS
    sim.post("/sim/clock", {"now_ms": LATE_MS})
    assert candles() == [yesterday_ms - DAY_MS, yesterday_ms]
    status, _, body = sim.full("POST", "/sim/clock", json_body={"now": "midnight"})
    assert (status, b"such as 2026-03-01T23:58:30Z" in body) == (400, True)


def test_latency_and_faults_pass_at_the_speed(start_simulator: StartSimulator) -> None:
    # A minute of latency and ten of a slow answer: 0.7 s of real time.
    sim = start_simulator(binance=1, bybit=1, now=NOW_MS, speed=1000, latency_ms=60_000)
    sim.post("/sim/faults", {"kind": "slow", "seconds": 600, "endpoint": "time", "count": 1})
    before_ms = sim.get("/sim/clock")["now_ms"]
    assert sim.get("/fapi/v1/time")["serverTime"] - before_ms >= 660_000
