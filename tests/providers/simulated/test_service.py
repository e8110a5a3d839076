"""The agent's rounds over simulated providers: what is saved, and within how many requests."""

from collections.abc import AsyncIterator

import pytest

from config import load_settings
from database import Database
from market.markets import Market
from providers import assets
from providers.assets import UnknownAsset
from providers.chain import Chains
from providers.collecting.agent_assets import AgentAssets
from providers.collecting.keeper import Keeper
from providers.collecting.service import DataCollectorService
from providers.collecting.whale_rounds import WhaleRounds
from providers.networks import UnknownNetwork
from stores.cold.providers.prices import PriceFilter
from tests.fixtures.simulator import Simulator

QUICK = ["prices", "gas", "sentiment"]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


@pytest.fixture
def service(chains: Chains, database: Database) -> DataCollectorService:
    from providers import registry

    settings = load_settings()
    tables = database.providers
    whales = WhaleRounds(chains.whales, tables.whales, settings.whale_min_usd)
    rows = registry.load(settings)
    known = assets.load()
    names = AgentAssets(settings.agent_assets, known, rows, _no_markets)
    return DataCollectorService(
        *(chains, Keeper(tables), rows, known),
        agent_assets=names.ids,
        agent_chains=settings.agent_chains,
        whales=whales.collect,
    )


async def _no_markets() -> list[Market]:
    return []


async def test_the_round_of_five_minutes_is_kept_within_sixty_requests(
    service: DataCollectorService, simulated: Simulator, database: Database
) -> None:
    found = await service.collect_quick()
    assert [each.kind for each in found] == QUICK
    assert [each.rows for each in found[:2]] == [each.records for each in found[:2]], found
    assert all(each.records > 0 for each in found), found
    assert found[2].rows == 30  # with those of the days before
    assert all(not each.missing for each in found), found
    assert set(found[0].served_by) == {"btc", "eth", "bnb", "sol", "xrp"}
    # Tron's fees are told by nobody, so that its row is left out.
    assert set(found[1].served_by) == {
        *("ethereum", "bsc", "polygon", "arbitrum", "base", "bitcoin"),
    }
    assert len(simulated.get("/sim/providers/requests")["requests"]) <= 60
    for asset in ("btc", "xrp"):
        (row,) = await database.providers.prices.listed(PriceFilter(symbol=asset))
        assert row.price_usd == row.price


async def test_a_round_right_after_asks_and_stores_nothing(
    service: DataCollectorService, simulated: Simulator
) -> None:
    first = await service.collect_quick()
    simulated.delete("/sim/providers/requests")
    again = await service.collect_quick()
    assert sum(each.rows for each in first) > 0
    assert sum(each.rows for each in again) == 0
    assert simulated.get("/sim/providers/requests")["requests"] == []


async def test_assets_and_chains_by_any_of_their_names(
    service: DataCollectorService, database: Database
) -> None:
    prices = await service.collect_market_data(["bitcoin", "BTC", "ether"])
    assert set(prices.served_by) == {"btc", "eth"}
    assert await database.providers.prices.listed(PriceFilter(symbol="bitcoin")) == []
    gas = await service.collect_gas_prices(["eth", "Ethereum"])
    assert set(gas.served_by) == {"ethereum"}
    stats = await service.collect_chain_stats(["btc"])
    assert set(stats.served_by) == {"bitcoin"}
    with pytest.raises(UnknownAsset):
        await service.collect_market_data(["nosuchcoin"])
    with pytest.raises(UnknownNetwork):
        await service.collect_whales(["nosuchchain"])


async def test_all_of_it_with_news_statistics_and_whales(
    service: DataCollectorService, database: Database
) -> None:
    found = {each.kind: each for each in await service.collect_all()}
    assert list(found) == [*QUICK, "news", "stats", "whales"]
    assert found["news"].rows > 20
    assert "bitcoin" in found["stats"].served_by
    moved = await database.providers.whales.cursor("ethereum")
    assert moved is not None
    again = await service.collect_whales(["ethereum"])
    later = await database.providers.whales.cursor("ethereum")
    assert later is not None
    assert later.block >= moved.block
    assert again.missing == {}


async def test_what_nobody_answers_is_told_and_the_rest_is_kept(
    service: DataCollectorService, simulated: Simulator
) -> None:
    simulated.post("/sim/providers/faults", {"host": "*", "class": "status", "status": 503})
    found = await service.collect_quick()
    assert sum(each.records for each in found) == 0
    assert "coingecko" in found[0].missing["btc"]
