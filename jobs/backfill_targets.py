"""The markets of a backfill: those that are collected, or those that are named, gone ones too."""

from history.backfill.series import Target
from history.backfill.wanted import Wanted
from jobs.context import JobContext, Progress
from jobs.funding import known_funding
from jobs.markets import markets_to_collect
from market.markets import Market
from market.settlements import LONGEST_INTERVAL_HOURS
from stores.hot.leases import Lease


async def targets_of(
    context: JobContext, wanted: Wanted, lease: Lease, progress: Progress
) -> list[Target]:
    """Sorted by exchange and symbol. Raises DatabaseUnavailable, and JobFailed if no market is
    known even after a discovery."""
    progress.enter("markets")
    collected = await markets_to_collect(context, lease, progress)
    found: list[tuple[Market, int | None]] = [(market, None) for market in collected]
    if wanted.symbols:
        found = await context.database.markets.named(
            wanted.symbols, exchanges=wanted.exchanges, quote=context.settings.quote
        )
    book = await known_funding(context, lease, progress)
    hours = {key: series.interval_hours for key, series in book.items()}
    return [
        Target(market, listed_to_ms, hours.get(market.key, LONGEST_INTERVAL_HOURS))
        for market, listed_to_ms in found
        if market.exchange in wanted.exchanges
    ]
