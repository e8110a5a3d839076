"""AGENT_ASSETS: the assets that are named, and for * those of which markets are collected."""

from collections.abc import Sequence

import pytest

from config import load_settings
from database import DatabaseUnavailable
from market.markets import Exchange, Market
from providers import assets, registry
from providers.collecting.agent_assets import AgentAssets


def market(exchange: Exchange, base: str) -> Market:
    return Market(exchange, f"{base}USDT", base, "USDT")


class Listed:
    """The markets that are collected; None: the database is away."""

    def __init__(self, markets: Sequence[Market] | None) -> None:
        self.markets = markets

    async def __call__(self) -> Sequence[Market]:
        if self.markets is None:
            raise DatabaseUnavailable("the database is away")
        return self.markets


def asked_about(names: str, listed: Listed) -> AgentAssets:
    settings = load_settings(agent_assets=names)
    return AgentAssets(settings.agent_assets, assets.load(), registry.load(settings), listed)


async def test_names_need_no_markets() -> None:
    assert await asked_about("Bitcoin,eth,BTC", Listed(None)).ids() == ("btc", "eth")


async def test_all_are_those_of_the_markets_by_the_names_that_each_exchange_has() -> None:
    # Binance has its perpetual of Shiba Inu as 1000SHIB, Bybit as SHIB1000; nobody knows NOSUCH.
    listed = Listed(
        [
            *(market(Exchange.BINANCE, base) for base in ("BTC", "1000PEPE", "NOSUCH", "SHIB1000")),
            *(market(Exchange.BYBIT, base) for base in ("BTC", "SOL", "SHIB1000")),
        ]
    )
    assert await asked_about("*", listed).ids() == ("btc", "pepe", "shib", "sol")
    listed.markets = [market(Exchange.BINANCE, "SHIB1000")]
    assert await asked_about("*", listed).ids() == ()
    assert await asked_about("xrp,*", listed).ids() == ("xrp",)


async def test_while_the_database_is_away_those_read_last_are_asked_about() -> None:
    listed = Listed(None)
    agent = asked_about("*", listed)
    with pytest.raises(DatabaseUnavailable):
        await agent.ids()
    listed.markets = [market(Exchange.BYBIT, "ETH")]
    assert await agent.ids() == ("eth",)
    listed.markets = None
    assert await agent.ids() == ("eth",)
