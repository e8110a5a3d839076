"""The role perpcache_reader of an embedded database: it may read everything and write nothing."""

import hashlib
import hmac
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from stores.cold.pool import DatabaseUnavailable

READER: Final = "perpcache_reader"
_TIMEOUT_S: Final = 10.0


def reader_url(owner_url: str) -> str:
    """The address of the embedded database for the role; `owner_url` is the owner's.

    The password follows from the owner's, so that every process of the installation knows it.
    """
    parts = urlsplit(owner_url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{READER}:{quote(_password(owner_url))}@{place}"))


async def ensure_reader(owner_url: str) -> str:
    """Creates the role where it is missing; returns `reader_url`. Raises DatabaseUnavailable."""
    password = _password(owner_url)
    try:
        owner = await asyncpg.connect(owner_url, timeout=_TIMEOUT_S)
        try:
            async with owner.transaction():
                # Two commands may start at the same time.
                await owner.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                known = await owner.fetchrow(_KNOWN, READER)
                if known is None:
                    await owner.execute(f"CREATE ROLE {READER}")
                if known is None or known["mark"] != _mark(password) or known["may_fill"]:
                    await owner.execute(_RIGHTS.format(password=password, mark=_mark(password)))
        finally:
            await owner.close(timeout=_TIMEOUT_S)
    except TimeoutError as error:
        raise DatabaseUnavailable("the database did not answer in time") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise DatabaseUnavailable(f"the database failed: {error}") from error
    return reader_url(owner_url)


def _password(owner_url: str) -> str:
    key = urlsplit(owner_url).password or ""
    return hmac.new(key.encode(), READER.encode(), hashlib.sha256).hexdigest()[:48]


def _mark(password: str) -> str:
    """What the role's comment says: with which password, without telling it, it was made."""
    return hashlib.sha256(password.encode()).hexdigest()[:16]


# An arbitrary number that other programs are unlikely to use in the same database.
_LOCK: Final = 0x50657270_72656164

_KNOWN: Final = """
    SELECT shobj_description(oid, 'pg_authid') AS mark,
        has_database_privilege(oid, current_database(), 'TEMPORARY') AS may_fill
    FROM pg_roles WHERE rolname = $1
"""

# Without TEMPORARY a reader fills no disk either. Sessions that others open with `reader_url` are
# read-only by default; that they cannot become anything else is a matter of rights.
_RIGHTS: Final = f"""
    ALTER ROLE {READER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{{password}}';
    ALTER ROLE {READER} SET default_transaction_read_only = on;
    ALTER ROLE {READER} SET timezone = 'UTC';
    GRANT pg_read_all_data TO {READER};
    DO $$ BEGIN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END $$;
    COMMENT ON ROLE {READER} IS '{{mark}}';
"""
