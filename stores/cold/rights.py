"""The rights on our tables that the database's user needs, and which of them it lacks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from stores.cold.migrate import RECORDS

if TYPE_CHECKING:
    from stores.cold.migrate import Connection

HISTORY_TABLES: Final = (
    *("history_series", "history_recent", "history_recent_points"),
    *("history_chunks", "history_point_chunks", "history_revisions", "history_point_revisions"),
    *("history_stored", "history_universes", "history_publishes", "history_journal"),
    *("history_coverage", "history_listings"),
    *("history_batches", "history_files", "history_backfills", "history_holes", "history_looks"),
    *("history_hot_store", "history_damaged_chunks"),
)
PROVIDER_TABLES: Final = (
    *("market_prices", "news_articles", "sentiment_metrics", "gas_prices", "blockchain_stats"),
    *("whale_transactions", "whale_cursor", "providers"),
    *("connection_attempts", "rate_limit_usage"),
)
_WRITE: Final = ("SELECT", "INSERT", "UPDATE")
_ADD: Final = ("SELECT", "INSERT")
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(RECORDS, ("SELECT",)),
    **dict.fromkeys(("coins", "discoveries", "listings", "market_lives", "native_markets"), _WRITE),
    **dict.fromkeys(("live_collector_files", "live_collectors"), _WRITE),
    **dict.fromkeys(("worker", "worker_queue", "worker_run"), _WRITE),
    **dict.fromkeys(("execution_log", "live_trades", "live_tickers", "live_books"), _ADD),
    **dict.fromkeys(("data_collections", "failure_logs", "worker_secret"), (*_ADD, "DELETE")),
    **dict.fromkeys(("coin_metadata", "worker_config"), (*_WRITE, "DELETE")),
    **dict.fromkeys((*HISTORY_TABLES, *PROVIDER_TABLES), (*_WRITE, "DELETE")),
    **dict.fromkeys(("execution_log_id", "worker_run_id", "connection_attempts_id"), ("USAGE",)),
}


async def lacking_rights(connection: "Connection") -> str | None:
    """The rights that the user lacks, such as `DELETE on coin_metadata; SELECT on coins, listings`;
    None if it has all. What is not there does not count."""
    pairs = [(table, right) for table, rights in _NEEDED.items() for right in rights]
    rows = await connection.fetch(_LACKING, *map(list, zip(*pairs, strict=True)))
    return "; ".join(f"{row['rights']} on {row['tables']}" for row in rows) or None


_LACKING: Final = """
    SELECT rights, string_agg(name, ', ' ORDER BY name) AS tables FROM (
        SELECT name, string_agg(needed, ', ' ORDER BY place) AS rights
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(name, needed, place)
        WHERE NOT CASE needed WHEN 'USAGE'
            THEN has_sequence_privilege(to_regclass(name)::oid, 'USAGE, UPDATE')
            ELSE has_table_privilege(to_regclass(name)::oid, needed) END
        GROUP BY name
    ) AS lacking GROUP BY rights ORDER BY rights
"""
