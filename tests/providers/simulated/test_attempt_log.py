"""What was asked, and what that used of the long limits, comes into the database."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from config import load_settings
from database import Database
from providers import assets, registry
from providers.chain import Chains
from providers.collecting.attempt_log import AttemptLog
from providers.collecting.usage_log import UsageLog
from providers.opening import open_chains
from providers.questions import Question
from stores.hot.redis_client import NativeStore
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.simulator import Simulator

BTC = Question("price.aggregate", ("btc",), (("quote", "usd"),))
SECRET = "s3cret-key"


@pytest.fixture
async def opened(
    redis_url: str, simulated: Simulator, own_postgres: OwnPostgres
) -> AsyncIterator[tuple[Chains, AttemptLog]]:
    settings = load_settings(redis_url=redis_url, providers_base_url=simulated.base_url)
    store = NativeStore(redis_url, client_name="test")
    database = Database(own_postgres.url)
    conduct = database.providers.conduct
    attempts = AttemptLog(conduct, "host:1")
    keys = {"COINGECKO_API_KEY": SECRET}
    async with open_chains(
        *(settings, store, registry.load(settings), assets.load()),
        environ=keys,
        on_attempt=attempts.note,
    ) as chains:
        client = chains.client
        attempts.usage = UsageLog(client, client.gate, conduct, settings.rate_fraction)
        yield chains, attempts
    await database.aclose()
    await store.aclose()


async def test_they_wait_while_the_database_is_away_and_come_once(
    opened: tuple[Chains, AttemptLog], own_postgres: OwnPostgres, simulated: Simulator
) -> None:
    chains, attempts = opened
    simulated.post(
        "/sim/providers/faults",
        {"host": "api.coingecko.com", "class": "status", "status": 503, "count": 1},
    )
    await chains.ask(BTC, 20)
    own_postgres.kill()
    await attempts.flush()
    own_postgres.start()
    await attempts.flush()
    await attempts.flush()
    session = await asyncpg.connect(own_postgres.url)
    try:
        rows = await session.fetch("SELECT * FROM connection_attempts ORDER BY at, id")
        used = await session.fetch("SELECT * FROM rate_limit_usage")
    finally:
        await session.close()
    told = [(row["resource"], row["outcome"], row["status"], row["host"]) for row in rows]
    assert ("price.aggregate/coingecko", "transient", 503, "host:1") in told, told
    assert "ok" in {row["outcome"] for row in rows}
    asked = simulated.get("/sim/providers/requests")["requests"]
    assert len(rows) >= len(asked)  # a call may end before it has been sent
    assert len({row["id"] for row in rows}) == len({(row["resource"], row["at"]) for row in rows})
    (month,) = [row for row in used if row["provider"] == "coingecko"]
    assert month["used"] == sum(row["resource"] == "price.aggregate/coingecko" for row in rows)
    assert month["key"] not in ("none", SECRET)
    assert SECRET not in str([dict(row) for row in (*rows, *used)])
