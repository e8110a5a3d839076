"""The series of an earlier run's document, read or in memory, and the time of the newest one."""

from collections.abc import Iterable

from documents.reading import decode_series
from jobs.context import JobContext
from jobs.stored_documents import read_stored
from market.previous_series import PreviousSeries
from market.timeframes import Timeframe
from stores.hot.leases import Lease, retry_under_lease


async def previous_series(
    context: JobContext, timeframe: Timeframe, lease: Lease
) -> PreviousSeries | None:
    """The series of the stored document; None if it is missing or damaged.

    They come from this process's memory if it published that document; a market's is then there
    until the new one is added to a draft. Retries and raises as `read_stored`.
    """
    if context.kept.is_published(timeframe):
        meta = await retry_under_lease(lease, lambda: context.cache.read_meta(timeframe))
        if meta is not None:
            series = context.kept.series(timeframe, meta.version, meta.content_hash)
            if series is not None:
                return series
    return await read_stored(
        context.cache, timeframe, lambda document: decode_series(document.inflate()), lease
    )


async def stored_as_of_ms(context: JobContext, names: Iterable[str], lease: Lease) -> int | None:
    """The newest as_of of the stored documents of these names; None if there is none.

    Retries while the store is away, until the lease is lost. Raises LeaseLost, StoreRefused.
    """
    wanted = list(names)
    metas = await retry_under_lease(lease, lambda: context.cache.read_metas(wanted))
    return max((meta.as_of_ms for meta in metas.values() if meta is not None), default=None)
