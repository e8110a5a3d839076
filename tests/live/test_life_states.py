"""Random lives of collectors and managers in virtual time, beside a naive model of them."""

import asyncio
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from live.data_types import CollectorConfig, DataType, MarketDataPoint
from live.manager import CollectorManager
from tests.live.scripted_collector import Exchange, Mood, ScriptedCollector
from tests.live.virtual_time import VirtualTime

CONNECTING: Final = st.sampled_from(["ok", "ok", "false", "raise", "hang"])
LEAVING: Final = st.sampled_from(["ok", "raise", "hang"])
SYMBOLS: Final = st.sampled_from(["BTC", "ETH", "SOL", "XRP"])
# The slowest pause, and what connecting may take before it is given up.
WELL_AGAIN_S: Final = 60 + 30 + 30 + 10 + 5


class OneCollector(RuleBasedStateMachine):
    """Model: is it wanted, since when has all been well, which symbols, which points were read."""

    def __init__(self) -> None:
        super().__init__()
        self.time = VirtualTime()
        self.exchange = Exchange()
        self.collector = ScriptedCollector(self.exchange, self.time.clock)
        self.taken: list[int] = []
        self.collector.add_data_callback(DataType.TRADE, self.take)
        self.wanted = False
        self.well_since = self.time.loop.now
        self.symbols = ["BTC", "ETH"]
        self.sent: list[int] = []

    async def take(self, point: MarketDataPoint) -> None:
        self.taken.append(point.data["n"])

    def can_connect(self) -> bool:
        """Without symbols there is nothing to subscribe."""
        needed = ["connect", "subscribe"] if self.symbols else ["connect"]
        return all(self.exchange.moods.get(what, "ok") == "ok" for what in needed)

    def troubled(self) -> None:
        self.well_since = self.time.loop.now

    @rule(what=st.sampled_from(["connect", "subscribe"]), mood=CONNECTING)
    def connecting_becomes(self, what: str, mood: Mood) -> None:
        self.exchange.moods[what] = mood
        self.troubled()

    @rule(mood=LEAVING)
    def leaving_becomes(self, mood: Mood) -> None:
        self.exchange.moods["disconnect"] = mood

    @rule()
    def start(self) -> None:
        self.time.pass_s(0.01)  # what is about to be lost is lost first
        running = self.collector.get_health_status()["is_running"]
        assert self.time.run(self.collector.start()) is (running or self.can_connect())
        self.wanted = True

    @rule(force=st.booleans())
    def stop(self, force: bool) -> None:
        began = self.time.loop.now
        self.time.run(self.collector.stop(force=force))
        assert self.time.loop.now - began <= 30
        self.wanted = False

    @rule(after_s=st.floats(0, 40))
    def stop_during_a_start(self, after_s: float) -> None:
        async def both() -> None:
            starting = asyncio.create_task(self.collector.start())
            await asyncio.sleep(after_s)
            await self.collector.stop()
            await starting

        self.time.run(both())
        self.wanted = False

    @rule()
    def restart(self) -> None:
        self.time.run(self.collector.restart())
        self.wanted = True
        self.troubled()

    @precondition(lambda self: self.exchange.open)
    @rule(error=st.sampled_from([OSError("cut"), ValueError("no JSON"), asyncio.CancelledError()]))
    def the_connection_is_lost(self, error: BaseException) -> None:
        self.exchange.messages.put_nowait(error)
        self.troubled()

    @rule(symbol=SYMBOLS)
    def add(self, symbol: str) -> None:
        self.collector.add_symbol(symbol)
        self.symbols += [symbol] if symbol not in self.symbols else []

    @rule(symbol=SYMBOLS)
    def remove(self, symbol: str) -> None:
        self.collector.remove_symbol(symbol)
        self.symbols = [other for other in self.symbols if other != symbol]

    @precondition(lambda self: self.collector.get_health_status()["is_running"])
    @rule()
    def data_come(self) -> None:
        self.time.pass_s(0.01)
        if not self.collector.get_health_status()["is_running"] or not self.symbols:
            return  # it was about to be lost
        self.sent.append(len(self.sent))
        self.exchange.messages.put_nowait((self.symbols[0], self.sent[-1]))
        self.time.pass_s(0.01)

    @rule(seconds=st.floats(0.1, 400))
    def time_passes(self, seconds: float) -> None:
        self.time.pass_s(seconds)

    @invariant()
    def there_is_one_connection_at_most(self) -> None:
        assert self.exchange.most_open <= 1

    @invariant()
    def it_tells_what_is_wanted(self) -> None:
        status = self.collector.get_status()
        assert status["should_be_running"] is self.wanted
        assert status["symbols"] == self.symbols
        if not self.wanted:
            assert status["status"] == "stopped"
            assert self.exchange.open == 0
            assert self.time.tasks() == set()

    @invariant()
    def no_point_is_lost_or_told_twice(self) -> None:
        assert self.taken == self.sent

    @invariant()
    def it_runs_when_all_has_been_well_for_long(self) -> None:
        if not self.wanted or self.time.loop.now - self.well_since < WELL_AGAIN_S:
            return
        if self.can_connect():
            # A refused change is made within a minute. And without data the connection is replaced
            # now and then, which takes a few seconds.
            for _ in range(70):
                if self.is_as_wanted():
                    return
                self.time.pass_s(1)
            raise AssertionError((self.collector.get_status(), self.exchange.subscribed))

    def is_as_wanted(self) -> bool:
        running = self.collector.get_status()["status"] == "running"
        return running and self.exchange.subscribed == set(self.symbols)

    def teardown(self) -> None:
        self.time.run(self.collector.stop())
        assert self.time.tasks() == set()
        assert self.exchange.open == 0
        self.time.close()


class ManyCollectors(RuleBasedStateMachine):
    """Model: a dictionary of names, each enabled or not, and whether the manager runs."""

    def __init__(self) -> None:
        super().__init__()
        self.time = VirtualTime()
        self.manager = CollectorManager("test", 60, 5, clock=self.time.clock)
        self.collectors: dict[str, ScriptedCollector] = {}
        self.gone: list[ScriptedCollector] = []
        self.enabled: dict[str, bool] = {}
        self.runs = False

    @rule(enabled=st.booleans(), mood=CONNECTING)
    def add(self, enabled: bool, mood: Mood) -> None:
        name = f"c{len(self.collectors) + len(self.gone)}"
        exchange = Exchange()
        exchange.moods["connect"] = mood
        self.collectors[name] = ScriptedCollector(exchange, self.time.clock, name)
        config = CollectorConfig(name, name, ["BTC"], ["trade"], enabled=enabled)
        self.manager.add_collector(self.collectors[name], config)
        self.enabled[name] = enabled

    @precondition(lambda self: self.collectors)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.collectors)))
        assert self.manager.remove_collector(name)
        self.gone.append(self.collectors.pop(name))
        del self.enabled[name]

    @precondition(lambda self: self.collectors)
    @rule(data=st.data(), enabled=st.booleans())
    def switch(self, data: st.DataObject, enabled: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.collectors)))
        switch = self.manager.enable_collector if enabled else self.manager.disable_collector
        assert switch(name)
        self.enabled[name] = enabled

    @precondition(lambda self: self.collectors)
    @rule(
        data=st.data(),
        what=st.sampled_from(["connect", "subscribe", "disconnect"]),
        mood=CONNECTING,
    )
    def mood_becomes(self, data: st.DataObject, what: str, mood: Mood) -> None:
        name = data.draw(st.sampled_from(sorted(self.collectors)))
        self.collectors[name].exchange.moods[what] = mood

    @precondition(lambda self: self.collectors)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.collectors)))
        self.collectors[name].exchange.messages.put_nowait(OSError("cut"))

    @rule()
    def start(self) -> None:
        began = self.time.loop.now
        self.time.run(self.manager.start())
        assert self.time.loop.now - began <= 11
        self.runs = True

    @rule()
    def stop(self) -> None:
        began = self.time.loop.now
        self.time.run(self.manager.stop())
        assert self.time.loop.now - began <= 60
        self.runs = False

    @precondition(lambda self: self.collectors)
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.collectors)))
        restarted = self.time.run(self.manager.restart_collector(name))
        if not (self.runs and self.enabled[name]):
            assert not restarted

    @rule(seconds=st.floats(0.1, 100))
    def time_passes(self, seconds: float) -> None:
        self.time.pass_s(seconds)

    @rule()
    def all_settle(self) -> None:
        self.time.pass_s(2 * WELL_AGAIN_S)
        well = {
            name
            for name, one in self.collectors.items()
            if {one.exchange.moods.get(what, "ok") for what in ("connect", "subscribe")} == {"ok"}
        }
        wanted = {name for name, enabled in self.enabled.items() if enabled and self.runs}
        for _ in range(70):  # without data, connections are replaced now and then
            if set(self.manager.get_running_collectors()) == wanted & well:
                break
            self.time.pass_s(1)
        assert set(self.manager.get_running_collectors()) == wanted & well
        assert set(self.manager.get_failed_collectors()) <= wanted - well
        for name, one in self.collectors.items():
            assert one.exchange.most_open <= 1
            if name not in wanted:
                assert one.get_status()["status"] == "stopped"
        for one in self.gone:
            assert one.get_status()["status"] == "stopped"
            assert one.exchange.open == 0

    @invariant()
    def it_knows_its_collectors(self) -> None:
        assert self.manager.list_collectors() == list(self.collectors)
        enabled = [name for name, on in self.enabled.items() if on]
        assert self.manager.get_status()["enabled_collectors"] == enabled

    @invariant()
    def nothing_is_left_of_one_that_stopped(self) -> None:
        if not self.runs:
            assert self.time.tasks() == set()

    def teardown(self) -> None:
        self.time.run(self.manager.stop())
        assert self.time.tasks() == set()
        for one in (*self.collectors.values(), *self.gone):
            assert one.exchange.open == 0
        self.time.close()


OneCollector.TestCase.settings = settings(max_examples=30, stateful_step_count=25)
ManyCollectors.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestOneCollector = OneCollector.TestCase
TestManyCollectors = ManyCollectors.TestCase
