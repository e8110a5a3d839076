"""A whole service with FACADE=on: what a worker collected answers bots, as the exchange does."""

from decimal import Decimal
from typing import Any

import orjson

from facade.kept_rows import KeptRows
from market.markets import Exchange
from market.timeframes import HOUR_MS
from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.jobs import OpenRunner
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from venues.venue import Endpoint

ASKED = (
    "/fapi/v1/klines?symbol=BTCUSDT&interval=1h&limit=100",
    "/fapi/v1/klines?symbol=ETHUSDT&interval=5m&limit=40",
    "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=240&limit=99",
    "/futures/data/openInterestHist?symbol=SOLUSDT&period=1h&limit=90",
    "/fapi/v1/fundingRate?symbol=BTCUSDT&limit=15",
    "/v5/market/funding/history?category=linear&symbol=ETHUSDT&limit=15",
    # As ccxt asks.
    "/api/v5/market/candles?instId=BTC-USDT-SWAP&bar=1H&limit=100",
    f"/api/v5/market/candles?instId=ETH-USDT-SWAP&bar=4H&limit=50"
    f"&before={NOW_MS - 90 * 4 * HOUR_MS}&after={NOW_MS - 40 * 4 * HOUR_MS + 1}",
    f"/api/v5/market/history-candles?instId=SOL-USDT-SWAP&bar=5m&limit=60&after={NOW_MS - HOUR_MS}",
    "/api/v5/market/candles?instId=BTC-USDT-SWAP&bar=1Dutc&limit=90",
    "/api/v5/rubik/stat/contracts/open-interest-history?instId=SOL-USDT-SWAP&period=1H&limit=90",
    "/api/v5/public/funding-rate-history?instId=ETH-USDT-SWAP&limit=15",
)
# What looks like one of those, and is not: of days that begin at 16:00 UTC.
LEFT = ("/api/v5/market/candles?instId=BTC-USDT-SWAP&bar=1D&limit=90",)


def ours(path: str) -> str:
    exchange = {"v5": "bybit", "api": "okx"}.get(path.split("/")[1], "binance")
    return f"/{exchange}{path}"


def settings_of(exchanges: Simulator) -> dict[str, str]:
    addresses = {f"{each}_base_url": exchanges.base_url for each in Exchange}
    return {"facade": "on", "exchanges": ",".join(Exchange), **addresses}


def rows_of(body: bytes) -> list[Any]:
    told = orjson.loads(body)
    listed = told if isinstance(told, list) else told.get("data") or told["result"]["list"]
    return [[_plain(each) for each in _values(row)] for row in listed]


def _values(row: Any) -> Any:
    return sorted(row.items()) if isinstance(row, dict) else row


def _plain(value: Any) -> Any:
    name, text = value if isinstance(value, tuple) else ("", value)
    is_number = str(text).replace(".", "", 1).lstrip("-").isdigit()
    return name, Decimal(text) if is_number else text


async def asked(api: ServedApi, path: str) -> tuple[str, bytes]:
    """How it was answered, and with what."""
    status, headers, body = await get(api, ours(path))
    assert status == 200, body
    return headers["x-perpcache"].partition(";")[0], body


def upstream(exchanges: Simulator) -> int:
    return int(exchanges.stats()["total"])


async def test_what_was_collected_answers_bots(
    open_runner: OpenRunner, start_api: StartApi, start_simulator: StartSimulator, redis_url: str
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, okx=3, now=NOW_MS, frozen=True)
    api = await start_api(redis_url=redis_url, **settings_of(exchanges))
    # Until an exchange tells its time, the host's counts, which is another one here.
    for path in ("/fapi/v1/time", "/v5/market/time", "/api/v5/public/time"):
        assert (await asked(api, path))[0] == "pass"
        assert (await asked(api, path))[0] == "hit"
    async with open_runner(exchanges, **settings_of(exchanges), history_candles=100) as runner:
        for job in ("discovery", "funding", "collect:all", "fill"):
            await runner.complete(job)
    # The rows that were heard are kept when the runner has ended, and nobody asks an exchange.
    before = upstream(exchanges)
    for path in ASKED:
        how, body = await asked(api, path)
        assert how == "hit", path
        assert upstream(exchanges) == before
        _, _, told = exchanges.full("GET", path)
        before = upstream(exchanges)
        assert rows_of(body) == rows_of(told), path
    for path in LEFT:
        assert (await asked(api, path))[0] == "pass"


async def test_what_passed_through_one_process_is_answered_by_others(
    open_runner: OpenRunner, start_api: StartApi, start_simulator: StartSimulator, redis_url: str
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, okx=3, now=NOW_MS, frozen=True)
    async with open_runner(exchanges, **settings_of(exchanges)) as runner:
        for job in ("discovery", "funding"):
            await runner.complete(job)
    one, other = [await start_api(redis_url=redis_url, **settings_of(exchanges)) for _ in range(2)]
    for api in (one, other):
        await get(api, "/binance/fapi/v1/time")
    path = "/futures/data/openInterestHist?symbol=BTCUSDT&period=1h&limit="
    assert (await asked(one, f"{path}100"))[0] == "pass"

    kept, newest_ms = KeptRows(one.store), NOW_MS - NOW_MS % HOUR_MS
    where = Exchange("binance"), Endpoint.OPEN_INTEREST, "BTCUSDT", newest_ms, newest_ms

    async def are_kept() -> bool:
        return bool(await kept.read(*where))

    await until(are_kept)
    before = upstream(exchanges)
    how, body = await asked(other, f"{path}50")
    assert (how, upstream(exchanges)) == ("hit", before)
    assert rows_of(body) == rows_of(exchanges.full("GET", f"{path}50")[2])


async def test_a_process_that_passes_nothing_asks_for_the_exchanges_time(
    open_runner: OpenRunner, start_api: StartApi, start_simulator: StartSimulator, redis_url: str
) -> None:
    """The host's clock is days off: candles of the past are answered all the same, then new ones,
    too."""
    exchanges = start_simulator(binance=3, bybit=3, okx=3, now=NOW_MS, frozen=True)
    async with open_runner(exchanges, **settings_of(exchanges), history_candles=100) as runner:
        for job in ("discovery", "collect:all", "fill"):
            await runner.complete(job)
    api = await start_api(redis_url=redis_url, **settings_of(exchanges))
    newest_ms = NOW_MS - NOW_MS % HOUR_MS
    bounds = f"startTime={newest_ms - 50 * HOUR_MS}&endTime={newest_ms - 10 * HOUR_MS}"
    past = f"/fapi/v1/klines?symbol=BTCUSDT&interval=1h&{bounds}"
    before = times_asked(exchanges)
    assert (await asked(api, past))[0] == "hit"

    async def is_known() -> bool:
        return times_asked(exchanges) > before and (await asked(api, ASKED[0]))[0] == "hit"

    await until(is_known)
    counted = upstream(exchanges)
    for _ in range(3):
        assert (await asked(api, past))[0] == "hit"
        assert (await asked(api, ASKED[0]))[0] == "hit"
    assert upstream(exchanges) == counted
    assert times_asked(exchanges) == before + 1


def times_asked(exchanges: Simulator) -> int:
    return int(exchanges.stats()["requests"]["binance"]["time"]["200"])
