"""All simulated providers."""

from collections.abc import Mapping

from simulator.exchange import Exchange
from simulator.providers.aggregates import aggregate_sites
from simulator.providers.blockchain_info import blockchain_info_site
from simulator.providers.cmc import cmc_site
from simulator.providers.esplora import esplora_sites
from simulator.providers.exchanges import exchange_sites
from simulator.providers.explorers import explorer_sites
from simulator.providers.feeds import feed_sites
from simulator.providers.keyed_chains import keyed_chain_sites
from simulator.providers.keyed_prices import keyed_price_sites
from simulator.providers.news_sites import news_sites
from simulator.providers.other_exchanges import other_exchange_sites
from simulator.providers.other_explorers import blockcypher_site, ethplorer_site
from simulator.providers.rpc import node_sites
from simulator.providers.sentiment import sentiment_sites
from simulator.providers.sites import Site
from simulator.providers.solana import solana_sites
from simulator.providers.tron import tron_sites


def provider_sites(exchanges: Mapping[str, Exchange]) -> list[Site]:
    """`exchanges`: the simulated ones, whose own tickers some providers are."""
    return [
        *exchange_sites(exchanges),
        *other_exchange_sites(),
        *aggregate_sites(),
        cmc_site(),
        *keyed_price_sites(),
        *feed_sites(),
        *news_sites(),
        *sentiment_sites(),
        *explorer_sites(),
        ethplorer_site(),
        blockcypher_site(),
        *keyed_chain_sites(),
        *node_sites(),
        *esplora_sites(),
        blockchain_info_site(),
        *tron_sites(),
        *solana_sites(),
    ]
