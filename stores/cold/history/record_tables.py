"""The two sets of tables of the record, for candles and for single values, and their lock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from stores.cold.history.arrays import copy_text
from stores.cold.history.chunk_rows import CANDLE_CHUNKS, POINT_CHUNKS, ChunkTable
from stores.cold.history.series import SeriesKey
from stores.cold.pool import Connection

# An arbitrary number that other programs are unlikely to use in the same database.
_WRITING: Final = 0x50657270_68697374
_LOCK_S: Final = 15


@dataclass(frozen=True, slots=True)
class RecordTables:
    """Where series of one width lie. A value is in `recent` or in a chunk, never in both."""

    chunks: ChunkTable
    recent: str
    revisions: str

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(self.chunks.values)

    def listed(self, alias: str) -> str:
        """The columns of values, of that table."""
        return ", ".join(f"{alias}.{name}" for name in self.values)


CANDLES: Final = RecordTables(CANDLE_CHUNKS, "history_recent", "history_revisions")
POINTS: Final = RecordTables(POINT_CHUNKS, "history_recent_points", "history_point_revisions")
ALL: Final = (CANDLES, POINTS)


def tables_of(key: SeriesKey) -> RecordTables:
    return CANDLES if key.kind == "candles" else POINTS


async def copy_into(
    connection: Connection, table: str, columns: Sequence[str], rows: Iterable[bytes]
) -> None:
    """Appends rows of COPY in binary form."""
    content = BytesIO(copy_text(rows))
    await connection.copy_to_table(table, source=content, columns=columns, format="binary")


async def lock_writers(connection: Connection) -> None:
    """Waits until no other writes the record, and keeps others from it until the transaction ends.

    Readers are not kept from anything."""
    await connection.execute(
        f"SELECT set_config('lock_timeout', '{_LOCK_S}s', true), pg_advisory_xact_lock($1)",
        _WRITING,
    )
