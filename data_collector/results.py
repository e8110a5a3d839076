"""Progress and results of a collection: counts, and which parts are missing and why."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from data_collector.internal_errors import ENDS_JOB
from market.left_out import LeftOut, at_most_named
from market.markets import Exchange, Market, Missing, MissingPart
from market.timeframes import Timeframe
from venues.errors import CollectionFailed, ExchangeError

_NO_CANDLE: Final = "no market has a candle in the window"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """The results of a finished collection.

    `markets`: delivered with candles fetched now; `carried_over`: delivered with old rows.
    `refreshed`: those of `markets` for which only missing rows were fetched; `corrected`: those
    whose known rows had changed and were fetched again.
    `funding_outdated`: a null rate exists that a funding update could fill.
    `brought`: the exchanges of which a candle was fetched now; `absent`: those of which none was,
    and why.
    `clocks`: by exchange, what is against its clock, or why it is not believed.
    """

    as_of_ms: int
    missing: list[Missing]
    markets: int
    carried_over: int
    refreshed: int
    corrected: int
    requests: int
    retries: int
    funding_outdated: bool
    brought: frozenset[Exchange] = frozenset()
    absent: Mapping[Exchange, str] = field(default_factory=dict)
    clocks: Mapping[Exchange, str] = field(default_factory=dict)


@dataclass(slots=True)
class Results:
    """Counts of a running collection; calls `on_progress(done, total)` as tasks finish."""

    total: int
    on_progress: Callable[[int, int], None]
    done: int = 0
    markets: int = 0
    rows: int = 0
    carried_over: int = 0
    refreshed: int = 0
    corrected: int = 0
    funding_outdated: bool = False
    progress_failed: bool = False
    missing: list[Missing] = field(default_factory=list)
    failures: dict[Exchange, Counter[str]] = field(default_factory=dict)
    rows_of: Counter[Exchange] = field(default_factory=Counter)

    def progress(self, tasks: int) -> None:
        """Counts `tasks` more as finished, successful or not."""
        self.done += tasks
        try:
            self.on_progress(self.done, self.total)
        except ENDS_JOB:
            raise
        except Exception:  # showing progress must not cost a market its rows
            if not self.progress_failed:
                log.exception("progress_not_shown")
            self.progress_failed = True

    def add_missing(self, market: Market, part: MissingPart, error: ExchangeError | str) -> None:
        """Records that a part of the market is missing from the delivered rows."""
        reason = error if isinstance(error, str) else reason_of(error)
        self.missing.append(Missing(market.exchange, market.symbol, part, reason))

    def add_left_out(self, market: Market, part: MissingPart, rows: Iterable[LeftOut]) -> None:
        """Records invalid rows of the market."""
        for row in at_most_named(rows):
            self.add_missing(market, part, row.text())

    def failed(self, market: Market, error: ExchangeError) -> None:
        """Records that fetching the market's candles failed."""
        self.add_missing(market, "klines", error)
        self.failures.setdefault(market.exchange, Counter())[reason_of(error)] += 1

    def merged(self, market: Market, rows: int, *, refreshed: bool) -> None:
        """Counts a market whose candles were fetched now, and its rows."""
        self.markets += 1
        self.refreshed += refreshed
        self.rows += rows
        self.rows_of[market.exchange] += rows

    def brought(self) -> frozenset[Exchange]:
        """The exchanges of which a candle was fetched now."""
        return frozenset(exchange for exchange, rows in self.rows_of.items() if rows)

    def absent(self) -> dict[Exchange, str]:
        """The exchanges that had markets here but brought no row, and why."""
        absent = {}
        for exchange in sorted(self.rows_of.keys() | self.failures.keys()):
            if not self.rows_of[exchange]:
                causes = self.failures.get(exchange)
                absent[exchange] = causes.most_common(1)[0][0] if causes else _NO_CANDLE
        return absent

    def raise_if_empty(self) -> None:
        """Raises CollectionFailed if no candle was fetched."""
        if not self.rows:
            causes = (
                f"{exchange}: {reasons.most_common(1)[0][0]}"
                for exchange, reasons in sorted(self.failures.items())
            )
            raise CollectionFailed("; ".join(causes) or _NO_CANDLE)

    def count_correction(self, market: Market, part: MissingPart) -> None:
        """Counts a market whose known rows the exchange has changed."""
        self.corrected += 1
        log_correction(market, part)

    def finish(
        self, timeframe: Timeframe, *, as_of_ms: int, requests: int, retries: int
    ) -> Collected:
        """The results; raises CollectionFailed if no candle was fetched."""
        self.raise_if_empty()
        log.info(
            "collection_finished",
            timeframe=timeframe,
            markets=self.markets,
            refreshed=self.refreshed,
            corrected=self.corrected,
            carried_over=self.carried_over,
            requests=requests,
        )
        return Collected(
            as_of_ms=as_of_ms,
            missing=sorted(self.missing),
            markets=self.markets,
            carried_over=self.carried_over,
            refreshed=self.refreshed,
            corrected=self.corrected,
            requests=requests,
            retries=retries,
            funding_outdated=self.funding_outdated,
            brought=self.brought(),
            absent=self.absent(),
        )


def log_correction(market: Market, part: MissingPart) -> None:
    """Tells that the exchange has changed known rows of the market."""
    log.warning("history_corrected_by_exchange", market=market.key, part=part)


def reason_of(error: ExchangeError) -> str:
    """The cause for a document's `missing`, which names exchange and market separately."""
    status = f" (HTTP {error.status})" if error.status not in (None, 200) else ""
    return f"{error.cause}{status}"
