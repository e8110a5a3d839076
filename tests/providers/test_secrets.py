"""Keys of providers appear nowhere: in no log, answer, alert, count, key of a store, or table."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis.asyncio
from prometheus_client.metrics_core import Metric
from structlog.testing import capture_logs

from config import load_settings
from database import Database
from metrics.providers import ProviderCounts, provider_families
from providers import assets, registry
from providers.collecting.attempt_log import AttemptLog
from providers.collecting.keeper import Keeper
from providers.collecting.usage_log import UsageLog
from providers.errors import InvalidQuestion, NoAnswer, ProviderError
from providers.gate import Skipped
from providers.probes import cheapest
from providers.resources import Resource, State
from providers.usage import ResourceUsage
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.providers.hour.run import Hour, open_hour
from tests.providers.placeholder_keys import FAULTS, around, forms, placeholders

SPEED = 20.0
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


async def test_no_key_appears_anywhere_whatever_happens(
    redis_url: str,
    database_url: str,
    start_simulator: StartSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = start_simulator(providers=True, binance=3, bybit=3, speed=SPEED, seed=3)
    rows = registry.load(load_settings()).resources
    keys = placeholders(rows)
    assert len(keys) >= 20
    database = Database(database_url)
    attempts = AttemptLog(database.providers.conduct, "host:1")
    with capture_logs() as logs:
        async with open_hour(
            *(redis_url, world.base_url, monkeypatch),
            seed=3,
            speed=SPEED,
            phases=2,
            environ=keys,
            on_attempt=attempts.note,
        ) as hour:
            client = hour.chains.client
            attempts.usage = UsageLog(client, client.gate, database.providers.conduct, 0.9)
            await hour.run()
            asked = await _ask_all_with_keys(hour, world, rows)
            await attempts.flush()
            await Keeper(database.providers).keep(hour.records)
            usage = await hour.chains.usage.read([row.id for row in rows])
            told = {
                "answers": "\n".join(hour.texts),
                "alerts": repr(hour.alerts),
                "attempts": repr(
                    [(each.attempt.message, each.attempt.shown) for each in hour.watch.told]
                ),
                "usage": repr(usage),
                "metrics": repr(_families(usage)),
                "hot store": await _all_of_the_hot_store(redis_url),
                "tables": await _all_tables(database_url),
            }
    await database.aclose()
    told["log"] = "\n".join(map(repr, logs))
    # It was looked where keys would be: they were sent, and each of these has something to tell.
    sent = " ".join(each["path"] + each["query"] for each in asked)
    assert any(key in sent for key in keys.values())
    lengths = {where: len(text) for where, text in told.items()}
    assert min(lengths.values()) > 1000, lengths
    for variable, key in keys.items():
        for where, text in told.items():
            for form in forms(key):
                assert form not in text, f"{variable} in {where}: {around(text, form)}"


async def _ask_all_with_keys(
    hour: Hour, world: Simulator, rows: Iterable[Resource]
) -> list[dict[str, str]]:
    """Asks every resource that takes a key, each of which fails in one of the ways."""
    keyed = [row for row in rows if row.key is not None and row.state is not State.DEAD and row.url]
    for number, row in enumerate(keyed):
        world.delete("/sim/providers/faults")
        if (fault := FAULTS[number % len(FAULTS)]) is not None:
            world.post("/sim/providers/faults", {"host": urlsplit(row.url).hostname, **fault})
        try:
            hour.texts.append(repr(await hour.chains.probes.probe(row)))
        except (ProviderError, Skipped) as error:
            hour.texts.append(f"{row.id}: {error!r}")
    # All that are left refuse their keys, so that it is told: by nobody of the chain answering.
    world.delete("/sim/providers/faults")
    world.post("/sim/providers/faults", {"class": "key_rejected", "echo": "request"})
    known = assets.load()
    for chain in hour.registry.chains():
        try:
            answer = await hour.chains.ask(cheapest(hour.registry.chain(chain)[0], known), 3)
            hour.texts.append(repr(answer))
        except (NoAnswer, InvalidQuestion) as error:
            hour.texts.append(repr(error))
    found: list[dict[str, str]] = world.get("/sim/providers/requests")["requests"]
    return found


def _families(usage: Mapping[str, ResourceUsage]) -> list[Metric]:
    counts = [
        ProviderCounts(id_, use.requests, use.success, use.failed, use.sum_ms / 1000, use.trips)
        for id_, use in usage.items()
    ]
    return provider_families(counts, {})


async def _all_of_the_hot_store(redis_url: str) -> str:
    texts: list[str] = []
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        async for key in client.scan_iter(count=1000):
            kind = await client.type(key)
            reads = {
                b"hash": client.hgetall,
                b"string": client.get,
                b"set": client.smembers,
            }
            value = await reads[kind](key) if kind in reads else await client.dump(key)
            texts.append(f"{key!r} {value!r}")
    return "\n".join(texts)


async def _all_tables(database_url: str) -> str:
    session = await asyncpg.connect(database_url)
    try:
        texts = []
        for (table,) in await session.fetch(_TABLES):
            rows = await session.fetch(f'SELECT to_json(t)::text FROM "{table}" t')  # noqa: S608
            texts += [f"{table} {row[0]}" for row in rows]
        return "\n".join(texts)
    finally:
        await session.close()
