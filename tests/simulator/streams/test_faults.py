"""Every kind of fault of streams does to a real client what it says."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.fixtures.simulator import NOW_MS, Simulator
from tests.simulator.streams.sockets import (
    BYBIT,
    connected,
    fault,
    got,
    moved,
    subscribed,
)

BTC, ETH = "btcusdt@kline_1m", "ethusdt@kline_1m"
MINUTE_MS = 60_000


async def messages(sim: Simulator, *streams: str, minutes: int = 3) -> list[Any]:
    async with subscribed(sim, *streams) as socket:
        for _ in range(minutes * 4):
            await moved(sim, pass_ms=15_000)
        return await socket.all()


def closings(found: list[Any], stream: str) -> list[Any]:
    return [m["data"] for m in found if m.get("stream") == stream and m["data"]["k"]["x"]]


async def test_a_closing_is_lost(sim: Simulator) -> None:
    await fault(sim, "stream_lose_closing", exchange="binance", symbol="BTCUSDT", after=1, count=1)
    found = await messages(sim, BTC, ETH)
    first = NOW_MS - NOW_MS % MINUTE_MS
    assert [e["k"]["t"] for e in closings(found, BTC)] == [first, first + 2 * MINUTE_MS]
    assert len(closings(found, ETH)) == 3
    assert sim.stats()["faults"] == {"stream_lose_closing": 1}


async def test_a_closing_comes_late(sim: Simulator) -> None:
    whole = await messages(sim, BTC)
    await moved(sim, now_ms=NOW_MS)
    await fault(sim, "stream_delay_closing", stream=BTC, seconds=30, count=1)
    async with subscribed(sim, BTC) as socket:
        first = closings(whole, BTC)[0]
        await moved(sim, now_ms=first["E"] + 29_000)
        assert closings(await socket.all(), BTC) == []
        await moved(sim, pass_ms=1_000)
        assert closings(await socket.all(), BTC) == [first]


async def test_a_closing_has_other_numbers_than_rest(sim: Simulator) -> None:
    await fault(sim, "stream_wrong_closing", stream=BTC, count=1)
    await fault(sim, "stream_wrong_closing", stream="kline.1.BTCUSDT", count=1)
    found = closings(await messages(sim, BTC), BTC)
    rest = await got(
        sim, "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", startTime=found[0]["k"]["t"],
        limit=len(found),
    )  # fmt: skip
    fields = ("o", "h", "l", "c", "v")
    same = [
        [e["k"][f] for f in fields] == row[1:6] for e, row in zip(found, rest, strict=True)
    ]  # fmt: skip
    assert same == [False, True, True]
    assert float(found[0]["k"]["l"]) <= float(found[0]["k"]["c"]) <= float(found[0]["k"]["h"])
    await moved(sim, now_ms=NOW_MS)
    bybit = await messages(sim, "kline.1.BTCUSDT", minutes=1)
    (element,) = [e for m in bybit for e in m["data"] if e["confirm"]]
    rest = await got(
        sim, "/v5/market/kline", category="linear", symbol="BTCUSDT", interval="1",
        start=element["start"], end=element["start"],
    )  # fmt: skip
    assert rest["result"]["list"][0][5] != element["volume"]


async def test_after_a_wrong_closing_may_come_the_right_one(sim: Simulator) -> None:
    true = closings(await messages(sim, BTC), BTC)
    await moved(sim, now_ms=NOW_MS)
    await fault(sim, "stream_wrong_closing", stream=BTC, count=1, variant="then_right", seconds=3)
    wrong, *rest = closings(await messages(sim, BTC), BTC)
    assert rest == true
    assert wrong["k"]["t"] == true[0]["k"]["t"]
    assert wrong["k"]["v"] != true[0]["k"]["v"]
    status, _, answer = sim.full(
        "POST", "/sim/faults", json_body={"kind": "stream_wrong_closing", "variant": "never"}
    )
    assert status == 400
    assert b"then_right" in answer


async def test_messages_come_twice_and_out_of_order(sim: Simulator) -> None:
    whole = await messages(sim, BTC)
    await moved(sim, now_ms=NOW_MS)
    await fault(sim, "stream_duplicate", stream=BTC, after=2, count=1)
    twice = await messages(sim, BTC)
    assert twice == [*whole[:3], whole[2], *whole[3:]]
    sim.delete("/sim/faults")
    await moved(sim, now_ms=NOW_MS)
    await fault(sim, "stream_reorder", stream=BTC, after=2, count=1)
    swapped = await messages(sim, BTC)
    assert swapped == [*whole[:2], whole[3], whole[2], *whole[4:]]
    sim.delete("/sim/faults")
    await moved(sim, now_ms=NOW_MS)
    await fault(sim, "stream_lose", stream=BTC, after=2, count=1)
    assert await messages(sim, BTC) == [*whole[:2], *whole[3:]]


async def test_text_that_is_no_json_and_a_giant_frame(sim: Simulator) -> None:
    await fault(sim, "stream_garbage", stream=BTC, count=1)
    await fault(sim, "stream_giant", stream=ETH, count=1)
    async with connected(sim, f"/market/stream?streams={BTC}", max_msg_size=0) as socket:
        await moved(sim, pass_ms=5_000)
        with pytest.raises(ValueError, match=r"line 1"):
            await socket.receive()
        assert (await socket.receive())["stream"] == BTC
        await socket.send({"method": "SUBSCRIBE", "params": [ETH], "id": 1})
        await socket.until(lambda one: one.get("id") == 1)
        await moved(sim, pass_ms=5_000)
        texts = [await socket.text(), await socket.text(), await socket.text()]
        assert 25_000_000 in [len(text) for text in texts]
    async with connected(sim, f"/market/stream?streams={ETH}") as usual:
        await fault(sim, "stream_giant", stream=ETH, count=1)
        await moved(sim, pass_ms=5_000)
        message = await usual.raw()  # the limit of its library is 4 MB
        assert message.type in (aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED)


async def test_a_subscription_is_acknowledged_and_stays_silent(sim: Simulator) -> None:
    await fault(sim, "stream_mute", exchange="binance", stream=BTC, count=1)
    async with subscribed(sim, BTC, ETH) as socket:
        await moved(sim, pass_ms=90_000)
        assert {m["stream"] for m in await socket.all()} == {ETH}
        listed = await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert listed["result"] == [BTC, ETH]
    async with subscribed(sim, BTC) as socket:
        await moved(sim, pass_ms=90_000)
        assert await socket.all()


async def test_connections_are_cut_and_closed(sim: Simulator) -> None:
    async with subscribed(sim, BTC) as one, subscribed(sim, ETH) as other:
        await fault(sim, "stream_cut", exchange="binance", symbol="ETHUSDT", count=1)
        await moved(sim, pass_ms=1_000)
        assert await other.closed() == 1006
        await one.all()
        await fault(sim, "stream_close", exchange="binance", status=1012, text="restart", count=1)
        await moved(sim, pass_ms=1_000)
        assert await one.closed() == 1012
    async with connected(sim, BYBIT) as socket:
        await moved(sim, pass_ms=5_000)
        assert (await socket.ask({"op": "ping"}))["success"], "another exchange is not meant"


async def test_a_connection_stalls_and_goes_on(sim: Simulator) -> None:
    async with subscribed(sim, BTC) as socket, subscribed(sim, BTC) as other:
        client = {"exchange": "binance", "seconds": 75, "count": 1}
        await fault(sim, "stream_stall", **client)
        await moved(sim, pass_ms=1_000)
        await moved(sim, pass_ms=30_000)
        whole = await other.all()
        await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": 5})
        await socket.connection.ping(b"alive")  # control frames are answered all the same
        await moved(sim, pass_ms=30_000)
        later = await other.all()
        await moved(sim, pass_ms=90_000)
        ours, theirs = await socket.all(), await other.all()
    assert whole
    assert later
    assert ours == theirs, "what came in the meantime is lost"
    assert theirs


async def test_websockets_are_refused(sim: Simulator) -> None:
    for status in (403, 503):
        await fault(sim, "stream_refuse", exchange="binance", status=status, count=1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(sim):
                pass
        assert refused.value.status == status
    async with connected(sim), connected(sim, BYBIT):
        pass
    assert sim.stats()["faults"] == {"stream_refuse": 2}


async def test_a_life_is_shortened(sim: Simulator) -> None:
    await fault(sim, "stream_life", exchange="binance", seconds=120, count=1)
    async with connected(sim) as short, connected(sim) as usual:
        await moved(sim, pass_ms=119_000)
        await short.all()
        await moved(sim, pass_ms=2_000)
        assert await short.closed() == 1001
        await usual.all()


async def test_messages_go_on_after_an_unsubscription(sim: Simulator) -> None:
    await fault(sim, "stream_after_unsubscribe", stream=BTC, seconds=10)
    async with subscribed(sim, BTC, ETH) as socket:
        await socket.ask({"method": "UNSUBSCRIBE", "params": [BTC, ETH], "id": 2})
        await moved(sim, pass_ms=5_000)
        assert {m["stream"] for m in await socket.all()} == {BTC}
        await moved(sim, pass_ms=6_000)
        await socket.all()
        await moved(sim, pass_ms=30_000)
        assert await socket.all() == []


async def test_rules_of_streams_and_of_requests_do_not_meet(sim: Simulator) -> None:
    await fault(sim, "stream_lose", exchange="binance")
    await fault(sim, "status", exchange="binance", status=500, endpoint="klines")
    status, _, _ = await asyncio.to_thread(
        sim.full, "GET", "/fapi/v1/klines?symbol=BTCUSDT&interval=5m"
    )
    assert status == 500
    assert await messages(sim, BTC) == []
    by_number = await got(sim, "/sim/faults")
    assert by_number[1]["used"] == 1
    assert by_number[0]["used"] > 5


def test_a_client_is_no_target_of_faults_of_messages(sim: Simulator) -> None:
    body = {"kind": "stream_duplicate", "client": "me"}
    status, _, answer = sim.full("POST", "/sim/faults", json_body=body)
    assert status == 400
    assert b"all subscribers alike" in answer
