"""Binance's addresses, routes and control messages answer as they are documented."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.fixtures.simulator import Simulator
from tests.simulator.streams.sockets import connected, is_data, moved

KLINE = "btcusdt@kline_1m"
BOOK = "btcusdt@bookTicker"


@pytest.mark.parametrize(
    ("path", "wrapped"),
    [
        (f"/market/ws/{KLINE}", False),
        (f"/market/stream?streams={KLINE}/ethusdt@kline_1m", True),
        (f"/public/ws/{BOOK}", False),
        (f"/public/stream?streams={BOOK}", True),
        (f"/ws/{BOOK}", False),
        (f"/stream?streams={BOOK}", True),
        ("/market/ws/%E9%BE%99%E8%99%BEusdt@kline_1m", False),
    ],
)
async def test_streams_may_be_named_by_the_address(
    sim: Simulator, path: str, wrapped: bool
) -> None:
    async with connected(sim, path) as socket:
        await moved(sim, pass_ms=5_000)
        found = await socket.all()
        assert found
        for message in found:
            assert ("stream" in message) is wrapped
            data = message["data"] if wrapped else message
            assert data["e"] in ("kline", "bookTicker")


@pytest.mark.parametrize(
    ("path", "streams"),
    [
        ("/public/ws", [KLINE, "btcusdt@aggTrade", "btcusdt@markPrice@1s", "!miniTicker@arr"]),
        ("/market/ws", [BOOK, "btcusdt@depth@100ms", "btcusdt@depth5", "!bookTicker"]),
        ("/ws", [KLINE, "btcusdt@aggTrade"]),
        ("/stream", [KLINE]),
        ("/market/ws", ["nobody@kline_1m", "nonsense", "BTCUSDT@kline_1m", "btcusdt@kline_7m"]),
        ("/market/ws", ["btcusdt@kline1m", "btcusdt@markPrice@2s", "btcusdt@forceOrder"]),
        ("/private/ws", [KLINE, BOOK]),
    ],
)
async def test_what_has_no_data_here_is_acknowledged_and_silent(
    sim: Simulator, path: str, streams: list[str]
) -> None:
    async with connected(sim, path) as socket:
        answer = await socket.ask({"method": "SUBSCRIBE", "params": streams, "id": 1})
        assert answer == {"result": None, "id": 1}
        listed = await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert listed == {"result": streams, "id": 2}
        await moved(sim, pass_ms=70_000)
        assert await socket.all() == []


async def test_unrouted_addresses_deliver_the_public_group_alone(sim: Simulator) -> None:
    async with connected(sim, "/stream") as socket:
        await socket.ask({"method": "SUBSCRIBE", "params": [KLINE, BOOK], "id": 1})
        await moved(sim, pass_ms=5_000)
        assert {message["stream"] for message in await socket.all()} == {BOOK}


async def test_subscriptions_change_while_the_connection_lives(sim: Simulator) -> None:
    async with connected(sim, "/market/ws") as socket:
        await socket.ask({"method": "SUBSCRIBE", "params": [KLINE, "ethusdt@kline_1m"], "id": 1})
        gone = await socket.ask({"method": "UNSUBSCRIBE", "params": ["ethusdt@kline_1m"], "id": 7})
        assert gone == {"result": None, "id": 7}
        assert (await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 3}))["result"] == [KLINE]
        assert (await socket.ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 4})) == {
            "result": False, "id": 4,
        }  # fmt: skip
        wrap = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}
        assert await socket.ask(wrap) == {"result": None, "id": 5}
        await moved(sim, pass_ms=5_000)
        found = await socket.all()
        assert {message["stream"] for message in found} == {KLINE}
        await socket.ask({"method": "SET_PROPERTY", "params": ["combined", False], "id": 6})
        await moved(sim, pass_ms=5_000)
        assert {message["s"] for message in await socket.all()} == {"BTCUSDT"}
        # Once more is no error, and no second message of it comes.
        await socket.ask({"method": "SUBSCRIBE", "params": [KLINE, KLINE], "id": 8})
        await moved(sim, pass_ms=250)
        assert len(await socket.all()) <= 1
        assert sim.stats()["streams"]["binance"]["streams"] == 1


@pytest.mark.parametrize(
    ("sent", "code", "text", "answered_id"),
    [
        ({"method": "NOT_A_METHOD", "params": [], "id": 2}, 2,
         "Invalid request: unknown variant `NOT_A_METHOD`", 2),
        ({"method": "SET_PROPERTY", "params": ["colour", True], "id": 9}, 0,
         "Unknown property", 9),
        ({"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 9}, 1,
         "Invalid value type: expected Boolean", 9),
        ("{nonsense", 3, "Invalid JSON", None),
        ({"method": "SUBSCRIBE", "params": [KLINE], "id": "seven"}, 2, "Invalid request", None),
        ({"method": "SUBSCRIBE", "params": KLINE, "id": 3}, 2, "Invalid request", 3),
        ({"method": "SUBSCRIBE", "params": [5], "id": 3}, 1, "Invalid value type", 3),
        ([], 2, "Invalid request", None),
    ],
)  # fmt: skip
async def test_errors_are_wrapped_with_code_and_text(
    sim: Simulator, sent: object, code: int, text: str, answered_id: int | None
) -> None:
    async with connected(sim) as socket:
        await socket.send(sent)
        answer = await socket.receive()
        assert answer["error"]["code"] == code
        assert answer["error"]["msg"].startswith(text)
        assert answer["id"] == answered_id
        assert (await socket.ask({"method": "LIST_SUBSCRIPTIONS", "id": 4}))["result"] == []


async def test_1024_streams_a_connection(sim: Simulator) -> None:
    async with connected(sim, "/market/ws") as socket:
        names = [f"coin{number}usdt@kline_1m" for number in range(1024)]
        for start in range(0, 1024, 128):
            part = names[start : start + 128]
            answer = await socket.ask({"method": "SUBSCRIBE", "params": part, "id": start})
            assert answer["result"] is None
        over = await socket.ask({"method": "SUBSCRIBE", "params": [KLINE], "id": 1})
        assert over == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 1}
        # One that is subscribed already is not one more.
        again = await socket.ask({"method": "SUBSCRIBE", "params": names[:1], "id": 2})
        assert again == {"result": None, "id": 2}
        assert sim.stats()["limits_broken"] == {"binance stream streams": 1}


async def test_a_request_of_more_than_4096_bytes_closes_with_3001(sim: Simulator) -> None:
    async with connected(sim, "/market/ws") as socket:
        head = {"method": "SUBSCRIBE", "params": [""], "id": 1}
        head["params"] = ["x" * (4096 - len(json.dumps(head)))]
        assert await socket.ask(head) == {"result": None, "id": 1}
        await socket.send({**head, "params": ["x" * len(head["params"][0]) + "y"]})  # type: ignore[index]
        assert await socket.closed() == 3001
        assert sim.stats()["limits_broken"] == {"binance stream frame size": 1}


async def test_wrong_addresses_are_no_websockets(sim: Simulator) -> None:
    base = sim.base_url.replace("http", "ws")
    async with aiohttp.ClientSession() as session:
        for path in ("/market/nonsense", "/market/", "/v5/public/spot"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(base + path)
            assert refused.value.status == 404
    status, _, _ = await asyncio.to_thread(sim.full, "GET", "/market/ws")
    assert status == 404
    assert sim.stats()["streams"]["binance"]["refused"] == 2


async def test_several_connections_get_the_same_messages(sim: Simulator) -> None:
    async with connected(sim, f"/market/ws/{KLINE}") as raw:
        async with connected(sim, f"/market/stream?streams={KLINE}") as wrapped:
            await moved(sim, pass_ms=90_000)
            plain, enveloped = await raw.all(), await wrapped.all()
            assert [message["data"] for message in enveloped] == plain
            assert plain
            counts: dict[str, Any] = sim.stats()["streams"]["binance"]
            assert (counts["open"], counts["streams"]) == (2, 2)
        assert is_data(plain[0])
