"""A collection of which another host with an address of its own fetches a part."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import orjson
import pytest

from data_collector.helped import Helped, packed
from data_collector.part_asks import PartAsks
from data_collector.part_fetching import Bodies, PartFetching
from data_collector.run import CollectionRun
from database import DatabaseUnavailable
from documents.names import base_name
from jobs import closes, collection, shards
from jobs.context import JobContext
from jobs.shard_part import collect_part
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from metrics.exposition import pack
from stores.hot.leases import Lease, try_acquire
from stores.hot.parcels import Parcels
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL, JobRunner, OpenRunner, by_key
from tests.fixtures.parts import PartsHere
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.fixtures.upstash import UpstashEndpoint

ADDRESSES = {"one": "127.0.0.1", "two": "127.0.0.2", "three": "127.0.0.3"}
CANDLES = 100
EACH = 10
# Candles and snapshots are on a page each, of every exchange.
ALONE = len(Exchange) * EACH * (1 + 1)
# Where a helper meets the first host, each has two markets of every exchange under way, and the
# helper is told of that a quarter of a second later.
TWICE = 12 * len(Exchange)
NARROW = 0.05  # of the limits: so that a few markets wait for room


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True, latency_ms=5)


async def beats(runner: JobRunner) -> None:
    """Its heartbeat tells of it, as that of a worker process with schedules does."""
    settings = runner.context.settings
    runner.context.metrics.is_host(
        settings.egress_id, schedules="on", queues=["default", f"egress:{settings.egress_id}"]
    )
    await runner.context.queue.beat(
        f"host-{settings.egress_id}:1", pack(runner.context.metrics.registry)
    )


@asynccontextmanager
async def hosts(
    open_runner: OpenRunner, exchanges: Simulator, *names: str, **settings: object
) -> AsyncIterator[list[JobRunner]]:
    """Runners of hosts with addresses of their own; the first asks the others."""
    async with AsyncExitStack() as opened:
        runners = []
        for name in names:
            runner = await opened.enter_async_context(
                open_runner(
                    exchanges,
                    exchanges=ALL,
                    egress_id=name,
                    egress_address=ADDRESSES[name],
                    history_candles=CANDLES,
                    concurrency_limit=2,  # so many markets may be asked for twice where they meet
                    **settings,
                )
            )
            await beats(runner)
            runners.append(runner)
        first, *others = runners
        doing: dict[str, Mapping[str, Callable[[Any], Awaitable[Any]]]] = {
            f"egress:{other.context.settings.egress_id}": {
                shards.WORKER: partial(collect_part, other.context)
            }
            for other in others
        }
        first.context = replace(first.context, parts=PartsHere(doing))
        yield runners


def asked_by(exchanges: Simulator, *endpoints: str) -> Counter[str]:
    """The requests for candles and open interest, by the address that they came from."""
    requests = exchanges.get("/sim/requests")["requests"]
    wanted = endpoints or ("klines", "history_klines", "open_interest")
    return Counter(request["client"] for request in requests if request["endpoint"] in wanted)


@pytest.fixture
async def alone(open_runner: OpenRunner, exchanges: Simulator) -> Mapping[str, Any]:
    """What one host collects: its documents' markets, by timeframe."""
    settings = {"exchanges": ALL, "egress_id": "alone", "history_candles": CANDLES}
    async with open_runner(exchanges, **settings) as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        await runner.complete("collect:4h")
        found = {str(t): by_key(await runner.document(t)) for t in (Timeframe.H4, Timeframe.H8)}
        await forget(runner)
    exchanges.post("/sim/stats/reset")
    return found


async def forget(runner: JobRunner) -> None:
    """Removes the documents, so that they are collected from nothing."""
    names = [*Timeframe, *(base_name(exchange) for exchange in Exchange)]
    keys = [f"cache:{name}{end}" for name in names for end in ("", ":meta")]
    await runner.context.store.execute("UNLINK", *keys)


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "WORTH_SHARING_S", 0.1)
    monkeypatch.setattr(shards, "_LOOK_EVERY_S", {"native": 0.05})


@pytest.mark.parametrize(
    "names",
    [("one", "two"), pytest.param(("one", "two", "three"), marks=pytest.mark.slow)],
)
async def test_hosts_with_other_addresses_bring_the_rows_of_one_host(
    open_runner: OpenRunner,
    exchanges: Simulator,
    alone: Mapping[str, Any],
    names: tuple[str, ...],
) -> None:
    async with hosts(open_runner, exchanges, *names, rate_fraction=NARROW) as runners:
        first = runners[0]
        result = await first.complete("collect:4h")
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)) == expected
        asked = asked_by(exchanges)
        assert {*asked} == {ADDRESSES[name] for name in names}
        assert min(asked.values()) >= 3, asked
        assert sum(asked.values()) <= ALONE + TWICE * (len(names) - 1), asked
        assert result["markets"] == EACH * len(Exchange)
        assert result["missing"] == 0
        stats = exchanges.stats()
        assert stats["limits_broken"] == {}
        assert stats["rejected"] == []


@pytest.mark.slow
async def test_hosts_share_over_a_store_that_bills_commands(
    open_runner: OpenRunner,
    exchanges: Simulator,
    alone: Mapping[str, Any],
    upstash: UpstashEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "_LOOK_EVERY_S", {"upstash": 1.0})
    settings = {
        "redis_url": None,
        "upstash_redis_rest_url": upstash.url,
        "upstash_redis_rest_token": upstash.token,
        "rate_fraction": 0.02,
    }
    async with hosts(open_runner, exchanges, "one", "two", **settings) as (first, second):
        assert first.context.store.kind == second.context.store.kind == "upstash"
        result = await first.complete("collect:4h")
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)) == expected
        assert result["missing"] == 0
        assert min(asked_by(exchanges)[ADDRESSES[name]] for name in ("one", "two")) >= 3


async def test_markets_that_go_on_are_not_shared(
    open_runner: OpenRunner, exchanges: Simulator, alone: Mapping[str, Any]
) -> None:
    """Of a collection in which other markets are new."""
    async with open_runner(
        exchanges, exchanges=ALL, egress_id="before", history_candles=CANDLES, markets_limit=3
    ) as before:
        await before.complete("collect:4h")
        old = by_key(await before.document("4h")).keys()
    exchanges.post("/sim/stats/reset")
    async with hosts(open_runner, exchanges, "one", "two", rate_fraction=NARROW) as (first, _):
        assert (await first.complete("collect:4h"))["missing"] == 0
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)).keys() == expected.keys()
        requests = exchanges.get("/sim/requests")["requests"]
        theirs = {
            our_key(f"{each['exchange']}:{each['symbol']}")
            for each in requests
            if each["client"] == ADDRESSES["two"]
        }
        assert len(theirs) >= 3
        assert not theirs & old


class Collecting:
    """A collection that is under way, and how many of its requests the asker has sent."""

    def __init__(self, runner: JobRunner, exchanges: Simulator) -> None:
        self.runner = runner
        self.exchanges = exchanges
        self.working = asyncio.ensure_future(runner.complete("collect:4h"))

    async def has_asked(self, address: str, count: int) -> None:
        """Returns when so many requests have come from the address of this name."""

        async def asked() -> bool:
            assert not self.working.done()
            return asked_by(self.exchanges)[ADDRESSES[address]] >= count

        await until(asked)


async def test_a_host_that_comes_while_it_is_under_way_helps(
    open_runner: OpenRunner, exchanges: Simulator, alone: Mapping[str, Any]
) -> None:
    async with hosts(open_runner, exchanges, "one", "two", rate_fraction=NARROW) as (first, second):
        await is_gone(second)
        collecting = Collecting(first, exchanges)
        await collecting.has_asked("one", 3)
        assert asked_by(exchanges).keys() == {ADDRESSES["one"]}
        await beats(second)
        await collecting.has_asked("two", 3)
        assert (await collecting.working)["missing"] == 0
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)) == expected
        assert asked_by(exchanges).total() <= 1.4 * ALONE
        assert exchanges.stats()["limits_broken"] == {}


async def test_parts_are_asked_for_again_when_the_engine_is_ready(
    open_runner: OpenRunner, exchanges: Simulator, alone: Mapping[str, Any]
) -> None:
    """A collection at the first start may begin before the engine has its tables."""
    async with hosts(open_runner, exchanges, "one", "two", rate_fraction=NARROW) as (first, _):
        assert isinstance(first.context.parts, PartsHere)
        parts = NotReady(first.context.parts.hosts)
        first.context = replace(first.context, parts=parts)
        collecting = Collecting(first, exchanges)
        await collecting.has_asked("one", 3)

        async def has_tried() -> bool:
            return parts.refused > 1

        await until(has_tried)
        parts.is_ready = True
        await collecting.has_asked("two", 3)
        assert (await collecting.working)["missing"] == 0
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)) == expected


async def test_the_part_of_a_host_that_is_gone_is_given_to_another(
    open_runner: OpenRunner, exchanges: Simulator, alone: Mapping[str, Any]
) -> None:
    names = ("one", "two", "three")
    async with hosts(open_runner, exchanges, *names, rate_fraction=NARROW) as (
        first,
        second,
        third,
    ):
        await is_gone(third)
        assert isinstance(first.context.parts, PartsHere)
        parts = PartsHere({"egress:three": first.context.parts.hosts["egress:three"]})
        first.context = replace(first.context, parts=parts)
        collecting = Collecting(first, exchanges)

        async def is_asked() -> bool:
            return len(parts.asked) == 1  # of the second, which never begins

        await until(is_asked)
        await is_gone(second)
        await beats(third)
        await collecting.has_asked("three", 3)
        assert (await collecting.working)["missing"] == 0
        assert parts.abandoned >= {1}
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)) == expected


@dataclass
class NotReady(PartsHere):
    is_ready: bool = False
    refused: int = 0

    async def ask(self, worker: str, queue: str, given: Mapping[str, Any]) -> int:
        if not self.is_ready:
            self.refused += 1
            raise DatabaseUnavailable("the database has no such table")
        return await super().ask(worker, queue, given)


async def is_gone(runner: JobRunner) -> None:
    """Its heartbeat has expired."""
    worker_id = f"host-{runner.context.settings.egress_id}:1"
    await runner.context.store.execute("DEL", f"workers:{worker_id}")


class Dying:
    """A host that dies after it has handed on some answers."""

    def __init__(self, runner: JobRunner, after: int) -> None:
        self.runner = runner
        self.after = after

    async def part(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        context = self.runner.context
        working = asyncio.ensure_future(collect_part(context, given))

        async def has_asked() -> bool:
            return context.client.requests >= self.after or working.done()

        await until(has_asked)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        raise ConnectionError("this host is dead")


@pytest.mark.parametrize("after", [0, 8])
async def test_what_a_dead_host_does_not_bring_is_asked_for(
    open_runner: OpenRunner, exchanges: Simulator, alone: Mapping[str, Any], after: int
) -> None:
    async with hosts(open_runner, exchanges, "one", "two", rate_fraction=0.1) as (first, second):
        dying = {"egress:two": {shards.WORKER: Dying(second, after).part}}
        first.context = replace(first.context, parts=PartsHere(dying))
        result = await first.complete("collect:4h")
        assert result["missing"] == 0
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)) == expected


@pytest.mark.parametrize("status", [500, 418, 451])
async def test_a_part_that_fails_is_fetched_by_the_asker(
    open_runner: OpenRunner, exchanges: Simulator, alone: Mapping[str, Any], status: int
) -> None:
    """The exchange fails, has banned the helper's address, or does not serve its location."""
    async with hosts(open_runner, exchanges, "one", "two", rate_fraction=0.1) as (first, _):
        first.fault({"kind": "status", "status": status, "client": ADDRESSES["two"]})
        assert (await first.complete("collect:4h"))["missing"] == 0
        for timeframe, expected in alone.items():
            assert by_key(await first.document(timeframe)) == expected


async def test_a_part_of_a_lease_that_is_lost_ends_and_writes_nothing(
    open_runner: OpenRunner, exchanges: Simulator, alone: Mapping[str, Any]
) -> None:
    async with hosts(open_runner, exchanges, "one", "two", rate_fraction=NARROW) as (first, second):
        store = first.context.store
        lease = await try_acquire(store, "worker", holder="asker", ttl_s=30)
        assert lease is not None
        asks = PartAsks(await markets(first), (Timeframe.H4,), NOW_MS, CANDLES)
        given = {"lane": lease.name, "lease": lease.value, **asks.encoded()}
        await Parcels(store).offer("a", orjson.dumps(given).decode())
        working = asyncio.ensure_future(collect_part(second.context, {"part": "a"}))

        async def has_brought() -> bool:
            return bool(await store.execute("LLEN", "part:a:answers"))

        await until(has_brought)
        await lease.release()  # as if it had expired
        assert "over" in await working
        assert not await store.execute("EXISTS", "part:a:answers")


async def markets(runner: JobRunner) -> tuple[Market, ...]:
    coins = await runner.context.database.get_all_unique_coins(**runner.context.selection)
    return tuple(coins)


@pytest.mark.parametrize("job_id", ["collect:1h", "collect:all"])
async def test_a_part_asks_exactly_what_the_asker_would(
    open_runner: OpenRunner,
    start_simulator: StartSimulator,
    monkeypatch: pytest.MonkeyPatch,
    job_id: str,
) -> None:
    """With the answers of a part that has ended the asker asks for nothing of the markets again,
    and its documents are those of a host without help."""
    counts = dict.fromkeys(Exchange, 3)
    exchanges = start_simulator(**counts, now=NOW_MS, frozen=True, no_limits=True)
    monkeypatch.setattr(shards, "WORTH_SHARING_S", inf)
    made = [Timeframe.H1] if job_id == "collect:1h" else list(Timeframe)
    documents = []
    for helped in (False, True):
        async with hosts(open_runner, exchanges, "one", "two") as (first, second):
            if helped:
                monkeypatch.setattr(shards, "shared", partial(after_the_part, second))
                monkeypatch.setattr(collection, "shared", partial(after_the_part, second))
                monkeypatch.setattr(closes, "shared", partial(after_the_part, second))
            await first.complete("discovery")
            await first.complete("funding")
            exchanges.post("/sim/stats/reset")
            await first.complete(job_id)
            documents.append({t: by_key(await first.document(t)) for t in made})
            # The open interest of first documents is fetched beside them, by a run of its own.
            asked = asked_by(exchanges, "klines", "history_klines")
            assert {*asked} == {ADDRESSES["two" if helped else "one"]}
            await forget(first)
    assert documents[1] == documents[0]


@asynccontextmanager
async def after_the_part(
    helper: JobRunner, context: JobContext, run: CollectionRun, asks: PartAsks, lease: Lease
) -> AsyncIterator[None]:
    """As `shards.shared`, but nothing is asked for here before the part has brought everything."""
    helped = Helped(run.sender, asks.markets)
    helped.deal(1)

    async def bring(market: Market, bodies: Bodies) -> None:
        helped.arrived(market.key, packed(bodies))

    fetching = PartFetching(helper.context.client, asks, bring, lambda exchange: inf)
    await fetching.fetch()
    run.sender, run.order = helped, helped
    yield
    run.sender, run.order = context.client, None
