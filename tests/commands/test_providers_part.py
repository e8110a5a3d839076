"""The part of a process that asks providers: over simulated ones, with what it keeps of them."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from redis.asyncio import Redis

from commands.composition import open_parts
from commands.providers_part import open_providers
from commands.providers_registry import check_providers
from config import Settings, SettingsError, load_settings
from providers.collecting.requests_made import requests_counted
from providers.questions import Question
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator
from tests.fixtures.steady_time import steady_time

ROOT: Final = Path(__file__).resolve().parents[2]
# What asks, and what it is written with.
_ASK: Final = ("providers", "feedparser", "nh3", "tenacity", "w3lib", "base58")


@pytest.fixture
def settings(redis_url: str, database_url: str, start_simulator: StartSimulator) -> Settings:
    imitated = start_simulator(providers=True, binance=5, bybit=5)
    return load_settings(
        redis_url=redis_url, database_url=database_url, providers_base_url=imitated.base_url
    )


async def test_the_agent_collects_and_keeps_all_kinds(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        steady_time(monkeypatch),
        open_parts(settings, "test") as parts,
        open_providers(settings, parts.store, parts.database) as providers,
    ):
        with requests_counted() as made:
            collected = {each.kind: each for each in await providers.service.collect_all()}

    connection = await asyncpg.connect(database_url)
    kept = {
        table: await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        for table in ("market_prices", "news_articles", "gas_prices", "whale_transactions")
    }
    attempted = {
        row["outcome"]: row["count"]
        for row in await connection.fetch(
            "SELECT outcome, count(*) FROM connection_attempts GROUP BY outcome"
        )
    }
    cursors = await connection.fetch("SELECT chain FROM whale_cursor")
    await connection.close()

    assert collected["prices"].rows == kept["market_prices"] == 5
    assert collected["news"].rows == kept["news_articles"] > 20
    assert collected["gas"].rows == kept["gas_prices"] == 6, collected["gas"]
    assert collected["whales"].rows == kept["whale_transactions"]
    assert {row["chain"] for row in cursors} >= {"ethereum", "bsc", "polygon", "arbitrum", "base"}
    assert attempted["ok"] > 30
    assert made.number == sum(attempted.values())


async def test_what_an_operator_switched_off_stays_off_in_an_empty_hot_store(
    settings: Settings,
) -> None:
    async with open_parts(settings, "test") as parts:
        await parts.database.providers.conduct.switch("news/rss_decrypt", False, at_ms=1, by="t")
        async with open_providers(settings, parts.store, parts.database) as providers:
            chains = providers.parts.chains
            row = providers.parts.registry.resource("news/rss_decrypt")
            await providers.switched.wait()
            (member,) = await chains.client.look([row])
    assert member.switched is False


async def test_what_an_operator_switched_off_stays_off_when_the_hot_store_is_emptied_later(
    settings: Settings, redis_url: str
) -> None:
    async with (
        open_parts(settings, "test") as parts,
        open_providers(settings, parts.store, parts.database, switches_again_s=0.05) as providers,
        Redis.from_url(redis_url) as hot,
    ):
        await providers.switched.wait()
        await parts.database.providers.conduct.switch("news/rss_decrypt", False, at_ms=1, by="t")
        client = providers.parts.chains.client
        row = providers.parts.registry.resource("news/rss_decrypt")

        async def is_off() -> bool:
            (member,) = await client.look([row])
            return member.switched is False

        await until(is_off)
        assert await hot.delete("provider:switches") == 1
        await until(is_off)


async def test_a_database_that_hangs_does_not_hold_up_the_end(
    settings: Settings, database_url: str
) -> None:
    async with open_parts(settings, "test") as parts:
        locking = await asyncpg.connect(database_url)
        async with (
            locking.transaction(),
            asyncio.timeout(15),  # a write alone has 20 s
            open_providers(settings, parts.store, parts.database) as providers,
        ):
            await providers.switched.wait()
            for table in ("market_prices", "providers"):
                await locking.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            price = Question("price.aggregate", ("btc",), (("quote", "usd"),))
            answer = await providers.parts.chains.ask(price, 3)
            providers.parts.kept.note(answer.records)
        await locking.close()


@pytest.mark.parametrize("command", ["api", "worker", "serve", "one_process"])
def test_nothing_is_loaded_where_they_are_off(command: str) -> None:
    """In a process of its own, up to the application and a look at what the settings name."""
    script = f"""
import sys
import commands.{command}
from api_routes import create_app
from commands.composition import open_parts
from commands.providers_registry import check_providers
from config import load_settings
import jobs.runners

settings = load_settings(providers="off")
check_providers(settings)
create_app(settings, lambda: open_parts(settings, "api"))
print(*(name for name in sys.modules if name.split(".")[0] in {set(_ASK)!r}))
"""
    told = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # The tables of what was told are read where nobody is asked, too, by the assets' names.
    assert set(told.stdout.split()) <= {"providers", "providers.assets"}


def test_what_the_agent_cannot_ask_for_ends_the_start() -> None:
    check_providers(load_settings(agent_assets="btc,bitcoin", agent_chains="eth"))
    check_providers(load_settings(agent_assets="*"))
    wrong = {"agent_assets": "btc,nosuch", "agent_chains": "nowhere"}
    with pytest.raises(SettingsError) as raised:
        check_providers(load_settings(**wrong))
    asset, chain = raised.value.lines
    assert asset == "AGENT_ASSETS: 'nosuch' is no asset that is known"
    assert chain.startswith("AGENT_CHAINS: 'nowhere' is no chain that is known")
    check_providers(load_settings(**wrong, providers="off"))
