"""Published: the finest document that is stored, against which a new base is weighed.

A base that begins anew would replace published rows by what a single answer says. That counts as
it does in a refresh: known candles that are gone are asked for again, and an answer that changes
many is believed when it is given again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_collector.base_tasks import why_lost_of
from data_collector.data_processing import contradiction
from data_collector.incremental import PreviousDocuments
from data_collector.task_builder import FetchTask
from market.base import STEP_MS, Base
from market.base_candles import made_candles
from market.candles import NO_TEXTS, Candles
from market.left_out import LeftOut
from market.markets import Market
from market.rows import Rows, TimedValues, candle_values, located
from market.timeframes import Timeframe
from market.unconfirmed_lists import are_many


@dataclass(frozen=True, slots=True)
class Published:
    """`documents`: those of `timeframe`."""

    timeframe: Timeframe
    documents: PreviousDocuments

    def why_not_believed(
        self,
        klines: FetchTask,
        candles: Candles,
        left_out: Sequence[LeftOut],
        *,
        holes_too: bool,
    ) -> str | None:
        """Why the answer of which a base is begun cannot be right, if it lacks published candles.
        Longer ones than 5m that the base does not prove are asked for natively.

        `holes_too`: False once the market was asked again and they are still gone.
        """
        if self.timeframe is not Timeframe.M5:
            return None
        known = self._closed(klines).times.tolist()
        return why_lost_of(known, candles, left_out, holes_too=holes_too) if known else None

    def contradiction(
        self, klines: FetchTask, candles: Candles, left_out: Sequence[LeftOut], base: Base
    ) -> str | None:
        """What is against believing the answer at once, as in data_processing.contradiction.

        `base`: what is made of it.
        """
        if self.timeframe is Timeframe.M5:
            odd = {row.slot_ms(STEP_MS) for row in left_out}
            return contradiction(self._closed(klines), candles, odd)
        step_ms, since_ms = self.timeframe.interval_ms, klines.market.since_ms
        made = made_candles(
            base,
            self.timeframe,
            first_ms=-(-base.first_ms // step_ms) * step_ms,
            as_of_ms=base.as_of_ms,
            since_ms=since_ms,
        ).rows
        ours = Candles(made.times, candle_values(made.values), NO_TEXTS)
        return contradiction(self.documents.closed_rows(klines.market).at(made.times), ours, ())

    def interest(self, market: Market) -> TimedValues:
        """The published open interest of the market."""
        return self.documents.interest(market)

    def _closed(self, klines: FetchTask) -> Rows:
        known = self.documents.closed_rows(klines.market)
        return known.between(klines.start_ms, klines.end_ms)


def interest_contradiction(known: TimedValues, fetched: TimedValues) -> str | None:
    """What is against believing at once snapshots that change many of the known ones."""
    there, lines = located(known.times, fetched.times)
    same = fetched.numbers[lines[there]] == known.numbers[there]
    other, both = len(same) - int(same.sum()), len(same)
    if not are_many(other, both):
        return None
    return f"{other} of {both} known snapshots have other numbers"
