"""What OKX's channels push: candles as REST has them, trades, prices, funding, listings."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.okx.rest import candles, data
from tests.simulator.okx.sockets import BUSINESS, Socket, argument, connected

SWAP = "BTC-USDT-SWAP"
QUIET = "BNB-USDT-SWAP"  # nine of ten 5-minute candles have no trade
CLOSE_MS = NOW_MS - NOW_MS % 300_000 + 300_000


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator(
        {"binance": 0, "bybit": 0, "okx": 12, "now": NOW_MS, "frozen": True, "no_limits": True}
    )
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    """Twelve swaps and their spot markets at NOW_MS, without faults of earlier tests."""
    _shared.post("/sim/clock", {"now_ms": NOW_MS})
    yield _shared
    _shared.delete("/sim/faults")
    _shared.post("/sim/streams", {"silent_closings": {"okx": False}, "closing_delay_s": {}})


def move(sim: Simulator, milliseconds: int) -> None:
    sim.post("/sim/clock", {"advance_ms": milliseconds})


async def so_far(socket: Socket) -> list[Any]:
    """All messages that were sent before now."""
    await socket.send("ping")
    (*found, _) = await socket.until(lambda message: message == "pong")
    return found


def row_of(message: Any) -> list[str]:
    (row,) = message["data"]
    assert set(message) == {"arg", "data"}
    return list(row)


@pytest.mark.parametrize("bar", ["1m", "5m", "4H", "6Hutc", "6H", "12H", "1D", "1Dutc"])
@pytest.mark.parametrize("symbol", [SWAP, "BTC-USDT"])
async def test_forming_candles_equal_rest(sim: Simulator, bar: str, symbol: str) -> None:
    async with connected(sim, BUSINESS) as socket:
        await socket.subscribe(argument(f"candle{bar}", symbol))
        pushed = 0
        for step in (1_000, 1_000, 7_000, 20_000):
            move(sim, step)
            messages = await so_far(socket)
            if messages:
                pushed += 1
                assert messages[-1]["arg"] == argument(f"candle{bar}", symbol)
                rest = candles(sim, symbol, bar, limit=1)[0]
                assert row_of(messages[-1]) == rest
                assert rest[8] == "0"
        assert pushed >= 2


@pytest.mark.parametrize("bar", ["1m", "5m", "15m"])
async def test_closing_candles_equal_rest(sim: Simulator, bar: str) -> None:
    sim.post("/sim/clock", {"now_ms": NOW_MS - NOW_MS % 900_000 + 900_000 - 500})
    async with connected(sim, BUSINESS) as socket:
        await socket.subscribe(argument(f"candle{bar}"), argument(f"candle{bar}", "BTC-USDT"))
        move(sim, 499)
        before = await so_far(socket)
        assert all(row_of(message)[8] == "0" for message in before)
        move(sim, 1_001)  # a second after the close
        closed = {}
        for message in await so_far(socket):
            if row_of(message)[8] == "1":
                closed[message["arg"]["instId"]] = row_of(message)
        assert closed == {
            symbol: candles(sim, symbol, bar, limit=2)[1] for symbol in (SWAP, "BTC-USDT")
        }


async def test_each_candle_closes_once_and_nothing_comes_too_fast(sim: Simulator) -> None:
    sim.post("/sim/clock", {"now_ms": NOW_MS - NOW_MS % 300_000 + 200_000})
    async with connected(sim, BUSINESS) as socket:
        await socket.subscribe(argument("candle5m"))
        found: list[list[str]] = []
        for _ in range(420):  # over two closes
            move(sim, 1_000)
            arrived = [row_of(message) for message in await so_far(socket)]
            # One push a second at most; a closing and the next candle's first state may meet.
            assert len(arrived) <= 1 + any(row[8] == "1" for row in arrived)
            found += arrived
        closed = [row for row in found if row[8] == "1"]
        rest = {row[0]: row for row in candles(sim, SWAP, "5m", limit=10)}
        assert closed == [rest[row[0]] for row in closed]
        opens = [int(row[0]) for row in closed]
        assert opens == list(range(opens[0], opens[0] + 300_000 * len(opens), 300_000))
        assert len(closed) == 2
        # Volume never falls within a candle, and after the close nothing of it comes.
        for earlier, later in pairwise(found):
            if earlier[0] == later[0]:
                assert Decimal(later[5]) >= Decimal(earlier[5])
                assert earlier[8] == "0"
            else:
                assert int(later[0]) > int(earlier[0])
                assert earlier[8] == "1"


@pytest.mark.parametrize("closings", [False, True])
async def test_a_silent_candle(sim: Simulator, closings: bool) -> None:
    sim.post("/sim/streams", {"silent_closings": {"okx": closings}})
    history = candles(sim, QUIET, "5m", limit=300)
    silent = [int(row[0]) for row in history if row[5] == "0" and row[8] == "1"]
    busy = [int(row[0]) for row in history if row[5] != "0" and row[8] == "1"]
    start = next(time for time in silent if time + 300_000 in silent and time + 600_000 in busy)
    sim.post("/sim/clock", {"now_ms": start - 1_000})
    async with connected(sim, BUSINESS) as socket:
        await socket.subscribe(argument("candle5m", QUIET))
        move(sim, 3_000)
        await so_far(socket)  # perhaps the closing before
        closed = []
        for _ in range(3):
            move(sim, 300_000)
            closed += [row_of(message) for message in await so_far(socket)]
        closed = [row for row in closed if row[8] == "1"]
        wanted = [start, start + 300_000, start + 600_000] if closings else [start + 600_000]
        assert [int(row[0]) for row in closed] == wanted
        rest = {row[0]: row for row in candles(sim, QUIET, "5m", limit=10)}
        assert closed == [rest[row[0]] for row in closed]


async def test_faults_of_closings(sim: Simulator) -> None:
    async with connected(sim, BUSINESS) as socket:
        await socket.subscribe(argument("candle5m"))

        async def closing(rule: dict[str, object]) -> list[list[str]]:
            sim.post("/sim/clock", {"now_ms": CLOSE_MS - 1_000})
            await so_far(socket)
            sim.post("/sim/faults", {"exchange": "okx", "count": 1, **rule})
            move(sim, 2_000)
            rows = [row_of(message) for message in await so_far(socket)]
            sim.delete("/sim/faults")
            return [row for row in rows if row[8] == "1"]

        (rest,) = await closing({"kind": "stream_lose_closing", "stream": "candle5m:OTHER"})
        assert rest == candles(sim, SWAP, "5m", limit=2)[1]
        named = {"stream": f"candle5m:{SWAP}"}
        assert await closing({"kind": "stream_lose_closing", **named}) == []
        (wrong,) = await closing({"kind": "stream_wrong_closing", "symbol": SWAP})
        assert wrong[0] == rest[0]
        assert wrong != rest
        assert Decimal(wrong[5]) * Decimal("0.01") == Decimal(wrong[6])


@pytest.mark.parametrize(
    "channel, path, query, every_ms",
    [
        ("open-interest", "public/open-interest", {"instType": "SWAP", "instId": SWAP}, 3_000),
        ("funding-rate", "public/funding-rate", {"instId": SWAP}, 30_000),
        ("mark-price", "public/mark-price", {"instType": "SWAP", "instId": SWAP}, None),
        ("tickers", "market/tickers", {"instType": "SWAP"}, None),
    ],
)
async def test_states_equal_rest(
    sim: Simulator, channel: str, path: str, query: dict[str, str], every_ms: int | None
) -> None:
    def rest() -> dict[str, str]:
        (row,) = (row for row in data(sim, path, **query) if row["instId"] == SWAP)
        return dict(row)

    start_ms = NOW_MS - NOW_MS % 1_000  # what is regular comes at full seconds
    sim.post("/sim/clock", {"now_ms": start_ms})
    async with connected(sim) as socket:
        await socket.subscribe(argument(channel))
        (first,) = await so_far(socket)
        assert first == {"arg": argument(channel), "data": [rest()]}
        times = []
        for _ in range(45):
            move(sim, 1_000)
            for message in await so_far(socket):
                assert message["data"] == [rest()]
                times.append(int(message["data"][0]["ts"]))
        if every_ms is None:
            assert len(times) > 4
        else:
            due = [t for t in range(start_ms + 1_000, start_ms + 46_000, 1_000)
                   if t // every_ms > (t - 1_000) // every_ms]  # fmt: skip
            assert times == due


async def test_an_unchanged_mark_price_comes_every_10_seconds(sim: Simulator) -> None:
    history = candles(sim, QUIET, "5m", limit=300)
    silent = next(int(row[0]) for row in history if row[5] == "0" and row[8] == "1")
    sim.post("/sim/clock", {"now_ms": silent + 500})
    async with connected(sim) as socket:
        await socket.subscribe(argument("mark-price", QUIET))
        await so_far(socket)
        times = []
        for _ in range(100):
            move(sim, 1_000)
            times += [int(message["data"][0]["ts"]) for message in await so_far(socket)]
        assert times == [silent + 500 + 10_000 * index for index in range(1, 11)]


@pytest.mark.parametrize("symbol", [SWAP, "BTC-USDT"])
async def test_trades_make_the_candle(sim: Simulator, symbol: str) -> None:
    sim.post("/sim/clock", {"now_ms": CLOSE_MS - 300_000 - 1})
    async with connected(sim) as socket:
        await socket.subscribe(argument("trades", symbol))
        trades: list[dict[str, str]] = []
        for _ in range(30):
            move(sim, 10_000)
            for message in await so_far(socket):
                assert message["arg"] == argument("trades", symbol)
                trades += message["data"]
        mine = [t for t in trades if CLOSE_MS - 300_000 <= int(t["ts"]) < CLOSE_MS]
        move(sim, 10_000)
        candle = next(
            row for row in candles(sim, symbol, "5m", limit=3) if int(row[0]) == CLOSE_MS - 300_000
        )
        prices = [Decimal(trade["px"]) for trade in mine]
        assert (max(prices), min(prices)) <= (Decimal(candle[2]), Decimal(candle[1]))
        assert min(prices) >= Decimal(candle[3])
        assert prices[-1] == Decimal(candle[4])
        assert sum(Decimal(trade["sz"]) for trade in mine) == Decimal(candle[5])
        ids = [int(trade["tradeId"]) for trade in mine]
        assert ids == sorted(set(ids))
        assert {trade["side"] for trade in mine} <= {"buy", "sell"}


async def test_instruments_are_told_when_they_change(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=3, now=NOW_MS, frozen=True)
    listings = {"channel": "instruments", "instType": "SWAP"}
    async with connected(sim) as socket:
        sim.post("/sim/faults", {"kind": "list_new", "exchange": "okx", "symbol": "EARLY"})
        await socket.subscribe(listings)
        sim.post("/sim/faults", {"kind": "list_new", "exchange": "okx", "symbol": "NEW"})
        sim.post("/sim/faults", {"kind": "delist", "exchange": "okx", "symbol": "ETH-USDT-SWAP"})
        found = await so_far(socket)
        assert [message["arg"] for message in found] == [listings] * 2
        assert [message["data"][0]["instId"] for message in found] == [
            "NEW-USDT-SWAP", "ETH-USDT-SWAP"
        ]  # fmt: skip
        assert [message["data"][0]["state"] for message in found] == ["live", "suspend"]
        (entry,) = data(sim, "public/instruments", instType="SWAP", instId="NEW-USDT-SWAP")
        assert found[0]["data"] == [entry]
        # The new market's streams exist, the old one's push nothing any more.
        await socket.send({"op": "subscribe", "args": [argument("tickers", "ETH-USDT-SWAP")]})
        assert (await socket.receive())["code"] == "60018"
        await socket.subscribe(argument("tickers", "NEW-USDT-SWAP"))


async def test_every_candle_is_closed_at_any_speed(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=3, now=NOW_MS, speed=1000, no_limits=True)
    symbols = [SWAP, "ETH-USDT-SWAP", "SOL-USDT"]
    async with connected(sim, BUSINESS) as socket:
        await socket.subscribe(*(argument("candle5m", symbol) for symbol in symbols))
        closed: Counter[tuple[str, str]] = Counter()
        while len(closed) < 18:  # 30 minutes of three markets: 2 s
            message = await socket.receive()
            row = row_of(message)
            if row[8] == "1":
                closed[message["arg"]["instId"], row[0]] += 1
        assert set(closed.values()) == {1}
        for symbol in symbols:
            opens = sorted(int(time) for name, time in closed if name == symbol)
            assert opens == list(range(opens[0], opens[0] + 300_000 * len(opens), 300_000))


def test_shapes(recorded_data: Path, sim: Simulator) -> None:
    """The keys of REST's entries, which the channels share, are those of recorded messages."""
    folder = recorded_data / "streams/okx"
    for name, path, query in (
        ("swap_mark-price_2021-12-22.jsonl", "public/mark-price", {"instType": "SWAP"}),
        ("funding-rate_BTC-USDT-SWAP_2026-09-25.jsonl", "public/funding-rate", {"instId": SWAP}),
    ):
        recorded = json.loads((folder / name).read_text().splitlines()[0])
        assert list(recorded) == ["arg", "data"]
        assert set(data(sim, path, **query)[0]) == set(recorded["data"][0])
