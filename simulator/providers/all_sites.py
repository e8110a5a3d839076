"""All simulated providers."""

from collections.abc import Mapping

from simulator.exchange import Exchange
from simulator.providers.aggregates import aggregate_sites
from simulator.providers.bitcoin_sites import bitcoin_sites
from simulator.providers.cmc import cmc_site
from simulator.providers.exchanges import exchange_sites
from simulator.providers.explorers import blockcypher_site, explorer_sites
from simulator.providers.feeds import feed_sites
from simulator.providers.keyed_chains import keyed_chain_sites
from simulator.providers.keyed_prices import keyed_price_sites
from simulator.providers.news_sites import news_sites
from simulator.providers.rpc import node_sites
from simulator.providers.sentiment import sentiment_sites
from simulator.providers.sites import Site
from simulator.providers.solana import solana_sites
from simulator.providers.tron import tron_sites


def provider_sites(exchanges: Mapping[str, Exchange]) -> list[Site]:
    """`exchanges`: the simulated ones, whose own tickers some providers are."""
    return [
        *exchange_sites(exchanges),
        *aggregate_sites(),
        cmc_site(),
        *keyed_price_sites(),
        *feed_sites(),
        *news_sites(),
        *sentiment_sites(),
        *explorer_sites(),
        blockcypher_site(),
        *keyed_chain_sites(),
        *node_sites(),
        *bitcoin_sites(),
        *tron_sites(),
        *solana_sites(),
    ]
