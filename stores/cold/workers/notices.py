"""Notices that rows of workers were changed: sent with the change, and heard by every process."""

from typing import Final, Literal

from stores.cold.pool import Connection

What = Literal["worker", "queue", "config"]  # which table was changed
CHANNEL: Final = "perpcache_workers"


async def notify(connection: Connection, what: What) -> None:
    """Tells every process, once the transaction of `connection` commits."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, what)
