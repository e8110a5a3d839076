"""The base collector: its life through failures of every kind, and what it tells of itself."""

import asyncio
import inspect
import json
from typing import Any

import pytest

from live.collector import BaseDataCollector
from live.data_types import DataType, DataValidationError, MarketDataPoint
from live.manager import CollectorManager
from metrics.collectors import CollectorMetrics
from tests.live.scripted_collector import Exchange, Mood, ScriptedCollector
from tests.live.virtual_time import LoopClock, run_virtually, virtually

Made = tuple[ScriptedCollector, Exchange, list[tuple[str, int]]]


def make(**given: Any) -> Made:
    """A collector with a callback that keeps (symbol, number) of every point."""
    exchange, taken = Exchange(), list[tuple[str, int]]()
    collector = ScriptedCollector(exchange, LoopClock(asyncio.get_running_loop()), **given)

    async def take(point: MarketDataPoint) -> None:
        taken.append((point.symbol, point.data["n"]))

    collector.add_data_callback(DataType.TRADE, take)
    return collector, exchange, taken


def statistics(collector: ScriptedCollector) -> dict[str, Any]:
    found = collector.get_status()["statistics"]
    assert isinstance(found, dict)
    return found


@virtually
async def test_the_status_has_the_documented_keys() -> None:
    collector, exchange, _ = make()
    for _ in range(2):
        status = json.loads(json.dumps(collector.get_status()))
        assert set(status) >= {
            *("exchange", "status", "should_be_running", "symbols", "data_types"),
            *("auto_restart", "health", "statistics", "resources"),
        }
        assert set(status["health"]) == {
            *("time_since_heartbeat", "time_since_data", "max_silence_duration"),
        }
        assert set(status["statistics"]) >= {
            *("messages_received", "messages_processed", "errors", "restarts", "uptime_seconds"),
            *("reconnect_attempts", "last_message_time", "connection_uptime", "last_error"),
            "last_restart_time",
        }
        assert set(json.loads(json.dumps(collector.get_health_status()))) == {
            *("is_healthy", "issues", "status", "last_heartbeat", "last_data_received"),
            *("should_be_running", "is_running"),
        }
        await collector.start()
        exchange.messages.put_nowait(("BTC", 1))
        await asyncio.sleep(1)
    assert status["symbols"] == ["BTC", "ETH"]
    assert status["data_types"] == ["trade"]
    await collector.stop()


@virtually
async def test_a_collector_runs_and_stops() -> None:
    collector, exchange, taken = make()
    assert collector.get_status()["status"] == "stopped"
    assert await collector.start()
    assert await collector.start()  # it runs already
    assert collector.get_status()["status"] == "running"
    assert exchange.subscribed == {"BTC", "ETH"}
    for number in range(5):
        exchange.messages.put_nowait(("BTC", number))
    await asyncio.sleep(2.5)
    assert taken == [("BTC", number) for number in range(5)]
    told = statistics(collector)
    assert (told["messages_received"], told["messages_processed"], told["errors"]) == (5, 5, 0)
    assert told["uptime_seconds"] == pytest.approx(2.5)
    health = collector.get_status()["health"]
    assert health["time_since_data"] == pytest.approx(2.5)
    assert health["max_silence_duration"] == 300
    assert collector.get_health_status()["is_healthy"]
    await collector.stop()
    assert collector.get_status()["status"] == "stopped"
    assert collector.get_health_status()["issues"] == []
    assert exchange.open == 0


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
        collector, exchange, _ = make()
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
    collector, exchange, _ = make(auto_restart=False)
    exchange.moods["connect"] = "raise"
    assert not await collector.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert collector.get_status()["status"] == "error"
    exchange.moods["connect"] = "ok"
    assert await collector.start()
    await collector.stop()


@virtually
async def test_a_refused_subscription_is_a_failed_start() -> None:
    collector, exchange, _ = make(auto_restart=False)
    exchange.moods["subscribe"] = "false"
    assert not await collector.start()
    assert statistics(collector)["last_error"] == "scripted: subscribe_to_data() returned False"
    assert exchange.open == 0


@virtually
async def test_a_lost_connection_comes_back_with_its_callbacks() -> None:
    collector, exchange, taken = make()
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
    collector, exchange, _ = make()
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
    collector, exchange, _ = make()
    assert await collector.start()
    for _ in range(10):  # connects well, and is cut at once
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
    collector, exchange, _ = make(auto_restart=False, max_reconnect_attempts=3)
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
    collector, exchange, _ = make(max_silence_duration=100, default_health_check_interval=10)
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
    collector, exchange, _ = make(auto_restart=False, max_silence_duration=100)
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
    collector, exchange, _ = make(max_silence_duration=100, auto_restart=False)
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
    collector, exchange, taken = make()
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
    collector, exchange, _ = make()

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


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("mood", ["raise", "hang", "deaf"])
def test_a_disconnect_that_fails_does_not_hold_up_a_stop(mood: Mood, force: bool) -> None:
    async def test() -> None:
        collector, exchange, _ = make()
        assert await collector.start()
        exchange.moods["disconnect"] = mood
        began = asyncio.get_running_loop().time()
        await collector.stop(force=force)
        assert asyncio.get_running_loop().time() - began <= (5 if force else 30)
        assert collector.get_status()["status"] == "stopped"
        stuck = collector.get_status()["resources"]["stuck_calls"]
        assert stuck == (1 if mood == "deaf" else 0)
        exchange.released.set()
        await asyncio.sleep(1)
        assert collector.get_status()["resources"]["stuck_calls"] == 0
        # And the callbacks are still there.
        exchange.moods["disconnect"] = "ok"
        assert await collector.start()
        assert [len(found) for found in collector._data_callbacks.values()] == [0, 1, 0, 0, 0]
        await collector.stop()

    virtually(test)()


@virtually
async def test_calls_that_ignore_their_end_do_not_pile_up() -> None:
    collector, exchange, _ = make(reconnect_delay=1)
    exchange.moods["connect"] = "deaf"
    assert not await collector.start()
    await asyncio.sleep(24 * 3600)
    assert collector.get_status()["resources"]["stuck_calls"] == 10
    assert exchange.calls["connect"] == 10
    assert "earlier calls ignored their end" in statistics(collector)["last_error"]
    await collector.stop()
    exchange.released.set()
    await asyncio.sleep(1)


@pytest.mark.parametrize("what", ["connect", "subscribe"])
def test_a_stop_aborts_a_start(what: str) -> None:
    async def test() -> None:
        collector, exchange, _ = make()
        exchange.moods[what] = "hang"
        starting = asyncio.create_task(collector.start())
        await asyncio.sleep(5)
        await collector.stop()
        assert asyncio.get_running_loop().time() == 1005
        assert await starting is False
        assert collector.get_status()["status"] == "stopped"
        assert not collector.get_status()["should_be_running"]
        assert exchange.open == 0

    virtually(test)()


@virtually
async def test_a_start_closes_what_an_attempt_in_the_background_had_opened() -> None:
    collector, exchange, _ = make()
    exchange.moods["subscribe"] = "hang"
    assert not await collector.start()
    await asyncio.sleep(10)  # after a pause of at most 5 s: connected, and subscribing for ever
    assert exchange.open == 1
    exchange.moods["subscribe"] = "ok"
    assert await collector.start()
    assert exchange.most_open == 1
    await collector.stop()


@virtually
async def test_a_restart_keeps_the_attempts_and_a_stop_forgets_them() -> None:
    collector, exchange, _ = make()
    assert await collector.start()
    exchange.moods["connect"] = "raise"
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(600)
    attempts = statistics(collector)["reconnect_attempts"]
    assert attempts > 5
    assert not await collector.restart()
    assert statistics(collector)["reconnect_attempts"] == attempts
    assert not collector.get_health_status()["is_healthy"]
    await collector.stop()
    assert statistics(collector)["reconnect_attempts"] == 0


@virtually
async def test_points_after_a_stop_are_counted_and_not_delivered() -> None:
    collector, exchange, taken = make()
    assert await collector.start()
    await collector.stop()
    point = await collector._process_message(("BTC", 1))
    await collector._notify_callbacks(point)
    assert statistics(collector)["ignored_too_late"] == 1
    assert collector.get_status()["resources"]["queued_points"] == 0
    assert await collector.start()
    exchange.messages.put_nowait(("BTC", 2))
    await asyncio.sleep(1)
    assert taken == [("BTC", 2)]
    await collector.stop()


@virtually
async def test_a_cancelled_start_leaves_nothing() -> None:
    collector, exchange, _ = make()
    exchange.moods["subscribe"] = "hang"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(collector.start(), 5)
    assert collector.get_status()["status"] == "stopped"
    assert exchange.open == 0


@virtually
async def test_many_starts_and_stops_at_once_make_one_connection() -> None:
    collector, exchange, _ = make()
    assert await asyncio.gather(*(collector.start() for _ in range(5))) == [True] * 5
    assert exchange.calls["connect"] == 1
    await asyncio.gather(*(collector.stop() for _ in range(5)))
    assert exchange.open == 0
    await asyncio.gather(collector.restart(), collector.start(), collector.restart())
    assert exchange.most_open == 1
    await collector.stop()


@virtually
async def test_a_restart_makes_a_new_connection() -> None:
    collector, exchange, taken = make()
    assert await collector.start()
    assert await collector.restart()
    exchange.messages.put_nowait(("ETH", 1))
    await asyncio.sleep(1)
    assert taken == [("ETH", 1)]
    assert exchange.calls["connect"] == 2
    told = statistics(collector)
    assert told["restarts"] == 1
    assert told["last_restart_time"] is not None
    await collector.stop()


@pytest.mark.parametrize("where", ["callback", "handler"])
def test_it_may_be_stopped_from_within(where: str) -> None:
    async def test() -> None:
        collector, exchange, _ = make()

        async def stop(_: MarketDataPoint) -> None:
            await collector.stop()

        if where == "callback":
            collector.add_data_callback(DataType.TRADE, stop)
        else:
            collector._notify_callbacks = stop  # type: ignore[assignment,method-assign]
        assert await collector.start()
        exchange.messages.put_nowait(("BTC", 1))
        await asyncio.sleep(1)
        assert collector.get_status()["status"] == "stopped"
        assert exchange.open == 0

    virtually(test)()


@virtually
async def test_what_was_read_reaches_the_callbacks_before_a_stop_ends() -> None:
    collector, exchange, _ = make()
    taken: list[int] = []

    async def slow(point: MarketDataPoint) -> None:
        await asyncio.sleep(0.01)
        taken.append(point.data["n"])

    collector.add_data_callback("trade", slow)
    assert await collector.start()
    for number in range(100):
        exchange.messages.put_nowait(("BTC", number))
    await asyncio.sleep(0.005)
    await collector.stop()
    assert taken == list(range(100))
    assert collector.get_status()["resources"]["dropped_points"] == 0


@virtually
async def test_symbols_are_added_and_removed_while_it_waits_for_a_message() -> None:
    collector, exchange, taken = make()
    assert await collector.start()
    collector.add_symbol("SOL")
    collector.add_symbol("SOL")
    collector.remove_symbol("BTC")
    status = collector.get_status()
    assert status["symbols"] == ["ETH", "SOL"]
    assert status["pending"] == {"subscribe": ["SOL"], "unsubscribe": ["BTC"]}
    await asyncio.sleep(1.5)
    assert exchange.subscribed == {"ETH", "SOL"}
    assert collector.get_status()["pending"] == {"subscribe": [], "unsubscribe": []}
    for symbol in ("BTC", "SOL"):  # an exchange sends what was unsubscribed for a while
        exchange.messages.put_nowait((symbol, 1))
    await asyncio.sleep(1)
    assert taken == [("SOL", 1)]
    assert statistics(collector)["ignored_too_late"] == 1
    collector.add_symbol("BTC")
    await asyncio.sleep(1.5)
    exchange.messages.put_nowait(("BTC", 2))
    await asyncio.sleep(1)
    assert taken == [("SOL", 1), ("BTC", 2)]
    assert exchange.calls["connect"] == 1
    await collector.stop()


@virtually
async def test_a_busy_loop_changes_symbols_between_two_messages() -> None:
    collector, exchange, _ = make()
    assert await collector.start()
    collector.add_symbol("SOL")
    await asyncio.sleep(0)  # the loop hears of it
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(0.01)
    assert exchange.subscribed == {"BTC", "ETH", "SOL"}
    await collector.stop()


@virtually
async def test_a_refused_symbol_stays_pending_and_harms_nothing() -> None:
    collector, exchange, taken = make()
    assert await collector.start()
    exchange.moods["subscribe"] = "false"
    collector.add_symbol("NONE")
    for _ in range(20):
        exchange.messages.put_nowait(("BTC", 1))
        await asyncio.sleep(30)
    assert len(taken) == 20
    assert collector.get_status()["pending"]["subscribe"] == ["NONE"]
    # After 1, 2, 4 ... 32 s and then every minute: the 600 s hold 6 and about 9.
    assert 12 <= exchange.calls["subscribe"] - 1 <= 17
    exchange.moods["subscribe"] = "ok"
    await asyncio.sleep(62)
    assert exchange.subscribed == {"BTC", "ETH", "NONE"}
    assert exchange.calls["connect"] == 1
    await collector.stop()


@virtually
async def test_a_list_of_symbols_that_the_user_changed_is_noticed() -> None:
    collector, exchange, _ = make()
    assert await collector.start()
    collector.symbols.append("SOL")
    await asyncio.sleep(31)
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(2)
    assert exchange.subscribed == {"BTC", "ETH", "SOL"}
    await collector.stop()


@virtually
async def test_symbols_changed_while_stopped_are_subscribed_at_the_start() -> None:
    collector, exchange, _ = make()
    collector.remove_symbol("BTC")
    collector.add_symbol("SOL")
    assert await collector.start()
    assert exchange.subscribed == {"ETH", "SOL"}
    await collector.stop()


@virtually
async def test_users_may_override_the_reconnecting() -> None:
    collector, exchange, taken = make()
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
    collector, exchange, taken = make()
    assert await collector.start()
    exchange.messages.put_nowait(asyncio.CancelledError())
    await asyncio.sleep(6)
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    assert taken == [("BTC", 1)]
    assert statistics(collector)["restarts"] == 1
    await collector.stop()


@virtually
async def test_a_callback_is_called_once_and_can_be_removed() -> None:
    collector, exchange, taken = make()
    (callback,) = collector._data_callbacks[DataType.TRADE]
    collector.add_data_callback("trade", callback)
    assert await collector.start()
    exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    assert taken == [("BTC", 1)]
    collector.remove_data_callback(DataType.TRADE, callback)
    await collector.restart()  # what is removed does not come back with a new connection
    exchange.messages.put_nowait(("BTC", 2))
    await asyncio.sleep(1)
    assert taken == [("BTC", 1)]
    await collector.stop()


@virtually
async def test_what_it_counts_is_in_the_metrics() -> None:
    metrics = CollectorMetrics()
    collector, exchange, _ = make(metrics=metrics)
    assert await collector.start()
    for _ in range(3):
        exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(20)

    def told(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"exchange": "scripted"} | labels)

    assert told("collector_messages_total", symbol="BTC", type="trade") == 3
    assert told("collector_uptime_seconds") == 20
    exchange.moods["connect"] = "raise"
    exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(2)
    assert told("collector_uptime_seconds") == 0
    assert (told("collector_errors_total", error_type="connection") or 0) >= 1
    assert told("collector_errors_total", error_type="silence") == 0
    await collector.stop()


def test_a_program_that_ends_without_a_stop_still_disconnects() -> None:
    exchange = Exchange()

    async def program() -> ScriptedCollector:
        collector = ScriptedCollector(exchange, LoopClock(asyncio.get_running_loop()))
        assert await collector.start()
        return collector

    collector = asyncio.run(program())
    assert exchange.open == 0
    assert collector.get_status()["status"] == "stopped"

    async def again() -> None:
        assert await collector.start()
        await collector.stop()

    asyncio.run(again())
    assert exchange.calls["connect"] == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"symbols": "BTC-USDT"}, "must be a list"),
        ({"symbols": [None]}, "symbol: None"),
        ({"name": ""}, "exchange_name"),
    ],
)
def test_arguments_that_cannot_be_are_refused(given: dict[str, Any], words: str) -> None:
    async def test() -> None:
        with pytest.raises(DataValidationError, match=words):
            make(**given)

    run_virtually(test())


@virtually
async def test_a_candle_is_validated_with_the_market_in_the_error() -> None:
    collector, _, _ = make()
    data = {
        "timestamp": 1795953600000,
        "open": 1,
        "high": "3.50",
        "low": 1,
        "close": 2,
        "volume": 9,
    }
    candle = collector.validate_ohlcv_data(data, "BTC-USDT", "5m")
    assert (str(candle.high), candle.closed) == ("3.50", None)
    extra = {"closed": True, "turnover": "12.5", "close_time": 1795953899999, "other": 1}
    assert collector.validate_ohlcv_data(data | extra, "BTC-USDT", "5m").closed is True
    with pytest.raises(
        DataValidationError, match="scripted:BTC-USDT 5m: there is no close, volume"
    ):
        collector.validate_ohlcv_data(data | {"volume": None, "close": None}, "BTC-USDT", "5m")
    with pytest.raises(DataValidationError, match=r"BTC-USDT 5m: high: 0\.5 is below"):
        collector.validate_ohlcv_data(data | {"high": "0.5"}, "BTC-USDT", "5m")


class Simplest(ScriptedCollector):
    """Leans on the base class wherever users' code may."""

    async def disconnect(self) -> None:
        await BaseDataCollector.disconnect(self)

    async def _process_message(self, message: Any) -> MarketDataPoint | None:
        return await BaseDataCollector._process_message(self, message)


@virtually
async def test_the_base_class_passes_points_on_and_has_no_others() -> None:
    collector = Simplest(Exchange(), LoopClock(asyncio.get_running_loop()))
    point = MarketDataPoint("scripted", "BTC", 1795953600000, DataType.TRADE, {})  # type: ignore[arg-type]
    assert await collector._process_message(point) is point
    assert await collector._process_message({"symbol": "BTC"}) is None
    await collector._notify_callbacks(None)
    with pytest.raises(DataValidationError, match="is no MarketDataPoint"):
        await collector._notify_callbacks({"symbol": "BTC"})  # type: ignore[arg-type]
    told = statistics(collector)
    assert (told["messages_received"], told["messages_processed"]) == (2, 0)
    await collector.stop()
    with pytest.raises(TypeError, match="abstract"):
        BaseDataCollector("okx", ["BTC-USDT"])  # type: ignore[abstract]


def test_the_constructors_take_what_is_documented_in_its_order() -> None:
    documented = {
        BaseDataCollector: [
            *("exchange_name", "symbols", "data_types", "component_name", "auto_restart"),
            "health_check_interval",
        ],
        CollectorManager: ["manager_name", "global_health_check_interval", "restart_delay"],
    }
    for kind, names in documented.items():
        parameters = list(inspect.signature(kind).parameters.values())
        positional = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        assert positional == names
