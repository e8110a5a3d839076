"""The connections to an exchange's streams: each fault, and what must follow."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from live.events import LeftOut, TradeEvent
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from live.stream_pool import StreamPool
from live.stream_venue import Channel, Topic
from tests.fixtures.signals import turns, until_true
from tests.live.hand_clock import HandClock
from tests.live.scripted_streams import (
    Recorder,
    ScriptedExchange,
    Session,
    candle,
    scripted_exchange,
    trade,
    venue,
)

ETH, SOL = trade("ETH"), trade("SOL")


class Highest(Random):
    """Draws the highest number, so that a pause is the longest that it may be."""

    def random(self) -> float:
        return 1.0


@dataclass
class Running:
    exchange: ScriptedExchange
    clock: HandClock
    owner: Recorder
    pool: StreamPool

    async def delivering(self, *topics: Topic, number: int = 0) -> Session:
        """The connection with this number, once an event of each topic has come on it."""
        session = await self.exchange.session(number)
        epoch = number + 1
        symbols = {topic.symbol for topic in topics}
        await until_true(lambda: symbols <= set(self.owner.symbols(epoch)))
        return session

    async def brought(self, epoch: int, count: int) -> None:
        """Waits until so many events have come on this connection."""
        await until_true(lambda: len(self.owner.symbols(epoch)) == count)

    async def read(self, count: int) -> None:
        """Waits until so many messages have come on all connections."""
        await until_true(lambda: self.pool.counts.messages >= count)

    async def ended(self, epoch: int, reason: str) -> None:
        await until_true(lambda: epoch in self.owner.ended)
        assert self.owner.ended[epoch] == reason
        await turns(10)  # in which the pool takes note of it


@contextlib.asynccontextmanager
async def running(
    *topics: Topic, prepare: Callable[[ScriptedExchange], None] = lambda _: None, **changes: Any
) -> AsyncIterator[Running]:
    """A pool of these topics at a scripted exchange; afterwards no task and no socket is left."""
    before = asyncio.all_tasks()
    async with scripted_exchange() as exchange:
        prepare(exchange)
        of_server = asyncio.all_tasks()
        clock, owner = HandClock(), Recorder()
        pool = StreamPool(
            venue(**changes), owner, ExchangeAddress(exchange.url),
            connects=SharedPace(1000, 1.0), clock=clock, random=Highest(),
        )  # fmt: skip
        async with pool:
            pool.add(topics)
            yield Running(exchange, clock, owner, pool)
        await until_true(lambda: not exchange.open_sessions)
        await until_true(lambda: not (asyncio.all_tasks() - before - of_server - _of_aiohttp()))
        assert set(owner.ended) == set(owner.began)
    gc.collect()  # an unclosed socket would warn now, and warnings are errors


def _of_aiohttp() -> set["asyncio.Task[Any]"]:
    """The tasks in which the server handles connections."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" in repr(task.get_coro())}


async def _cut(session: Session) -> None:
    session.cut()


async def _close(session: Session) -> None:
    await session.close()


async def _say_nothing(session: Session, told: dict[str, Any]) -> None:
    pass


async def _cut_when_asked(session: Session, told: dict[str, Any]) -> None:
    session.cut()


async def _cut_when_acknowledged(session: Session, told: dict[str, Any]) -> None:
    await session.acknowledge(told)
    session.cut()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ({"on_open": _cut}, "cut"),
        ({"on_open": _close}, "cut"),
        ({"on_request": _cut_when_asked}, "cut"),
        ({"on_request": _cut_when_acknowledged}, "cut"),
    ],
    ids=["cut at once", "closed at once", "cut before the answer", "cut after the answer"],
)
async def test_cut_at_any_phase(script: dict[str, Any], expected: str) -> None:
    def prepare(exchange: ScriptedExchange) -> None:
        for name, value in script.items():
            setattr(exchange, name, value)

    async with running(ETH, SOL, prepare=prepare) as run:
        await run.ended(1, expected)
        assert run.exchange.attempts == 1, "it pauses before the next try"
        run.exchange.on_open, run.exchange.on_request = None, Session.acknowledge
        await run.clock.advance(1.0)
        session = await run.delivering(ETH, SOL, number=1)
        assert run.owner.began[2] == {ETH, SOL}
        assert session.asked() == [["trade.BTC", "trade.ETH", "trade.SOL"]]
        assert run.pool.status().reconnects == {expected: 1}


async def test_cut_while_delivering() -> None:
    async with running(ETH) as run:
        (await run.delivering(ETH)).cut()
        await run.ended(1, "cut")
        await run.clock.advance(1.0)
        await run.delivering(ETH, number=1)
        assert run.owner.order == ["began 1", "ended 1", "began 2"]


async def test_silent_after_the_acknowledgement() -> None:
    def silent(exchange: ScriptedExchange) -> None:
        exchange.delivers = False

    async with running(ETH, prepare=silent) as run:
        await until_true(lambda: run.pool.status().streams == 2)
        assert run.pool.status().proven == 0
        assert run.pool.status().connections[0].state == "subscribing"
        for _ in range(3):
            await run.clock.advance(19.5)  # pongs keep coming, which are no data
            await run.exchange.sessions[0].send("pong")
            await turns(20)
        assert not run.owner.ended
        await run.clock.advance(2)
        await run.ended(1, "silent")
        run.exchange.delivers = True
        await run.clock.advance(1)
        await run.delivering(ETH, number=1)


async def test_one_market_may_be_silent_for_ever() -> None:
    async with running(ETH, SOL) as run:
        session = await run.delivering(ETH, SOL)
        for number in range(10):
            await run.clock.advance(50)
            await session.send({"trade": "BTC", "n": number})  # the heartbeat's market alone
            await run.read(4 + number + 1)
        assert not run.owner.ended
        assert set(run.owner.symbols(1)) == {"ETH", "SOL"}, "nobody asked for BTC"
        await until_true(lambda: run.owner.heartbeats[1] == 11)


async def test_a_name_that_is_acknowledged_and_silent_is_subscribed_anew() -> None:
    """Others deliver, and the exchange has lost this one."""

    async def acknowledge(session: Session, told: dict[str, Any]) -> None:
        session.exchange.delivers = len(session.told) > 1
        await session.acknowledge(told)

    def lose(exchange: ScriptedExchange) -> None:
        exchange.on_request = acknowledge

    async with running(ETH, SOL, prepare=lose) as run:
        session = await run.exchange.session(0)
        await until_true(lambda: run.pool.status().streams == 3)
        for number in range(20):
            await session.send(run.exchange.data("trade.ETH"))
            await run.brought(1, number + 1)
            assert len(session.told) == 1
            await run.clock.advance(50 if number < 19 else 15)
        await run.delivering(SOL)
        asked = [(told["do"], told["names"]) for told in session.told[1:]]
        silent = sorted(name for name in session.told[0]["names"] if "ETH" not in name)
        assert asked[0][0] == "unsubscribe" and sorted(asked[0][1]) == silent
        assert asked[1][0] == "subscribe" and sorted(asked[1][1]) == silent
        assert not run.owner.ended


@pytest.mark.parametrize("status", [500, 403, 418, 429])
async def test_refused_connect(status: int) -> None:
    def refuse(exchange: ScriptedExchange) -> None:
        exchange.refuses_with = status

    async with running(ETH, prepare=refuse) as run:
        await until_true(lambda: run.pool.counts.ended)
        await turns(10)
        assert run.pool.status().reconnects == {"refused": 1}
        assert f"HTTP {status}" in (run.pool.status().last_failure or "")
        assert not run.owner.began
        run.exchange.refuses_with = None
        pause_s = 1.0 if status == 500 else 60.0
        await run.clock.advance(pause_s - 0.1)
        assert run.exchange.attempts == 1
        await run.clock.advance(0.2)
        await run.delivering(ETH)


async def test_an_outage_that_lasts_is_told_once_an_hour() -> None:
    def refuse(exchange: ScriptedExchange) -> None:
        exchange.refuses_with = 500

    with capture_logs() as logged:
        async with running(ETH, prepare=refuse) as run:
            exchange, until_s = run.exchange, run.clock.now + 7_260
            while run.clock.now < until_s:
                await until_true(lambda: run.pool.status().failures == exchange.attempts > 0)
                await run.clock.advance(60)
    told = [line["for_s"] for line in logged if line["log_level"] == "warning"]
    assert len(told) == 3
    assert told[0] == 0
    assert 3600 <= told[1] <= 3660 <= 7200 <= told[2] <= 7320


async def test_nobody_listens() -> None:
    async with running(ETH) as run:
        await run.delivering(ETH)
        pool = StreamPool(
            venue(), run.owner, ExchangeAddress("ws://127.0.0.1:1"),
            connects=SharedPace(10, 1), clock=run.clock,
        )  # fmt: skip
        async with pool:
            pool.add([SOL])
            await until_true(lambda: pool.counts.ended)
            assert pool.status().last_failure == (
                "refused: cannot open a WebSocket: ClientConnectorError: cannot connect: "
                "Connection refused"
            )


async def test_pauses_grow_until_a_minute_of_data() -> None:
    """Full jitter of 1, 2, 4 ... 60 s; here always the longest."""
    async with running(ETH, prepare=lambda exchange: None) as run:
        pauses = []
        for number, pause_s in enumerate((1, 2, 4, 8, 16, 32, 60, 60)):
            session = await run.delivering(ETH, number=number)
            await run.clock.advance(59)  # of data, which is not enough
            await session.send(run.exchange.data("trade.ETH"))
            await run.brought(number + 1, 2)
            session.cut()
            await run.ended(number + 1, "cut")
            await run.clock.advance(pause_s - 0.01)
            assert run.exchange.attempts == number + 1, pause_s
            await run.clock.advance(0.02)
            pauses.append(pause_s)
        assert run.pool.status().failures == len(pauses)
        session = await run.delivering(ETH, number=len(pauses))
        await run.clock.advance(59)
        await session.send(run.exchange.data("trade.ETH"))
        await until_true(lambda: len(run.owner.symbols(len(pauses) + 1)) == 2)
        await run.clock.advance(1)
        await session.send(run.exchange.data("trade.ETH"))
        await until_true(lambda: len(run.owner.symbols(len(pauses) + 1)) == 3)
        session.cut()
        await run.ended(len(pauses) + 1, "cut")
        assert run.pool.status().failures == 1
        await run.clock.advance(1)
        await run.delivering(ETH, number=len(pauses) + 1)


async def test_no_pong() -> None:
    def mute(exchange: ScriptedExchange) -> None:
        exchange.pongs = False

    async with running(ETH, prepare=mute) as run:
        session = await run.delivering(ETH)
        await run.clock.advance(19.9)
        assert session.pings == 0
        await run.clock.advance(0.2)
        await until_true(lambda: session.pings == 1)
        await run.clock.advance(9.8)
        assert not run.owner.ended
        await run.clock.advance(0.2)
        await run.ended(1, "no_pong")


@pytest.mark.parametrize("life", ["pong", {"trade": "BTC", "n": 5}], ids=["pong", "data"])
async def test_a_late_pong_or_any_message_is_life(life: object) -> None:
    def mute(exchange: ScriptedExchange) -> None:
        exchange.pongs = False

    async with running(ETH, prepare=mute) as run:
        session = await run.delivering(ETH)
        for round_ in range(1, 6):
            await run.clock.advance(20)
            await session.pinged(round_)
            await run.clock.advance(9)
            seen = run.pool.counts.messages
            await session.send(life, {"trade": "BTC", "n": 5})
            await run.read(seen + 2)
        assert not run.owner.ended


async def test_a_program_that_was_stopped_reads_before_it_judges() -> None:
    async with running(ETH) as run:
        session = await run.delivering(ETH)
        await run.clock.jump(600)
        assert not run.owner.ended, "what lies in the socket was not read yet"
        await session.send({"trade": "ETH", "n": 9})
        await until_true(lambda: len(run.owner.symbols(1)) == 2)
        await run.clock.advance(10)
        assert not run.owner.ended


async def test_garbage_is_counted_and_much_of_it_ends_the_connection() -> None:
    async with running(ETH) as run:
        session = await run.delivering(ETH)
        await session.send(*["{"] * 19, {"trade": "ETH", "n": 9}, *["\x00"] * 19)
        await until_true(lambda: run.pool.counts.unreadable == 38)
        assert not run.owner.ended
        failures = [event for _, event in run.owner.events if isinstance(event, LeftOut)]
        assert len(failures) == 38, "the owner must know: a close may have been in it"
        await session.send("[]]")
        await run.ended(1, "unreadable")
        await run.clock.advance(1)
        await run.delivering(ETH, number=1)


async def test_an_entry_that_cannot_be_read_is_told_with_its_market() -> None:
    async with running(ETH) as run:
        session = await run.delivering(ETH)
        await session.send([{"bad": "SOL"}, {"trade": "ETH", "n": 9}])
        await until_true(lambda: run.owner.symbols(1) == ["ETH", "SOL", "ETH"])
        assert run.pool.status().left_out == {"unreadable": 1}


async def test_a_parser_that_raises_is_garbage_too() -> None:
    def read(payload: bytes) -> list[Any]:
        raise KeyError("k")

    async with running(ETH, read=read) as run:
        await run.exchange.session(0)
        await until_true(lambda: run.pool.counts.unreadable > 0)
        assert not run.owner.ended


async def test_a_frame_of_25_mb() -> None:
    async with running(ETH) as run:
        session = await run.delivering(ETH)
        await session.send("x" * 25_000_000)
        await run.ended(1, "too_large")
        await run.clock.advance(1)
        await run.delivering(ETH, number=1)


async def test_a_flood_is_read_to_the_last_message_though_the_owner_raises() -> None:
    async with running(ETH) as run:
        session = await run.delivering(ETH)
        seen: list[str] = []

        def slow_and_wrong(epoch: int, event: Any) -> None:
            seen.append(event.trade_id)
            if len(seen) % 2:
                raise ValueError("of the owner")

        run.owner.on_event = slow_and_wrong  # type: ignore[method-assign]
        connection = next(iter(run.pool._shards))._serving
        assert connection is not None and connection.connection is not None
        connection.connection._on_event = slow_and_wrong
        await session.send(*({"trade": "ETH", "n": number} for number in range(5_000)))
        await until_true(lambda: len(seen) == 5_000)
        assert seen == [str(number) for number in range(5_000)]
        assert run.pool.status().owner_errors == 2_500
        assert not run.owner.ended


async def _replaced(run: Running, reason: str, closed_by: Callable[[], Awaitable[None]]) -> None:
    """The first connection is replaced with no event lost, and closed only then."""
    first = await run.delivering(ETH, SOL)
    await closed_by()
    second = await run.delivering(ETH, SOL, number=1)
    assert first.is_open and not run.owner.ended
    sent = 0
    for _ in range(20):
        sent += 1
        for session in (first, second):
            await session.send({"trade": "ETH", "n": 1000 + sent})
        await turns(20)
        await run.clock.advance(0.5)
        if run.owner.ended:
            break
    await run.ended(1, reason)
    assert run.owner.order == ["began 1", "began 2", "ended 1"]
    await until_true(lambda: not first.is_open)
    await second.send({"trade": "ETH", "n": 1000 + sent + 1})

    def of(epoch: int) -> list[int]:
        trades = (e for number, e in run.owner.events if number == epoch)
        return [e.time_ms for e in trades if isinstance(e, TradeEvent) and e.time_ms > 1000]

    await until_true(lambda: of(2) == list(range(1001, 1001 + sent + 1)))
    assert of(1) == list(range(1001, 1001 + len(of(1))))
    assert len(of(1)) >= sent - 1
    assert run.exchange.attempts == 2
    assert run.pool.status().failures == 0


async def test_a_connection_is_replaced_before_the_end_of_its_life() -> None:
    async with running(ETH, SOL, life_s=23 * 3600.0, silent_after_s=1e9, ping=None) as run:

        async def grow_old() -> None:
            await run.clock.advance(23 * 3600 - 1)
            assert run.exchange.attempts == 1
            await run.clock.advance(1)

        await _replaced(run, "age", grow_old)


async def test_a_connection_is_replaced_at_once_when_the_exchange_says_so() -> None:
    async with running(ETH, SOL) as run:

        async def notice() -> None:
            await run.exchange.sessions[0].send({"notice": "upgrade"}, {"notice": "upgrade"})

        await _replaced(run, "notice", notice)


async def test_a_connection_is_replaced_when_the_owner_asks() -> None:
    async with running(ETH, SOL) as run:

        async def renew() -> None:
            run.pool.renew()

        await _replaced(run, "renewed", renew)


async def _overlapping(run: Running) -> tuple[Session, Session]:
    """Two connections of which the second has brought what the first has, for long."""
    run.owner.needed[1] = ["ETH"]
    first = await run.delivering(ETH, SOL)
    run.pool.renew()
    second = await run.delivering(ETH, SOL, number=1)
    await run.clock.advance(60)
    assert first.is_open and not run.owner.ended
    return first, second


async def test_a_connection_that_the_owner_needs_stays() -> None:
    async with running(ETH, SOL, silent_after_s=1e9, ping=None) as run:
        await _overlapping(run)
        await run.clock.advance(590)
        assert not run.owner.ended
        run.owner.needed[1] = []
        await run.clock.advance(1)
        await run.ended(1, "renewed")
        assert run.exchange.attempts == 2


async def test_a_connection_that_the_owner_needs_for_ever_ends_after_two_closes() -> None:
    async with running(ETH, SOL, silent_after_s=1e9, ping=None) as run:
        await _overlapping(run)
        await run.clock.advance(596)
        assert not run.owner.ended
        await run.clock.advance(10)
        await run.ended(1, "renewed")


async def test_a_needed_connection_that_is_cut_is_followed_by_the_other_one() -> None:
    async with running(ETH, SOL, silent_after_s=1e9, ping=None) as run:
        first, second = await _overlapping(run)
        first.cut()
        await run.ended(1, "cut")
        await run.clock.advance(120)
        assert second.is_open
        assert run.exchange.attempts == 2


async def test_one_connection_of_several_is_replaced() -> None:
    """For an owner that has found a connection to differ from what REST says."""
    async with running(ETH, candle("ETH"), ping=None) as run:
        for number in range(2):
            await run.exchange.session(number)
        await until_true(lambda: run.pool.status().proven == 2)
        run.pool.renew(99)
        run.pool.renew(2)
        await run.exchange.session(2)
        await until_true(lambda: len(run.owner.symbols(3)) == 1)
        await run.clock.advance(6)
        await run.ended(2, "renewed")
        assert run.exchange.attempts == 3
        assert run.owner.began[3] == run.owner.began[2]


async def test_the_old_connection_stays_while_the_new_one_brings_less() -> None:
    async with running(ETH, SOL, ping=None) as run:
        first = await run.delivering(ETH, SOL)
        run.exchange.delivers = False
        await first.send({"notice": "upgrade"})
        second = await run.exchange.session(1)
        await until_true(lambda: second.names)
        await second.send({"trade": "BTC", "n": 1})
        await until_true(lambda: run.pool.status().connections[1].state == "delivering")
        for _ in range(70):  # ETH comes on the old one alone
            await first.send({"trade": "ETH", "n": 2})
            await turns(20)
            await run.clock.advance(0.5)
            if 2 in run.owner.ended:
                break
        await run.ended(2, "unproven")
        assert first.is_open
        assert 1 not in run.owner.ended
        run.exchange.delivers = True
        await run.clock.advance(1)
        await run.delivering(ETH, SOL, number=2)
        await run.clock.advance(6)
        await run.ended(1, "notice")


async def test_the_old_connection_ends_while_the_new_one_is_not_ready() -> None:
    async with running(ETH, SOL) as run:
        first = await run.delivering(ETH, SOL)
        run.exchange.on_request = _say_nothing
        await first.send({"notice": "upgrade"})
        second = await run.exchange.session(1)
        await until_true(lambda: second.told)
        first.cut()
        await run.ended(1, "cut")
        await second.acknowledge(second.told[0])
        await run.delivering(ETH, SOL, number=1)
        await run.clock.advance(40)
        assert run.exchange.attempts == 2
        assert list(run.owner.ended) == [1]


async def test_topics_come_and_go_without_a_reconnect() -> None:
    async with running(ETH) as run:
        session = await run.delivering(ETH)
        run.pool.add([SOL, trade("XRP"), SOL])
        await run.delivering(ETH, SOL, trade("XRP"))
        run.pool.remove([ETH])
        await until_true(lambda: session.names == {"trade.BTC", "trade.SOL", "trade.XRP"})
        count = len(run.owner.events)
        await session.send({"trade": "ETH", "n": 8}, {"trade": "SOL", "n": 9})
        await until_true(lambda: len(run.owner.events) == count + 1)
        assert run.pool.status().unwanted == 1
        assert session.asked() == [["trade.BTC", "trade.ETH"], ["trade.SOL", "trade.XRP"]]
        assert session.asked("unsubscribe") == [["trade.ETH"]]
        assert run.owner.changes == [
            (1, {SOL, trade("XRP")}, set()),
            (1, set(), {ETH}),
        ]
        assert run.exchange.attempts == 1
        run.pool.set([trade("XRP"), trade("ADA")])
        names = {"trade.BTC", "trade.XRP", "trade.ADA"}
        await until_true(lambda: session.names == names)


async def test_a_topic_subscribed_anew() -> None:
    async with running(ETH, SOL) as run:
        session = await run.delivering(ETH, SOL)
        run.pool.subscribe_anew(ETH)
        await until_true(lambda: run.owner.symbols(1).count("ETH") == 2)
        assert session.asked("unsubscribe") == [["trade.ETH"]]
        assert session.asked()[1:] == [["trade.ETH"]]
        assert run.owner.changes == [(1, {ETH}, {ETH})]


async def test_topics_are_spread_over_connections_and_routes() -> None:
    topics = [trade(f"T{number}") for number in range(10)] + [candle("ETH")]
    async with running(*topics) as run:
        await until_true(lambda: run.pool.status().proven == 11)
        paths = sorted(session.path for session in run.exchange.sessions)
        assert paths == ["/candles", "/market", "/market"]
        for session in run.exchange.sessions:
            assert len(session.names) <= 8, "names_a_connection"
            heartbeat = "candle.BTC.5m" if session.path == "/candles" else "trade.BTC"
            assert heartbeat in session.names
            assert all(len(names) <= 3 for names in session.asked()), "names_a_request"
        status = run.pool.status()
        assert (status.topics, status.streams) == (11, 14)
        run.pool.remove([candle("ETH")])
        await until_true(lambda: len(run.exchange.open_sessions) == 2)
        assert run.pool.status().reconnects == {}


async def test_no_topic_is_added_if_one_is_unknown() -> None:
    async with running(ETH) as run:
        session = await run.delivering(ETH)
        with pytest.raises(ValueError, match="no funding SOL"):
            run.pool.add([SOL, Topic(Channel.FUNDING, "SOL")])
        assert session.names == {"trade.BTC", "trade.ETH"}
        assert run.pool.status().topics == 1


async def test_one_bad_name_is_found_and_the_others_are_subscribed() -> None:
    topics = [trade(symbol) for symbol in ("A", "BAD", "C", "D", "E")]

    def prepare(exchange: ScriptedExchange) -> None:
        exchange.unknown = {"trade.BAD"}

    async with running(*topics, prepare=prepare, silent_after_s=1e9) as run:
        await until_true(lambda: run.pool.status().proven == 4)
        session = run.exchange.sessions[0]
        await until_true(lambda: session.asked().count(["trade.BAD"]) == 1)
        await until_true(lambda: run.pool.status().refused == {"trade.BAD": "no trade.BAD"})
        await run.clock.advance(59)
        assert session.asked().count(["trade.BAD"]) == 1
        run.exchange.unknown.clear()  # it is listed now
        await run.clock.advance(2)
        await run.delivering(trade("BAD"))
        assert run.pool.status().refused == {}


async def test_requests_without_answers_end_the_connection() -> None:
    def mute(exchange: ScriptedExchange) -> None:
        exchange.on_request = _say_nothing

    async with running(ETH, prepare=mute) as run:
        session = await run.exchange.session(0)
        for number in range(3):
            await session.requested(number + 1)
            assert not run.owner.ended
            await run.clock.advance(5)
        await run.ended(1, "unanswered")
