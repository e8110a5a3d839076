"""One pass over the markets makes the documents of all timeframes, as the exchanges have them."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import pytest

from budgets.budget import Budget, Ticket
from data_collector import interest_reads
from documents.text import DocumentText
from jobs.context import JobContext
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.jobs import ALL, JobRunner, OpenRunner, by_key, lacks
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from venues import VENUES
from venues.venue import Endpoint

EACH = 4
ALL_MARKETS = EACH * len(Exchange)
CANDLES = 150
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS + DAY_MS
Free = Callable[[], Awaitable[None]]
CANDLE = 7  # time and numbers of a candle, before open interest and funding rate


def asked_of_all(
    span_ms: int, each: int = EACH, lacking: Collection[Exchange] = tuple(Exchange)
) -> int:
    """The requests of a pass after so long, `each` markets of those exchanges that lack: one for
    candles, one for each page of open interest; and one for the clock of every exchange."""
    rows = -(-span_ms // Timeframe.M5.interval_ms)
    pages = [-(-rows // VENUES[of].table(Endpoint.OPEN_INTEREST).page_limit) for of in lacking]
    return len(Exchange) + each * (len(pages) + sum(pages))


def lacks_of_markets(document: Any) -> dict[tuple[str, str], str]:
    """Without what an exchange serves of none of them any more: OKX has rates of three months."""
    found = lacks(document)
    old = {key for key in found if key == ("okx:None", "funding_rate")}
    assert not old or document["timeframe"] == "1d"
    return {key: found[key] for key in found.keys() - old}


@dataclass
class Closes:
    """Runs passes at given instants of the simulated exchanges."""

    runner: JobRunner
    began_ms: int = NOW_MS
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        # The machine lives by the exchanges' time.
        self.runner.context.last_as_of.elapsed_s = lambda: (self.now_ms - self.began_ms) / 1000

    def go_to(self, now_ms: int) -> None:
        """Moves the exchanges to this instant, and forgets what they were asked before."""
        self.runner.exchanges.post("/sim/clock", {"advance_ms": now_ms - self.now_ms})
        self.now_ms = now_ms
        self.runner.exchanges.post("/sim/stats/reset")

    async def all(self) -> dict[str, Any]:
        return await self.runner.complete("collect:all")

    def asked(self) -> dict[str, int]:
        """How many requests reached the exchanges, by endpoint; all for candles are one."""
        found: dict[str, int] = {}
        for endpoints in self.runner.exchanges.stats()["requests"].values():
            for endpoint, statuses in endpoints.items():
                name = endpoint.removeprefix("history_")
                found[name] = found.get(name, 0) + sum(statuses.values())
        return found

    def corrections(self, timeframe: str) -> float:
        """How many markets' candles of this timeframe were found to be others."""
        labels = {"timeframe": timeframe, "part": "klines"}
        registry = self.runner.context.metrics.registry
        return registry.get_sample_value("perpcache_corrections_total", labels) or 0.0

    async def check(self, timeframe: str, *, without: frozenset[str] = frozenset()) -> Any:
        """Compares the candles of a document with the truth at its `as_of`; returns it."""
        document = await self.runner.document(timeframe)
        truth = self.runner.truth(
            timeframe, candles=CANDLES, as_of=document["as_of"], funding_history=20
        )
        found = by_key(document)
        assert found.keys() == truth.keys()
        for key in found.keys() - without:
            candles = [row[:CANDLE] for row in found[key]["rows"]]
            assert candles == [row[:CANDLE] for row in truth[key]], (timeframe, key)
            assert found[key]["stale_since"] is None
        return document


@contextlib.asynccontextmanager
async def opened(
    open_runner: OpenRunner, exchanges: Simulator, now_ms: int = NOW_MS, *, filled: bool = True
) -> AsyncIterator[Closes]:
    async with open_runner(exchanges, exchanges=ALL, history_candles=CANDLES) as runner:
        closes = Closes(runner, began_ms=now_ms, now_ms=now_ms)
        if now_ms == NOW_MS:
            await runner.complete("discovery")
            await runner.complete("funding")
            await closes.all()
            if filled:
                await runner.complete("fill")
        yield closes


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True)


async def test_the_first_pass_brings_the_candles_of_all_timeframes(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges, filled=False) as closes:
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            assert document["as_of"] == NOW_MS
        found = lacks_of_markets(document)
        assert found.keys() == {(key, "open_interest") for key in by_key(document)}
        assert set(found.values()) == {"not fetched yet"}


async def test_every_document_has_its_new_candle_at_midnight_for_two_requests_a_market(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS + 5_000)
        result = await closes.all()
        assert result["documents"] == [str(timeframe) for timeframe in Timeframe]
        assert result["requests"] == asked_of_all(MIDNIGHT_MS - NOW_MS)
        assert sum(closes.asked().values()) == result["requests"] + result["audit_requests"]
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            newest = {market["rows"][-2][0] for market in document["markets"]}
            assert newest == {MIDNIGHT_MS - timeframe.interval_ms}
            assert document["last_closed_open_time"] == MIDNIGHT_MS - timeframe.interval_ms


async def test_a_document_comes_when_a_candle_of_it_closed_or_when_it_is_old(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS + 5_000)
        await closes.all()
        documents = []
        for minutes in (5, 10, 15, 20):
            closes.go_to(MIDNIGHT_MS + minutes * MINUTE_MS + 5_000)
            documents.append((await closes.all())["documents"])
        everything = [str(timeframe) for timeframe in Timeframe]
        assert documents == [["5m"], ["5m"], everything, ["5m"]]
        for timeframe in ("5m", "1d"):
            await closes.check(timeframe)


async def test_a_single_timeframe_behind_a_pass_asks_for_nothing(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS + 5 * MINUTE_MS)
        await closes.all()
        before = await closes.runner.document("8h")
        closes.go_to(MIDNIGHT_MS + 5 * MINUTE_MS + 59_000)
        result = await closes.runner.complete("collect:4h")
        assert (closes.asked(), result["requests"], result["markets"]) == ({}, 0, ALL_MARKETS)
        for timeframe in ("4h", "8h"):
            document = await closes.check(timeframe)
            assert document["as_of"] == MIDNIGHT_MS + 5 * MINUTE_MS
        assert document["version"] > before["version"]


@pytest.mark.parametrize("later_ms", [61_000, 5 * MINUTE_MS])
async def test_a_single_timeframe_goes_its_own_way_when_the_bases_are_not_fresh(
    open_runner: OpenRunner, exchanges: Simulator, later_ms: int
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS)
        await closes.all()
        closes.go_to(MIDNIGHT_MS + later_ms)
        await closes.runner.complete("collect:1h")
        document = await closes.check("1h")
        assert document["as_of"] == MIDNIGHT_MS + later_ms
        assert closes.asked()["klines"] == ALL_MARKETS


class Used(Budget):
    """Has room for one more request, until it is freed."""

    room = 1

    def delay(self, now: float, weight: int) -> float:
        return 0.0 if self.room else 0.1

    def take(self, now: float, weight: int, share: float | None = None) -> Ticket:
        self.room -= 1
        return super().take(now, weight, share)


async def no_room(context: JobContext) -> Free:
    """This process has room for one more request for open interest; returns what frees the rest."""
    account = context.client.limits.for_exchange(Exchange.BINANCE).account("open_interest", None)
    assert account is not None
    used = account.budget = Used(account.budget.limit, 0.9)

    async def free() -> None:
        used.room = 900

    return free


async def room_taken_by_others(context: JobContext) -> Free:
    """Other processes at this address have taken all room; returns what frees it."""
    store = context.store
    key, slot_ms, part_ms = "budget:default:binance:open_interest", 15_000, 3_000

    async def store_ms() -> int:
        seconds, micros = (int(part) for part in await store.execute("TIME"))
        return seconds * 1000 + micros // 1000

    async def part_has_ended() -> bool:
        return await store_ms() // part_ms > began_ms // part_ms

    began_ms = await store_ms()
    await until(part_has_ended)  # and with it what this process has taken and not used
    slot = await store_ms() // slot_ms
    await store.execute("HSET", key, slot, 2000)

    async def free() -> None:
        await store.execute("HDEL", key, slot)

    return free


@pytest.mark.parametrize(
    ("take_room", "lacking"), [(no_room, EACH - 1), (room_taken_by_others, EACH)]
)
async def test_documents_do_not_wait_for_open_interest_that_the_limit_holds_up(
    open_runner: OpenRunner,
    exchanges: Simulator,
    take_room: Callable[[JobContext], Awaitable[Free]],
    lacking: int,
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS - 5 * MINUTE_MS + 5_000)
        await closes.all()
        closes.go_to(MIDNIGHT_MS + 5_000)
        free = await take_room(closes.runner.context)
        published: list[tuple[str, int]] = []

        async def publish(name: str, *args: Any, **options: Any) -> Any:
            if name == "overview":
                return await save(name, *args, **options)
            document = DocumentText(args[0].inflate())
            newest = [json.loads(bytes(document.rows(span)))[-2] for span in document.markets]
            nulls = sum(row[CANDLE] is None for row in newest)
            if not name.startswith("base:"):
                parts = [lack["part"] for lack in document.missing() if lack["symbol"]]
                assert parts == ["open_interest"] * nulls
            published.append((name, nulls))
            meta = await save(name, *args, **options)
            if name == "1d":
                await free()
            return meta

        save = closes.runner.context.cache.save_to_cache
        closes.runner.context.cache.save_to_cache = publish  # type: ignore[method-assign]
        result = await closes.all()
        documents = [str(timeframe) for timeframe in Timeframe]
        assert result["documents"] == documents
        assert result["requests"] == asked_of_all(5 * MINUTE_MS)
        of_documents = [each for each in published if not each[0].startswith("base:")]
        assert [name for name, _ in of_documents] == [*documents, "5m"]
        assert [name for name, _ in of_documents[: len(documents)]] == documents
        # On a busy machine, others may come late too.
        assert of_documents[0][1] >= lacking
        assert {name: nulls for name, nulls in of_documents} == dict.fromkeys(documents, 0)
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            assert lacks_of_markets(document) == {}


@pytest.mark.parametrize("fails", [False, True])
async def test_late_open_interest_comes_with_a_second_publish_or_is_named(
    open_runner: OpenRunner,
    exchanges: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    fails: bool,
) -> None:
    monkeypatch.setattr(interest_reads, "_LONGEST_INTEREST_WAIT_S", 0.0)  # all of it is late
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS + HOUR_MS)
        market = {"exchange": "bybit", "symbol": "BTCUSDT"}
        if fails:
            rule = {"endpoint": "open_interest", "kind": "status", "status": 404, **market}
            exchanges.post("/sim/faults", rule)
        await closes.all()
        for timeframe in ("5m", "1h"):
            document = await closes.check(timeframe)
            named = [(lack["symbol"], lack["part"]) for lack in document["missing"]]
            assert named == ([("BTCUSDT", "open_interest")] if fails else [])
            for key, found in by_key(document).items():
                lacking = fails and key == "bybit:BTCUSDT"
                assert (found["rows"][-2][CANDLE] is None) == lacking, (timeframe, key)


async def test_a_restarted_worker_goes_on_with_the_stored_bases(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        pass
    exchanges.post("/sim/clock", {"advance_ms": 6 * HOUR_MS})
    exchanges.post("/sim/stats/reset")
    async with opened(open_runner, exchanges, NOW_MS + 6 * HOUR_MS) as closes:
        result = await closes.all()
        assert (result["requests"], result["markets"]) == (asked_of_all(6 * HOUR_MS), ALL_MARKETS)
        for timeframe in Timeframe:
            await closes.check(timeframe)


async def test_a_restarted_worker_names_in_every_document_what_the_pass_could_not_fetch(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS + 2_000)  # no snapshot of midnight is published yet
        await closes.all()
        symbol = (await closes.runner.document("1h"))["markets"][0]["symbol"]
    where = {"exchange": "binance", "symbol": symbol}
    exchanges.post(
        "/sim/faults", {"kind": "status", "status": 400, "endpoint": "open_interest"} | where
    )
    exchanges.post("/sim/clock", {"advance_ms": 15 * MINUTE_MS})
    async with opened(open_runner, exchanges, MIDNIGHT_MS + 15 * MINUTE_MS + 2_000) as closes:
        await closes.all()
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            found = lacks_of_markets(document)
            assert found.keys() == {(f"binance:{symbol}", "open_interest")}, timeframe
        exchanges.delete("/sim/faults")
        await closes.runner.complete("collect:1h")  # from the fresh bases
        document = await closes.check("1h")
        assert lacks_of_markets(document).keys() == {(f"binance:{symbol}", "open_interest")}


async def test_a_market_that_failed_is_in_every_document_again_as_soon_as_it_is_read(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        symbol = (await closes.runner.document("1h"))["markets"][0]["symbol"]
        broken = f"binance:{symbol}"
        closes.go_to(MIDNIGHT_MS + 5_000)
        closes.runner.fault(
            {"kind": "status", "status": 400, "symbol": symbol, "exchange": "binance"}
        )
        result = await closes.all()
        assert result["carried_over"] == 1
        for timeframe in ("5m", "1h", "1d"):
            document = await closes.check(timeframe, without=frozenset({broken}))
            market = by_key(document)[broken]
            interval_ms = document["interval_ms"]
            first_unknown_ms = NOW_MS - NOW_MS % interval_ms
            assert market["stale_since"] == first_unknown_ms + interval_ms
            assert market["checked_at"] == NOW_MS
            assert market["rows"][-1][0] == first_unknown_ms - interval_ms
            assert (broken, "klines") in lacks(document)
        closes.runner.exchanges.delete("/sim/faults")
        closes.go_to(MIDNIGHT_MS + 5 * MINUTE_MS + 5_000)
        result = await closes.all()
        assert set(result["documents"]) == set(Timeframe)
        for timeframe in Timeframe:
            await closes.check(timeframe)


async def test_a_market_that_a_single_run_could_not_read_comes_with_the_next_pass(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges, filled=False) as closes:
        symbol = (await closes.runner.document("1h"))["markets"][0]["symbol"]
        closes.go_to(MIDNIGHT_MS + 60_000)
        await closes.all()
        closes.go_to(MIDNIGHT_MS + 3 * MINUTE_MS)
        closes.runner.fault({"kind": "status", "status": 400, "symbol": symbol})
        result = await closes.runner.complete("collect:1h")
        assert result["carried_over"] > 0
        closes.runner.exchanges.delete("/sim/faults")
        closes.go_to(MIDNIGHT_MS + 5 * MINUTE_MS)
        assert (await closes.all())["documents"] == ["5m", "1h"]
        await closes.check("1h")


async def test_an_audit_finds_a_correction_behind_what_passes_read_again(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        key = next(iter(by_key(await closes.runner.document("1h"))))
        exchange, symbol = key.split(":")
        corrected_ms = MIDNIGHT_MS - 2 * DAY_MS
        fault = {"kind": "correction", "exchange": exchange, "symbol": symbol}
        closes.runner.fault({**fault, "time": corrected_ms})
        # Every market's every timeframe is audited within a day of passes.
        for hours in range(5, 26, 5):
            closes.go_to(MIDNIGHT_MS + hours * HOUR_MS + 5_000)
            await closes.all()
        for timeframe in ("1h", "2h", "4h", "8h", "6h", "12h", "1d"):
            document = await closes.check(timeframe)
            times = {row[0] for row in by_key(document)[key]["rows"]}
            assert corrected_ms - corrected_ms % document["interval_ms"] in times
        assert (closes.corrections("1h"), closes.corrections("15m")) == (1, 0)


async def test_impossible_candles_hold_up_no_document(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(MIDNIGHT_MS - 10_000)
        await closes.all()  # with the audits since the first pass
        document = await closes.runner.document("1h")
        first, second = (market["symbol"] for market in document["markets"][:2])
        # Of the one all that closed since midnight, of the other what forms.
        for symbol, slots in ((first, range(9)), (second, range(9, 10))):
            times = [MIDNIGHT_MS + slot * 5 * MINUTE_MS for slot in slots]
            where = {"exchange": "binance", "symbol": symbol, "times": times}
            closes.runner.fault({"kind": "impossible", "variant": "blank", **where})
        closes.go_to(MIDNIGHT_MS + 46 * MINUTE_MS)
        await closes.all()
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            for (_, part), reason in lacks_of_markets(document).items():
                assert (part, reason[:6]) == ("klines", "row at"), (timeframe, reason)


async def test_after_two_days_away_open_interest_is_whole_though_every_market_is_audited(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with opened(open_runner, exchanges) as closes:
        closes.go_to(NOW_MS + 2 * DAY_MS)
        result = await closes.all()
        assert result["audit_requests"] >= ALL_MARKETS * len(Timeframe)
        for timeframe in (Timeframe.H2, Timeframe.H4):
            document = await closes.check(timeframe)
            truth = closes.runner.truth(timeframe, candles=CANDLES, as_of=document["as_of"])
            for key, market in by_key(document).items():
                rows = market["rows"]
                assert [row[CANDLE] for row in rows] == [row[CANDLE] for row in truth[key]]
