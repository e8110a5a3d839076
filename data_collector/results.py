"""How a collection goes and went: how far it is, what it delivered, what is missing and why."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from market.markets import Exchange, Market, Missing, MissingPart
from market.timeframes import Timeframe
from venues.errors import CollectionFailed, ExchangeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """How a collection went.

    `markets`: delivered with candles fetched now; `carried_over`: delivered with earlier rows.
    `refreshed`: those of `markets` of which only what was missing was asked for; `corrected`:
    those that disagreed with what was known of them, and were fetched anew.
    `funding_outdated`: somewhere a rate is null that a funding refresh could fill.
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


@dataclass(slots=True)
class Results:
    """What a running collection counts; `on_progress(done, total)` is told of every task."""

    total: int
    on_progress: Callable[[int, int], None]
    done: int = 0
    markets: int = 0
    rows: int = 0
    carried_over: int = 0
    refreshed: int = 0
    corrected: int = 0
    funding_outdated: bool = False
    missing: list[Missing] = field(default_factory=list)
    failures: dict[Exchange, Counter[str]] = field(default_factory=dict)

    def progress(self, tasks: int) -> None:
        """So many tasks more are over, well or not."""
        self.done += tasks
        self.on_progress(self.done, self.total)

    def lacks(self, market: Market, part: MissingPart, error: ExchangeError | str) -> None:
        """A part of the market is missing from what was delivered."""
        reason = error if isinstance(error, str) else reason_of(error)
        self.missing.append(Missing(market.exchange, market.symbol, part, reason))

    def failed(self, market: Market, error: ExchangeError) -> None:
        """The market's candles could not be had."""
        self.lacks(market, "klines", error)
        self.failures.setdefault(market.exchange, Counter())[reason_of(error)] += 1

    def corrects(self, market: Market, part: MissingPart) -> None:
        """What was known of the market does not hold any more."""
        self.corrected += 1
        log.warning("corrected_by_exchange", market=market.key, part=part)

    def finish(
        self, timeframe: Timeframe, *, as_of_ms: int, requests: int, retries: int
    ) -> Collected:
        """Raises CollectionFailed when not one candle was fetched."""
        if not self.rows:
            causes = (
                f"{exchange}: {reasons.most_common(1)[0][0]}"
                for exchange, reasons in sorted(self.failures.items())
            )
            raise CollectionFailed("; ".join(causes) or "no market has a candle in the window")
        log.info(
            "collected",
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
        )


def reason_of(error: ExchangeError) -> str:
    """The cause as a document's `missing` gives it: exchange and market stand beside it there."""
    status = f" (HTTP {error.status})" if error.status not in (None, 200) else ""
    return f"{error.cause}{status}"
