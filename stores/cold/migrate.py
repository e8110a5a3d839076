"""Database migrations: pending SQL files, applied in order under a lock, in one transaction.

The files are named `migrations/NNNN_name.sql`. Processes that start together apply them once, and
a file that fails leaves nothing behind. A file that begins with `-- additive` only adds what the
release before can do without; it is recorded apart, so that this release still starts beside ours.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

if TYPE_CHECKING:
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

MIGRATIONS: Final = Path(__file__).resolve().parent / "migrations"
# An arbitrary number that other programs are unlikely to use in the same database.
_LOCK: Final = 0x50657270_63616368
_LOCK_S: Final = 30
_ADDITIVE: Final = "-- additive"
# A release refuses a database with rows that it does not know in the first of these tables.
_CHANGED: Final = "perpcache_migrations"
_ADDED: Final = "perpcache_additions"
RECORDS: Final = (_CHANGED, _ADDED)
_FILE_NAME: Final = re.compile(r"\d{4}_[a-z0-9_]+\.sql")

_log = structlog.get_logger(__name__)


class MigrationError(Exception):
    """The database cannot be migrated to this version; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str  # NNNN_name
    sql: str
    checksum: str

    @property
    def record(self) -> str:
        """The table that has a row for each applied migration of this sort."""
        return _ADDED if self.sql.startswith(_ADDITIVE) else _CHANGED


def read_migrations(folder: Path) -> list[Migration]:
    """The files in numerical order. Raises MigrationError for a bad or repeated file name."""
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        if not _FILE_NAME.fullmatch(path.name):
            raise MigrationError(f"{path.name}: the name must be NNNN_what_it_does.sql")
        sql = path.read_text(encoding="utf-8")  # newlines are normalised, so checksums agree
        migrations.append(Migration(path.stem, sql, hashlib.sha256(sql.encode()).hexdigest()))
    numbers = [migration.name[:4] for migration in migrations]
    if len(set(numbers)) < len(numbers) or not numbers:
        raise MigrationError(f"{folder}: no migrations, or two with the same number")
    return migrations


async def pending_migrations(
    connection: "Connection", migrations: Sequence[Migration]
) -> list[Migration]:
    """The migrations that are not applied yet.

    Raises MigrationError if an applied one has been changed or is unknown to this version, unless
    it only added something.
    """
    applied = await _applied(connection, _CHANGED)
    added = await _applied(connection, _ADDED)
    known = {migration.name: migration.checksum for migration in migrations}
    for name, checksum in sorted({**applied, **added}.items()):
        if name not in known and name in added:
            continue
        if name not in known:
            raise MigrationError(
                f"the database is newer than this version: it has {name}; upgrade Perpcache"
            )
        if known[name] != checksum:
            raise MigrationError(
                f"{name}.sql was changed after it had been applied; restore it and add a new file"
            )
    return [m for m in migrations if m.name not in applied and m.name not in added]


async def _applied(connection: "Connection", table: str) -> Mapping[str, str]:
    """The checksums of the applied migrations in one of the two tables, by name."""
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
        return {}
    rows = await connection.fetch(f"SELECT name, checksum FROM {table}")  # noqa: S608 - our names
    return {row["name"]: row["checksum"] for row in rows}


async def migrate(connection: "Connection", migrations: Sequence[Migration]) -> None:
    """Applies the pending migrations. Raises MigrationError, after which nothing has changed."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_S}s'")
        # Held until the transaction ends, which works behind a transaction pooler (pgbouncer).
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        for table in RECORDS:
            await connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table} ("
                " name text PRIMARY KEY, checksum text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
        for migration in await pending_migrations(connection, migrations):
            try:
                with _warnings_logged(connection, migration.name):
                    await connection.execute(migration.sql)
            except asyncpg.PostgresError as error:
                raise MigrationError(f"{migration.name}.sql: {error}") from error
            await connection.execute(
                f"INSERT INTO {migration.record} (name, checksum) VALUES ($1, $2)",  # noqa: S608
                migration.name,
                migration.checksum,
            )
            _log.info("migration_applied", name=migration.name)


@contextlib.contextmanager
def _warnings_logged(connection: "Connection", name: str) -> Iterator[None]:
    """Logs what the server warns of meanwhile, such as names that others have taken."""

    def on_message(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            _log.warning("migration_warning", name=name, reason=message.message)

    connection.add_log_listener(on_message)
    try:
        yield
    finally:
        connection.remove_log_listener(on_message)
