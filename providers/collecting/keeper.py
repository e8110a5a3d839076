"""Keeps what providers told, whoever asked: the agent, a client of the API, or a user's code."""

from collections.abc import Sequence
from typing import Final

import structlog

from database import DatabaseRefuses
from providers.collecting.rows import (
    gas_row,
    news_row,
    price_row,
    sentiment_rows,
    stats_row,
    whale_row,
)
from providers.records import (
    ChainStats,
    GasPrice,
    NewsItem,
    Price,
    Record,
    SentimentReading,
    WhaleTransfer,
)
from stores.cold.providers.tables import ProviderTables
from timing.clock import now_ms

# Balances belong to those who ask, and what RPC nodes answer is of the moment: neither is kept.
_KEPT: Final = (Price, SentimentReading, NewsItem, GasPrice, ChainStats, WhaleTransfer)


log = structlog.get_logger(__name__)


class Keeper:
    """Stores records. All methods raise DatabaseUnavailable."""

    def __init__(self, tables: ProviderTables) -> None:
        self._tables = tables

    async def keep(self, records: Sequence[Record]) -> int:
        """Stores those that were just fetched and that are kept at all; how many rows are new. One
        that no column holds is logged and left out, so that it keeps no other from being stored."""
        fresh = [
            each for each in records if each.stale_since_ms is None and isinstance(each, _KEPT)
        ]
        try:
            return await self._keep(fresh)
        except DatabaseRefuses as error:
            if len(fresh) > 1:
                return sum([await self.keep([each]) for each in fresh])
            for each in fresh:
                log.warning("provider_record_refused", resource=each.resource, error=str(error))
            return 0

    async def _keep(self, fresh: Sequence[Record]) -> int:
        known = now_ms()
        tables = self._tables
        prices = [price_row(each, known) for each in fresh if isinstance(each, Price)]
        readings = [
            row
            for each in fresh
            if isinstance(each, SentimentReading)
            for row in sentiment_rows(each, known)
        ]
        stories = [news_row(each, known) for each in fresh if isinstance(each, NewsItem)]
        fees = [gas_row(each, known) for each in fresh if isinstance(each, GasPrice)]
        stats = [stats_row(each, known) for each in fresh if isinstance(each, ChainStats)]
        whales = [whale_row(each, known) for each in fresh if isinstance(each, WhaleTransfer)]
        new = await tables.prices.add(prices) + await tables.sentiment.add(readings)
        new += await tables.news.add(stories) + await tables.chains.add_gas(fees)
        new += await tables.chains.add_stats(stats)
        return new + (await tables.whales.add(whales) if whales else 0)
