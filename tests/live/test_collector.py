"""The base collector: what it tells, what it takes, and what users' code may lean on."""

import asyncio
import inspect
import json
from typing import Any

import pytest

from live.collector import BaseDataCollector
from live.data_types import DataType, DataValidationError, MarketDataPoint
from live.manager import CollectorManager
from metrics.collectors import CollectorMetrics
from tests.live.scripted_collector import (
    Exchange,
    ScriptedCollector,
    make_collector,
    statistics,
)
from tests.live.virtual_time import LoopClock, run_virtually, virtually


@virtually
async def test_the_status_has_the_documented_keys() -> None:
    collector, exchange, _ = make_collector()
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
    collector, exchange, taken = make_collector()
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


@virtually
async def test_a_callback_is_called_once_and_can_be_removed() -> None:
    collector, exchange, taken = make_collector()
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
    collector, exchange, _ = make_collector(metrics=metrics)
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
            make_collector(**given)

    run_virtually(test())


@virtually
async def test_a_candle_is_validated_with_the_market_in_the_error() -> None:
    collector, _, _ = make_collector()
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


class Plain(ScriptedCollector):
    """Its messages are processed by a plain function, and with more than the message."""

    def _process_message(  # type: ignore[override]
        self, message: str, number: int, *, of: str
    ) -> MarketDataPoint:
        return MarketDataPoint(message, of, number, DataType.TRADE, {})  # type: ignore[arg-type]


@virtually
async def test_messages_may_be_processed_by_a_plain_function() -> None:
    collector = Plain(Exchange(), LoopClock(asyncio.get_running_loop()))
    point = await collector._process_message("mine", 1795953600000, of="BTC")  # type: ignore[misc]
    assert (point.exchange, point.symbol) == ("mine", "BTC")
    assert statistics(collector)["messages_received"] == 1


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
