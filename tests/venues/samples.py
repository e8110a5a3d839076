"""What the contract wants of each exchange: answers as it sends them, and what they say.

Each exchange's are in tests/venues/test_<exchange>.py, as SAMPLES.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from market.candles import Candle
from market.markets import Exchange, Market
from venues.errors import ExchangeError
from venues.reading import Ticker
from venues.venue import Endpoint


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Bodies from the exchange's documentation or recordings, each with its meaning.

    `market`: the one that the history is of. `instruments`: each market with its native id,
    contract size, launch and funding interval; the body lists others that are not collected, too.
    `refusals`: status, body, what it means.
    """

    market: Market
    time: tuple[bytes, int]
    klines: tuple[bytes, int, Sequence[Candle]]
    open_interest: tuple[bytes, int, Sequence[tuple[int, float]]]
    funding: tuple[bytes, Sequence[tuple[int, float]]]
    instruments: tuple[bytes, Sequence[tuple[Market, str, float, int, int | None]]]
    turnovers: tuple[bytes, Mapping[str, float | None]]
    schedule: Mapping[Endpoint, tuple[bytes, Sequence[Ticker]]]
    refusals: Sequence[tuple[int, bytes, type[ExchangeError]]]

    @property
    def answers(self) -> list[bytes]:
        """Every body that is no refusal."""
        history = [self.klines[0], self.open_interest[0], self.funding[0]]
        lists = [self.instruments[0], self.turnovers[0]]
        return [self.time[0], *history, *lists, *(body for body, _ in self.schedule.values())]


def samples_of(exchange: Exchange) -> Samples:
    samples = import_module(f"tests.venues.test_{exchange}").SAMPLES
    assert isinstance(samples, Samples)
    return samples
