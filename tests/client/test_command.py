"""perpcache-client as a program: what it prints, which files it writes, how it ends."""

import asyncio
import csv
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.client.rows import AS_OF_MS, COLUMNS, ROWS, document
from tests.client.scripted import answer, scripted
from tests.client.test_service import is_queued
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.overviews import NOW, document_of, told
from tests.fixtures.signals import until

SOURCE = Path(__file__).resolve().parents[2] / "client" / "src"
TOKEN = "very-secret-token"


@asynccontextmanager
async def started(url: str, *words: str, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PERPCACHE_URL": url, **more}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perpcache_client", *words),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(url: str, *words: str, **more: str) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error."""
    async with started(url, *words, **more) as process, asyncio.timeout(60):
        out, err = await process.communicate()
    assert TOKEN.encode() not in out + err
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def url(native_api: ServedApi) -> str:
    await native_api.publish("4h", document(AS_OF_MS), AS_OF_MS)
    return f"http://127.0.0.1:{native_api.port}"


async def test_get_prints_csv_into_a_pipe(url: str) -> None:
    code, out, err = await run(url, "get", "4h")
    assert (code, err) == (0, "")
    names, *rows = csv.reader(io.StringIO(out))
    assert names == COLUMNS
    assert [row[:2] for row in rows] == [list(row[:2]) for row in ROWS]
    assert [float(row[6]) for row in rows] == [row[6] for row in ROWS]
    assert rows[1][2:4] == ["2023-11-14T20:00:00Z", "1.25"]
    assert rows[1][9:] == ["", "", "false"]


async def test_get_prints_a_table_and_json(url: str) -> None:
    code, out, _ = await run(url, "get", "4h", "--symbol", "BTCUSDT", "--format", "table")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == COLUMNS
    assert lines[2].split()[:5] == ["binance", "BTCUSDT", "2023-11-14", "20:00", "1.25"]
    assert lines[2].split()[-3:] == ["-", "-", "no"]
    code, out, _ = await run(url, "get", "4h", "--format", "json", "--exchange", "bybit")
    assert [row["close"] for row in json.loads(out)] == [1.25, 1.75]
    code, out, _ = await run(url, "get", "4h", "--format", "ndjson", "--limit", "1")
    assert [json.loads(line)["symbol"] for line in out.splitlines()] == ["BTCUSDT", "ETHUSDT"]


async def test_get_writes_files(url: str, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    assert await run(url, "get", "4h", "--closed", "-o", str(file)) == (0, "", "")
    table = pq.read_table(file)
    assert table.column("close").to_pylist() == [1.25, 1.25]
    code, _, err = await run(url, "get", "4h", "-o", str(tmp_path / "no" / "out.csv"))
    assert code == 1
    assert "No such file or directory" in err
    code, _, err = await run(url, "get", "4h", "-o", str(tmp_path / "out.xls"))
    assert code == 2
    assert "--format" in err
    assert (await run(url, "get", "4h", "--format", "parquet"))[0] == 2
    assert os.listdir(tmp_path) == ["out.parquet"]  # noqa: PTH208


async def test_watch_writes_the_file_at_each_version(native_api: ServedApi, tmp_path: Path) -> None:
    file = tmp_path / "4h.csv"
    await native_api.publish("4h", document(1), 1)
    url = f"http://127.0.0.1:{native_api.port}"
    async with started(url, "watch", "4h", "-o", str(file)) as process, asyncio.timeout(60):
        assert process.stdout is not None
        assert await process.stdout.readline() == b"4h version 1: 4 rows\n"
        assert len(file.read_text().splitlines()) == 5
        await native_api.publish("4h", document(2, (ROWS[0][2:11],)), 2)
        assert await process.stdout.readline() == b"4h version 2: 2 rows\n"
        assert len(file.read_text().splitlines()) == 3
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert process.stderr is not None
        assert await process.stderr.read() == b""


async def test_a_reader_that_goes_away_ends_it_quietly(native_api: ServedApi) -> None:
    await native_api.publish("4h", document(1), 1)
    url = f"http://127.0.0.1:{native_api.port}"
    async with started(url, "watch", "4h", "--format", "csv") as process, asyncio.timeout(60):
        assert process.stdout is not None
        assert await process.stdout.readline()
        # The pipe's reading end is closed, as `| head -1` does.
        transport = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        transport.close()
        await native_api.publish("4h", document(2), 2)
        assert await process.wait() == 141
        assert process.stderr is not None
        assert await process.stderr.read() == b""


async def test_collect_asks_and_waits(native_api: ServedApi) -> None:
    url = f"http://127.0.0.1:{native_api.port}"
    assert await run(url, "collect", "4h", "--no-wait") == (0, "collect:4h is queued\n", "")
    await native_api.queue.abort("collect:4h")
    async with started(url, "collect", "4h") as process, asyncio.timeout(60):
        await until(partial(is_queued, native_api.queue))
        await native_api.queue.abort("collect:4h")
        _, err = await process.communicate()
        assert process.returncode == 6
        assert b"collect:4h aborted" in err
    code, _, err_text = await run(url, "collect", "4h", "--within", "5")
    assert code == 5
    assert "did not end within 5 s" in err_text


async def test_each_failure_has_its_exit_code(
    url: str, start_api: StartApi, redis_url: str
) -> None:
    code, _, err = await run(url, "get", "4x")
    assert (code, err.partition("must be one of")[0]) == (2, "perpcache-client: 422: name: ")
    assert (await run(url, "get", "1h"))[0] == 3
    assert (await run("http://127.0.0.1:9", "--timeout", "0.3", "get", "4h"))[0] == 5
    assert (await run("nonsense", "get", "4h"))[0] == 2
    assert (await run(url, "get"))[0] == 2
    closed = await start_api(redis_url=redis_url, read_token=TOKEN)
    there = f"http://127.0.0.1:{closed.port}"
    assert (await run(there, "get", "4h"))[0] == 4
    assert (await run(there, "get", "4h", PERPCACHE_TOKEN=TOKEN))[0] == 0
    assert (await run(there, "get", "4h", PERPCACHE_TOKEN=TOKEN + "\n"))[0] == 2


async def test_status_and_help(url: str) -> None:
    code, out, _ = await run(url, "status")
    assert code == 0
    assert "documents" in json.loads(out)
    code, out, _ = await run(url, "--help")
    assert code == 0
    assert "perpcache-client get 4h --symbol BTCUSDT --limit 5" in " ".join(out.split())


async def test_the_address_is_that_of_url_first() -> None:
    async with scripted(answer(404, b'{"detail":"nothing collected yet"}')) as service:
        words = ("--url", service.url, "get", "4h")
        code, _, err = await run("http://127.0.0.1:9", *words)
    assert (code, err) == (3, "perpcache-client: 404: nothing collected yet\n")


async def test_asset_prints_all_together_and_each_market(native_api: ServedApi) -> None:
    markets = [
        told("binance", "1000PEPE", price=2.0, interest=100.0),
        told("bybit", "PEPE", price=0.00202, interest=50.0, checked_ms=None),
        told("third", "PEPE", price=9.0, interest=1.0),
    ]
    await native_api.publish("overview", document_of(markets, 5), 5)
    url = f"http://127.0.0.1:{native_api.port}"
    code, out, err = await run(url, "asset", "pepe")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {(row["asset"], row["at"], row["quote"]) for row in rows} == {("PEPE", str(NOW), "USDT")}
    assert [(row["exchange"], row["symbol"], row["summed"]) for row in rows] == [
        ("all", "", "true"),
        ("binance", "1000PEPEUSDT", "true"),
        ("bybit", "PEPEUSDT", "true"),
        ("third", "PEPEUSDT", "false"),
    ]
    sums, of_binance, of_bybit, _ = rows
    assert float(sums["open_interest_coins"]) == 100_050.0
    assert (of_binance["price"], of_bybit["price"]) == ("0.002", "0.00202")
    assert float(of_binance["rate"]) == float(of_binance["rate_8h"]) == 0.0001
    assert (of_bybit["rate"], of_bybit["interval_hours"]) == ("", "")  # not known
    assert of_binance["change_24h"] == "0.0"

    code, out, _ = await run(url, "asset", "1000PEPEUSDT", "--format", "table")
    names, first, *_, last = out.splitlines()
    assert (code, names.split()[:3], first.split()[0]) == (
        0,
        ["exchange", "symbol", "summed"],
        "all",
    )
    assert last.startswith("left out: third PEPEUSDT: its price for one coin, 9, differs")
    code, out, _ = await run(url, "asset", "PEPE", "--format", "json")
    assert (code, json.loads(out)["version"]) == (0, 5)
    code, _, err = await run(url, "asset", "PEPPE")
    assert (code, "did you mean PEPE?" in err) == (3, True)
    code, _, err = await run(url, "asset", "PEPE", "--as-of", "yesterday")
    assert (code, "must be UTC milliseconds or ISO 8601" in err) == (2, True)
