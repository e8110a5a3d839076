"""Notifications of whole processes: addresses are checked, no secret is told, and a ban is told."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable

import psutil
import pytest
import redis

from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator
from tests.fixtures.upstash import OwnValkey
from tests.notify.receiver import Receiver, receiving
from tests.notify.told import told

PASSWORD, TOKEN, UUID = "Qz7kXwkf9jVq", "Tk3nVxqjZw81", "0a1b2c3d-Xwkf-9zxq"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_an_address_that_apprise_does_not_know_stops_the_start(
    start_service: StartService,
) -> None:
    urls = f"json://127.0.0.1/{TOKEN}, slack://{TOKEN}"
    service = await start_service("serve", wait=False, NOTIFY_URLS=urls)
    async with asyncio.timeout(60):
        assert await service.process.wait() == 78
    lines = "\n".join(service.lines)
    assert lines.startswith("perpcache: NOTIFY_URLS: slack://… (2nd of NOTIFY_URLS): apprise takes")
    assert TOKEN not in lines


async def test_notify_test_says_what_is_wrong_with_an_address(
    start_service: StartService, receiver: Receiver
) -> None:
    urls = f"{receiver.url} tgran://{TOKEN}/me slack://{TOKEN} qqqqqq://me:{PASSWORD}@{TOKEN}"
    service = await start_service("notify-test", wait=False, NOTIFY_URLS=urls)
    async with asyncio.timeout(60):
        assert await service.process.wait() == 78
    assert [line.partition("NOTIFY_URLS: ")[2] for line in service.lines] == [
        "tgran://… (2nd of NOTIFY_URLS): apprise has no service with this scheme: did you mean"
        " tgram://?",
        "slack://… (3rd of NOTIFY_URLS): apprise takes slack://{token_a}/{token_b}/{token_c} and"
        " the like: see docs/notifications.md",
        "qqqqqq://… (4th of NOTIFY_URLS): apprise has no service with this scheme: see"
        " docs/notifications.md",
    ]
    assert receiver.asked == []


async def test_notify_test_tells_no_secret_of_what_repeats_them(
    start_service: StartService, receiver: Receiver
) -> None:
    receiver.status = 401
    receiver.told = f"me:{PASSWORD} may not enter /{TOKEN}"
    urls = f"json://me:{PASSWORD}@127.0.0.1:{receiver.port}/{TOKEN}"
    service = await start_service(
        "notify-test", wait=False, NOTIFY_URLS=urls, LOG_LEVEL="DEBUG", LOG_FORMAT="json"
    )
    async with asyncio.timeout(60):
        assert await service.process.wait() == 1
    assert receiver.asked == [("POST", f"/{TOKEN}")] or receiver.asked == [("POST", f"/{TOKEN}/")]
    lines = "\n".join(service.lines)
    assert "json://… (1st of NOTIFY_URLS): not taken: " in lines
    assert PASSWORD not in lines and TOKEN not in lines


def held(store: "redis.Redis") -> str:
    """Who watches: host and pid."""
    return str(store.get("lock:notify") or "").partition(" ")[2].partition(" ")[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_ban_is_told_over_the_death_of_who_tells_it(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    receiver: Receiver,
    redis_url: str,
) -> None:
    exchanges = start_simulator(binance=2, bybit=2)
    settings = service_settings(
        exchanges,
        NOTIFY_URLS=f"json://me:{PASSWORD}@127.0.0.1:{receiver.port}/{TOKEN}",
        HEARTBEAT_URL=f"http://127.0.0.1:{receiver.port}/{UUID}",
        NOTIFY_AGAIN_S="1",
        NOTIFY_DIGEST="60",
        INSTALLATION_ID="live-1",
        LOG_LEVEL="DEBUG",
    )
    service = await start_service("serve", **settings)
    await service.funding_ready()

    async def is_told(mark: str) -> None:
        async def is_there() -> bool:
            return told(receiver)["exchange_banned:binance", mark] > 0

        await until(is_there, 60, lambda: "\n".join([*receiver.titles, *service.lines]))

    exchanges.post(
        "/sim/faults",
        {
            "kind": "status",
            "status": 418,
            "ban_s": 300,
            "exchange": "binance",
            "endpoint": "klines",
        },
    )
    await service.post("/get-market-data", {"timeframe": "4h"})
    await is_told("begun")
    with redis.Redis.from_url(redis_url, decode_responses=True) as store:
        holder = held(store)
        with contextlib.suppress(psutil.Error):
            psutil.Process(int(holder.rpartition(":")[2])).send_signal(signal.SIGKILL)

        async def is_replaced() -> bool:
            return held(store) not in ("", holder)

        await until(is_replaced, 60)
        await is_told("again")
        exchanges.delete("/sim/faults")
        for key in store.scan_iter("pause:*"):
            store.delete(key)
    await is_told("over")
    counts, marks = told(receiver), ("begun", "again", "over")
    assert [counts["exchange_banned:binance", mark] for mark in marks] == [1, 1, 1]
    beats = {path for _, path in receiver.asked if UUID in path}
    assert beats and beats <= {f"/{UUID}", f"/{UUID}/fail"}
    await service.stop()
    lines = "\n".join(service.lines)
    assert [secret for secret in (PASSWORD, TOKEN, UUID) if secret in lines] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_store_that_is_away_is_told_over_the_death_of_who_watched(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    receiver: Receiver,
    own_valkey: Callable[..., OwnValkey],
) -> None:
    server = own_valkey()
    given = {"NOTIFY_AFTER_S": "0", "NOTIFY_AGAIN_S": "3600", "NOTIFY_DIGEST": "60"}
    service = await start_service(
        "serve",
        **service_settings(
            start_simulator(binance=1, bybit=1),
            REDIS_URL=server.url,
            NOTIFY_URLS=receiver.url,
            INSTALLATION_ID="live-1",
            LIVE="off",
            **given,
        ),
    )
    await service.funding_ready()
    with redis.Redis.from_url(server.url, decode_responses=True) as store:
        holder = int(held(store).rpartition(":")[2])
    server.pause()
    psutil.Process(holder).send_signal(signal.SIGKILL)

    async def is_told(mark: str) -> None:
        async def is_there() -> bool:
            return f"[{mark}] live-1: store away: hot" in receiver.titles

        await until(is_there, 150, lambda: "\n".join([*receiver.titles, *service.lines]))

    await is_told("critical")
    assert service.said("watch_stood_in_for")
    server.resume()
    await is_told("over")
    found = [each for each in receiver.titles if "store away" in each]
    assert found == [f"[{mark}] live-1: store away: hot" for mark in ("critical", "over")]
