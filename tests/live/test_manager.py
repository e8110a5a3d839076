"""The manager: many collectors by name, of which none takes another down."""

import asyncio
import json
from typing import Any

import pytest

from live.data_types import CollectorConfig, DataType, DataValidationError, MarketDataPoint
from live.manager import CollectorManager
from metrics.collectors import CollectorMetrics
from tests.fixtures.signals import until_true
from tests.live.scripted_collector import Exchange, Mood, ScriptedCollector
from tests.live.virtual_time import LoopClock, virtually


def make_manager(**given: Any) -> CollectorManager:
    return CollectorManager("test", clock=LoopClock(asyncio.get_running_loop()), **given)


def make(name: str, **given: Any) -> ScriptedCollector:
    return ScriptedCollector(Exchange(), LoopClock(asyncio.get_running_loop()), name, **given)


def config(name: str, **given: Any) -> CollectorConfig:
    whole: dict[str, Any] = {"exchange": name, "symbols": [], "data_types": []}
    return CollectorConfig(name, **whole | given)


@virtually
async def test_the_status_has_the_documented_keys() -> None:
    manager = make_manager()
    manager.add_collector(make("okx"), config("okx_main", exchange="okx"))
    for _ in range(2):
        status = json.loads(json.dumps(manager.get_status()))
        assert set(status["statistics"]) >= {"restarts_performed", "failed_collectors"}
        assert status["statistics"]["total_collectors"] == 1
        one = json.loads(json.dumps(manager.get_collector_status("okx_main")))
        assert one["status"]["exchange"] == "okx"
        assert one["config"]["name"] == "okx_main"
        assert one["health"]["is_healthy"] is True
        await manager.start()
    assert status["collectors"]["okx_main"]["status"]["statistics"]["errors"] == 0
    assert manager.get_collector_status("other") is None
    await manager.stop()


@virtually
async def test_collectors_start_in_order_and_stop_in_reverse() -> None:
    manager, order = make_manager(), list[str]()
    for name in ("a", "b", "c"):
        collector = make(name)
        start, stop = collector.start, collector.stop

        async def started(name: str = name, start: Any = start) -> bool:
            order.append(f"start {name}")
            return bool(await start())

        async def stopped(force: bool = False, name: str = name, stop: Any = stop) -> None:
            order.append(f"stop {name}")
            await stop(force)

        collector.start = started  # type: ignore[method-assign]
        collector.stop = stopped  # type: ignore[method-assign]
        manager.add_collector(collector)
    assert await manager.start()
    assert manager.get_running_collectors() == ["a", "b", "c"]
    await manager.stop()
    assert manager.get_running_collectors() == []
    assert order == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


@virtually
async def test_a_configuration_decides_over_its_collector() -> None:
    manager = make_manager()
    collector = make("okx")
    manager.add_collector(
        collector,
        CollectorConfig(
            name="primary_okx",
            exchange="okx",
            symbols=["BTC-USDT", "SOL-USDT"],
            data_types=["ticker", "trade"],
            auto_restart=False,
            health_check_interval=20.0,
            enabled=False,
        ),
    )
    assert await manager.start()  # there is nothing to run
    status = collector.get_status()
    assert status["status"] == "stopped"
    assert status["symbols"] == ["BTC-USDT", "SOL-USDT"]
    assert status["data_types"] == ["ticker", "trade"]
    assert status["auto_restart"] is False
    assert collector.health_check_interval == 20
    assert manager.enable_collector("primary_okx")
    await asyncio.sleep(1)
    assert collector.exchange.subscribed == {"BTC-USDT", "SOL-USDT"}
    assert manager.disable_collector("primary_okx")
    await asyncio.sleep(1)
    assert collector.get_status()["status"] == "stopped"
    assert collector.exchange.open == 0
    assert not manager.enable_collector("other")
    assert not manager.disable_collector("other")
    await manager.stop()


@virtually
async def test_a_running_collector_takes_a_configuration_over() -> None:
    manager, collector = make_manager(), make("okx", symbols=("BTC",))
    assert await collector.start()
    manager.add_collector(collector, config("okx", symbols=["ETH"], data_types=["ticker"]))
    assert await manager.start()
    await asyncio.sleep(2)
    assert collector.exchange.subscribed == {"ETH"}
    assert collector.exchange.calls["connect"] == 1
    await manager.stop()
    assert collector.exchange.open == 0


@virtually
async def test_names_are_given_and_unique() -> None:
    manager = make_manager()
    collector = make("okx")
    manager.add_collector(collector)
    manager.add_collector(make("okx"))
    manager.add_collector(make("okx"), config("main"))
    assert manager.list_collectors() == ["okx", "okx_2", "main"]
    with pytest.raises(DataValidationError, match="there is a collector main already"):
        manager.add_collector(make("okx"), config("main"))
    with pytest.raises(DataValidationError, match="was added before"):
        manager.add_collector(collector, config("again"))
    with pytest.raises(DataValidationError, match="must be made from BaseDataCollector"):
        manager.add_collector("okx")  # type: ignore[arg-type]
    assert manager.list_collectors() == ["okx", "okx_2", "main"]


BROKEN: list[tuple[str, Mood]] = [
    *(("connect", mood) for mood in ("false", "raise", "hang", "deaf")),
    *(("subscribe", mood) for mood in ("raise", "hang", "deaf")),
    *(("disconnect", mood) for mood in ("raise", "hang", "deaf")),
    *(("process", mood) for mood in ("raise", "hang", "deaf")),
]


@pytest.mark.parametrize(("what", "mood"), BROKEN)
def test_a_broken_collector_takes_no_other_down(what: str, mood: Mood) -> None:
    async def test() -> None:
        manager = make_manager()
        first, broken, last = make("first"), make("broken"), make("last")
        taken: list[str] = []

        async def take(point: MarketDataPoint) -> None:
            taken.append(point.exchange)

        for collector in (first, broken, last):
            collector.add_data_callback(DataType.TRADE, take)
            manager.add_collector(collector)
        broken.exchange.moods[what] = mood
        assert await manager.start()
        for _ in range(20):
            for collector in (first, broken, last):
                collector.exchange.messages.put_nowait(("BTC", 1))
            await asyncio.sleep(30)
        assert taken.count("first") == taken.count("last") == 20
        assert {"first", "last"} <= set(manager.get_running_collectors())
        if what in ("connect", "subscribe"):
            assert manager.get_failed_collectors() == ["broken"]
            assert manager.get_status()["statistics"]["failed_collectors"] == 1
            assert manager.get_status()["statistics"]["restarts_performed"] >= 1
        assert first.exchange.calls["connect"] == last.exchange.calls["connect"] == 1
        began = asyncio.get_running_loop().time()
        await manager.stop()
        assert asyncio.get_running_loop().time() - began <= 60
        assert first.exchange.open == last.exchange.open == 0
        broken.exchange.released.set()
        await asyncio.sleep(5)

    virtually(test)()


@virtually
async def test_methods_that_users_override_may_raise_and_hang() -> None:
    manager = make_manager()
    well, odd = make("well"), make("odd")

    async def hang(*_: object) -> bool:
        await asyncio.Event().wait()
        return True

    def fail() -> dict[str, Any]:
        raise KeyError("statistics")

    odd.start, odd.stop = hang, hang  # type: ignore[assignment,method-assign]
    odd.restart = hang  # type: ignore[method-assign]
    odd.get_status = odd.get_health_status = fail  # type: ignore[method-assign]
    manager.add_collector(odd)
    manager.add_collector(well)
    began = asyncio.get_running_loop().time()
    assert await manager.start()
    assert asyncio.get_running_loop().time() - began == pytest.approx(10)
    assert manager.get_running_collectors() == ["well"]
    assert manager.get_status()["collectors"]["odd"]["status"]["error"] == "KeyError: 'statistics'"
    assert not await manager.restart_collector("odd")
    await manager.stop()
    assert asyncio.get_running_loop().time() - began <= 10 + 75 + 110 + 60
    assert well.exchange.open == 0


@virtually
async def test_a_start_in_which_all_fail_says_so_and_goes_on() -> None:
    manager, collector = make_manager(), make("okx")
    collector.exchange.moods["connect"] = "raise"
    manager.add_collector(collector)
    assert not await manager.start()
    assert manager.get_failed_collectors() == ["okx"]
    collector.exchange.moods["connect"] = "ok"
    await asyncio.sleep(65)
    assert manager.get_running_collectors() == ["okx"]
    await manager.stop()


@virtually
async def test_collectors_come_and_go_while_it_runs() -> None:
    manager = make_manager()
    assert await manager.start()
    late = make("late")
    manager.add_collector(late)
    await asyncio.sleep(1)
    assert manager.get_running_collectors() == ["late"]
    assert manager.remove_collector("late")
    assert not manager.remove_collector("late")
    assert manager.list_collectors() == []
    await asyncio.sleep(1)
    assert late.exchange.open == 0
    slow = make("slow")
    manager.add_collector(slow)
    await asyncio.sleep(1)
    slow.exchange.moods["disconnect"] = "hang"
    manager.remove_collector("slow")
    await manager.stop()  # waits for what was removed, too
    assert slow.get_status()["status"] == "stopped"


async def test_what_another_thread_asks_for_is_done_by_the_loop() -> None:
    manager, collector = make_manager(), make("okx")
    manager.add_collector(collector, config("okx", enabled=False))
    assert await manager.start()
    assert await asyncio.to_thread(manager.enable_collector, "okx")
    await until_true(lambda: manager.get_running_collectors() == ["okx"])
    await asyncio.to_thread(collector.add_symbol, "SOL")
    collector.exchange.messages.put_nowait(("BTC", 1))
    await until_true(lambda: collector.exchange.subscribed == {"BTC", "ETH", "SOL"})
    assert await asyncio.to_thread(manager.remove_collector, "okx")
    await until_true(lambda: collector.get_status()["status"] == "stopped")
    await manager.stop()


@virtually
async def test_one_collector_is_restarted_at_once() -> None:
    manager = make_manager()
    first, second = make("first"), make("second")
    manager.add_collector(first)
    manager.add_collector(second, config("second", enabled=False))
    assert not await manager.restart_collector("first")  # the manager does not run
    assert await manager.start()
    assert await manager.restart_collector("first")
    assert first.exchange.calls["connect"] == 2
    assert not await manager.restart_collector("second")
    assert not await manager.restart_collector("third")
    assert manager.get_status()["statistics"]["restarts_performed"] == 1
    await manager.stop()


@virtually
async def test_all_are_restarted_one_each_delay() -> None:
    manager = make_manager(restart_delay=10.0)
    collectors = [make(name) for name in ("a", "b", "c")]
    for collector in collectors:
        manager.add_collector(collector)
    assert await manager.start()
    collectors[1].exchange.moods["connect"] = "raise"
    began = asyncio.get_running_loop().time()
    assert await manager.restart_all_collectors() == {"a": True, "b": False, "c": True}
    again = [collector.exchange.connects[1] - began for collector in collectors]
    assert again == pytest.approx([0, 10, 20])
    await manager.stop()


@virtually
async def test_a_collector_that_gave_up_is_restarted_unless_it_does_without() -> None:
    manager = make_manager(global_health_check_interval=100.0)
    healing, ending = make("healing"), make("ending", auto_restart=False)
    manager.add_collector(healing)
    manager.add_collector(ending)
    assert await manager.start()
    for collector in (healing, ending):
        collector.exchange.moods["connect"] = "raise"
        collector.exchange.messages.put_nowait(ConnectionError("cut"))
    await asyncio.sleep(1000)
    statistics = manager.get_status()["statistics"]
    assert statistics["failed_collectors"] == 2
    # Its own attempts, once a minute at most, and those of the manager.
    assert 5 <= statistics["restarts_performed"] <= 10
    assert 10 <= healing.exchange.calls["connect"] <= 60
    assert ending.exchange.calls["connect"] == 1 + 5
    assert statistics["last_global_check"] is not None
    for collector in (healing, ending):
        collector.exchange.moods["connect"] = "ok"
    await asyncio.sleep(200)
    assert manager.get_running_collectors() == ["healing"]
    await manager.stop()


@virtually
async def test_collectors_that_are_added_during_a_check_do_not_end_the_checks() -> None:
    """By another thread, or by what a collector does when it is asked for its health."""
    manager = make_manager(global_health_check_interval=10.0)
    first, second = make("a"), make("b")
    asks = first.get_health_status

    def adds() -> dict[str, Any]:
        if "b" not in manager.list_collectors():
            manager.add_collector(second)
        return asks()

    manager.add_collector(first)
    assert await manager.start()
    first.get_health_status = adds  # type: ignore[method-assign]
    await asyncio.sleep(11)
    assert manager.get_running_collectors() == ["a", "b"]
    checked = manager.get_status()["statistics"]["last_global_check"]
    await asyncio.sleep(10)
    assert manager.get_status()["statistics"]["last_global_check"] > checked
    await manager.stop()


@virtually
async def test_its_metrics_count_for_collectors_that_have_none() -> None:
    metrics = CollectorMetrics()
    manager, collector = make_manager(metrics=metrics), make("okx")
    manager.add_collector(collector)
    assert await manager.start()
    collector.exchange.messages.put_nowait(("BTC", 1))
    await asyncio.sleep(1)
    labels = {"exchange": "okx", "symbol": "BTC", "type": "trade"}
    assert metrics.registry.get_sample_value("collector_messages_total", labels) == 1
    await manager.stop()


@virtually
async def test_a_cancelled_start_stops_what_it_started() -> None:
    manager, well, hanging = make_manager(), make("well"), make("hanging")
    hanging.exchange.moods["connect"] = "hang"
    for collector in (well, hanging):
        manager.add_collector(collector)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(manager.start(), 5)
    assert well.exchange.open == 0
    assert manager.get_status()["manager_status"] == "stopped"


@virtually
async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing_running() -> None:
    """Also at that at which it has ended, and its caller does not know yet."""
    outcomes = set()
    for moments in range(60):
        manager, collector = make_manager(), make("okx")
        manager.add_collector(collector)
        starting = asyncio.create_task(manager.start())
        for _ in range(moments):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        outcomes.add(starting.cancelled())
        if starting.cancelled():
            assert collector.exchange.open == 0, moments
            assert manager.get_status()["manager_status"] == "stopped", moments
        await manager.stop()
    assert outcomes == {True, False}


@virtually
async def test_it_starts_again_after_a_stop() -> None:
    manager, collector = make_manager(), make("okx")
    manager.add_collector(collector)
    for _ in range(3):
        assert await manager.start()
        assert await manager.start()
        await manager.stop()
        await manager.stop()
    assert collector.exchange.calls["connect"] == 3
    assert collector.exchange.open == 0


@pytest.mark.parametrize("where", ["a stop", "a start"])
def test_a_stop_comes_through_while_a_collector_hangs(where: str) -> None:
    async def test() -> None:
        manager, collector = make_manager(), make("okx")
        collector.exchange.moods["connect"] = "hang"
        manager.add_collector(collector)
        starting = asyncio.create_task(manager.start())
        await asyncio.sleep(2 if where == "a start" else 12)
        began = asyncio.get_running_loop().time()
        await manager.stop()
        assert asyncio.get_running_loop().time() - began <= 1
        assert await starting is False
        assert collector.get_status()["status"] == "stopped"

    virtually(test)()
