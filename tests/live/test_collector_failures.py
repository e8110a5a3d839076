"""Failures of collectors: starts, lost connections, silence, and the pace of coming back."""

import asyncio
import logging

import pytest

from tests.live.scripted_collector import (
    Mood,
    make_collector,
    statistics,
)
from tests.live.virtual_time import virtually


@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ("false", "scripted: connect() returned False"),
        ("raise", "scripted: connect() failed: OSError: connect is not possible"),
        ("hang", "scripted: connect() failed: TimeoutError: connect() took more than 30 s"),
        ("deaf", "scripted: connect() failed: TimeoutError: connect() took more than 30 s"),
    ],
)
def test_a_start_that_fails_says_why_and_goes_on_trying(mood: Mood, why: str) -> None:
    async def test() -> None:
        collector, exchange, _ = make_collector()
        exchange.moods["connect"] = mood
        assert not await collector.start()
        assert collector.get_status()["status"] == "error"
        assert statistics(collector)["last_error"] == why
        assert not collector.get_health_status()["is_healthy"]
        exchange.moods["connect"] = "ok"
        exchange.released.set()
        await asyncio.sleep(10)
        assert collector.get_status()["status"] == "running"
        assert exchange.most_open == 1
        await collector.stop()

    virtually(test)()


@virtually
async def test_without_automatic_restarts_a_failed_start_is_the_end() -> None:
    collector, exchange, _ = make_collector(auto_restart=False)
    exchange.moods["connect"] = "raise"
    assert not await collector.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert collector.get_status()["status"] == "error"
    exchange.moods["connect"] = "ok"
    assert await collector.start()
    await collector.stop()


@virtually
async def test_a_refused_subscription_is_a_failed_start() -> None:
    collector, exchange, _ = make_collector(auto_restart=False)
    exchange.moods["subscribe"] = "false"
    assert not await collector.start()
    assert statistics(collector)["last_error"] == "scripted: subscribe_to_data() returned False"
    assert exchange.open == 0


@virtually
async def test_a_lost_connection_comes_back_with_its_callbacks() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    for number in range(4):
        exchange.messages.put_nowait(("BTC", number))
        exchange.messages.put_nowait(ConnectionError("cut"))
        await asyncio.sleep(70)  # the slowest pause, and some
    assert taken == [("BTC", number) for number in range(4)]
    told = statistics(collector)
    assert (told["restarts"], told["errors"]) == (4, 4)
    assert told["last_error"] == "scripted: _handle_messages() failed: ConnectionError: cut"
    assert exchange.most_open == 1
    await collector.stop()


@virtually
async def test_pauses_grow_to_a_minute_and_never_end() -> None:
    collector, exchange, _ = make_collector()
    assert await collector.start()
    exchange.moods["connect"] = "raise"
    exchange.messages.put_nowait(ConnectionError("cut"))
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(12 * 3600)
    times = exchange.connects[1:]
    pauses = [after - before for before, after in zip([began, *times], times, strict=False)]
    for pause, most in zip(pauses, [5, 10, 20, 40, *[60] * len(pauses)], strict=False):
        assert 1 <= pause <= most
    # Half a day of pauses between 1 and 60 s; their mean is 30.5 s, give or take 3 (six times its
    # standard deviation).
    assert 12 * 3600 / 33.5 < len(pauses) < 12 * 3600 / 27.5
    assert max(pauses) > 50
    assert collector.get_status()["status"] == "error"
    (_, attempts) = collector.get_health_status()["issues"]
    assert "more than 5; it goes on at the slowest pace" in attempts
    exchange.moods["connect"] = "ok"
    await asyncio.sleep(61)
    assert collector.get_status()["status"] == "running"
    await collector.stop()


@virtually
async def test_only_a_minute_of_data_makes_the_pauses_short_again() -> None:
    collector, exchange, _ = make_collector()
    assert await collector.start()
    for _ in range(10):  # connects well, brings a message, and is cut at once
        exchange.messages.put_nowait(("BTC", 1))
        exchange.messages.put_nowait(ConnectionError("cut"))
        await asyncio.sleep(61)
    assert statistics(collector)["reconnect_attempts"] == 10
    assert not collector.get_health_status()["is_healthy"]
    for _ in range(130):
        exchange.messages.put_nowait(("BTC", 1))
        await asyncio.sleep(1)
    assert statistics(collector)["reconnect_attempts"] == 0
    assert collector.get_health_status()["is_healthy"]
    began = asyncio.get_running_loop().time()
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(61)
    assert exchange.connects[-1] - began <= 5
    await collector.stop()


@virtually
async def test_without_automatic_restarts_it_gives_up_after_the_attempts() -> None:
    collector, exchange, _ = make_collector(auto_restart=False, max_reconnect_attempts=3)
    assert await collector.start()
    exchange.moods["connect"] = "raise"
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(3600)
    assert exchange.calls["connect"] == 1 + 3
    assert collector.get_status()["status"] == "error"
    assert not collector.get_health_status()["is_running"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtually
async def test_silence_of_all_symbols_together_is_a_lost_connection() -> None:
    collector, exchange, _ = make_collector(
        max_silence_duration=100, default_health_check_interval=10
    )
    assert await collector.start()
    for number in range(30):  # one of the two symbols is quiet, which is normal
        exchange.messages.put_nowait(("BTC", number))
        await asyncio.sleep(30)
    assert exchange.calls["connect"] == 1
    await asyncio.sleep(60)
    assert collector.get_health_status()["is_healthy"]
    await asyncio.sleep(60)
    assert exchange.calls["connect"] == 2
    told = statistics(collector)
    assert told["restarts"] == 1
    assert told["last_error"] == "scripted: no data for 110 s"
    await collector.stop()


@virtually
async def test_a_silent_collector_without_automatic_restarts_tells_it_and_waits() -> None:
    collector, exchange, _ = make_collector(auto_restart=False, max_silence_duration=100)
    assert await collector.start()
    await asyncio.sleep(1000)
    assert collector.get_status()["status"] == "unhealthy"
    health = collector.get_health_status()
    assert health["issues"][0].startswith("no data for 1000 s, the limit is 100 s")
    assert statistics(collector)["errors"] == 1
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    assert collector.get_status()["status"] == "running"
    assert exchange.calls["connect"] == 1
    await collector.stop()


@virtually
async def test_inbound_bytes_are_a_heartbeat_and_no_data() -> None:
    collector, exchange, _ = make_collector(max_silence_duration=100, auto_restart=False)
    assert await collector.start()
    await asyncio.sleep(200)
    collector._note_inbound()
    await asyncio.sleep(20)
    assert collector.get_status()["health"]["time_since_heartbeat"] == pytest.approx(20)
    assert collector.get_health_status()["issues"] == ["no data for 220 s, the limit is 100 s"]
    await collector.stop()
    assert exchange.calls["connect"] == 1


@virtually
async def test_messages_that_cannot_be_handled_cost_the_connection_alone() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    exchange.messages.put_nowait("no pair")  # _process_message raises
    await asyncio.sleep(6)
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    assert taken == [("BTC", 1)]
    told = statistics(collector)
    assert told["errors_by_type"] == {"message": 1}
    assert (told["messages_received"], told["messages_processed"]) == (2, 1)
    await collector.stop()


@virtually
async def test_a_loop_that_never_waits_lets_others_run() -> None:
    collector, exchange, _ = make_collector()

    async def spin() -> None:
        rounds.append(1)

    rounds: list[int] = []
    collector._handle_messages = spin  # type: ignore[method-assign]
    assert await collector.start()
    for _ in range(10):
        await asyncio.sleep(0)
    assert rounds
    await collector.stop()
    assert exchange.open == 0


@virtually
async def test_calls_that_ignore_their_end_do_not_pile_up() -> None:
    collector, exchange, _ = make_collector(reconnect_delay=1)
    exchange.moods["connect"] = "deaf"
    assert not await collector.start()
    await asyncio.sleep(24 * 3600)
    assert collector.get_status()["resources"]["stuck_calls"] == 10
    assert exchange.calls["connect"] == 10
    assert "earlier calls ignored their end" in statistics(collector)["last_error"]
    await collector.stop()
    exchange.released.set()
    await asyncio.sleep(1)


@virtually
async def test_users_may_override_the_reconnecting() -> None:
    collector, exchange, taken = make_collector()
    base, seen = collector._handle_connection_error, list[bool]()

    async def counted() -> bool:
        seen.append(await base())
        return seen[-1]

    collector._handle_connection_error = counted  # type: ignore[method-assign]
    assert await collector.start()
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(10)
    assert seen == [True]

    async def refuses() -> bool:
        refused.append(asyncio.get_running_loop().time())
        return False

    refused: list[float] = []
    collector._handle_connection_error = refuses  # type: ignore[method-assign]
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(3600)
    assert 40 < len(refused) < 240  # it is asked again at our pace, not at once
    await collector.stop()
    assert taken == []


@virtually
async def test_a_handler_that_is_cancelled_by_others_counts_as_lost() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    exchange.messages.put_nowait(asyncio.CancelledError())
    await asyncio.sleep(6)
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    assert taken == [("BTC", 1)]
    assert statistics(collector)["restarts"] == 1
    await collector.stop()


@virtually
async def test_a_fault_of_ours_is_told_and_ends_nothing() -> None:
    collector, exchange, taken = make_collector()
    assert await collector.start()
    record = collector._base.record

    def fails() -> None:
        del vars(record)["restarted"]
        raise RuntimeError("of ours")

    vars(record)["restarted"] = fails
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(1)
    assert collector.get_status()["status"] == "error"
    assert statistics(collector)["last_error"] == (
        "scripted: the collector failed: RuntimeError: of ours"
    )
    assert exchange.open == 0
    await asyncio.sleep(120)
    assert collector.get_status()["status"] == "running"
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    assert taken == [("BTC", 1)]
    await collector.stop()


class _Lines(logging.Handler):
    """Keeps lines, and fails with each."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        raise RuntimeError("the disk is full")


@virtually
async def test_a_logger_of_the_users_own_gets_the_lines_and_ends_nothing() -> None:
    collector, exchange, taken = make_collector()
    logger, lines = logging.Logger("mine"), _Lines()
    logger.addHandler(lines)
    collector.logger = logger  # type: ignore[assignment]  # as users may do
    assert await collector.start()
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(60)
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    assert taken == [("BTC", 1)]
    assert "connected symbols=2" in lines.lines
    collector.logger = None  # type: ignore[assignment]
    await collector.stop()
    assert "stopped" not in lines.lines
