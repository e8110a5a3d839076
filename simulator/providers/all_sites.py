"""All simulated providers."""

from collections.abc import Mapping

from simulator.exchange import Exchange
from simulator.providers.aggregates import aggregate_sites
from simulator.providers.cmc import cmc_site
from simulator.providers.exchanges import exchange_sites
from simulator.providers.rpc import node_sites
from simulator.providers.sites import Site


def provider_sites(exchanges: Mapping[str, Exchange]) -> list[Site]:
    """`exchanges`: the simulated ones, whose own tickers some providers are."""
    return [*exchange_sites(exchanges), *aggregate_sites(), cmc_site(), *node_sites()]
