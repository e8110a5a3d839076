"""A whole service against the simulated exchanges and providers, asked for everything."""

import asyncio
from datetime import UTC, datetime
from functools import partial

import pytest

from job_queue.queue import JobQueue
from market.markets import Exchange
from perpcache_client import Job, JobFailed, NotFound, Table, Timeout
from tests.client.clients import MAKERS, opened
from tests.fixtures.api import ServedApi
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator


async def test_a_service_from_the_first_collection_on(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
) -> None:
    exchanges = start_simulator(**dict.fromkeys(Exchange, 2), providers=True)
    providers = {"PROVIDERS": "on", "PROVIDERS_BASE_URL": exchanges.base_url}
    settings = service_settings(exchanges, EXCHANGES=ALL, **providers)
    service = await start_service(**settings)
    await service.funding_ready()
    for number, kind in enumerate(MAKERS):
        async with opened(kind, service.address) as client:
            if not number:
                with pytest.raises(NotFound, match="nothing collected yet"):
                    await client.call("table", "1h")
            asked: Job = await client.call("collect", "1h", wait=False)
            assert asked.id == "collect:1h"
            job: Job = await client.call("collect", "1h")
            assert job.last is not None
            assert (job.last.state, job.produces) == ("complete", ("1h",))
            assert job.last.run >= job.run - 1
            assert await client.call("job", "collect:1h") == job
            assert "collect:1h" in [each.id for each in await client.call("jobs")]
            table: Table = await client.call("table", "1h", closed=True)
            truth = {our_key(key): rows for key, rows in exchanges.truth("1h").items()}
            for exchange, symbol in {row[:2] for row in table.rows()}:
                rows = [list(row[2:9]) for row in table.rows() if row[:2] == (exchange, symbol)]
                true = {row[0]: row[:7] for row in truth[f"{exchange}:{symbol}"]}
                assert rows == [true[row[0]] for row in rows]
                assert len(rows) >= 40
            markets = await client.call("markets", timeframe="1h")
            assert {market.exchange for market in markets} == set(Exchange)
            assert len(markets) == 2 * len(Exchange)
            symbol = markets[0].symbol
            funding: Table = await client.call("funding", symbol=symbol)
            assert funding.columns[:2] == ["exchange", "symbol"]
            assert len(funding) > 0
            assert {row[1] for row in funding.rows()} == {symbol}
            if not number:
                with pytest.raises(NotFound, match="POST /get-market-data"):
                    await client.call("market", "BTC")
                await client.call("collect", "5m")
            overview = await client.call("overview")
            btc = await client.call("market", "btcusdt")
            assert btc["open_interest"]["exchanges"] == sorted(Exchange)
            assert btc["open_interest"]["coins"] > 0
            assert btc in [{**head_of(overview), **asset} for asset in overview["assets"]]
            assert (await client.call("overview", ["BTC"]))["assets"] == [
                asset for asset in overview["assets"] if asset["asset"] == "BTC"
            ]
            with pytest.raises(NotFound, match="did you mean BTC"):
                await client.call("market", "BTTC")
            status = await client.call("status")
            assert {"documents", "exchanges"} <= set(status)
            prices = await client.call("prices", ["btc", "eth"])
            assert {price["asset"] for price in prices["prices"]} == {"btc", "eth"}
            news = await client.call("news", limit=2)
            assert len(news["news"]) == 2
            assert (await client.call("sentiment"))["sentiment"]
            assert (await client.call("gas", "ethereum"))["chain"] == "ethereum"
            history = await recorded(client.call, symbol, markets[0].exchange)
            market = (markets[0].exchange, symbol)
            newest = [row[:9] for row in table.rows() if row[:2] == market]
            assert [row[:9] for row in history] == newest
            past = await client.call("table", "1h", closed=True, as_of=datetime.now(UTC))
            assert list(past.rows()) == list(table.rows())
            assert (past.name, past.missing) == ("1h", table.missing)


def head_of(overview: dict[str, object]) -> dict[str, object]:
    return {key: overview[key] for key in ("version", "as_of", "updated_at", "at", "quote")}


async def recorded(call: object, symbol: str, exchange: str) -> list[tuple[object, ...]]:
    """What is recorded of the market, read in pages; it is recorded soon after the publish."""
    assert callable(call)
    async with asyncio.timeout(60):
        while True:
            rows: list[tuple[object, ...]] = []
            cursor = None
            while True:
                page: Table = await call(
                    "history", symbol, "1h", exchange=exchange, limit=20, cursor=cursor
                )
                assert len(page) <= 20
                rows += page.rows()
                cursor = page.next_cursor
                if cursor is None:
                    break
            if rows:
                return rows


async def test_a_job_that_fails_and_one_that_takes_long(kind: str, native_api: ServedApi) -> None:
    """No worker runs here: the job waits, until it is aborted."""
    async with opened(kind, f"http://127.0.0.1:{native_api.port}") as client:
        with pytest.raises(Timeout, match="collect:4h did not end within 5 s: queued"):
            await client.call("collect", "4h", timeout=5)
        await native_api.queue.abort("collect:4h")
        waiting = asyncio.create_task(client.call("collect", "4h"))
        await until(partial(is_queued, native_api.queue))
        async with native_api.http.delete("/jobs/collect:4h") as answer:
            assert answer.status == 202
        with pytest.raises(JobFailed, match="collect:4h aborted") as raised:
            await waiting
        assert raised.value.job.last is not None
        assert raised.value.job.last.state == "aborted"


async def is_queued(queue: JobQueue) -> bool:
    job = await queue.get("collect:4h")
    return job is not None and job.state == "queued"
