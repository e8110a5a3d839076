"""StreamReads: the candles that one pass takes from streams, and those that it cannot take."""

from collections import Counter
from collections.abc import Collection
from typing import Final
from zlib import crc32

from data_collector.stream_comparison import compare_with_rest, shows_more
from data_collector.stream_reader import Streamed, StreamReader
from market.base import STEP_MS, Base, lacks_closed, with_stream
from market.columns import column_index
from market.markets import Exchange, Market
from market.rows import are_same_candles, candle_values
from market.timeframes import Timeframe
from venues.errors import ClosingNotKnown

# One in so many markets is asked for all the same, others at every close: so streams are audited.
_SAMPLED: Final = 100
# A forming candle may be so old: of a market that is unproven for longer it is asked for.
_OLDEST_FORMING_MS: Final = 10_000
_VOLUME: Final = column_index("volume")


class StreamReads:
    """What a pass at `as_of_ms` takes from a reader of streams; without one nothing.

    `waits`: candles whose closing event may still come are not asked for. `unclosed`: Market.key
    of those that wait. Markets by exchange: `taken` needed no request; `sampled` were asked for to
    compare their streams, `repaired` because streams had not brought what they lacked.
    """

    def __init__(self, reader: StreamReader | None, as_of_ms: int) -> None:
        self.waits = True
        self.unclosed: set[str] = set()
        self.taken: Counter[Exchange] = Counter()
        self.sampled: Counter[Exchange] = Counter()
        self.repaired: Counter[Exchange] = Counter()
        self._reader = reader
        self._as_of_ms = as_of_ms
        self._forming_ms = Timeframe.M5.floor(as_of_ms)

    def without_taken_back(self, market: Market, base: Base | None) -> Base | None:
        """The base without the candles of streams that are not proven any more."""
        if self._reader is None or base is None:
            return base
        taken = self._reader.take_back(market)
        return base.without_streamed(taken) if taken else base

    def whole(self, market: Market, base: Base | None) -> Base | None:
        """The base with all that it lacks; None if it has to be asked for.

        Raises ClosingNotKnown if only the candle that has just closed lacks and is waited for.
        """
        if self._reader is None or base is None or not base.reaches(self._as_of_ms):
            return None
        if self._is_sampled(market):
            return None
        streamed = self._streamed(market, base.unsettled_ms(market.since_ms))
        if streamed is None:
            return None
        if lacks_closed(base, streamed.closed, self._as_of_ms, market.since_ms):
            if self.waits and self._lacks_newest_alone(market, base, streamed):
                self.unclosed.add(market.key)
                raise ClosingNotKnown(
                    "the exchange has not said yet that its candle is closed",
                    exchange=market.exchange,
                    market=market.symbol,
                )
            return None
        if self._is_behind(base, streamed):
            return None
        self.unclosed.discard(market.key)
        self.taken[market.exchange] += 1
        return with_stream(base, streamed.closed, streamed.forming, as_of_ms=self._as_of_ms)

    def added(
        self,
        market: Market,
        before: Base | None,
        base: Base,
        asked_ms: int,
        invalid: Collection[int] = (),
    ) -> Base:
        """The base that was asked for from `asked_ms` on, with candles that streams have closed
        where what REST shows may not be final. Where it is and differs, or is not and shows more
        than a stream's, the reader is told.

        `before`: the base that this one goes on; `invalid`: as compare_with_rest has it.
        """
        self.unclosed.discard(market.key)
        if self._reader is None:
            return base
        if before is not None:
            self.compare(market, before, base, asked_ms, invalid)
        streamed = self._streamed(market, max(asked_ms, base.first_ms))
        if streamed is None:
            return base
        if before is not None:
            counted = self.sampled if self._is_sampled(market) else self.repaired
            counted[market.exchange] += 1
        if not len(streamed.closed):
            return base
        closed = streamed.closed.between(base.first_ms, self._forming_ms - 1)
        lines = (closed.times - base.first_ms) // STEP_MS
        shown = candle_values(base.values[lines])
        final = base.settled[lines] & ~base.streamed[lines]
        differs = final & ~are_same_candles(shown, closed.values)
        # What is not final may show less than a closed candle, but never more.
        more = ~base.settled[lines] & shows_more(shown, closed.values)
        differs |= more
        self._reader.compared(market, int((final | more).sum()))
        for open_ms in closed.times[differs].tolist():
            self._reader.differs(market, open_ms)
        if differs.any():
            return base
        return with_stream(base, closed, None, as_of_ms=self._as_of_ms)

    def compare(
        self, market: Market, before: Base, base: Base, asked_ms: int, invalid: Collection[int]
    ) -> None:
        """Compares the candles of streams of the base before with those of REST from `asked_ms` on,
        which are in `base`."""
        if self._reader is not None:
            compare_with_rest(
                *(self._reader, market, before, base.rows),
                first_ms=max(asked_ms, base.first_ms),
                as_of_ms=self._as_of_ms,
                invalid=invalid,
            )

    def _streamed(self, market: Market, since_ms: int) -> Streamed | None:
        if self._reader is None:
            return None
        since_ms = max(since_ms, market.since_ms)  # candles of an earlier contract are not ours
        return self._reader.streamed(market, since_ms, self._forming_ms)

    def _is_behind(self, base: Base, streamed: Streamed) -> bool:
        """Whether the forming candle may stand still, or shows less than what is known of it."""
        since_ms, forming = streamed.unproven_ms, streamed.forming
        if since_ms is not None and since_ms < self._as_of_ms - _OLDEST_FORMING_MS:
            return True
        shown = 0.0 if forming is None else float(forming.volume)
        return base.newest_ms == self._forming_ms and shown < float(base.values[-1, _VOLUME])

    def _lacks_newest_alone(self, market: Market, base: Base, streamed: Streamed) -> bool:
        before_ms = self._forming_ms - 1
        if not streamed.is_awaited or base.as_of_ms > before_ms:
            return False
        return not lacks_closed(base, streamed.closed, before_ms, market.since_ms)

    def _is_sampled(self, market: Market) -> bool:
        turn = self._forming_ms // STEP_MS % _SAMPLED
        return crc32(market.key.encode()) % _SAMPLED == turn
