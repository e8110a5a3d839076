"""One simulated contract: its entry in the lists, and its series with the events applied.

The exchanges' answers and the true data are both made from these integers, never from each other.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from simulator.candles import CLOSE, HIGH, OPEN, SLOT_MS, TIME, TURNOVER, VOLUME, Ints
from simulator.funding import Settlement
from simulator.tape import Tape


class CandleSource(Protocol):
    """Where candles come from. `has_minutes`: 1m and 3m candles are made from the tapes."""

    has_minutes: bool

    @property
    def first_ms(self) -> int: ...
    def closed(self, interval_ms: int, first_ms: int, last_ms: int) -> Ints: ...
    def forming(self, interval_ms: int, now_ms: int) -> Ints: ...
    def rough_prices(self, times: Ints) -> Ints: ...
    def tape(self, now_ms: int) -> Tape | None: ...


class OpenInterestSource(Protocol):
    def points(self, period_ms: int, first_ms: int, last_ms: int) -> Ints: ...
    def published_ms(self, time_ms: int) -> int: ...


class FundingSource(Protocol):
    def hours_at(self, time_ms: int) -> int: ...
    def next_ms(self, now_ms: int) -> int: ...
    def may_settle_in(self, hour_ms: int) -> bool: ...
    def settlements(self, first_ms: int, last_ms: int) -> list[Settlement]: ...
    def newest(self, count: int, last_ms: int) -> list[Settlement]: ...
    def running_rate(self, now_ms: int) -> int: ...
    def change_interval(self, from_ms: int, hours: int) -> None: ...


class Correction(NamedTuple):
    """A change of a 5-minute candle after it closed, as some exchanges make them."""

    slot_ms: int
    volume: int
    turnover: int
    high: int


@dataclass(slots=True)
class Market:
    """One contract; the fields above `candles` are those of the instrument lists."""

    exchange: str
    symbol: str
    base: str
    quote: str
    margin: str
    contract_type: str
    status: str
    symbol_type: str  # the exchange's word for the kind of asset
    listed_ms: int
    delivery_ms: int
    price_decimals: int
    quantity_decimals: int
    tick: int
    step: int
    candles: CandleSource
    open_interest: OpenInterestSource
    funding: FundingSource
    collected: bool  # whether a collector must collect it
    number: int = 0  # the contract's number, for exchanges that number them
    single_oi_from_ms: int | None = None  # one-sided open interest is shown from this time on
    oi_decimals: int | None = None  # if they differ from the volume's
    listed_in_info: bool = True  # in the list of adjusted funding, for exchanges that have one
    open_interest_kept_ms: int | None = None  # snapshots older than this are not served
    gone: bool = False  # delisted: requests are answered as for an unknown symbol
    corrections: list[Correction] = field(default_factory=list)
    withheld_oi: set[int] = field(default_factory=set)
    impossible: dict[int, str] = field(default_factory=dict)  # open time -> how its candle is sent
    relaunched_ms: int = 0  # another contract had the symbol before; 0: none
    renumbered_ms: int = 0  # since when its order book's numbers are counted from the start
    flat_before: bool = False  # that one's candles have one price and no volume

    @property
    def name(self) -> str:
        return f"{self.exchange}:{self.symbol}"

    @property
    def open_interest_decimals(self) -> int:
        return self.quantity_decimals if self.oi_decimals is None else self.oi_decimals

    @property
    def is_as_made(self) -> bool:
        """Whether its candles are those of the source, without a change by an event."""
        return not self.corrections and not self.relaunched_ms

    def closed(self, interval_ms: int, first_ms: int, last_ms: int) -> Ints:
        """The candles that open from `first_ms` to `last_ms` in their final form."""
        candles = self._corrected(self.candles.closed(interval_ms, first_ms, last_ms), interval_ms)
        before = candles[TIME] < self.relaunched_ms
        if self.flat_before and before.any():
            candles = candles.copy()
            candles[OPEN : CLOSE + 1, before] = 731 * self.tick
            candles[VOLUME:, before] = 0
        return candles

    def forming(self, interval_ms: int, now_ms: int) -> Ints:
        """The candle that is open at `now_ms`, as an array of one column or none."""
        candle = self.candles.forming(interval_ms, now_ms)
        return self._corrected(candle, interval_ms, before_ms=now_ms - now_ms % SLOT_MS)

    def snapshots(self, period_ms: int, first_ms: int, last_ms: int) -> Ints:
        """Open interest as (2, n): time and one-sided value, whether published yet or not."""
        points = self.open_interest.points(period_ms, first_ms, last_ms)
        if self.withheld_oi:
            points = points[:, [time not in self.withheld_oi for time in points[0].tolist()]]
        return points

    def newest_snapshot_ms(self, period_ms: int, now_ms: int) -> int:
        """The newest time on the grid whose snapshot, if it exists, is published."""
        time_ms = now_ms - now_ms % period_ms
        while self.open_interest.published_ms(time_ms) > now_ms:
            time_ms -= period_ms
        return time_ms

    def _corrected(self, candles: Ints, interval_ms: int, before_ms: int | None = None) -> Ints:
        for correction in self.corrections:
            if before_ms is not None and correction.slot_ms >= before_ms:
                continue
            open_ms = correction.slot_ms - correction.slot_ms % interval_ms
            hit = candles[TIME] == open_ms
            if hit.any():
                candles = candles.copy()
                candles[VOLUME, hit] += correction.volume
                candles[TURNOVER, hit] += correction.turnover
                candles[HIGH, hit] = candles[HIGH, hit].clip(min=correction.high)
        return candles
