"""`sql`: opens the database read-only, for one statement or as a session of psql."""

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final

from addresses.database_url import parse_database_url
from addresses.url import decoded, parse_url
from commands.embedded_stores import embedded_stores
from commands.errors import EXIT_FAILED, CommandError
from commands.runtime import cancelled_by
from commands.sql_output import WRITERS
from commands.terminal import write_data
from config import Settings
from database import Database
from stores.cold.reader_role import ensure_reader
from stores.cold.reading_session import StatementFailed, reading_session

_UNDEFINED: Final = ("42P01", "42883")  # table, function
_READ_ONLY: Final = "25006"
_CANCELED: Final = "57014"
_SEVERAL: Final = "cannot insert multiple commands into a prepared statement"
_LONGEST_STATEMENT: Final = 1_000_000
_NO_TEXT: Final = "the statement is no text: it must be UTF-8, without zero bytes"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# What libpq reads from the environment, by the name of the option in a URL.
_LIBPQ: Final[Mapping[str, str]] = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "service": "PGSERVICE",
    "passfile": "PGPASSFILE",
}


class SqlError(CommandError):
    """A statement that could not be run; one line for each thing that the server says of it."""


async def run(settings: Settings, stop: asyncio.Event, arguments: argparse.Namespace) -> int:
    """Runs the statement, or psql where there is none. Raises SqlError, DatabaseUnavailable."""
    statement: str | None = arguments.statement
    if arguments.url:
        return await cancelled_by(stop, _print_url(settings))
    if statement is None and not sys.stdin.isatty():
        statement = await asyncio.to_thread(_read_statement)
    if statement is not None:
        _check(statement)
        return await cancelled_by(stop, _answer(settings, statement, arguments))
    program = find_psql()
    if program is None:
        raise SqlError(
            "psql is not installed: give a statement, such as"
            ' python main.py sql "SELECT * FROM candles LIMIT 5"'
        )
    async with _readable(settings) as url:
        return await _session(program, url, arguments.timeout, stop)


def _read_statement() -> str:
    # One more tells a statement that is too long, which is not cut into another one.
    try:
        return sys.stdin.read(_LONGEST_STATEMENT + 1)
    except UnicodeDecodeError:
        raise SqlError(_NO_TEXT) from None


def _check(statement: str) -> None:
    """Raises SqlError for what no server takes as a statement."""
    if not statement.strip():
        raise SqlError('no statement: give one, such as "SELECT * FROM candles LIMIT 5"')
    if len(statement) > _LONGEST_STATEMENT:
        raise SqlError(f"the statement has more than {_LONGEST_STATEMENT} characters")
    # Surrogates stand for bytes that are no UTF-8.
    if "\0" in statement or (not statement.isascii() and _SURROGATE.search(statement)):
        raise SqlError(_NO_TEXT)


async def _answer(settings: Settings, statement: str, arguments: argparse.Namespace) -> int:
    writer = WRITERS[arguments.format]()
    async with _readable(settings) as url, reading_session(url) as session:
        batches = session.batches(statement, timeout_s=arguments.timeout)
        async with contextlib.aclosing(batches):
            try:
                async for batch in batches:
                    write_data(await asyncio.to_thread(writer.add, batch))
            except StatementFailed as error:
                raise SqlError(_explained(error, settings, arguments.timeout)) from None
        write_data(writer.end())
    return 0


async def _print_url(settings: Settings) -> int:
    if settings.database_url is not None:
        raise SqlError("--url is for the embedded database: other programs use your DATABASE_URL")
    if settings.history_database_url is not None:
        raise SqlError(
            "--url is for the embedded database: other programs use your HISTORY_DATABASE_URL"
        )
    async with _readable(settings) as url:
        # An option that drivers older than PostgreSQL 17 do not know.
        write_data(f"{url.replace('&sslnegotiation=postgres', '')}\n")
    return 0


@contextlib.asynccontextmanager
async def _readable(settings: Settings) -> AsyncIterator[str]:
    """The address to read from: of the replica, if one is named, or the database; of the embedded
    one, its role that may write nothing."""
    if settings.history_database_url is not None:
        yield settings.history_database_url.get_secret_value()
        return
    async with embedded_stores(settings, hot=False) as found:
        assert found.database_url is not None  # noqa: S101 - embedded_stores sets it
        url = found.database_url.get_secret_value()
        if settings.database_url is None:
            database = Database(url)
            try:
                await database.open()  # its tables and views may be missing
            finally:
                await database.aclose()
            url = await ensure_reader(url)
        yield url


def _explained(error: StatementFailed, settings: Settings, timeout_s: float) -> str:
    if error.state == _CANCELED:
        return (
            f"the database was not done within {timeout_s:g} s: narrow the statement by exchange,"
            " symbol and timeframe, ask candles_between() for a span of time, or give --timeout"
        )
    if error.state == _READ_ONLY:
        return f"{error}: `sql` opens the database read-only"
    if error.state in _UNDEFINED and settings.database_url is not None:
        return f"{error}\nthe tables and views of the history are made when the service starts"
    return str(error).replace(_SEVERAL, "one statement at a time: without `;` inside")


def find_psql() -> str | None:
    """The program psql: this machine's, else the one beside the embedded database's programs."""
    found = shutil.which("psql")
    if found is None:
        from stores.embedded.errors import EmbeddedStoresError
        from stores.embedded.postgres_programs import installed_trees

        with contextlib.suppress(EmbeddedStoresError):
            trees = installed_trees()
            newest = trees[max(trees, key=int)] if trees else Path("/nowhere")
            found = shutil.which("psql", path=newest / "bin")
    return found


async def _session(program: str, url: str, timeout_s: float, stop: asyncio.Event) -> int:
    environment = {**os.environ, **psql_environment(url, timeout_s)}
    with _interrupts_ignored():
        process = await asyncio.create_subprocess_exec(program, env=environment)
        ending = asyncio.create_task(_terminated_by(stop, process))
        try:
            code = await process.wait()
        finally:
            ending.cancel()
    return code if code >= 0 else EXIT_FAILED


async def _terminated_by(stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
    await stop.wait()
    process.terminate()


def psql_environment(url: str, timeout_s: float) -> dict[str, str]:
    """The variables with which psql opens `url` read-only; the password is no argument of its.

    Raises ValueError for an invalid `url`.
    """
    checked = parse_database_url(url)  # with the same errors as everywhere
    scheme, _, rest = url.partition("://")
    plain = f"{scheme.partition('+')[0]}://{rest}"  # SQLAlchemy's form names its driver
    address = parse_url(plain, "postgresql", "postgres", several_hosts=True)
    options = address.options
    hosts = options.get("host") or ",".join(host for host, _ in address.hosts)
    ports = options.get("port") or ",".join(str(port or 5432) for _, port in address.hosts)
    named = {
        "PGHOST": hosts,
        "PGPORT": ports,
        "PGUSER": options.get("user") or address.username,
        "PGPASSWORD": options.get("password") or address.password,
        "PGDATABASE": options.get("dbname") or options.get("database") or decoded(address.path[1:]),
        "PGAPPNAME": "perpcache-sql",
    }
    session = {
        "default_transaction_read_only": "on",
        "statement_timeout": str(max(round(timeout_s * 1000), 1)),
        "TimeZone": "UTC",
    }
    if checked.search_path is not None:
        session["search_path"] = checked.search_path
    given = options.get("options")
    settings = [f"-c {name}={_escaped(value)}" for name, value in session.items()]
    named["PGOPTIONS"] = " ".join([*([given] if given else []), *settings])
    named |= {_LIBPQ[name]: value for name, value in options.items() if name in _LIBPQ}
    return {name: value for name, value in named.items() if value}


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Inside, Ctrl-C is psql's alone, which gives up its statement and goes on."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
