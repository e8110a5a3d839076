"""Passes drawn at random: the stored bases are, to the last bit, those in memory after each."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_collector.base_tasks import base_tasks
from documents.base import BaseBuilder, decode_bases
from documents.chunks import KeptMarket
from market.base import FINAL_AFTER_MS, STEP_MS, Base, extended
from market.candles import Candle
from market.markets import Exchange, Market
from market.timeframes import HOUR_MS
from tests.fixtures.base_rows import MIDNIGHT, same

EXCHANGE = Exchange.BINANCE
MARKETS = [Market(EXCHANGE, f"{name}USDT", name, "USDT") for name in ("BTC", "ETH", "1000PEPE")]
_VOLUMES = ["0", "0.0", "1e-7", "150.25", "123456789012345", "12345678901234567.5", "1e22", "-0.0"]
prices = st.one_of(
    st.sampled_from([100.0, 1e-9, 0.1 + 0.2, 5e-324, 1.7e308, -0.0]),
    st.floats(allow_nan=False, allow_infinity=False),
)
pauses = st.sampled_from(
    [
        *(0, 1, 5_000, FINAL_AFTER_MS, STEP_MS - 1, STEP_MS, STEP_MS + 20_000),
        *(HOUR_MS, 7 * HOUR_MS, 25 * HOUR_MS, 40 * HOUR_MS, -STEP_MS, -3 * HOUR_MS),
    ]
)


@dataclass
class Process:
    """A worker: the bases that it knows, and the chunks that it keeps."""

    bases: dict[str, tuple[Market, Base]] = field(default_factory=dict)
    kept: dict[str, KeptMarket] = field(default_factory=dict)

    def publish(self, as_of_ms: int) -> bytes:
        builder = BaseBuilder(EXCHANGE, self.kept)
        for market, base in self.bases.values():
            builder.add(market, base)
        document = builder.finish_deflated(
            version=as_of_ms, as_of_ms=as_of_ms, updated_at_ms=as_of_ms
        )
        return document.inflate()


def answer(data: st.DataObject, first_ms: int, as_of_ms: int) -> list[Candle]:
    """Some of the candles from `first_ms` on, a few of them unlike all others."""
    times = range(-(-first_ms // STEP_MS) * STEP_MS, as_of_ms + 1, STEP_MS)
    holes = data.draw(st.sets(st.integers(0, max(0, len(times) - 1)), max_size=5))
    odd = data.draw(st.dictionaries(st.integers(0, max(0, len(times) - 1)), prices, max_size=5))
    volume = data.draw(st.sampled_from(_VOLUMES))
    found = []
    for place, time_ms in enumerate(times):
        if place in holes:
            continue
        price = odd.get(place, 100.0 + (time_ms // STEP_MS) % 7)
        summed = volume if place in odd else "1.5"
        found.append(Candle(time_ms, price, price, price, price, summed, summed))
    return found


def read(data: st.DataObject, market: Market, base: Base | None, as_of_ms: int) -> Base:
    """What a pass makes of the base, as its tasks tell."""
    tasks = base_tasks(market, base, as_of_ms=as_of_ms)
    asked_ms = tasks.klines.start_ms
    found = extended(base, answer(data, asked_ms, as_of_ms), asked_ms=asked_ms, as_of_ms=as_of_ms)
    if tasks.open_interest is None or data.draw(st.booleans()):
        return found
    times = np.arange(-(-tasks.open_interest.start_ms // STEP_MS) * STEP_MS, as_of_ms, STEP_MS)
    number = data.draw(prices)
    late = data.draw(st.integers(0, 3))
    snapshots = [(time_ms, number) for time_ms in times.tolist()]
    return found.with_interest(snapshots[: len(snapshots) - late], as_of_ms)


@settings(max_examples=50)
@given(st.data())
def test_stored_bases_are_those_in_memory(data: st.DataObject) -> None:
    worker, as_of_ms = Process(), MIDNIGHT + 3 * HOUR_MS + 7
    for _ in range(data.draw(st.integers(1, 5))):
        as_of_ms += data.draw(pauses)
        for market in data.draw(st.lists(st.sampled_from(MARKETS), unique=True)):
            _, base = worker.bases.get(market.key, (market, None))
            if base is not None and data.draw(st.sampled_from([False] * 5 + [True])):
                del worker.bases[market.key]  # it is not listed any more
                continue
            worker.bases[market.key] = market, read(data, market, base, as_of_ms)
        document = worker.publish(as_of_ms)
        found = decode_bases(document, EXCHANGE)
        assert found.keys() == worker.bases.keys()
        assert all(same(found[key], base) for key, (_, base) in worker.bases.items())
        again = Process({key: (worker.bases[key][0], base) for key, base in found.items()})
        assert again.publish(as_of_ms) == document
        if data.draw(st.booleans()):
            worker = again  # it was restarted
