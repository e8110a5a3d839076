"""Users' own code asks by functions; what comes is kept, apart from balances."""

from collections.abc import AsyncIterator
from decimal import Decimal

import asyncpg
import pytest

from perpcache.providers import (
    InvalidQuestion,
    RPCLoadBalancer,
    UnknownAsset,
    UnknownNetwork,
    close_providers,
    get_balance_with_fallback,
    get_gas_with_fallback,
    get_news_with_fallback,
    get_price_with_fallback,
    get_sentiment_with_fallback,
    hierarchical_config,
)
from tests.fixtures.simulator import Simulator

ADDRESS = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"


@pytest.fixture(autouse=True)
async def environment(
    monkeypatch: pytest.MonkeyPatch, simulated: Simulator, redis_url: str, database_url: str
) -> AsyncIterator[None]:
    monkeypatch.setenv("PROVIDERS_BASE_URL", simulated.base_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    yield
    await close_providers()


async def test_answers_are_the_truth_and_are_kept(simulated: Simulator, database_url: str) -> None:
    price = await get_price_with_fallback("bitcoin", within_s=20)
    truth = simulated.get("/sim/providers/truth", assets="btc")["prices"]["btc"]
    assert (price.asset, price.quote) == ("btc", "USD")
    assert abs(price.value / Decimal(str(truth)) - 1) < Decimal("0.01")
    gas = await get_gas_with_fallback("eth", within_s=20)
    assert (gas.chain, gas.chain_id) == ("ethereum", 1)
    assert gas.base_fee_wei is not None
    fear = await get_sentiment_with_fallback(within_s=20)
    assert fear.metric.startswith("fear_greed_")
    other = await get_sentiment_with_fallback("fear_greed_cmc", within_s=20)
    assert other.metric == "fear_greed_cmc"
    with pytest.raises(InvalidQuestion, match="fear_greed_altme"):
        await get_sentiment_with_fallback("greed", within_s=20)
    news = await get_news_with_fallback(3, within_s=20)
    assert len(news) == 3
    balance = await get_balance_with_fallback(ADDRESS, "ethereum", within_s=20)
    assert (balance.address, balance.decimals) == (ADDRESS, 18)

    session = await asyncpg.connect(database_url)
    try:
        kept = await session.fetchrow("SELECT * FROM market_prices")
        assert kept is not None
        assert (kept["symbol"], kept["price_usd"], kept["source"]) == (
            "btc",
            price.value,
            price.resource,
        )
        assert await session.fetchval("SELECT chain FROM gas_prices") == "ethereum"
        assert await session.fetchval("SELECT metric FROM sentiment_metrics") == fear.metric
        stories = {row["id"] for row in await session.fetch("SELECT id FROM news_articles")}
        assert {each.id for each in news} <= stories
    finally:
        await session.close()


async def test_what_cannot_be_asked() -> None:
    with pytest.raises(UnknownAsset, match="nosuchcoin"):
        await get_price_with_fallback("nosuchcoin")
    with pytest.raises(UnknownNetwork, match="nosuchchain"):
        await get_gas_with_fallback("nosuchchain")
    with pytest.raises(InvalidQuestion, match="checksum"):
        await get_balance_with_fallback(ADDRESS.replace("d8dA", "D8dA"), "ethereum")
    with pytest.raises(InvalidQuestion, match="nobody tells the balances of Solana"):
        await get_balance_with_fallback("11111111111111111111111111111111", "solana")


async def test_the_balancer_and_the_resources_of_the_registry() -> None:
    balancer = RPCLoadBalancer("bsc")
    assert len(balancer.nodes) >= 9
    first = await balancer.get_next_node()
    assert first in balancer.nodes
    before = balancer.health_scores[first]
    await balancer.update_health(first, False)
    assert balancer.health_scores[first] < before
    with pytest.raises(InvalidQuestion, match=r"no chain rpc\.tron"):
        RPCLoadBalancer("tron")
    prices = hierarchical_config.get_market_data_resources()
    assert [each.level for each in prices] == sorted(each.level for each in prices)
    assert prices[0].provider.id == "coingecko"
    assert (prices[0].name, prices[0].priority.name) == ("CoinGecko", "CRITICAL")
    assert len(hierarchical_config.get_news_resources()) > 20
    explorers = hierarchical_config.get_explorer_resources("ethereum")
    assert {each.chain for each in explorers} == {"balance.ethereum"}
