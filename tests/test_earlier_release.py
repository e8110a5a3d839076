"""A store that the release before wrote is taken over as it is.

tests/fixtures/earlier_release/README.md says how the snapshot was made.
"""

import asyncio
import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from commands.coins_csv import export_csv
from commands.data_dir import remember_exchanges
from commands.errors import CannotStart
from config import load_settings
from database import Database
from jobs.known_markets import load_known_markets
from market.markets import Exchange, Market
from stores.hot.leases import try_acquire
from stores.hot.redis_client import NativeStore
from tests.fixtures.api import StartApi
from tests.fixtures.earlier_release import SNAPSHOT, VERSION, WORKER, Redis, lease_of, snapshot
from tests.fixtures.jobs import OpenRunner, by_key
from tests.fixtures.numbers import Numbers
from tests.fixtures.simulator import NOW_MS, StartSimulator
from worker import Worker

HISTORY = {"history_candles": 40, "funding_history": 12}
BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT


async def test_documents_and_jobs_are_served_as_that_release_served_them(
    start_api: StartApi, store_settings: dict[str, Any], earlier_hot: Redis, earlier_cold: str
) -> None:
    api = await start_api(dsn=earlier_cold, **store_settings)
    for path, served in snapshot("served.json").items():
        async with api.http.get(path) as answer:
            body = await answer.read()
            assert (answer.status, answer.headers["etag"]) == (200, served["etag"]), path
            assert hashlib.sha256(body).hexdigest() == served["sha256"], path
        # A client that polls since before the upgrade has the newest.
        async with api.http.get(path, headers={"If-None-Match": served["etag"]}) as answer:
            assert answer.status == 304, path
    async with api.http.get("/jobs") as answer:
        assert await answer.json() == snapshot("jobs.json")
    async with api.http.get("/ready") as answer:
        ready = await answer.json()
    assert (ready["status"], set(ready["parts"].values())) == ("ready", {"ok"})
    async with api.http.get("/metrics") as answer:
        told = Numbers(await answer.text())
    runs = {
        sample.labels["job_id"]: sample.value
        for sample in told.samples
        if sample.name == "perpcache_job_runs_total"
        and sample.labels["outcome"] == "complete"
        and sample.labels["worker"] == WORKER
    }
    assert {job: count for job, count in runs.items() if count} == {
        **dict.fromkeys(("discovery", "funding"), 1),
        **dict.fromkeys(("collect:4h", "collect:1h", "collect:5m"), 1),
    }


async def test_jobs_go_on_and_documents_are_refreshed(
    start_simulator: StartSimulator, open_runner: OpenRunner, earlier_hot: Redis, earlier_cold: str
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS + 60_000, frozen=True)
    await earlier_hot.delete("lock:worker")  # its time ran out
    async with open_runner(exchanges, **HISTORY) as runner:
        context = runner.context
        lease = await try_acquire(context.store, "worker", holder="test", ttl_s=60)
        assert lease is not None
        worker, stop = Worker(context, holder="test"), asyncio.Event()
        # First what the dead worker ran, then what it had not begun.
        with capture_logs() as logs:
            for job_id, run, attempts in (("collect:1h", 3, 2), ("collect:5m", 2, 1)):
                job = await context.queue.take(lease)
                assert job is not None
                assert (job.id, job.run, job.attempts) == (job_id, run, attempts)
                assert await worker.run_one(job, lease, stop) == "complete"
            assert await context.queue.take(lease) is None
            await lease.release()
            await runner.complete("collect:4h")
        collected = [line for line in logs if "refreshed" in line]
        # A market of six is disabled. None was fetched anew, and nothing stored was wrong.
        assert [line["refreshed"] for line in collected] == [5, 5, 5]
        assert [line["corrected"] for line in collected] == [0, 0, 0]
        for name in ("1h", "5m", "4h", "8h"):
            document = await runner.document(name)
            truth = exchanges.truth(name, candles=40, funding_history=12, as_of=document["as_of"])
            assert document["version"] == VERSION + 60_000
            assert {key: market["rows"] for key, market in by_key(document).items()} == {
                key: rows for key, rows in truth.items() if key != "bybit:ETHUSDT"
            }


async def test_tables_and_their_migration_are_left_as_they_are(earlier_cold: str) -> None:
    database = Database(earlier_cold)
    try:
        await database.open()
        text = io.StringIO()
        assert await export_csv(database, text) == 6
        exported = list(csv.DictReader(io.StringIO(text.getvalue())))
        # Its markets are called as they were, and a contract of them is one coin.
        assert [(row.pop("native"), row.pop("contract_size")) for row in exported] == [
            (row["symbol"], "1.0") for row in exported
        ]
        assert exported == list(csv.DictReader(io.StringIO((SNAPSHOT / "coins.csv").read_text())))
        assert await database.markets.discovered_at_ms(BYBIT) == 1_795_886_029_424
    finally:
        await database.aclose()
    connection = await asyncpg.connect(earlier_cold)
    applied = await connection.fetch("SELECT name, checksum, applied_at::text FROM"
                                     " perpcache_migrations")  # fmt: skip
    await connection.close()
    assert [row["name"] for row in applied] == ["0001_coins"]
    assert str(applied[0]["applied_at"]) in (SNAPSHOT / "cold_store.sql").read_text()


def test_a_data_dir_belongs_to_the_same_exchanges(tmp_path: Path) -> None:
    text = (SNAPSHOT / "exchanges.json").read_text()
    (tmp_path / "exchanges.json").write_text(text)
    addresses = {f"{name}_base_url": address for name, address in json.loads(text).items()}
    with pytest.raises(CannotStart, match=r"was filled from binance at http://127\.0\.0\.1"):
        remember_exchanges(load_settings(data_dir=tmp_path))
    remember_exchanges(load_settings(data_dir=tmp_path, **addresses))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"exchanges.json": text}


async def test_markets_kept_for_when_the_database_is_away_are_known(
    earlier_store: NativeStore, earlier_hot: Redis
) -> None:
    await earlier_hot.delete("lock:worker")
    async with await lease_of(earlier_store) as lease:
        markets = await load_known_markets(
            earlier_store,
            lease,
            {"exchanges": [BINANCE, BYBIT], "quote": "USDT", "markets_limit": 0},
        )
    assert len(markets) == 5  # one of six is disabled
    assert markets[0] == Market(BINANCE, "BTCUSDT", "BTC", "USDT", 1_568_102_400_000)
