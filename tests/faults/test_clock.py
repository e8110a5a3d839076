"""This machine's clock is off, by minutes or days: the exchanges' time says what is closed.

The exchanges' clock is moved instead of ours, which is the same. Five minutes are one candle of
the shortest timeframe: judged by our clock every row would be taken for another one.
"""

import email.utils
import time
from typing import Any

import aiohttp
import pytest

from market.markets import Exchange
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL, asked, by_key
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.simulator import StartSimulator

M5_MS = 300_000
EACH = 3


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def headers(service: Service, path: str) -> Any:
    async with aiohttp.ClientSession(service.address) as client, client.get(path) as answer:
        assert answer.status == 200
        return answer.headers


@pytest.mark.parametrize("ahead_ms", [M5_MS, -M5_MS], ids=["we are behind", "we are ahead"])
async def test_a_clock_that_is_five_minutes_off(
    start_service: StartService,
    start_simulator: StartSimulator,
    service_settings: ServiceSettings,
    ahead_ms: int,
) -> None:
    # Only its own time tells when a ban ends.
    exchanges = start_simulator(
        **dict.fromkeys(Exchange, EACH), now=now_ms() + ahead_ms, no_retry_after=True
    )
    service = await start_service(**service_settings(exchanges, EXCHANGES=ALL))
    await service.funding_ready()
    before_ms = exchanges.get("/sim/clock")["now_ms"]
    last = await service.collect("5m")
    document = await service.get("/cache/5m")
    after_ms = exchanges.get("/sim/clock")["now_ms"]

    # Exchange time: as_of, and with it what is closed and which row is still forming.
    as_of_ms = document["as_of"]
    assert before_ms <= as_of_ms == last["as_of"] <= after_ms
    closed_ms = as_of_ms // M5_MS * M5_MS - M5_MS
    assert document["last_closed_open_time"] == closed_ms
    told = exchanges.truth("5m", candles=50, as_of=as_of_ms, funding_history=20)
    truth = {our_key(key): rows for key, rows in told.items()}
    for key, market in by_key(document).items():
        assert (market["checked_at"], market["stale_since"]) == (as_of_ms, None)
        assert market["rows"][:-1] == truth[key][:-1]
        # Its price moves on, its funding does not.
        assert market["rows"][-1][0] == truth[key][-1][0] == closed_ms + M5_MS
        assert market["rows"][-1][8] == truth[key][-1][8]
    assert any(market["rows"][-1][8] is not None for market in document["markets"])
    only_closed = await service.get("/cache/5m?closed=true&limit=1")
    assert {m["rows"][-1][0] for m in only_closed["markets"]} == {closed_ms}

    # Our own time: when it was published, and how old it is.
    assert abs(now_ms() - document["updated_at"]) < 60_000
    found = await headers(service, "/cache/5m")
    assert 0 <= int(found["Age"]) < 60
    modified = email.utils.parsedate_to_datetime(found["Last-Modified"]).timestamp()
    assert abs(time.time() - modified) < 60
    job = await service.get("/jobs/collect:5m")
    assert job["attempts"] == 1
    assert abs(now_ms() - job["finished_at"]) < 60_000

    # 'Banned until' is the exchange's time too: no request before it, and no long wait after it.
    ban = {"kind": "status", "status": 418, "ban_s": 3, "exchange": "binance", "count": 1}
    exchanges.post("/sim/faults", {**ban, "endpoint": "time"})
    assert (await service.collect("5m"))["result"]["carried_over"] == EACH
    assert (await service.collect("5m", 40))["result"]["carried_over"] == 0
    (refused,) = [request for request in asked(exchanges, "binance") if request["fault"]]
    later = [r for r in asked(exchanges, "binance") if r["arrived_s"] > refused["answered_s"]]
    assert 3.0 <= later[0]["arrived_s"] - refused["arrived_s"] < 15
    assert exchanges.stats()["requests_in_spite_of_ban"] == 0


async def test_a_worker_follows_the_exchanges_over_a_midnight_of_any_year(
    start_service: StartService, start_simulator: StartSimulator, service_settings: ServiceSettings
) -> None:
    exchanges = start_simulator(**dict.fromkeys(Exchange, EACH), now="2031-05-06T23:58:30Z")
    service = await start_service(**service_settings(exchanges, EXCHANGES=ALL))
    await service.funding_ready()
    # 2031-05-06 by `date -u -d 2031-05-06 +%s`.
    day_ms, yesterday_ms = 86_400_000, 1_935_792_000_000
    await service.collect("1d")
    assert (await service.get("/cache/1d"))["last_closed_open_time"] == yesterday_ms - day_ms
    exchanges.post("/sim/clock", {"now": "2031-05-07T00:00:00Z"})
    await service.collect("1d")
    document = await service.get("/cache/1d")
    assert document["last_closed_open_time"] == yesterday_ms
    told = exchanges.truth("1d", candles=50, as_of=document["as_of"], funding_history=20)
    truth = {our_key(key): rows for key, rows in told.items()}
    for key, market in by_key(document).items():
        assert market["rows"][-2][:7] == truth[key][-2][:7]
    assert service.said("exchange_clocks_differ")
