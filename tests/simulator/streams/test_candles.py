"""Forming and closing candles of the streams are those of REST, to the last digit."""

import itertools
from collections import defaultdict
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator
from tests.simulator.streams.sockets import got, moved, subscribed

MINUTE_MS = 60_000
MS = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
BYBIT_MS = {"1": 1, "3": 3, "5": 5, "60": 60, "D": 1440}
# Busy, with gaps between candles, with long silences, with holes, with a start 4 minutes ago.
BINANCE = ("BTCUSDT", "BEAMXUSDT", "1000FLOKIUSDT", "TURBOUSDT")
BYBIT = ("BTCUSDT", "1000TURBOUSDT", "1000XECUSDT")
QUIET = "BEAMXUSDT"
STEPS = [7_300, 251, 19_000, 3_000, 44_449, 1_000]


def name(symbol: str, interval: str) -> str:
    return f"{symbol.lower()}@kline_{interval}"


async def events_of(sim: Simulator, streams: list[str], steps: list[int]) -> list[Any]:
    """All messages of these streams while time passes in these steps."""
    found = []
    async with subscribed(sim, *streams) as socket:
        for step in steps:
            await moved(sim, pass_ms=step)
            found += await socket.all()
    return found


async def rest_row(sim: Simulator, symbol: str, interval: str, at_ms: int, open_ms: int) -> Any:
    """Binance's row of a candle as REST shows it at a time."""
    await moved(sim, now_ms=at_ms)
    (row,) = await got(
        sim, "/fapi/v1/klines", symbol=symbol, interval=interval, startTime=open_ms,
        endTime=open_ms,
    )  # fmt: skip
    return row


def binance_row(k: dict[str, Any]) -> list[Any]:
    return [k[field] for field in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")] + ["0"]


@pytest.mark.parametrize("symbol", BINANCE)
async def test_each_event_of_binance_is_what_rest_shows_at_its_time(
    sim: Simulator, symbol: str
) -> None:
    streams = [name(symbol, interval) for interval in MS]
    found = await events_of(sim, streams, STEPS * 6)
    intervals = {message["data"]["k"]["i"] for message in found}
    assert "5m" in intervals
    for message in found:
        event, k = message["data"], message["data"]["k"]
        assert message["stream"] == name(symbol, k["i"])
        assert (event["e"], event["s"], k["s"], k["B"]) == ("kline", symbol, symbol, "0")
        row = await rest_row(sim, symbol, k["i"], event["E"], k["t"])
        assert binance_row(k) == row, message
        ids = (-1, -1) if k["n"] == 0 else (k["f"], k["f"] + k["n"] - 1)
        # Numbers of fills leave room between two candles of 5 minutes.
        assert (k["f"], k["L"]) == ids or (MS[k["i"]] > 5 and k["L"] > ids[1])


@pytest.mark.parametrize("symbol", BYBIT)
async def test_each_event_of_bybit_is_what_rest_shows_at_its_time(
    sim: Simulator, symbol: str
) -> None:
    streams = [f"kline.{interval}.{symbol}" for interval in BYBIT_MS]
    found = await events_of(sim, streams, STEPS * 6)
    assert any(element["confirm"] for message in found for element in message["data"])
    for message in found:
        assert message["type"] == "snapshot"
        for element in message["data"]:
            interval = element["interval"]
            assert message["topic"] == f"kline.{interval}.{symbol}"
            start = element["start"]
            await moved(sim, now_ms=message["ts"])
            rest = await got(
                sim, "/v5/market/kline", category="linear", symbol=symbol, interval=interval,
                start=start, end=start,
            )  # fmt: skip
            fields = ("open", "high", "low", "close", "volume", "turnover")
            assert [[str(start), *(element[field] for field in fields)]] == rest["result"]["list"]
            assert element["end"] == start + BYBIT_MS[interval] * MINUTE_MS - 1
            assert element["confirm"] == (message["ts"] > element["end"])
            assert element["timestamp"] <= message["ts"]


async def test_events_follow_the_rules_of_a_kline_stream(sim: Simulator) -> None:
    """At least 250 ms apart and only if changed; one closing for each candle, before the next."""
    symbols = ("BTCUSDT", "ETHUSDT", QUIET, "1000FLOKIUSDT")
    streams = [name(symbol, interval) for symbol in symbols for interval in ("1m", "5m")]
    by_stream: dict[str, list[Any]] = defaultdict(list)
    for message in await events_of(sim, streams, [130] * 650):
        by_stream[message["stream"]].append(message["data"])
    assert len(by_stream[streams[0]]) > 60
    for stream in streams:
        events = by_stream[stream]
        interval_ms = MS[stream[-2:]] * MINUTE_MS
        for before, after in itertools.pairwise(events):
            assert after["E"] >= before["E"] + 250
            same = before["k"]["t"] == after["k"]["t"]
            assert same is not before["k"]["x"], "a candle ends with its closing event"
            if same and not after["k"]["x"]:
                assert binance_row(before["k"]) != binance_row(after["k"])
        opens = [event["k"]["t"] for event in events if event["k"]["x"]]
        first = NOW_MS - NOW_MS % interval_ms
        assert opens == [first + i * interval_ms for i in range(len(opens))]
        assert len(opens) == (NOW_MS + 84_500 - 2_100 - first) // interval_ms
        assert all(event["k"]["n"] > 0 for event in events if not event["k"]["x"])


async def test_busy_markets_close_soon_and_quiet_ones_after_two_seconds(sim: Simulator) -> None:
    found = await events_of(sim, [name("BTCUSDT", "5m"), name(QUIET, "5m")], [60_000] * 30)
    late: dict[str, list[Any]] = defaultdict(list)
    for message in found:
        event = message["data"]
        if event["k"]["x"]:
            late[event["s"]].append((event["E"] - event["k"]["T"] - 1, event["k"]))
    assert len(late["BTCUSDT"]) == len(late[QUIET]) == 6
    soon = [after for after, _ in late["BTCUSDT"] if after < 2_000]
    assert len(soon) >= 3
    assert all(200 <= after <= 800 for after in soon)
    assert all(2_000 <= after <= 2_010 for after, _ in late[QUIET])
    silent = [k for _, k in late[QUIET] if k["n"] == 0]
    assert silent
    for k in silent:
        assert (k["f"], k["L"], float(k["v"]), float(k["q"])) == (-1, -1, 0, 0)
        assert k["o"] == k["h"] == k["l"] == k["c"]


async def test_silent_candles_close_or_not_as_the_setting_says(sim: Simulator) -> None:
    streams = [name(QUIET, "1m")]
    with_closings = await events_of(sim, streams, [60_000] * 6)
    assert len([m for m in with_closings if m["data"]["k"]["x"]]) == 6
    await moved(sim, now_ms=NOW_MS)
    sim.post("/sim/streams", {"silent_closings": {"binance": False, "bybit": False}})
    without = await events_of(sim, streams, [60_000] * 6)
    wanted = [m for m in with_closings if m["data"]["k"]["n"]]
    assert without == wanted
    assert len(wanted) < 4

    bybit = ["kline.1.1000TURBOUSDT"]
    await moved(sim, now_ms=NOW_MS)
    found = await events_of(sim, bybit, [60_000] * 6)
    elements = [element for message in found for element in message["data"]]
    assert all(float(element["volume"]) > 0 for element in elements if element["confirm"])


async def test_silent_candles_of_bybit_are_confirmed_within_60_seconds(sim: Simulator) -> None:
    found = await events_of(sim, ["kline.1.1000TURBOUSDT"], [20_000] * 45)
    elements = [(message["ts"], e) for message in found for e in message["data"]]
    silent = [(at, e) for at, e in elements if e["confirm"] and float(e["volume"]) == 0]
    assert len(silent) >= 10
    for at_ms, element in silent:
        assert 0 < at_ms - element["end"] <= 60_001
        assert element["open"] == element["high"] == element["low"] == element["close"]
        assert element["turnover"] == "0"
    starts = [element["start"] for _, element in elements if element["confirm"]]
    assert starts == list(range(starts[0], starts[-1] + 1, MINUTE_MS)), "none is left out"


async def test_every_tenth_confirmation_brings_the_next_candle_along(sim: Simulator) -> None:
    found = await events_of(sim, ["kline.1.BTCUSDT"], [60_000] * 21)
    confirmed = [m["data"] for m in found if m["data"][0]["confirm"]]
    assert len(confirmed) == 21
    for elements in confirmed:
        end_ms = elements[0]["end"] + 1
        if end_ms // MINUTE_MS % 10 == 0:
            assert [e["start"] for e in elements] == [end_ms - MINUTE_MS, end_ms]
            assert [e["confirm"] for e in elements] == [True, False]
        else:
            assert len(elements) == 1


async def test_pushes_of_bybit_are_1_to_60_seconds_apart(sim: Simulator) -> None:
    found = await events_of(sim, ["kline.60.1000TURBOUSDT", "kline.60.BTCUSDT"], [700] * 300)
    by_topic: dict[str, list[int]] = defaultdict(list)
    for message in found:
        by_topic[message["topic"]].append(message["ts"])
    assert len(by_topic["kline.60.BTCUSDT"]) > 50
    assert len(by_topic["kline.60.1000TURBOUSDT"]) >= 3
    for times in by_topic.values():
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert min(gaps) >= 1_000
        assert max(gaps) <= 60_000 + 700


async def test_all_closings_may_come_late(sim: Simulator) -> None:
    sim.post("/sim/streams", {"closing_delay_s": {"binance": 24, "bybit": 5.5}})
    found = await events_of(sim, [name("BTCUSDT", "1m"), name(QUIET, "1m")], [30_000] * 5)
    closings = [m["data"] for m in found if m["data"]["k"]["x"]]
    assert len(closings) == 6  # the first are those of the minute before
    assert {event["E"] - event["k"]["T"] - 1 for event in closings} == {24_000}
    await moved(sim, now_ms=NOW_MS)
    found = await events_of(sim, ["kline.1.BTCUSDT"], [30_000] * 5)
    confirmed = [m for m in found if m["data"][0]["confirm"]]
    assert [m["ts"] - m["data"][0]["end"] - 1 for m in confirmed] == [5_500, 5_500]


async def test_a_jump_of_time_brings_every_closing_in_order(sim: Simulator) -> None:
    symbols = ("BTCUSDT", "ETHUSDT")
    found = await events_of(sim, [name(s, "5m") for s in symbols], [6 * 3_600_000])
    closings = [m["data"] for m in found if m["data"]["k"]["x"]]
    assert len(closings) == 2 * 72
    times = [event["E"] for event in closings]
    assert times == sorted(times)
    rest = await got(
        sim, "/fapi/v1/klines", symbol="ETHUSDT", interval="5m",
        startTime=closings[0]["k"]["t"], limit=72,
    )  # fmt: skip
    assert [binance_row(event["k"]) for event in closings if event["s"] == "ETHUSDT"] == rest


async def test_closings_come_at_any_speed(sim: Simulator) -> None:
    """An exchange hour in a few seconds: each closing once, in order, and true."""
    symbols = ("BTCUSDT", "ETHUSDT", QUIET)
    async with subscribed(sim, *(name(symbol, "1m") for symbol in symbols)) as socket:
        await moved(sim, frozen=False, speed=1000)
        closed: dict[str, list[Any]] = {symbol: [] for symbol in symbols}
        while min(map(len, closed.values())) < 20:
            event = (await socket.receive())["data"]
            if event["k"]["x"]:
                closed[event["s"]].append(event["k"])
        await moved(sim, frozen=True, speed=1)
    for symbol, candles in closed.items():
        first = candles[0]["t"]
        assert first == NOW_MS - NOW_MS % MINUTE_MS
        rest = await got(
            sim, "/fapi/v1/klines", symbol=symbol, interval="1m", startTime=first,
            limit=len(candles),
        )  # fmt: skip
        assert [binance_row(k) for k in candles] == rest


async def test_markets_without_candles_keep_nobody_waiting(sim: Simulator) -> None:
    """One that is listed and not traded yet, and all intervals of it: nothing comes, for hours."""
    listed = await got(sim, "/sim/markets", exchange="bybit")
    (symbol,) = [
        m["symbol"] for m in listed["markets"]
        if m["first_candle_ms"] > NOW_MS and m["collected"]
    ]  # fmt: skip
    found = await events_of(sim, [f"kline.{i}.{symbol}" for i in BYBIT_MS], [500_000] * 12)
    assert found == []


async def test_time_moved_back_shows_again_what_was_then(sim: Simulator) -> None:
    async with subscribed(sim, name("BTCUSDT", "1m")) as socket:
        await moved(sim, pass_ms=90_000)
        first = await socket.all()
        await moved(sim, now_ms=NOW_MS)
        await moved(sim, pass_ms=90_000)
        again = await socket.all()
    assert first == again
    assert first


async def test_minutes_add_up_to_five_minutes(sim: Simulator) -> None:
    """The closings of 1m, over all kinds of markets: sums, extremes and ends are those of 5m."""
    symbols = [*BINANCE[:3], "ETHUSDT"]
    streams = [name(symbol, interval) for symbol in symbols for interval in ("1m", "5m")]
    found = await events_of(sim, streams, [60_000] * 16)
    closed = [m["data"]["k"] for m in found if m["data"]["k"]["x"]]
    fives = [k for k in closed if k["i"] == "5m" and k["t"] > NOW_MS]
    assert len(fives) >= 6
    for five in fives:
        ones = [
            k for k in closed
            if k["i"] == "1m" and k["s"] == five["s"] and 0 <= k["t"] - five["t"] < 300_000
        ]  # fmt: skip
        assert len(ones) == 5
        assert (ones[0]["o"], ones[-1]["c"]) == (five["o"], five["c"])
        assert max(float(k["h"]) for k in ones) == float(five["h"])
        assert min(float(k["l"]) for k in ones) == float(five["l"])
        assert sum(k["n"] for k in ones) == five["n"]
        for field in ("v", "q", "V", "Q"):
            assert sum(float(k[field]) for k in ones) == pytest.approx(float(five[field]), 1e-9)
        for k in ones:
            volume, turnover = float(k["v"]), float(k["q"])
            slack = turnover * 1e-9
            assert float(k["l"]) * volume - slack <= turnover <= float(k["h"]) * volume + slack
