"""Connections: limits, pings, lives, slow readers, and what is counted of them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator
from tests.simulator.streams.sockets import BYBIT, connected, got, moved, subscribed

KLINE = "btcusdt@kline_1m"
PATH = "/market/ws"
PING = aiohttp.WSMsgType.PING


@pytest.fixture(scope="module")
def _limited() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 3, "bybit": 3, "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
def limited(_limited: Simulator) -> Simulator:
    """Three markets on each exchange, with their limits."""
    _limited.post("/sim/limits/reset")
    _limited.post("/sim/stats/reset")
    return _limited


async def test_more_than_ten_messages_in_a_second_close_with_1008(limited: Simulator) -> None:
    async with connected(limited, PATH) as socket:
        for number in range(10):
            await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
        assert [(await socket.receive())["id"] for _ in range(10)] == list(range(10))
        await moved(limited, pass_ms=1_000)
        await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 10})
        assert limited.stats()["limits_broken"] == {}
        for number in range(10):
            await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
        assert await socket.closed() == 1008
        stats = limited.stats()
        assert stats["limits_broken"] == {"binance stream messages": 1}
        assert stats["streams"]["binance"]["most_messages_in"] == 11
        await until(lambda: closed(limited, "1008"))


async def closed(sim: Simulator, how: str) -> bool:
    """Whether the simulator has counted a connection as ended so."""
    counts: dict[str, Any] = (await got(sim, "/sim/stats"))["streams"]["binance"]
    return bool(counts["open"] == 0 and counts["closed"] == {how: 1})


async def test_pings_of_a_client_are_answered_and_count_as_messages(limited: Simulator) -> None:
    async with connected(limited, PATH, autoping=False) as socket:
        await socket.connection.ping(b"hello")
        answer = await socket.raw()
        assert (answer.type, answer.data) == (aiohttp.WSMsgType.PONG, b"hello")
        for _ in range(10):
            await socket.connection.ping()
        assert await socket.closed() == 1008


async def test_300_new_connections_in_five_minutes(limited: Simulator) -> None:
    url = limited.base_url.replace("http", "ws") + PATH
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            await (await session.ws_connect(url)).close()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
        assert refused.value.status == 429
        assert limited.stats()["limits_broken"] == {"binance stream connects": 1}
        # Another client is not concerned, and after five minutes this one neither.
        other = {"X-Sim-Client": "another"}
        await (await session.ws_connect(url, headers=other)).close()
        await moved(limited, pass_ms=300_000)
        await (await session.ws_connect(url)).close()
    counts = limited.stats()["streams"]["binance"]
    assert (counts["connected"], counts["refused"]) == (302, 1)


async def test_binance_pings_every_three_minutes_and_wants_its_payload_back(
    sim: Simulator,
) -> None:
    async with (
        connected(sim, PATH, autoping=False) as mute,
        connected(sim, PATH, autoping=False) as wrong,
        connected(sim, PATH) as healthy,
    ):
        for _ in range(3):
            await moved(sim, pass_ms=181_000)
            for socket in (mute, wrong):
                ping = await socket.raw()
                assert ping.type is PING
                assert ping.data
            await wrong.connection.pong(b"not that")
            await healthy.all()  # its library has answered
        await moved(sim, pass_ms=61_000)
        for _ in range(4):
            await moved(sim, pass_ms=60_000)
            await healthy.all()
        for socket in (mute, wrong):
            assert await socket.closed() == 1008
        assert (await healthy.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}))["id"] == 1


async def test_a_life_ends_after_24_hours_or_as_it_is_set(sim: Simulator) -> None:
    async with connected(sim, PATH) as socket:
        for _ in range(23):
            await moved(sim, pass_ms=3_600_000)
            await socket.all()
        await moved(sim, pass_ms=3_599_000)
        await socket.all()
        await moved(sim, pass_ms=2_000)
        assert await socket.closed() == 1001
    sim.post("/sim/streams", {"life_s": {"binance": 60}})
    async with connected(sim, PATH) as socket, connected(sim, BYBIT) as endless:
        await moved(sim, pass_ms=59_000)
        await socket.all()
        await moved(sim, pass_ms=2_000)
        assert await socket.closed() == 1001
        assert (await endless.ask({"op": "ping"}))["success"]


async def test_a_reader_that_is_too_slow_is_closed(sim: Simulator) -> None:
    sim.post("/sim/streams", {"buffer_bytes": 50_000, "storm_per_s": 50_000})
    reader, writer = await asyncio.open_connection(*host_of(sim))
    try:
        writer.write(handshake(f"/market/stream?streams={KLINE}"))
        assert b"101" in await reader.readline()

        async def counted() -> Any:
            stats = await got(sim, "/sim/stats")
            return stats["limits_broken"].get("binance stream too slow")

        await until(counted)
        assert await counted() == 1
    finally:
        writer.close()


async def test_who_goes_is_forgotten(sim: Simulator) -> None:
    async with subscribed(sim, KLINE, "ethusdt@kline_1m"), connected(sim, BYBIT):
        counts = sim.stats()["streams"]
        assert (counts["binance"]["open"], counts["binance"]["streams"]) == (1, 2)
        listed = (await got(sim, "/sim/streams"))["connections"]
        assert [(c["exchange"], c["path"], c["streams"]) for c in listed] == [
            ("binance", "/market/stream", 2), ("bybit", BYBIT, 0),
        ]  # fmt: skip
    await until(lambda: closed(sim, "client"))
    counts = sim.stats()["streams"]["binance"]
    assert (counts["streams"], counts["messages_in"], counts["messages_out"]) == (0, 1, 1)
    assert (await got(sim, "/sim/streams"))["connections"] == []


async def test_a_storm_sends_so_many_candles_a_second(sim: Simulator) -> None:
    """The present state of the subscribed streams in turn, while the time stands still."""
    names = [f"{symbol}@kline_5m" for symbol in ("btcusdt", "ethusdt", "solusdt")]
    async with subscribed(sim, *names) as socket:
        sim.post("/sim/streams", {"storm_per_s": 3_000})
        started = asyncio.get_running_loop().time()
        found = [await socket.receive() for _ in range(3_900)]
        took_s = asyncio.get_running_loop().time() - started
        sim.post("/sim/streams", {"storm_per_s": 0})
        # One second's messages, no more, may be sent at once.
        assert took_s > 0.29
        by_stream = [sum(m["stream"] == name for m in found) for name in names]
        assert max(by_stream) - min(by_stream) <= 1
        (row,) = await got(sim, "/fapi/v1/klines", symbol="ETHUSDT", interval="5m", limit=1)
        for message in found:
            k = message["data"]["k"]
            assert not k["x"]
            if k["s"] == "ETHUSDT":
                assert [k["o"], k["h"], k["l"], k["c"], k["v"]] == row[1:6]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "must be a JSON object"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"storm_per_s": -1}, "storm_per_s: must be a number"),
        ({"life_s": {"nobody": 1}}, "life_s: no exchange 'nobody'"),
        ({"life_s": 5}, "life_s: must be an object"),
        ({"silent_closings": {"binance": 1}}, "silent_closings: must be true or false"),
    ],
)
def test_wrong_settings_are_refused_whole(sim: Simulator, body: Any, problem: str) -> None:
    before = sim.get("/sim/streams")
    status, _, answer = sim.full("POST", "/sim/streams", json_body=body)
    assert status == 400
    assert problem in answer.decode()
    assert sim.get("/sim/streams") == before


def host_of(sim: Simulator) -> tuple[str, int]:
    host, _, port = sim.base_url.removeprefix("http://").partition(":")
    return host, int(port)


def handshake(path: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1", "Host: simulator", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode()
