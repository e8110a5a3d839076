"""`sql` on a real PostgreSQL: what it prints, what it refuses, and that nothing can be written."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from commands.sql import find_psql, psql_environment
from main import main
from stores.cold.reader_role import READER, ensure_reader
from stores.cold.reading_session import StatementFailed, reading_session
from tests.docs.blocks import ROOT


@pytest.fixture
async def filled(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with one table, whose address is DATABASE_URL."""
    connection = await asyncpg.connect(database_url, timeout=10)
    await connection.execute("CREATE TABLE kept (at timestamptz, price float8, name text)")
    await connection.execute(
        "INSERT INTO kept VALUES ('2026-03-01 00:00+00', 0.1, 'a,\"b'),"
        " ('2026-03-01 04:00+00', 64250, NULL), (NULL, 'NaN', E'\\x1b[31m')"
    )
    await connection.close()
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


async def count(url: str) -> tuple[int, int]:
    """How many rows the table has, and how many tables there are."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        rows = await connection.fetchval("SELECT count(*) FROM kept")
        tables = await connection.fetchval("SELECT count(*) FROM pg_class WHERE relkind = 'r'")
        return rows, tables
    finally:
        await connection.close()


def sql(*words: str) -> int:
    """The exit code of `python main.py sql ...`."""
    return main(["sql", *words])


def test_a_table(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sql("SELECT * FROM kept") == 0
    assert capsys.readouterr().out.splitlines() == [
        "at                        | price | name",
        "--------------------------+-------+---------",
        '2026-03-01 00:00:00+00:00 |   0.1 | a,"b',
        "2026-03-01 04:00:00+00:00 | 64250 |",
        r"                          |   NaN | \x1b[31m",
        "(3 rows)",
    ]
    assert sql("SELECT 1 AS one WHERE false") == 0
    assert capsys.readouterr().out.splitlines() == ["one", "---", "(0 rows)"]


def test_csv_comes_back_equal(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    query = (
        "SELECT price, name, at, ARRAY[1, 2] AS list, 1.50::numeric AS exact, true AS yes"
        " FROM kept WHERE name IS NOT NULL AND at IS NOT NULL"
    )
    assert sql("--format", "csv", query) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row == {
        "price": "0.1",
        "name": 'a,"b',
        "at": "2026-03-01 00:00:00+00:00",
        "list": "[1,2]",
        "exact": "1.50",
        "yes": "t",
    }


def test_json(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sql("--format", "json", "SELECT * FROM kept") == 0
    assert json.loads(capsys.readouterr().out) == [
        {"at": "2026-03-01T00:00:00+00:00", "price": 0.1, "name": 'a,"b'},
        {"at": "2026-03-01T04:00:00+00:00", "price": 64250.0, "name": None},
        {"at": None, "price": "NaN", "name": "\x1b[31m"},
    ]
    assert sql("--format", "json", "SELECT 1 WHERE false") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_many_rows_are_streamed(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT n FROM generate_series(1, {}) AS n"
    for rows in (1000, 2500):  # whole batches, and a part of one
        for form in ("table", "csv", "json"):
            assert sql("--format", form, query.format(rows)) == 0
            printed = capsys.readouterr().out
            if form == "json":
                assert [row["n"] for row in json.loads(printed)] == list(range(1, rows + 1))
            else:
                lines = [line.strip() for line in printed.splitlines()]
                numbers = lines[1:] if form == "csv" else lines[2:-1]
                assert numbers == [str(n) for n in range(1, rows + 1)]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM kept",
        "WITH gone AS (DELETE FROM kept RETURNING *) SELECT * FROM gone",
        "CREATE TABLE other (a int)",
        "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM kept; END $$",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "COMMIT; DELETE FROM kept",
        "SELECT 1; DELETE FROM kept",
        "EXPLAIN ANALYZE DELETE FROM kept",
        "SELECT nextval('numbers')",
        "SELECT * FROM kept FOR UPDATE",
    ],
)
async def test_nothing_can_be_written(filled: str, statement: str) -> None:
    owner = await asyncpg.connect(filled, timeout=10)
    await owner.execute("CREATE SEQUENCE numbers")
    await owner.close()
    before = await count(filled)
    with pytest.raises(StatementFailed):
        async with reading_session(filled) as session:
            async for _ in session.batches(statement, timeout_s=60):
                pass
    assert await count(filled) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["SELEC 1"], 'syntax error at or near "SELEC" (at character 1)'),
        (["SELECT 1; SELECT 2"], "one statement at a time"),
        (["SELECT * FROM candels"], 'relation "candels" does not exist (at character 15)'),
        (["--timeout", "0.05", "SELECT pg_sleep(5)"], "was not done within 0.05 s: narrow"),
        (["DELETE FROM kept"], "`sql` opens the database read-only"),
        (["--url"], "other programs use your DATABASE_URL"),
        ([" "], "no statement: give one"),
        (["COPY (SELECT 1) TO STDOUT CSV"], "give its query alone, and --format csv"),
        (["SELECT '\udcff'"], "must be UTF-8"),
        (["--format", "json", "SELECT 1 AS a, 2 AS b, 3 AS a"], "two columns are named a"),
    ],
)
def test_mistakes_are_told_in_plain_words(
    filled: str, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sql(*words) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("perpcache: ") and told in printed.err


def test_a_statement_from_standard_input(
    filled: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 7 AS seven\n"))
    assert sql("--format", "csv") == 0
    assert capsys.readouterr().out == "seven\n7\n"
    for text, told in (
        (" \n", "no statement"),
        ("SELECT 1\0", "must be UTF-8"),
        # A statement that ends early is another one.
        ("SELECT 1" + " " * 999_993, "more than 1000000 characters"),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert sql() == 1
        assert told in capsys.readouterr().err


def test_the_address_of_a_replica_is_not_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HISTORY_DATABASE_URL", "postgresql://user:pa55word@127.0.0.1:1/none")
    assert sql("--url") == 1
    printed = capsys.readouterr()
    assert "pa55word" not in printed.out + printed.err
    assert "HISTORY_DATABASE_URL" in printed.err


def test_a_replica_is_asked_where_there_is_one(
    filled: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HISTORY_DATABASE_URL", filled)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user@127.0.0.1:1/none")
    assert sql("--format", "csv", "SELECT count(*) FROM kept") == 0
    assert capsys.readouterr().out == "count\n3\n"


def test_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:pa55word@127.0.0.1:1/none")
    assert sql("SELECT 1") == 69
    told = capsys.readouterr().err
    assert told.startswith("perpcache: the database failed: ") and "pa55word" not in told


async def psql(url: str, *statements: str) -> tuple[str, str]:
    """What psql prints in a session as `sql` opens it: its output and its errors."""
    program = find_psql()
    assert program is not None
    environment = psql_environment(url, 60)
    assert not any("://" in value for value in environment.values())
    done = await asyncio.to_thread(
        subprocess.run,
        [program, "-X", "-A", "-t"],
        input="\n".join(statements).encode(),
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.stdout.decode(), done.stderr.decode()


async def test_psql_is_opened_read_only(filled: str) -> None:
    printed, errors = await psql(
        filled,
        "SELECT price FROM kept WHERE name IS NULL;",
        "DELETE FROM kept;",
        "SHOW statement_timeout; SHOW TimeZone;",
    )
    assert printed.split() == ["64250", "1min", "UTC"]
    assert "cannot execute DELETE in a read-only transaction" in errors
    assert (await count(filled))[0] == 3


async def test_the_embedded_databases_reader_has_no_right_to_write(filled: str) -> None:
    reader = await ensure_reader(filled)
    assert reader == await ensure_reader(filled)
    printed, errors = await psql(
        reader,
        "SELECT current_user, count(*) FROM kept;",
        "SET default_transaction_read_only = off;",
        "DELETE FROM kept;",
        "CREATE TABLE other (a int);",
        "CREATE TEMP TABLE other (a int);",
        "COPY (SELECT 1) TO PROGRAM 'true';",
        "COPY (SELECT 1) TO '/tmp/perpcache_sql_test';",
        "SELECT pg_read_file('postgresql.conf');",
    )
    assert printed.split() == [f"{READER}|3", "SET"]
    assert errors.count("ERROR:  permission denied") == 6
    assert (await count(filled))[0] == 3


async def test_a_changed_password_of_the_owner_changes_the_readers(filled: str) -> None:
    first = await ensure_reader(filled)
    owner = await asyncpg.connect(filled, timeout=10)
    try:
        # As if the owner had another password when the role was made.
        await owner.execute(f"ALTER ROLE {READER} PASSWORD 'another'")
        await owner.execute(f"COMMENT ON ROLE {READER} IS 'another'")
    finally:
        await owner.close()
    assert await ensure_reader(filled) == first
    await (await asyncpg.connect(first, timeout=10)).close()


def test_psql_is_told_what_an_address_says() -> None:
    environment = psql_environment(
        "postgresql+asyncpg://me:p%40ss@one.example:6543,two.example/base"
        "?sslmode=require&schema=my%20own&connect_timeout=3&pgbouncer=true",
        1.5,
    )
    assert environment == {
        "PGHOST": "one.example,two.example",
        "PGPORT": "6543,5432",
        "PGUSER": "me",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "base",
        "PGAPPNAME": "perpcache-sql",
        "PGSSLMODE": "require",
        "PGCONNECT_TIMEOUT": "3",
        "PGOPTIONS": "-c default_transaction_read_only=on -c statement_timeout=1500"
        ' -c TimeZone=UTC -c search_path="my\\ own"',
    }


@pytest.mark.slow
async def test_the_embedded_database(data_dir: Path) -> None:
    """The whole command, without any setting: its database is made, asked and stopped."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "main.py", "sql", "--format", "csv"),
        "SELECT current_user, count(*) FROM coins",
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "DATA_DIR": str(data_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, told = await process.communicate()
    assert (printed, told) == (f"current_user,count\n{READER},0\n".encode(), b"")
