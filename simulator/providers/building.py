"""The simulated providers, built over the simulated exchanges."""

from collections.abc import Mapping
from pathlib import Path

from simulator.exchange import Exchange
from simulator.exchange_markets import ExchangeMarkets
from simulator.providers.all_sites import provider_sites
from simulator.providers.faults import ProviderFaults
from simulator.providers.latent import LatentPrices
from simulator.providers.log import RequestLog
from simulator.providers.parts import Parts
from simulator.providers.recorded import RecordedBodies
from simulator.providers.server import Providers
from simulator.providers.windows import ProviderLimits
from simulator.universe import GeneratorContext


def build_providers(
    markets: ExchangeMarkets, exchanges: Mapping[str, Exchange], context: GeneratorContext | None,
    recorded: Path | None, *, limited: bool, latency_s: float,
) -> Providers:  # fmt: skip
    """`context`: of the generated markets, None where they are recorded ones; `recorded`: the
    folder of recorded bodies. Raises OSError if it is not there."""
    parts = Parts(
        clock=markets.clock,
        seed=markets.seed,
        prices=LatentPrices(markets, context),
        faults=ProviderFaults(markets.seed),
        limits=ProviderLimits(markets.clock, enabled=limited),
        log=RequestLog(),
        recorded=None if recorded is None else RecordedBodies(recorded),
        latency_s=latency_s,
    )
    return Providers(provider_sites(exchanges), parts)
