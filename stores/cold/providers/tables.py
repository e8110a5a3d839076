"""All tables of providers behind one object, and how long their rows are kept."""

from typing import Final

from stores.cold.pool import Connection, Pool
from stores.cold.providers.chains import ChainFigures
from stores.cold.providers.conduct import ProviderConduct
from stores.cold.providers.news import NewsArticles
from stores.cold.providers.prices import MarketPrices
from stores.cold.providers.sentiment import SentimentMetrics
from stores.cold.providers.whales import WhaleTransactions

# Each table, and the time that says how old a row is.
_AGES: Final = {
    "market_prices": "known_at",
    "news_articles": "known_at",
    "sentiment_metrics": "known_at",
    "gas_prices": "known_at",
    "blockchain_stats": "known_at",
    "whale_transactions": "known_at",
    "connection_attempts": "at",
    "rate_limit_usage": "changed_at",
}
# Attempts are many, and of use while one looks for what is wrong.
_ATTEMPTS_KEPT_MS: Final = 7 * 86_400_000


class ProviderTables:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.prices = MarketPrices(pool)
        self.news = NewsArticles(pool)
        self.sentiment = SentimentMetrics(pool)
        self.chains = ChainFigures(pool)
        self.whales = WhaleTransactions(pool)
        self.conduct = ProviderConduct(pool)

    async def forget(self, before_ms: int, *, now_ms: int) -> dict[str, int]:
        """Removes rows that came before that time (UTC ms), attempts also those of more than a
        week; how many by table."""
        removed = {}
        for table, age in _AGES.items():
            limit_ms = before_ms
            if table == "connection_attempts":
                limit_ms = max(before_ms, now_ms - _ATTEMPTS_KEPT_MS)
            removed[table] = await self._forget(table, age, limit_ms)
        return removed

    async def _forget(self, table: str, age: str, before_ms: int) -> int:
        async def write(connection: Connection) -> int:
            done: str = await connection.execute(
                f"DELETE FROM {table} WHERE {age} < $1",  # noqa: S608 - our own constants
                before_ms,
            )
            return int(done.split()[-1])

        return await self._pool.write(write)
