"""Commands refuse a hot store that they cannot use, or that holds the data of others."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import redis

from tests.fixtures.service import Service, StartService
from tests.fixtures.signals import until_now
from tests.fixtures.upstash import OwnValkey, UpstashEndpoint

OWNER: Final = "perpcache:owner"
OTHERS: Final = {"binance": "https://fapi.binance.com"}
OURS: Final = {
    "binance": "http://127.0.0.1:1",
    "QUOTE": "USDT",
    "EXCHANGES": "binance",
    "MARKETS_LIMIT": "0",
    "HISTORY_CANDLES": "499",
    "FUNDING_HISTORY": "400",
    "TRADE_COLUMNS": "off",
}
REFUSED: Final = 69
NOWHERE: Final = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x",
    "BINANCE_BASE_URL": "http://user:hunter2@127.0.0.1:1",
    "EXCHANGES": "binance",
}


async def refusal(start_service: StartService, *command: str, **settings: str) -> str:
    """The one line with which a command refuses to start."""
    service = await start_service(*command, wait=False, **NOWHERE | settings)
    return await the_line(service)


async def the_line(service: Service) -> str:
    await asyncio.wait_for(service.process.wait(), 30)
    assert await service.stop() == REFUSED, service.lines
    printed = "\n".join(service.lines)
    assert "Traceback" not in printed and "hunter2" not in printed
    return next(line for line in service.lines if line.startswith("perpcache: "))


@pytest.mark.parametrize(
    "command", [("serve",), ("api",), ("worker",), ("collect", "4h"), ("funding",)]
)
async def test_every_command_refuses_the_keys_of_others(
    command: tuple[str, ...], start_service: StartService, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(OWNER, mapping=OTHERS)
        line = await refusal(start_service, *command, REDIS_URL=redis_url)
        assert line == (
            "perpcache: REDIS_URL: its keys without REDIS_PREFIX hold the data of binance at "
            "https://fapi.binance.com, not at http://127.0.0.1:1: set another REDIS_PREFIX or, to "
            "take them over, first run DEL perpcache:owner there"
        )
        assert client.keys() == [OWNER.encode()]


@pytest.mark.parametrize("command", [("serve",), ("api",), ("collect", "4h")])
async def test_markets_in_another_quote_and_other_exchanges_alone_are_refused(
    command: tuple[str, ...], start_service: StartService, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(OWNER, mapping=OURS)
    line = await refusal(start_service, *command, REDIS_URL=redis_url, QUOTE="USDC")
    assert line == (
        "perpcache: REDIS_URL: its keys without REDIS_PREFIX hold markets quoted in USDT, not in "
        "USDC (QUOTE): set another REDIS_PREFIX or, to take them over, first run "
        "DEL perpcache:owner there"
    )
    line = await refusal(start_service, *command, REDIS_URL=redis_url, EXCHANGES="bybit")
    assert line == (
        "perpcache: REDIS_URL: its keys without REDIS_PREFIX hold the data of binance alone, of "
        "which EXCHANGES=bybit has none: set another REDIS_PREFIX or, to take them over, first run "
        "DEL perpcache:owner there"
    )


async def test_documents_of_another_size_are_told_once_by_the_worker(
    start_service: StartService, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.hset(OWNER, mapping=OURS)
        settings = NOWHERE | {"REDIS_URL": redis_url, "MARKETS_LIMIT": "5"}
        service = await start_service(wait=False, **settings)
        await service.until_said("store_filled_with_other_settings", "0 before, 5 here")
        assert client.hgetall(OWNER) == OURS | {"MARKETS_LIMIT": "5"}
        assert len(service.said("store_filled_with_other_settings")) == 1
        assert len(service.said("HISTORY_CANDLES")) == 0
        assert await service.stop() == 0


async def test_in_the_embedded_store_a_setting_may_change(
    start_service: StartService, tmp_path: Path
) -> None:
    """It is no other installation's, and its record could hardly be deleted by hand."""
    settings = NOWHERE | {"DATA_DIR": str(tmp_path / "data")}
    for quote, told in (("USDT", 0), ("USDC", 1)):
        worker = await start_service("worker", wait=False, **settings, QUOTE=quote)
        await worker.until_said("due_jobs_not_checked")
        assert len(worker.said("store_filled_with_other_settings", "USDT before, USDC")) == told
        assert await worker.stop() == 0


async def test_the_line_names_upstash_the_prefix_and_the_installation(
    start_service: StartService, upstash: UpstashEndpoint, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"perp:{OWNER}", "INSTALLATION_ID", "live-1")
    line = await refusal(
        start_service, "worker", REDIS_PREFIX="perp:", INSTALLATION_ID="x", **upstash.environment
    )
    assert line == (
        "perpcache: UPSTASH_REDIS_REST_URL: its keys with REDIS_PREFIX 'perp:' belong to the "
        "installation with INSTALLATION_ID live-1 (not x): set another REDIS_PREFIX, or "
        "INSTALLATION_ID=live-1 if this is a part of it; to take them over, first run "
        "DEL perp:perpcache:owner there"
    )


async def test_a_store_that_was_away_at_the_start_is_checked_when_it_answers(
    start_service: StartService, own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey()
    with redis.Redis.from_url(server.url) as client:
        client.hset(OWNER, mapping=OTHERS)
    server.kill()
    service = await start_service(**NOWHERE, REDIS_URL=server.url)
    status, answer = await service.answer("/ready")
    assert status == 503 and answer["parts"]["store"].startswith("away"), answer
    server.start()
    assert "hold the data of binance at https://fapi.binance.com" in await the_line(service)
    with redis.Redis.from_url(server.url) as client:
        assert client.keys("job*") == client.keys("lock*") == client.keys("cache*") == []


@pytest.mark.parametrize("command", [("serve",), ("api",), ("worker",)])
async def test_an_owner_record_that_was_lost_is_written_again_and_others_end_the_command(
    command: tuple[str, ...], start_service: StartService, redis_url: str
) -> None:
    service = await start_service(*command, wait=False, **NOWHERE, REDIS_URL=redis_url)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        # An API alone writes no documents; beside a worker it may be the first to write.
        ours = {"binance": OURS["binance"]} if command == ("api",) else OURS
        for _ in range(2):
            until_now(lambda: client.hgetall(OWNER) == ours)
            client.flushall()
        client.hset(OWNER, mapping=OTHERS)
        assert "hold the data of binance at https://fapi.binance.com" in await the_line(service)


@pytest.mark.parametrize("command", [("serve",), ("api",), ("worker",)])
async def test_who_comes_later_with_an_id_ends_nobody_that_has_none(
    command: tuple[str, ...], start_service: StartService, redis_url: str
) -> None:
    service = await start_service(*command, wait=False, **NOWHERE, REDIS_URL=redis_url)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        until_now(lambda: client.hgetall(OWNER))
        client.hset(OWNER, "INSTALLATION_ID", "later")
        [line] = await service.until_said("installation_id_set_by_others")
        assert "later" in line and "the next start is refused" in line
        # One whose keys hold other data is still refused.
        client.hset(OWNER, mapping=OTHERS)
        assert "hold the data of binance at https://fapi.binance.com" in await the_line(service)
        client.hset(OWNER, mapping=OURS)
    line = await refusal(start_service, *command, REDIS_URL=redis_url)
    assert "INSTALLATION_ID later (this one has none)" in line


async def test_missing_rights_and_eviction_are_told_by_the_worker(
    start_service: StartService, own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    worker = await start_service("worker", wait=False, **NOWHERE, REDIS_URL=server.url)
    await worker.until_said("store_may_evict", "allkeys-lru", "noeviction")
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert until_now(lambda: client.hgetall(OWNER)) == OURS
        client.execute_command("ACL", "SETUSER", "perp", "on", ">pw", "~*", "+@all", "-rename")
    url = server.url.replace("unix://", "unix://perp:pw@")
    line = await refusal(start_service, "api", REDIS_URL=url)
    assert line.startswith("perpcache: REDIS_URL: its user may not run RENAME: give it the rights")


async def test_a_worker_on_a_replica_says_so_once_and_waits_for_it_to_become_a_primary(
    start_service: StartService, own_valkey: Callable[..., OwnValkey]
) -> None:
    server = own_valkey("--replicaof", "127.0.0.1", "1")
    worker = await start_service("worker", wait=False, **NOWHERE, REDIS_URL=server.url)
    await worker.until_said("store_not_checked", "READONLY")
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
        await worker.until_said("store_checked", "after_s")
        assert client.hgetall(OWNER) == OURS
    assert len(worker.said("store_read_only", "primary")) == 1
