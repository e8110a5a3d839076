"""Binance's trades, books, tickers and prices agree with each other and with REST."""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.streams.sockets import connected, fault, got, moved, subscribed

DEPTH = "btcusdt@depth@100ms"
ROUND_MS = NOW_MS - NOW_MS % 1000


async def test_trades_add_up_to_the_candle(sim: Simulator) -> None:
    """All trades of a minute: its volume, its prices, its ids, each at its own time."""
    minute_ms = NOW_MS - NOW_MS % 60_000 + 60_000
    for symbol in ("BTCUSDT", "1000SHIBUSDT"):
        await moved(sim, now_ms=minute_ms - 1)
        trades: list[Any] = []
        async with subscribed(sim, f"{symbol.lower()}@aggTrade") as socket:
            for step in [777] * 78:
                await moved(sim, pass_ms=step)
                trades += [message["data"] for message in await socket.all()]
        trades = [trade for trade in trades if trade["T"] < minute_ms + 60_000]
        (row,) = await got(
            sim, "/fapi/v1/klines", symbol=symbol, interval="1m", startTime=minute_ms,
            endTime=minute_ms,
        )  # fmt: skip
        assert sum(Decimal(trade["q"]) for trade in trades) == Decimal(row[5])
        assert trades[-1]["p"] == row[4]
        prices = [Decimal(trade["p"]) for trade in trades]
        assert Decimal(row[3]) <= min(prices)
        assert max(prices) <= Decimal(row[2])
        assert trades[-1]["l"] - trades[0]["f"] + 1 == row[8]
        for before, after in itertools.pairwise(trades):
            assert after["f"] == before["l"] + 1
            assert after["a"] == before["a"] + 1
            assert before["T"] <= after["T"] <= after["E"] <= after["T"] + 777
        for trade in trades:
            assert (trade["e"], trade["s"], trade["st"]) == ("aggTrade", symbol, 1)
            assert trade["nq"] == trade["q"]
            assert Decimal(trade["q"]) > 0
        assert {trade["m"] for trade in trades} == {True, False}


def applied(book: dict[str, dict[str, str]], event: dict[str, Any]) -> None:
    for side, levels in (("bids", event["b"]), ("asks", event["a"])):
        for price, size in levels:
            if size == "0":
                book[side].pop(price, None)
            else:
                book[side][price] = size


@pytest.mark.parametrize("speed", ["@100ms", "", "@500ms"])
async def test_a_book_kept_by_the_rule_is_the_book_of_rest(sim: Simulator, speed: str) -> None:
    """Subscribe, buffer, take the book over REST, apply as the documentation says."""
    await moved(sim, now_ms=ROUND_MS)
    stream = f"btcusdt@depth{speed}"
    every_ms = int(speed[1:-2] or 250) if speed else 250
    async with connected(sim, f"/public/stream?streams={stream}") as socket:
        await moved(sim, pass_ms=1_200)
        events = [message["data"] for message in await socket.all()]
        rest = await got(sim, "/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
        await moved(sim, pass_ms=800)
        for _ in range(20):
            await moved(sim, pass_ms=1_000)
            events += [message["data"] for message in await socket.all()]
        now = await got(sim, "/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
    book = {side: dict(rest[side]) for side in ("bids", "asks")}
    last_id = rest["lastUpdateId"]
    kept = [event for event in events if event["u"] >= last_id]
    assert len(kept) < len(events), "something came before the book"
    assert kept[0]["U"] <= last_id <= kept[0]["u"]
    for before, event in itertools.pairwise(kept):
        assert event["pu"] == before["u"]
        assert event["E"] >= before["E"] + every_ms
    for event in kept:
        assert event["e"] == "depthUpdate"
        assert event["s"] == event["ps"] == "BTCUSDT"
        assert event["pu"] < event["U"] <= event["u"]
        applied(book, event)
        assert max(map(Decimal, book["bids"])) < min(map(Decimal, book["asks"]))
    for side in ("bids", "asks"):
        assert book[side] == dict(now[side])
    assert now["bids"] == sorted(now["bids"], key=lambda level: -Decimal(level[0]))
    assert now["asks"] == sorted(now["asks"], key=lambda level: Decimal(level[0]))


async def test_a_gap_of_a_book_shows_in_its_numbers(sim: Simulator) -> None:
    await moved(sim, now_ms=ROUND_MS)
    await fault(sim, "stream_gap", exchange="binance", symbol="BTCUSDT", after=3, count=1)
    async with connected(sim, f"/public/stream?streams={DEPTH}/ethusdt@depth@100ms") as socket:
        events = []
        for _ in range(20):
            await moved(sim, pass_ms=200)
            events += [message["data"] for message in await socket.all()]
    gaps = {
        symbol: sum(
            after["pu"] != before["u"]
            for before, after in itertools.pairwise(e for e in events if e["s"] == symbol)
        )
        for symbol in ("BTCUSDT", "ETHUSDT")
    }
    assert gaps == {"BTCUSDT": 1, "ETHUSDT": 0}
    assert sim.stats()["faults"] == {"stream_gap": 1}


async def test_best_prices_are_those_of_the_book_and_touch_the_last_trade(sim: Simulator) -> None:
    await moved(sim, now_ms=ROUND_MS)
    names = "btcusdt@bookTicker/btcusdt@depth5@100ms/btcusdt@depth20@500ms"
    async with connected(sim, f"/public/stream?streams={names}") as socket:
        for _ in range(10):
            await moved(sim, pass_ms=3_500)
            last = {m["stream"]: m["data"] for m in await socket.all()}
            rest = await got(sim, "/fapi/v1/depth", symbol="BTCUSDT", limit=20)
            ticker = last["btcusdt@bookTicker"]
            assert [ticker["b"], ticker["B"]] == rest["bids"][0]
            assert [ticker["a"], ticker["A"]] == rest["asks"][0]
            assert Decimal(ticker["b"]) < Decimal(ticker["a"])
            price = (await got(sim, "/fapi/v1/ticker/price", symbol="BTCUSDT"))["price"]
            assert price in (ticker["b"], ticker["a"])
            assert last["btcusdt@depth5@100ms"]["b"] == rest["bids"][:5]
            assert last["btcusdt@depth20@500ms"]["a"] == rest["asks"]


async def test_the_book_over_rest_has_its_weights_and_limits(sim: Simulator) -> None:
    for limit, weight in ((5, 2), (50, 2), (100, 5), (500, 10), (1000, 20)):
        before = sim.stats()["weight_used"]
        book = await got(sim, "/fapi/v1/depth", symbol="BTCUSDT", limit=limit)
        assert sim.stats()["weight_used"] - before == weight
        assert (len(book["bids"]) == limit) is (limit <= 500)  # some levels are empty
    refused = await got(sim, "/fapi/v1/depth", symbol="BTCUSDT", limit=7)
    assert refused["code"] == -4021


async def test_tickers_are_those_of_rest_at_their_time(sim: Simulator) -> None:
    names = ("btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@markPrice", "btcusdt@markPrice@1s")
    async with subscribed(sim, *names) as socket:
        await moved(sim, pass_ms=6_000)
        first = {message["stream"]: message["data"] for message in await socket.all()}
        found = dict(first)
        await moved(sim, pass_ms=30_000)
        found |= {message["stream"]: message["data"] for message in await socket.all()}
    assert found.keys() == set(names)
    for name, data in found.items():
        await moved(sim, now_ms=data["E"])
        day = await got(sim, "/fapi/v1/ticker/24hr", symbol="BTCUSDT")
        index = await got(sim, "/fapi/v1/premiumIndex", symbol="BTCUSDT")
        if "markPrice" in name:
            assert data["E"] % (1000 if name.endswith("1s") else 3000) == 0
            wanted = [index[n] for n in (
                "markPrice", "indexPrice", "estimatedSettlePrice", "lastFundingRate",
                "nextFundingTime",
            )]  # fmt: skip
            assert [data[n] for n in ("p", "i", "P", "r", "T")] == wanted
        else:
            assert data["E"] % 2000 == 0
            wanted = [day[n] for n in (
                "lastPrice", "openPrice", "highPrice", "lowPrice", "volume", "quoteVolume",
            )]  # fmt: skip
            assert [data[n] for n in ("c", "o", "h", "l", "v", "q")] == wanted
        if name.endswith("@ticker"):
            assert (data["p"], data["P"]) == (day["priceChange"], day["priceChangePercent"])
            assert (data["F"], data["L"], data["n"]) == (
                day["firstId"],
                day["lastId"],
                day["count"],
            )
        assert (data["s"], data["st"]) == ("BTCUSDT", 1)


async def test_streams_of_all_markets_mix_in_another_product(sim: Simulator) -> None:
    listed = await got(sim, "/fapi/v1/exchangeInfo")
    trading = {entry["symbol"] for entry in listed["symbols"] if entry["status"] == "TRADING"}
    tradfi = {
        e["symbol"] for e in listed["symbols"] if e["contractType"] == "TRADIFI_PERPETUAL"
    }  # fmt: skip
    names = ("!markPrice@arr", "!markPrice@arr@1s", "!miniTicker@arr", "!ticker@arr")
    async with subscribed(sim, *names) as socket:
        await moved(sim, pass_ms=6_000)
        by_stream: dict[str, list[list[Any]]] = {}
        for message in await socket.all():
            by_stream.setdefault(message["stream"], []).append(message["data"])
        for frames in by_stream.values():
            rows = [row for frame in frames for row in frame]
            ours = {row["s"] for row in rows if row["st"] == 1}
            assert ours <= trading
            assert {row["s"] for row in rows if row["st"] == 2} >= {"BTCUSD_PERP"}
        for name in ("!markPrice@arr", "!markPrice@arr@1s"):
            crypto, other = by_stream[name]
            assert {row["s"] for row in other} == tradfi
            assert {row["s"] for row in crypto + other if row["st"] == 1} == trading
            assert all(row["T"] == 0 and row["r"] == "" for row in crypto if "_27" in row["s"])
        await moved(sim, pass_ms=1_000)
        changed = [m for m in await socket.all() if m["stream"] == "!miniTicker@arr"]
        some = {row["s"] for row in changed[0]["data"] if row["st"] == 1}
        assert 0 < len(some) < len(trading), "only what was traded since the last one"


async def test_listings_are_told_and_begin_to_deliver(start_simulator: StartSimulator) -> None:
    sim = start_simulator(
        binance=3, bybit=3, now=NOW_MS - NOW_MS % 300_000, frozen=True, no_limits=True
    )
    names = ("!contractInfo", "newusdt@kline_1m", "ethusdt@kline_1m")
    async with subscribed(sim, *names) as socket:
        await moved(sim, pass_ms=30_000)
        assert {m["stream"] for m in await socket.all()} == {"ethusdt@kline_1m"}
        await fault(sim, "list_new", exchange="binance", symbol="NEW", age_ms=0)
        await fault(sim, "delist", exchange="binance", symbol="ETHUSDT")
        told = [m["data"] for m in await socket.all() if m["stream"] == "!contractInfo"]
        assert [(e["e"], e["s"], e["ct"], e["cs"], e["st"]) for e in told] == [
            ("contractInfo", "NEWUSDT", "PERPETUAL", "TRADING", 1),
            ("contractInfo", "ETHUSDT", "PERPETUAL", "SETTLING", 1),
        ]
        await moved(sim, pass_ms=90_000)
        assert {m["stream"] for m in await socket.all()} == {"newusdt@kline_1m"}


async def test_a_correction_changes_rest_and_what_is_still_forming(
    start_simulator: StartSimulator,
) -> None:
    """As the exchange corrects a candle after its closing event: the stream does not repeat it."""
    sim = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True, no_limits=True)
    slot_ms = NOW_MS - NOW_MS % 300_000
    async with subscribed(sim, "btcusdt@kline_5m", "btcusdt@kline_1h") as socket:
        await moved(sim, pass_ms=200_000)
        found = [m["data"] for m in await socket.all()]
        (closing,) = [e for e in found if e["k"]["x"]]
        await fault(sim, "correction", exchange="binance", symbol="BTCUSDT", time=slot_ms)
        await moved(sim, pass_ms=5_000)
        later = [m["data"] for m in await socket.all()]
        (row,) = await got(
            sim, "/fapi/v1/klines", symbol="BTCUSDT", interval="5m", startTime=slot_ms,
            endTime=slot_ms,
        )  # fmt: skip
        assert Decimal(row[5]) > Decimal(closing["k"]["v"])
        assert not [e for e in later if e["k"]["x"]]
        hour = [e for e in later if e["k"]["i"] == "1h"][-1]["k"]
        (row,) = await got(sim, "/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=1)
        assert [hour["h"], hour["v"], hour["q"]] == [row[2], row[5], row[7]]


@pytest.mark.parametrize("variant", ["high_below_low", "zero_price"])
async def test_a_candle_that_rest_sends_as_an_impossible_one_is_none_in_the_stream_either(
    start_simulator: StartSimulator, variant: str
) -> None:
    sim = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True, no_limits=True)
    slot_ms = NOW_MS - NOW_MS % 300_000
    async with subscribed(sim, "btcusdt@kline_5m") as socket:
        event = {"exchange": "binance", "symbol": "BTCUSDT", "times": [slot_ms]}
        await fault(sim, "impossible", variant=variant, **event)
        await moved(sim, pass_ms=200_000)
        (closing,) = [m["data"]["k"] for m in await socket.all() if m["data"]["k"]["x"]]
        (row,) = await got(
            sim, "/fapi/v1/klines", symbol="BTCUSDT", interval="5m", startTime=slot_ms,
            endTime=slot_ms,
        )  # fmt: skip
    found = [Decimal(closing[field]) for field in ("o", "h", "l", "c", "v")]
    assert found == [Decimal(value) for value in row[1:6]]
    assert found[1] <= found[2]


async def test_a_book_can_be_kept_at_any_speed(sim: Simulator) -> None:
    """Minutes of the exchange in a few seconds: from any book of REST on the rule holds, and leads
    to the same book."""
    async with connected(sim, f"/public/stream?streams={DEPTH}") as socket:
        await moved(sim, frozen=False, speed=60)
        events = [(await socket.receive())["data"]]
        begun = []
        for _ in range(4):
            begun.append(await got(sim, "/fapi/v1/depth", symbol="BTCUSDT", limit=1000))
            while events[-1]["u"] < begun[-1]["lastUpdateId"]:
                events.append((await socket.receive())["data"])
        now_ms = await moved(sim, frozen=True, speed=1)
        await moved(sim, now_ms=now_ms - now_ms % 1000 + 30_000)  # then an event is due
        events += [message["data"] for message in await socket.all()]
        now = await got(sim, "/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
    for rest in begun:
        kept = [event for event in events if event["u"] >= rest["lastUpdateId"]]
        assert kept[0]["U"] <= rest["lastUpdateId"] <= kept[0]["u"]
        assert all(after["pu"] == before["u"] for before, after in itertools.pairwise(kept))
        book = {side: dict(rest[side]) for side in ("bids", "asks")}
        for event in kept:
            applied(book, event)
        assert book == {side: dict(now[side]) for side in ("bids", "asks")}
