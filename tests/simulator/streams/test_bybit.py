"""Bybit's WebSocket: control messages as documented, tickers, trades and books that agree."""

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.streams.sockets import BYBIT, connected, fault, got, moved, subscribed

ROUND_MS = NOW_MS - NOW_MS % 1000


def request(*topics: str, op: str = "subscribe", number: str = "1") -> dict[str, Any]:
    return {"req_id": number, "op": op, "args": list(topics)}


async def test_answers_have_the_documented_fields(sim: Simulator) -> None:
    async with connected(sim, BYBIT) as socket:
        done = await socket.ask(request("kline.5.BTCUSDT"))
        conn_id = done["conn_id"]
        assert done == {
            "success": True, "ret_msg": "", "conn_id": conn_id, "req_id": "1", "op": "subscribe",
        }  # fmt: skip
        assert conn_id
        gone = await socket.ask(request("kline.5.BTCUSDT", op="unsubscribe", number="2"))
        assert gone == {
            "success": True, "ret_msg": "", "conn_id": conn_id, "req_id": "2", "op": "unsubscribe",
        }  # fmt: skip
        pong = await socket.ask({"req_id": "p1", "op": "ping"})
        assert pong == {
            "success": True, "ret_msg": "pong", "conn_id": conn_id, "req_id": "p1", "op": "ping",
        }  # fmt: skip
        await moved(sim, pass_ms=5_000)
        assert await socket.all() == []


@pytest.mark.parametrize(
    "topic",
    [
        "liquidations:BTCUSDT", "kline.5.NOPEUSDT", "kline.7.BTCUSDT", "orderbook.500.BTCUSDT",
        "tickers", "kline.BTCUSDT", "tickers.5.BTCUSDT", "",
    ],
)  # fmt: skip
async def test_one_bad_topic_fails_the_whole_batch(sim: Simulator, topic: str) -> None:
    async with connected(sim, BYBIT) as socket:
        answer = await socket.ask(request("publicTrade.BTCUSDT", topic))
        assert not answer["success"]
        assert answer["ret_msg"] == f"error:handler not found,topic:{topic}"
        await moved(sim, pass_ms=10_000)
        assert await socket.all() == []
        # One by one the good ones are taken.
        assert (await socket.ask(request("publicTrade.BTCUSDT")))["success"]


async def test_a_repeated_topic_fails_the_whole_batch(sim: Simulator) -> None:
    async with connected(sim, BYBIT) as socket:
        assert (await socket.ask(request("publicTrade.BTCUSDT")))["success"]
        answer = await socket.ask(request("publicTrade.BTCUSDT", "publicTrade.ETHUSDT", number="2"))
        assert (answer["success"], answer["ret_msg"], answer["req_id"]) == (
            False, "error:already subscribed,topic:publicTrade.BTCUSDT", "2",
        )  # fmt: skip
        await moved(sim, pass_ms=10_000)
        assert {m["topic"] for m in await socket.all()} == {"publicTrade.BTCUSDT"}
        twice = await socket.ask(request("tickers.ETHUSDT", "tickers.ETHUSDT"))
        assert twice["ret_msg"] == "error:already subscribed,topic:tickers.ETHUSDT"


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"op":"dance"}', '{"op":"subscribe"}'])
async def test_nonsense_is_answered(sim: Simulator, text: str) -> None:
    async with connected(sim, BYBIT) as socket:
        await socket.send(text)
        answer = await socket.receive()
        assert not answer["success"]
        assert answer["ret_msg"].startswith("error:")


async def test_topics_of_a_connection_have_21000_characters_together(
    start_simulator: StartSimulator,
) -> None:
    sim = start_simulator(binance=0, bybit=70, now=NOW_MS, frozen=True)
    listed = await got(sim, "/sim/markets", exchange="bybit")
    symbols = [m["symbol"] for m in listed["markets"] if m["status"] == "Trading"]
    kinds = [f"kline.{i}." for i in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, "D")]
    kinds += ["tickers.", "publicTrade.", "allLiquidation.", "orderbook.1.", "orderbook.1000."]
    topics = [kind + symbol for symbol in symbols for kind in kinds]
    lengths = list(itertools.accumulate(map(len, topics)))
    most = sum(length <= 21_000 for length in lengths)
    assert most < len(topics)
    await fault(sim, "stream_mute")  # acknowledged and counted is enough here
    async with connected(sim, BYBIT) as socket:
        for start in range(0, most, 100):
            part = topics[start : min(start + 100, most)]
            assert (await socket.ask(request(*part)))["success"]
        assert not (await socket.ask(request(topics[most])))["success"]
        await socket.ask(request(*topics[:2], op="unsubscribe"))
        assert (await socket.ask(request(topics[most])))["success"]
    assert sim.stats()["limits_broken"] == {"bybit stream args": 1}


async def test_a_ticker_is_a_snapshot_and_then_what_changes(sim: Simulator) -> None:
    topic = "tickers.BTCUSDT"
    async with subscribed(sim, topic) as socket:
        state: dict[str, Any] = {}
        deltas = []
        for step in [0, 350, 5_000, 60_000, 60_000, 5_000]:
            await moved(sim, pass_ms=step)
            for message in await socket.all():
                assert message["topic"] == topic
                if message["type"] == "snapshot":
                    assert not state
                    state = dict(message["data"])
                else:
                    changed = {
                        n: v for n, v in message["data"].items() if n == "symbol" or state[n] != v
                    }
                    assert changed == message["data"], "only what has changed"
                    deltas.append(message)
                    state |= changed
                assert all(isinstance(value, str) for value in message["data"].values())
                last = message
            assert Decimal(state["bid1Price"]) < Decimal(state["ask1Price"])
            assert state["lastPrice"] in (state["bid1Price"], state["ask1Price"])
        assert len(deltas) >= 4
        assert min(len(message["data"]) for message in deltas) < 15
        numbers = [message["cs"] for message in deltas]
        assert numbers == sorted(set(numbers))
        # A second subscriber gets a snapshot of what the first one knows.
        async with subscribed(sim, topic) as other:
            (snapshot,) = await other.all()
            assert snapshot["data"] == state
        await moved(sim, now_ms=last["ts"])
        rest = await got(sim, "/v5/market/tickers", category="linear", symbol="BTCUSDT")
        wanted = rest["result"]["list"][0]
        own = {"bid1Price", "bid1Size", "ask1Price", "ask1Size", "tickDirection"}
        assert {n: v for n, v in state.items() if n not in own} == {
            n: wanted[n] for n in state.keys() - own
        }


async def test_trades_add_up_to_the_candle(sim: Simulator) -> None:
    minute_ms = NOW_MS - NOW_MS % 60_000 + 60_000
    await moved(sim, now_ms=minute_ms - 1)
    trades: list[Any] = []
    async with subscribed(sim, "publicTrade.ETHUSDT") as socket:
        for step in [1_500] * 41:
            await moved(sim, pass_ms=step)
            for message in await socket.all():
                assert (message["topic"], message["type"]) == ("publicTrade.ETHUSDT", "snapshot")
                assert all(trade["T"] <= message["ts"] for trade in message["data"])
                trades += message["data"]
    trades = [trade for trade in trades if trade["T"] < minute_ms + 60_000]
    rest = await got(
        sim, "/v5/market/kline", category="linear", symbol="ETHUSDT", interval="1",
        start=minute_ms, end=minute_ms,
    )  # fmt: skip
    ((_, _, high, low, close, volume, _),) = rest["result"]["list"]
    assert sum(Decimal(trade["v"]) for trade in trades) == Decimal(volume)
    assert trades[-1]["p"] == close
    prices = [Decimal(trade["p"]) for trade in trades]
    assert Decimal(low) <= min(prices) <= max(prices) <= Decimal(high)
    assert len({trade["i"] for trade in trades}) == len(trades)
    assert {trade["S"] for trade in trades} == {"Buy", "Sell"}
    for before, after in itertools.pairwise(trades):
        assert before["T"] <= after["T"]
        assert before["seq"] < after["seq"]
        signs = {1: "PlusTick", -1: "MinusTick"}
        change = Decimal(after["p"]).compare(Decimal(before["p"]))
        assert after["L"] == signs.get(int(change), after["L"])
        assert change or after["L"].startswith("Zero")


@pytest.mark.parametrize("depth", [1, 50, 200, 1000])
async def test_a_book_is_a_snapshot_and_numbered_changes(sim: Simulator, depth: int) -> None:
    topic = f"orderbook.{depth}.BTCUSDT"
    await moved(sim, now_ms=ROUND_MS)
    books: list[dict[str, dict[str, str]]] = []
    async with subscribed(sim, topic) as socket:
        book: dict[str, dict[str, str]] = {}
        last_u, seen = 0, 0
        for step in [0, *[400] * 15]:
            await moved(sim, pass_ms=step)
            for message in await socket.all():
                data = message["data"]
                assert (message["topic"], data["s"]) == (topic, "BTCUSDT")
                assert message["cts"] <= message["ts"]
                if message["type"] == "snapshot":
                    assert not book or depth == 1
                    book = {side: dict(data[side]) for side in "ba"}
                    assert not last_u or data["u"] in (last_u, last_u + 1)
                else:
                    assert data["u"] == last_u + 1
                    for side in "ba":
                        for price, size in data[side]:
                            if size == "0":
                                del book[side][price]
                            else:
                                book[side][price] = size
                last_u, seen = data["u"], seen + 1
            books.append(book)
            assert max(map(Decimal, book["b"])) < min(map(Decimal, book["a"]))
            assert all(len(side) == depth or depth == 1000 for side in book.values())
        assert seen > 5
        async with subscribed(sim, topic) as other:
            (snapshot,) = await other.all()
    assert snapshot["data"]["u"] == last_u
    assert {side: dict(snapshot["data"][side]) for side in "ba"} == book


async def test_the_best_level_is_repeated_when_nothing_changes(sim: Simulator) -> None:
    async with subscribed(sim, "orderbook.1.1000TURBOUSDT") as socket:
        found = []
        for _ in range(300):
            await moved(sim, pass_ms=1_000)
            found += await socket.all()
    assert {message["type"] for message in found} == {"snapshot"}
    repeated = [
        after["ts"] - before["ts"]
        for before, after in itertools.pairwise(found)
        if before["data"]["u"] == after["data"]["u"]
    ]
    assert repeated
    assert all(3_000 <= after <= 4_000 for after in repeated)


async def test_a_gap_shows_in_u(sim: Simulator) -> None:
    await fault(sim, "stream_gap", stream="orderbook.50.BTCUSDT", after=4, count=2)
    async with subscribed(sim, "orderbook.50.BTCUSDT") as socket:
        for _ in range(20):
            await moved(sim, pass_ms=200)
        numbers = [message["data"]["u"] for message in await socket.all()]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    assert sorted(steps)[-2:] == [1, 3]


async def test_a_connection_without_ping_and_data_is_cut_after_ten_minutes(sim: Simulator) -> None:
    async with connected(sim, BYBIT) as idle, connected(sim, BYBIT) as awake:
        await moved(sim, pass_ms=599_000)
        await awake.ask({"op": "ping"})
        for _ in range(2):
            await moved(sim, pass_ms=1_000)
        assert await idle.closed() == 1000
        assert (await awake.ask({"op": "ping"}))["ret_msg"] == "pong"
    assert json.loads(sim.full("GET", "/sim/stats")[2])["streams"]["bybit"]["connected"] == 2
