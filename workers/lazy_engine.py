"""LazyEngine: what processes that run nothing call of the engine, which is imported when asked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from database import Database
from stores.cold.pool import Connection

if TYPE_CHECKING:
    from workers.engine import Engine


class LazyEngine:
    """`enqueue` and `cancel` of the engine in the schema `schema` of `database`, as Enqueue and
    Cancel of seam.py. Nothing is imported or connected to before the first call."""

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema
        self._engine: Engine | None = None

    async def enqueue(
        self, connection: Connection, run_id: int, queue: str, not_before_ms: int | None = None
    ) -> int:
        return await self._found().enqueue(connection, run_id, queue, not_before_ms)

    async def cancel(self, connection: Connection, run_ids: Sequence[int]) -> None:
        await self._found().cancel(connection, run_ids)

    def _found(self) -> "Engine":
        if self._engine is None:
            from workers.engine import Engine

            self._engine = Engine(self._database, self._schema)
        return self._engine
