"""ArchiveFiles: which files of exchanges' archives were imported, and with which checksum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stores.cold.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """An imported file. `size` in bytes; `rows`: that it has; `etag`: as the archive told it."""

    name: str
    sha256: str
    etag: str | None
    size: int
    rows: int
    imported_at_ms: int


class ArchiveFiles:
    """All methods raise DatabaseUnavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, names: Sequence[str]) -> Mapping[str, ArchiveFile]:
        """Those of the files that were imported, by name."""

        async def read(connection: Connection) -> Mapping[str, ArchiveFile]:
            rows = await connection.fetch(
                "SELECT name, sha256, etag, size, rows, imported_at FROM history_files"
                ' WHERE name = ANY($1::text[] COLLATE "C")',
                list(names),
            )
            return {row["name"]: ArchiveFile(*row) for row in rows}

        return await self._pool.read(read)

    async def add(self, file: ArchiveFile) -> None:
        """Notes that the file was imported, in the place of what is noted of its name."""

        async def write(connection: Connection) -> None:
            await write_archive_file(connection, file)

        await self._pool.write(write)


async def write_archive_file(connection: Connection, file: ArchiveFile) -> None:
    """As `ArchiveFiles.add`, within a transaction, such as that of HistoryTables.fill."""
    await connection.execute(
        """
        INSERT INTO history_files (name, sha256, etag, size, rows, imported_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, etag = excluded.etag,
            size = excluded.size, rows = excluded.rows, imported_at = excluded.imported_at
        """,
        *(file.name, file.sha256, file.etag, file.size, file.rows, file.imported_at_ms),
    )
