"""The markets over HTTP, with a database and without."""

import pytest

from database import Database
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import Timeframe
from stores.hot.beats import beat
from tests.fixtures.api import ServedApi, StartApi, ask


async def test_coins_and_a_database_that_is_there(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    markets = [
        Market(exchange, f"{base}USDT", base, "USDT")
        for exchange in Exchange
        for base in ("BTC", "ETH")
    ]
    database = Database(database_url)
    for exchange in Exchange:
        listed = [ListedMarket(m, 1.0) for m in markets if m.exchange is exchange]
        await database.markets.save_markets(exchange, listed, seen_at_ms=1)
    await database.markets.save_metadata(
        Timeframe.H1, {"binance:BTCUSDT": {"hurst": 0.5}}, computed_at_ms=1
    )
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url)
    await beat(api.store, "w1")
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"], answer["parts"]["database"]) == (200, "ready", "ok")
    status, _, answer = await ask(api, "GET", "/coins?exchange=binance&timeframe=1h")
    assert (status, answer["timeframe"]) == (200, "1h")
    assert [(c["exchange"], c["symbol"], c["base"], c["quote"]) for c in answer["coins"]] == [
        ("binance", "BTCUSDT", "BTC", "USDT"),
        ("binance", "ETHUSDT", "ETH", "USDT"),
    ]
    assert answer["coins"][0]["meta"]["hurst"] == 0.5
    assert len((await ask(api, "GET", "/coins"))[2]["coins"]) == 4
    for query in ("exchange=kraken", "timeframe=7h"):
        status, _, answer = await ask(api, "GET", f"/coins?{query}")
        assert status == 422
        assert "'binance'" in str(answer) or "'5m'" in str(answer)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("exchnge=binance", "did you mean exchange? The parameters are exchange, timeframe, as_of"),
        ("symbol=BTCUSDT", "unknown parameter: The parameters are exchange, timeframe, as_of"),
        ("exchange=binance&exchange=bybit", "must be given once"),
        ("exchange=", "'binance', 'bybit' or 'okx'"),
        ("timeframe=", "'5m'"),
        ("as_of=", "must be UTC milliseconds or ISO 8601"),
        ("as_of=1764547200", "must be in milliseconds"),
    ],
)
async def test_coins_refuse_what_they_do_not_know(
    native_api: ServedApi, query: str, told: str
) -> None:
    status, _, answer = await ask(native_api, "GET", f"/coins?{query}")
    assert status == 422
    assert told in answer["detail"][0]["msg"]


async def test_coins_without_a_database(native_api: ServedApi) -> None:
    status, headers, answer = await ask(native_api, "GET", "/coins?_=123")
    assert (status, headers["retry-after"]) == (503, "5")
    assert "database" in answer["detail"]


async def test_what_was_listed_at_a_time(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    day_ms, begun_ms = 86_400_000, 1_790_000_000_000  # 2026-09-21
    btc, eth = (Market(Exchange.BINANCE, f"{base}USDT", base, "USDT") for base in ("BTC", "ETH"))
    database = Database(database_url)
    for days, markets in enumerate(([btc, eth], [btc], [btc, eth])):
        await database.markets.save_markets(
            Exchange.BINANCE,
            [ListedMarket(market, 1.0) for market in markets],
            seen_at_ms=begun_ms + days * day_ms,
        )
    await database.coin_records.set_enabled([btc.key], enabled=False)
    await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url)

    async def listed(as_of: int | str) -> list[tuple[str, int, int | None]]:
        status, _, answer = await ask(api, "GET", f"/coins?as_of={as_of}")
        assert (status, answer.keys()) == (200, {"as_of", "coins"})
        return [(c["symbol"], c["listed_from"], c["listed_to"]) for c in answer["coins"]]

    bitcoin = ("BTCUSDT", begun_ms, None)
    assert await listed(begun_ms) == [bitcoin, ("ETHUSDT", begun_ms, begun_ms + day_ms)]
    assert await listed(begun_ms + day_ms - 1) == await listed(begun_ms)
    assert await listed(begun_ms + day_ms) == [bitcoin]
    assert await listed("2026-09-23T23:00:00Z") == [
        bitcoin,
        ("ETHUSDT", begun_ms + 2 * day_ms, None),
    ]
    status, _, answer = await ask(api, "GET", f"/coins?as_of={begun_ms - 1}")
    assert (status, str(begun_ms) in answer["detail"]) == (404, True)
    status, _, answer = await ask(api, "GET", f"/coins?timeframe=4h&as_of={begun_ms}")
    assert (status, answer["detail"][0]["loc"]) == (422, ["query", "timeframe"])
    status, _, answer = await ask(api, "GET", f"/coins?exchange=bybit&as_of={begun_ms}")
    assert (status, "not known yet" in answer["detail"]) == (404, True)
