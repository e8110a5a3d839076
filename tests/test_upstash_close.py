"""What a close of all ten documents costs on Upstash: its commands, and its largest request."""

import math
import random

import pytest

import worker
from cache_manager import PIECE_BYTES, CacheManager
from config import load_settings
from market.timeframes import DAY_MS, Timeframe
from stores.hot.leases import try_acquire
from stores.hot.opening import open_hot_store
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.simulator import NOW_MS, StartSimulator
from tests.fixtures.upstash import UpstashEndpoint

EACH = 3
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS + DAY_MS
LARGEST_BYTES = 10 * 1024 * 1024  # of a request, says Upstash


async def test_a_close_of_all_documents(
    start_simulator: StartSimulator,
    open_runner: OpenRunner,
    upstash: UpstashEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As docs/deploying.md says."""
    monkeypatch.setattr(worker, "_REPORT_EVERY_S", math.inf)  # its progress is told once
    exchanges = start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)
    settings = {
        "redis_url": None,
        "upstash_redis_rest_url": upstash.url,
        "upstash_redis_rest_token": upstash.token,
    }
    async with open_runner(exchanges, **settings) as runner:
        for job in ("discovery", "funding", "collect:all", "fill"):
            await runner.complete(job)
        exchanges.post("/sim/clock", {"now_ms": MIDNIGHT_MS + 5000})
        runner.context.last_as_of.elapsed_s = lambda: math.inf  # nothing is known of the time
        upstash.fail("")
        result = await runner.complete("collect:all")
        assert result["documents"] == [str(timeframe) for timeframe in Timeframe]
        asked = upstash.commands_by_key()
        exchanges.post("/sim/clock", {"advance_ms": 300_000})
        runner.context.last_as_of.elapsed_s = lambda: math.inf
        upstash.fail("")
        assert (await runner.complete("collect:all"))["documents"] == ["5m"]
        of_5m = upstash.commands_by_key()
    # How many blocks of the rate budgets are taken depends on how long the requests last.
    for commands in (asked, of_5m):
        budgets = ("EVALSHA pause", "EVALSHA budget")  # blocks taken, and given back
        assert sum(commands.pop(name, 0) for name in budgets) <= 40
    assert asked == {
        # Of each document, of the two bases and of the overview: its version or that it is known,
        # and one piece; the time of its publish, and the publish. That the funding history is
        # known, and whether the overview is.
        "MGET cache": 28,
        "EVALSHA staging": 13,
        "EVALSHA cache": 26,
        # The job: asked for, taken, its progress, its end; and its lane's lease.
        "EVALSHA jobs": 2,
        "EVALSHA job": 4,
        "EVALSHA known": 1,
        "EVALSHA lock": 2,
    }
    assert sum(asked.values()) == 63 + 13
    # One document, the two bases and the overview.
    assert of_5m == asked | {"MGET cache": 10, "EVALSHA staging": 4, "EVALSHA cache": 8}
    assert sum(of_5m.values()) == 27 + 4


async def test_the_largest_request_of_a_publish(upstash: UpstashEndpoint) -> None:
    settings = load_settings(
        upstash_redis_rest_url=upstash.url, upstash_redis_rest_token=upstash.token
    )
    store = open_hot_store(settings, client_name="test")
    lease = await try_acquire(store, "worker", holder="test", ttl_s=60)
    assert lease is not None
    cache = CacheManager(store)
    await cache.save_to_cache(
        "5m", b"{}", version=1, as_of_ms=1, updated_at_ms=1, lease=lease
    )  # the scripts are known from now on
    upstash.fail("")
    incompressible = random.Random(1).randbytes(3_500_000).hex().encode()  # noqa: S311
    meta = await cache.save_to_cache(
        "5m", incompressible, version=2, as_of_ms=2, updated_at_ms=2, lease=lease
    )
    pieces = math.ceil(meta.stored_bytes / PIECE_BYTES["upstash"])
    assert pieces == 2
    asked = upstash.commands_by_key()
    assert asked == {"EVALSHA staging": 2, "EVALSHA cache": 2}
    most = PIECE_BYTES["upstash"] + 1000  # a piece, and the command that sends it
    assert meta.stored_bytes / pieces < upstash.largest_bytes() < most < LARGEST_BYTES
    await lease.release()
    await store.aclose()
