"""OKX's order books: a reader that keeps the documented rule has the book of REST."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator
from tests.simulator.okx.rest import candles, data
from tests.simulator.okx.sockets import Socket, argument, connected

SWAP = "BTC-USDT-SWAP"
QUIET = "BNB-USDT-SWAP"
START_MS = NOW_MS - NOW_MS % 1_000  # books are pushed at full tenths of a second


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator(
        {"binance": 0, "bybit": 0, "okx": 12, "now": START_MS, "frozen": True, "no_limits": True}
    )
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    _shared.post("/sim/clock", {"now_ms": START_MS})
    yield _shared
    _shared.delete("/sim/faults")


class Gap(Exception):
    """A change does not follow the one before."""


class Reader:
    """The book that the messages of one subscription make, by the documentation's rule."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, list[str]]] = {"asks": {}, "bids": {}}
        self.number = 0
        self.empty = 0
        self.restarts = 0

    def take(self, message: Any) -> None:
        (entry,) = message["data"]
        if message["action"] == "snapshot":
            assert entry["prevSeqId"] == -1
            self.sides = {"asks": {}, "bids": {}}
        elif entry["prevSeqId"] != self.number:
            raise Gap
        elif entry["seqId"] == entry["prevSeqId"]:
            assert entry["asks"] == entry["bids"] == []
            self.empty += 1
        elif entry["seqId"] < entry["prevSeqId"]:
            self.restarts += 1
        self.number = entry["seqId"]
        for side, levels in self.sides.items():
            for level in entry[side]:
                if level[1] == "0":
                    assert level[2:] == ["0", "0"]
                    del levels[Decimal(level[0])]
                else:
                    levels[Decimal(level[0])] = level

    def book(self) -> dict[str, list[list[str]]]:
        asks = [self.sides["asks"][price] for price in sorted(self.sides["asks"])]
        bids = [self.sides["bids"][price] for price in sorted(self.sides["bids"], reverse=True)]
        return {"asks": asks, "bids": bids}


def rest(sim: Simulator, symbol: str, levels: int = 400) -> Any:
    (entry,) = data(sim, "market/books", instId=symbol, sz=levels)
    return entry


async def so_far(socket: Socket) -> list[Any]:
    await socket.send("ping")
    (*found, _) = await socket.until(lambda message: message == "pong")
    return found


async def advance(sim: Simulator, socket: Socket, milliseconds: int) -> list[Any]:
    sim.post("/sim/clock", {"advance_ms": milliseconds})
    return await so_far(socket)


@pytest.mark.parametrize("symbol", [SWAP, "ETH-USDT", "BTC-USD-SWAP"])
async def test_the_book_is_that_of_rest(sim: Simulator, symbol: str) -> None:
    async with connected(sim) as socket:
        await socket.subscribe(argument("books", symbol))
        reader = Reader()
        for message in await so_far(socket):
            assert message["action"] == "snapshot"
            reader.take(message)
        assert len(reader.sides["asks"]) == len(reader.sides["bids"]) == 400
        for step in (100, 100, 100, 300, 5_000, 20_000, 100, 60_000):
            for message in await advance(sim, socket, step):
                assert message["action"] == "update"
                reader.take(message)
            wanted = rest(sim, symbol)
            assert reader.book() == {"asks": wanted["asks"], "bids": wanted["bids"]}
            assert reader.number == wanted["seqId"]
        assert max(reader.sides["bids"]) < min(reader.sides["asks"])
        # A second subscriber gets a snapshot, and the same updates follow both.
        async with connected(sim) as other:
            await other.subscribe(argument("books", symbol))
            second = Reader()
            for message in [*await so_far(other), *await advance(sim, other, 1_000)]:
                second.take(message)
            for message in await so_far(socket):
                reader.take(message)
            assert second.book() == reader.book()
            assert second.number == reader.number


async def test_a_silent_book_sends_empty_updates(sim: Simulator) -> None:
    history = candles(sim, QUIET, "5m", limit=300)
    silent = next(int(row[0]) for row in history if row[5] == "0" and row[8] == "1")
    sim.post("/sim/clock", {"now_ms": silent + 10_000})
    async with connected(sim) as socket:
        await socket.subscribe(argument("books", QUIET))
        reader, times = Reader(), []
        for message in await so_far(socket):
            reader.take(message)
        for _ in range(25):
            for message in await advance(sim, socket, 10_000):
                reader.take(message)
                times.append(int(message["data"][0]["ts"]))
        assert times == [silent + 10_000 + 60_000 * index for index in range(1, 5)]
        assert reader.empty == 4


async def test_numbering_starts_again_after_maintenance(sim: Simulator) -> None:
    async with connected(sim) as socket:
        await socket.subscribe(argument("books"))
        reader = Reader()
        for message in [*await so_far(socket), *await advance(sim, socket, 1_000)]:
            reader.take(message)
        before = reader.number
        sim.post("/sim/faults", {"kind": "book_restart", "exchange": "okx", "symbol": SWAP})
        for _ in range(3):
            for message in await advance(sim, socket, 1_000):
                reader.take(message)
        assert reader.restarts == 1
        assert reader.number < before
        wanted = rest(sim, SWAP)
        assert reader.book() == {"asks": wanted["asks"], "bids": wanted["bids"]}
        assert reader.number == wanted["seqId"]


async def test_other_changes_of_a_market_tear_no_gap(sim: Simulator) -> None:
    async with connected(sim) as socket:
        await socket.subscribe(argument("books"))
        reader = Reader()
        for message in [*await so_far(socket), *await advance(sim, socket, 1_050)]:
            reader.take(message)
        sim.post(
            "/sim/faults",
            {"kind": "funding_interval", "exchange": "okx", "symbol": SWAP, "hours": 4},
        )
        for message in await advance(sim, socket, 1_050):
            reader.take(message)
        assert reader.number == rest(sim, SWAP)["seqId"]


async def test_a_gap_and_a_new_subscription(sim: Simulator) -> None:
    async with connected(sim) as socket:
        await socket.subscribe(argument("books"))
        reader = Reader()
        for message in await so_far(socket):
            reader.take(message)
        sim.post("/sim/faults", {"kind": "stream_gap", "exchange": "okx", "count": 1})
        for message in await advance(sim, socket, 1_000):
            reader.take(message)
        with pytest.raises(Gap):
            for message in await advance(sim, socket, 1_000):
                reader.take(message)
        await socket.subscribe(argument("books"), op="unsubscribe")
        await socket.subscribe(argument("books"))
        reader = Reader()
        for message in [*await so_far(socket), *await advance(sim, socket, 1_000)]:
            reader.take(message)
        assert reader.number == rest(sim, SWAP)["seqId"]


@pytest.mark.parametrize("channel, levels", [("books5", 5), ("bbo-tbt", 1)])
async def test_the_best_levels(sim: Simulator, channel: str, levels: int) -> None:
    async with connected(sim) as socket:
        await socket.subscribe(argument(channel))
        messages = await so_far(socket)
        for step in (100, 900, 5_000, 10_000):
            messages += await advance(sim, socket, step)
            (entry,) = messages[-1]["data"]
            assert "action" not in messages[-1]
            wanted = rest(sim, SWAP, levels)
            assert (entry["asks"], entry["bids"]) == (wanted["asks"], wanted["bids"])
            assert len(entry["asks"]) == levels
        (ticker,) = (
            row for row in data(sim, "market/tickers", instType="SWAP") if row["instId"] == SWAP
        )
        assert [ticker["askPx"], ticker["askSz"]] == entry["asks"][0][:2]
        assert [ticker["bidPx"], ticker["bidSz"]] == entry["bids"][0][:2]


async def test_the_checksum_is_0_or_absent(sim: Simulator) -> None:
    symbols = [SWAP, "BTC-USDT", "ETH-USDT-SWAP", "ETH-USDT"]
    async with connected(sim) as socket:
        await socket.subscribe(*(argument("books", symbol) for symbol in symbols))
        messages = [*socket.early, *await so_far(socket), *await advance(sim, socket, 1_000)]
        found = {message["data"][0].get("checksum") for message in messages}
        assert found == {0, None}


async def test_shapes(sim: Simulator, recorded_data: Path) -> None:
    """Levels and keys are those of recorded books, which had no numbers in their days."""
    lines = gzip.decompress(
        (recorded_data / "streams/okx/books_BTC-USDT_2022-05-13.rec.gz").read_bytes()
    ).splitlines()
    recorded = [json.loads(line.partition(b"\t")[2]) for line in lines]
    recorded = [message for message in recorded if "data" in message]
    documented = json.loads((recorded_data / "streams/okx/doc_ws_books_update.json").read_text())
    async with connected(sim) as socket:
        await socket.subscribe(argument("books"))
        for message in [*await so_far(socket), *await advance(sim, socket, 1_000)]:
            assert list(message) == list(recorded[0])
            (entry,) = message["data"]
            assert set(entry) == set(documented["data"][0])
            for level in entry["asks"][:5]:
                assert [type(value) for value in level] == [str] * 4
                assert level[2] == "0"
    removed = [level for message in recorded for level in message["data"][0]["asks"]
               if level[1] == "0"]  # fmt: skip
    assert {tuple(level[1:]) for level in removed} == {("0", "0", "0")}
