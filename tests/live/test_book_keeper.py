"""Order books that break, and how they become whole again."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import structlog

from live.book_keeper import BookKeeper
from live.book_rules import BookRule
from live.events import BookEvent
from live.exchange_rest import ExchangeRest
from live.exchanges import STREAM_VENUES
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from tests.fixtures.signals import turns, until_true
from tests.live.hand_clock import HandClock
from tests.live.scripted_streams import ScriptedExchange, scripted_exchange, venue

BINANCE = STREAM_VENUES["binance"].book
DEPTH = "/fapi/v1/depth?symbol=BTC&limit=1000"


@dataclass
class Keeping:
    keeper: BookKeeper
    clock: HandClock
    exchange: ScriptedExchange
    anew: list[tuple[int, str]] = field(default_factory=list)
    anew_at_s: list[float] = field(default_factory=list)


@contextlib.asynccontextmanager
async def keeping(book: BookRule, most: int = 1000, **changes: Any) -> AsyncIterator[Keeping]:
    async with scripted_exchange() as exchange:
        clock = HandClock()
        address = ExchangeAddress(f"http://127.0.0.1:{exchange.port}")
        async with ExchangeRest("scripted", address, SharedPace(most, 60.0), clock) as rest:

            def subscribe_anew(epoch: int, symbol: str) -> None:
                kept.anew.append((epoch, symbol))
                kept.anew_at_s.append(clock.now)

            keeper = BookKeeper(
                *(venue(book=book, **changes), rest, subscribe_anew, lambda event: event),
                clock,
                structlog.get_logger(),
            )
            kept = Keeping(keeper, clock, exchange)
            repairing = asyncio.create_task(keeper.run())
            try:
                yield kept
            finally:
                repairing.cancel()
                await asyncio.gather(repairing, return_exceptions=True)


def whole(number: int, symbol: str = "BTC", **of: Any) -> BookEvent:
    """A snapshot of the stream."""
    return BookEvent(symbol, number, True, [("9", "1")], [("11", "1")], number, **of)


def change(
    number: int, after: int, symbol: str = "BTC", bids: tuple[str, str] = ("9", "2")
) -> BookEvent:
    return BookEvent(symbol, number, False, [bids], [], number, number, after)


def depth(number: int) -> bytes:
    levels = {"bids": [["9", "1"]], "asks": [["11", "1"]]}
    return json.dumps({"lastUpdateId": number, "E": 1_700_000_000_000, **levels}).encode()


STREAMED = venue().book  # snapshots by the stream; a change must follow the last one


async def test_a_book_of_the_stream() -> None:
    async with keeping(STREAMED) as kept:
        kept.keeper.begin(1, ["BTC"])
        assert kept.keeper.take(1, whole(5)) is not None
        book = kept.keeper.take(1, change(6, 5))
        assert book is not None
        assert book.top(5) == ([("9", "2")], [("11", "1")])
        assert kept.keeper.take(1, change(7, 6, "ETH")) is None, "nobody asked for it"
        assert kept.keeper.take(2, change(7, 6)) is None
        assert kept.keeper.status()["live"] == 1


async def test_a_gap_makes_the_stream_be_subscribed_anew() -> None:
    async with keeping(STREAMED) as kept:
        kept.keeper.begin(1, ["BTC"])
        kept.keeper.take(1, whole(5))
        assert kept.keeper.take(1, change(8, 7)) is None
        assert kept.keeper.take(1, change(9, 8)) is None, "a broken book serves nothing"
        status = kept.keeper.status()
        assert (status["live"], status["breaks"]) == (0, 1)
        await kept.clock.advance(2)
        await until_true(lambda: kept.anew == [(1, "BTC")])
        kept.keeper.begin(1, ["BTC"])
        assert kept.keeper.take(1, change(10, 9)) is None, "sent before the new snapshot"
        book = kept.keeper.take(1, whole(20))
        assert book is not None and book.last_id == 20
        await kept.clock.advance(1000)
        assert len(kept.anew) == 1
        assert kept.keeper.status() == {
            "live": 1,
            "waiting": {},
            "breaks": 1,
            "resubscriptions": 1,
            "snapshots": 0,
            "failed_snapshots": 0,
        }


async def test_a_book_that_breaks_again_and_again_is_repaired_ever_more_seldom() -> None:
    async with keeping(STREAMED) as kept:
        kept.keeper.begin(1, ["BTC"])
        for number in range(10):
            kept.keeper.take(1, whole(10 * number))
            kept.keeper.take(1, change(10 * number + 5, 10 * number + 4))
            while len(kept.anew) <= number:
                await kept.clock.advance(1)
        pauses = [later - earlier for earlier, later in pairwise(kept.anew_at_s)]
        assert [round(pause) for pause in pauses] == [4, 8, 16, 32, 64, 128, 256, 300, 300]
        kept.keeper.take(1, whole(500))
        await kept.clock.advance(60)  # it was whole for a minute
        kept.keeper.take(1, change(600, 599))
        await kept.clock.advance(2)
        await until_true(lambda: len(kept.anew) == 11)


async def test_of_two_connections_the_older_serves_while_its_book_is_whole() -> None:
    async with keeping(STREAMED) as kept:
        for epoch in (1, 2):
            kept.keeper.begin(epoch, ["BTC"])
            kept.keeper.take(epoch, whole(5))
        assert kept.keeper.take(2, change(6, 5)) is None
        assert kept.keeper.take(1, change(6, 5)) is not None
        assert kept.keeper.take(1, change(9, 8)) is None  # broken there
        assert kept.keeper.take(2, change(7, 6)) is not None
        kept.keeper.end(1)
        assert kept.keeper.take(1, whole(9)) is None
        assert kept.keeper.take(2, change(8, 7)) is not None
        kept.keeper.end(2, ["BTC"])
        assert kept.keeper.status()["live"] == 0


async def test_a_snapshot_over_rest_joins_the_changes() -> None:
    """Drop u < lastUpdateId; the first has U <= lastUpdateId <= u; then each pu is the last u."""
    async with keeping(BINANCE) as kept:
        kept.exchange.rest[DEPTH] = depth(8)
        kept.keeper.begin(1, ["BTC"])
        for number in range(5, 10):
            assert kept.keeper.take(1, change(number, number - 1)) is None
        await until_true(lambda: kept.keeper.status()["live"] == 1)
        book = kept.keeper.take(1, change(10, 9, bids=("9.5", "3")))
        assert book is not None
        assert book.top(5) == ([("9.5", "3"), ("9", "2")], [("11", "1")])
        assert kept.exchange.rest_asked == [DEPTH]
        assert kept.anew == []


async def test_a_snapshot_older_than_the_changes_is_fetched_again() -> None:
    async with keeping(BINANCE) as kept:
        kept.exchange.rest[DEPTH] = depth(2)
        kept.keeper.begin(1, ["BTC"])
        kept.keeper.take(1, change(9, 8))
        await until_true(lambda: len(kept.exchange.rest_asked) == 1)
        kept.exchange.rest[DEPTH] = depth(10)
        await until_true(lambda: "older" in str(kept.keeper.status()["waiting"]))
        kept.keeper.take(1, change(10, 9))
        await turns(20)
        assert len(kept.exchange.rest_asked) == 1, "not at once"
        await kept.clock.advance(2)
        await until_true(lambda: kept.keeper.status()["live"] == 1)
        assert len(kept.exchange.rest_asked) == 2


async def test_a_snapshot_that_cannot_be_had_is_tried_again() -> None:
    async with keeping(BINANCE) as kept:
        kept.keeper.begin(1, ["BTC"])
        kept.keeper.take(1, change(9, 8))
        await until_true(lambda: kept.keeper.status()["failed_snapshots"] == 1)
        kept.exchange.rest[DEPTH] = b"<html>"
        await kept.clock.advance(2)
        await until_true(lambda: kept.keeper.status()["failed_snapshots"] == 2)
        kept.exchange.rest[DEPTH] = depth(9)
        await kept.clock.advance(4)
        await until_true(lambda: kept.keeper.status()["live"] == 1)


async def test_many_snapshots_are_fetched_one_by_one_within_the_pace() -> None:
    async with keeping(BINANCE, most=5) as kept:
        symbols = [f"M{number}" for number in range(12)]
        kept.keeper.begin(1, symbols)
        for symbol in symbols:
            kept.exchange.rest[DEPTH.replace("BTC", symbol)] = depth(9)
            kept.keeper.take(1, change(9, 8, symbol))
        await until_true(lambda: kept.keeper.status()["live"] == 5)
        await turns(50)
        assert len(kept.exchange.rest_asked) == 5
        await kept.clock.advance(60)
        await until_true(lambda: kept.keeper.status()["live"] == 10)
        await kept.clock.advance(60)
        await until_true(lambda: kept.keeper.status()["live"] == 12)
        assert len(kept.exchange.rest_asked) == 12


async def test_where_the_stream_sends_no_snapshot_any_more_one_is_fetched() -> None:
    """An end of the snapshots of OKX's streams was announced."""
    okx = STREAM_VENUES["okx"].book
    path = "/api/v5/market/books?instId=BTC&sz=400"
    async with keeping(okx) as kept:
        row = {"bids": [["9", "1", "0", "1"]], "asks": [["11", "1", "0", "1"]]}
        row |= {"ts": "1700000000000", "seqId": 9}  # type: ignore[dict-item]
        kept.exchange.rest[path] = json.dumps({"code": "0", "msg": "", "data": [row]}).encode()
        kept.keeper.begin(1, ["BTC"])
        for number in range(3):
            kept.keeper.take(1, change(9 + number, 8 + number))
            await kept.clock.advance(20)
        await until_true(lambda: kept.exchange.rest_asked == [path])
        assert kept.anew == [(1, "BTC")] * 2
        await until_true(lambda: kept.keeper.status()["live"] == 1)
