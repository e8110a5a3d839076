"""What the simulated providers share: time, prices, faults, limits, the log, recorded bodies."""

from dataclasses import dataclass

from simulator.clock import Clock
from simulator.providers.faults import ProviderFaults
from simulator.providers.latent import LatentPrices
from simulator.providers.log import RequestLog
from simulator.providers.recorded import RecordedBodies
from simulator.providers.windows import ProviderLimits


@dataclass(slots=True)
class Parts:
    """`recorded`: bodies that are sent instead, None for none."""

    clock: Clock
    seed: int
    prices: LatentPrices
    faults: ProviderFaults
    limits: ProviderLimits
    log: RequestLog
    recorded: RecordedBodies | None
    latency_s: float = 0.0
