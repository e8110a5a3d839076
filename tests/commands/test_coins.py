"""`coins` on a real PostgreSQL: the table, the switches, CSV out and in again."""

import argparse
import csv
import errno
import io
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from commands.arguments import COMMANDS
from commands.coins import prepare
from commands.coins_csv import import_csv
from commands.errors import CoinsError
from database import CoinMetadata, Database
from main import main
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import Timeframe

SEEN_MS = 1_795_185_441_250  # 2026-11-20 14:37:21.250 UTC
LATER_MS = SEEN_MS + 1000
BTC = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT", 1_569_398_400_000)
ETH = Market(Exchange.BINANCE, "ETHUSDT", "ETH", "USDT")
# A name that Binance lists, in a script of its own.
TEST = Market(Exchange.BYBIT, "币安人生USDT", "币安人生", "USDT")


@pytest.fixture
async def empty(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
async def database(empty: Database) -> Database:
    """Three markets: one with numbers, one that left, one of the other exchange."""
    await empty.markets.save_markets(
        Exchange.BINANCE,
        [ListedMarket(BTC, 15_000_000_000.123), ListedMarket(ETH, None)],
        seen_at_ms=SEEN_MS - 1,
    )
    await empty.markets.save_markets(
        Exchange.BINANCE, [ListedMarket(BTC, None)], seen_at_ms=SEEN_MS
    )
    await empty.markets.save_markets(
        Exchange.BYBIT, [ListedMarket(TEST, 0.1 + 0.2)], seen_at_ms=SEEN_MS
    )
    numbers = {"hurst": 0.1 + 0.2, "entropy": None, "realised_volatility": 1e-300, "beta": -1.5}
    await empty.markets.save_metadata(Timeframe.H4, {BTC.key: numbers}, computed_at_ms=SEEN_MS)
    # Known to have none: too few candles.
    await empty.markets.save_metadata(Timeframe.D1, {TEST.key: {}}, computed_at_ms=SEEN_MS + 7)
    return empty


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    next(row for row in COMMANDS if row.name == "coins").add_arguments(parser)
    return parser.parse_args(words)


async def do(database: Database, *words: str) -> str:
    return await (await prepare(arguments(*words)))(database)


async def bring(database: Database, text: str) -> tuple[int, int]:
    return await import_csv(database, io.StringIO(text, newline=""), now_ms=LATER_MS)


async def test_the_table_names_each_state(database: Database) -> None:
    await do(database, "disable", TEST.key)
    header, *rows, total = (await do(database, "list")).splitlines()
    assert header.split() == [
        *("market", "state", "24h", "turnover", "last", "seen", "launched", "since")
    ]
    assert [row.split()[:3] for row in rows] == [
        ["binance:BTCUSDT", "active", "15,000,000,000"],
        ["binance:ETHUSDT", "delisted", "-"],
        [TEST.key, "disabled", "0"],
    ]
    assert "2026-11-20 14:37 UTC" in rows[0]
    assert total == "3 markets, 1 of them collected"
    only = await do(database, "list", "--exchange", "bybit")
    assert "binance" not in only and only.endswith("1 markets, 0 of them collected")


async def test_a_disabled_market_is_not_collected(database: Database) -> None:
    async def collected() -> list[str]:
        coins = await database.get_coins_from_db(
            Timeframe.H4, exchanges=list(Exchange), quote="USDT"
        )
        return [coin.market.key for coin in coins]

    assert await collected() == [BTC.key, TEST.key]
    assert await do(database, "disable", BTC.key, BTC.key) == "1 disabled"
    assert await collected() == [TEST.key]
    # Discovery sees it again: the operator's choice stays.
    await database.markets.save_markets(
        Exchange.BINANCE, [ListedMarket(BTC, 1.0)], seen_at_ms=LATER_MS
    )
    assert await collected() == [TEST.key]
    assert await do(database, "enable", BTC.key) == "1 enabled"
    assert await collected() == [BTC.key, TEST.key]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("binance:NOSUCHUSDT", "no such market: binance:NOSUCHUSDT"),
        ("binance:btcusdt", "no such market: binance:btcusdt"),
        ("binance:", "no such market: binance:;"),
        ("BTCUSDT", "BTCUSDT: a market is named exchange:SYMBOL, with an exchange of binance"),
        ("kraken:BTCUSDT", "kraken:BTCUSDT: a market is named"),
    ],
)
async def test_switching_is_all_or_none(database: Database, wrong: str, message: str) -> None:
    before = await database.coin_records.list_coins()
    with pytest.raises(CoinsError) as refused:
        await do(database, "disable", BTC.key, wrong)
    assert str(refused.value).startswith(message)
    assert await database.coin_records.list_coins() == before


async def test_a_mistyped_market_is_answered_with_similar_names(database: Database) -> None:
    with pytest.raises(CoinsError) as refused:
        await do(database, "disable", "binance:btcusd", "binance:XXX", "bybit:BTCUSDT")
    assert str(refused.value) == (
        "no such market: binance:XXX, binance:btcusd, bybit:BTCUSDT; similar: binance:BTCUSDT; "
        "`coins list` shows them"
    )


async def test_what_is_exported_comes_back_equal_elsewhere(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    await do(database, "disable", TEST.key)
    file = tmp_path / "coins.csv"
    assert await do(database, "export", str(file)) == f"3 markets written to {file}"
    assert await do(database, "export") == file.read_text(encoding="utf-8").rstrip("\n")
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(database_url, timeout=10)
    elsewhere = Database(database_url.replace(database_url.split("/")[-1].split("?")[0], name))
    try:
        await server.execute(f"CREATE DATABASE {name}")
        assert await do(elsewhere, "import", str(file)) == "3 markets read, 3 of them new"
        copied = await elsewhere.coin_records.list_coins()
        assert copied == await database.coin_records.list_coins()
        assert copied[0].metadata[Timeframe.H4].values["hurst"] == 0.1 + 0.2
        assert [record.enabled for record in copied] == [True, True, False]
        assert copied[2].metadata[Timeframe.D1].computed_at_ms == SEEN_MS + 7
        # And once more: nothing is new, nothing changes.
        assert await do(elsewhere, "import", str(file)) == "3 markets read, 0 of them new"
        assert await elsewhere.coin_records.list_coins() == copied
    finally:
        await elsewhere.aclose()
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()


async def test_the_csv_is_what_other_programs_read(database: Database) -> None:
    rows = list(csv.DictReader(io.StringIO(await do(database, "export"))))
    assert rows[0] == {
        **{"exchange": "binance", "symbol": "BTCUSDT", "base": "BTC", "quote": "USDT"},
        **{"launched_ms": "1569398400000", "active": "true", "enabled": "true"},
        **{"turnover_24h": "15000000000.123", "first_seen_ms": str(SEEN_MS - 1)},
        **{"last_seen_ms": str(SEEN_MS), "native": "BTCUSDT", "contract_size": "1.0"},
        **{"4h.beta": "-1.5", "4h.entropy": ""},
        **{"4h.hurst": "0.30000000000000004", "4h.realised_volatility": "1e-300"},
        **{"1d.entropy": "", "1d.hurst": "", "1d.realised_volatility": ""},
        **{"4h.computed_at_ms": str(SEEN_MS), "1d.computed_at_ms": ""},
    }
    assert (rows[1]["active"], rows[1]["turnover_24h"]) == ("false", "")


async def test_what_a_csv_does_not_say_stays(database: Database) -> None:
    before = {record.market.key: record for record in await database.coin_records.list_coins()}
    text = (
        "symbol,exchange,enabled,4h.hurst\r\nBTCUSDT,binance, NO ,0.75\r\n\r\nETHUSDT,binance,,\r\n"
    )
    assert await bring(database, text) == (2, 0)
    after = {record.market.key: record for record in await database.coin_records.list_coins()}
    assert after[ETH.key] == before[ETH.key]
    assert after[TEST.key] == before[TEST.key]
    changed, was = after[BTC.key], before[BTC.key]
    assert (changed.enabled, changed.market.launched_ms) == (False, BTC.launched_ms)
    assert (changed.turnover_24h, changed.last_seen_ms) == (was.turnover_24h, was.last_seen_ms)
    # The other numbers of that timeframe too.
    expected = {**was.metadata[Timeframe.H4].values, "hurst": 0.75}
    assert changed.metadata == {Timeframe.H4: CoinMetadata(expected, LATER_MS)}


async def test_a_new_market_needs_its_names_and_is_collected(empty: Database) -> None:
    text = "exchange,symbol,base,quote\nbybit,SOLUSDT,SOL,USDT\n"
    assert await bring(empty, text) == (1, 1)
    (record,) = await empty.coin_records.list_coins()
    assert record.market == Market(Exchange.BYBIT, "SOLUSDT", "SOL", "USDT")
    assert (record.active, record.enabled, record.turnover_24h) == (True, True, None)
    assert (record.first_seen_ms, record.last_seen_ms) == (LATER_MS, LATER_MS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("kraken,BTCUSDT,,,,,", f"exchange must be one of {', '.join(Exchange)}, symbol not empty"),
        ("binance,,,,,,", f"exchange must be one of {', '.join(Exchange)}, symbol not empty"),
        ("binance,NEWUSDT,NEW,,,,", "binance:NEWUSDT is new and needs base and quote"),
        ("binance,BTCUSDT,,,maybe,,", "enabled must be true or false, not 'maybe'"),
        ("binance,BTCUSDT,,,,many,", "turnover_24h must be a number, not 'many'"),
        ("binance,BTCUSDT,,,,1_000,", "turnover_24h must be a number, not '1_000'"),
        ("binance,BTCUSDT,,,,inf,", "turnover_24h must be a finite number, not 'inf'"),
        ("binance,BTCUSDT,,,,,-5", "launched_ms must be a time in UTC milliseconds, not '-5'"),
        ("binance,BTCUSDT,,,,,2024-01-01", "launched_ms must be a time in UTC milliseconds, "),
        ("binance,BTCUSDT,,,,,9999999999999999", "launched_ms must be a time in UTC milli"),
        ("binance,BTCUSDT,,", "4 values for 7 columns"),
        ("binance,BTCUSDT,,,,,,", "8 values for 7 columns"),
        ("binance,ETHUSDT,,,,,", "binance:ETHUSDT appears twice"),
        ("binance,N\0UL,N,USDT,,,", "symbol has unprintable characters: 'N\\x00UL'"),
        ('binance,BTCUSDT,"a\nb",,,,', "base has unprintable characters: 'a\\nb'"),
        ('binance,"BTC"USDT,,,,,', "malformed CSV: "),
        ('binance,"BTCUSDT,,,,,', "malformed CSV: unexpected end of data"),
    ],
)
async def test_a_mistake_is_named_by_its_line_and_nothing_changes(
    database: Database, row: str, message: str
) -> None:
    before = await database.coin_records.list_coins()
    header = "exchange,symbol,base,quote,enabled,turnover_24h,launched_ms\n"
    # Line 2 is right and would change something; line 3 is empty.
    with pytest.raises(CoinsError) as refused:
        await bring(database, f"{header}binance,ETHUSDT,,,false,,\n\n{row}\n")
    assert str(refused.value).startswith(f"line 4: {message}")
    assert await database.coin_records.list_coins() == before


async def test_all_mistakes_are_named_up_to_twenty(database: Database) -> None:
    text = "exchange,symbol,base\n" + 'bybit,A,"two\nlines"\n' + "kraken,X,\n" * 25
    with pytest.raises(CoinsError) as refused:
        await bring(database, text)
    lines = str(refused.value).splitlines()
    assert len(lines) == 21
    # A value with a line break in it does not shift what comes after.
    assert [line.split(":")[0] for line in lines[:3]] == ["line 2", "line 4", "line 5"]
    assert lines[-1] == "and 6 more lines"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "exchange, symbol are needed"),
        ("\n", "exchange, symbol are needed"),
        ("exchange,base", "exchange, symbol are needed"),
        ("exchange,symbol,colour", "unknown columns: colour"),
        ("exchange,symbol,3h.hurst,4h.", "unknown columns: 3h.hurst, 4h."),
        ("exchange,symbol,symbol", "each once"),
    ],
)
async def test_the_columns_are_checked(empty: Database, header: str, message: str) -> None:
    with pytest.raises(CoinsError, match="line 1: the columns are exchange, symbol, base") as error:
        await bring(empty, header and header + "\nbinance,BTCUSDT,x,y\n")
    assert message in str(error.value)


async def test_files_that_spreadsheets_write_are_read(empty: Database, tmp_path: Path) -> None:
    file = tmp_path / "coins.csv"
    file.write_bytes(b"\xef\xbb\xbfexchange,symbol,base,quote\r\nbinance,AUSDT,A,USDT\r\n")
    assert await do(empty, "import", str(file)) == "1 markets read, 1 of them new"


async def test_a_file_that_cannot_be_read_is_named(empty: Database, tmp_path: Path) -> None:
    file = tmp_path / "coins.csv"
    with pytest.raises(CoinsError, match=r"coins\.csv cannot be read: .*No such file"):
        await do(empty, "import", str(file))
    file.write_bytes(b"exchange,symbol\nbinance,\xff\n")
    with pytest.raises(CoinsError, match=r"coins\.csv cannot be read: .*utf-8"):
        await do(empty, "import", str(file))


def _no_space(self: Path, text: str, **_: object) -> int:
    with self.open("w") as file:
        file.write(text[:10])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _refused(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda patch: patch.setattr(Path, "write_text", _no_space), id="disk full"),
        pytest.param(lambda patch: patch.setattr(Path, "replace", _refused), id="not replaced"),
    ],
)
async def test_a_failed_export_leaves_the_older_file(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pytest.MonkeyPatch], None],
) -> None:
    file = tmp_path / "coins.csv"
    file.write_text("older")
    with monkeypatch.context() as patch:
        spoil(patch)
        with pytest.raises(CoinsError, match=r"coins\.csv cannot be written: "):
            await do(database, "export", str(file))
    assert file.read_text() == "older"
    assert _names(tmp_path) == ["coins.csv"]


@pytest.mark.parametrize("name", ["file/coins.csv", "none/coins.csv", "folder", ""])
async def test_an_impossible_place_is_named(database: Database, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    place = str(tmp_path / name) if name else ""  # the empty name is the working folder
    with pytest.raises(CoinsError, match="cannot be written"):
        await do(database, "export", place)
    assert _names(tmp_path) == ["file", "folder"]


async def test_a_device_is_written_to_and_not_replaced(database: Database, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await do(database, "export", str(pipe))
        assert os.read(reader, 15) == b"exchange,symbol"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_command_line_says_what_is_wrong_and_exits_1(
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert main(["coins", "list"]) == 0
    assert capsys.readouterr().out.endswith("0 markets, 0 of them collected\n")
    assert main(["coins", "disable", "binance:BTCUSDT"]) == 1
    error = capsys.readouterr().err
    assert "perpcache: no such market: binance:BTCUSDT" in error and "Traceback" not in error
