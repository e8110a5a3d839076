"""The exchanges' own addresses over real HTTP: what is passed through, shared and refused."""

import asyncio
import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson
import pytest

from budgets.shared_budgets import SharedBudgets
from market.markets import Exchange
from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from timing.clock import SystemClock
from venues import VENUES

KLINES = "/fapi/v1/klines?interval=1h&limit=3&symbol=BTCUSDT"
DEPTH = "/fapi/v1/depth?limit=5&symbol=BTCUSDT"
LISTS = ("/fapi/v1/exchangeInfo", "/v5/market/instruments-info?category=linear&limit=1000")
ALL = tuple(map(str, Exchange))
OKX_BARS = "/api/v5/market/candles?bar=1H&instId=BTC-USDT-SWAP&limit=3"


def settings_of(simulator: Simulator, redis_url: str, **others: Any) -> dict[str, Any]:
    base = {f"{each}_base_url": simulator.base_url for each in ALL}
    exchanges = ",".join(ALL)
    return {"redis_url": redis_url, "facade": "on", "exchanges": exchanges, **base, **others}


def asked(simulator: Simulator) -> int:
    """How many requests the simulator has answered."""
    return int(simulator.stats()["total"])


def ours(path: str) -> str:
    exchange = {"v5": "bybit", "api": "okx"}.get(path.split("/")[1], "binance")
    return f"/{exchange}{path}"


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> Simulator:
    """Of all exchanges, the clock frozen."""
    return start_simulator(binance=20, bybit=20, okx=20, now=NOW_MS, frozen=True)


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, simulator: Simulator) -> ServedApi:
    return await start_api(**settings_of(simulator, redis_url))


@pytest.mark.parametrize(
    "path",
    [
        *(
            KLINES,
            DEPTH,
            "/fapi/v1/klines?interval=1h&symbol=NONE",
            "/fapi/v1/klines?symbol=BTCUSDT",
        ),
        *(
            "/futures/data/openInterestHist?period=1h&symbol=BTCUSDT",
            "/fapi/v1/fundingRate?limit=5",
        ),
        *("/fapi/v1/premiumIndex", "/fapi/v2/ticker/price?symbol=BTCUSDT", *LISTS),
        *("/v5/market/kline?category=linear&interval=60&symbol=BTCUSDT", "/v5/market/kline"),
        *("/v5/market/tickers?category=linear", "/v5/market/funding/history?category=linear"),
        *(OKX_BARS, "/api/v5/market/candles?bar=1D&instId=BTC-USDT-SWAP"),
        *("/api/v5/market/candles?bar=2h&instId=BTC-USDT-SWAP", "/api/v5/market/candles"),
        *("/api/v5/market/candles?bar=1H&instId=NONE-USDT-SWAP", "/api/v5/market/tickers"),
        *("/api/v5/public/instruments?instType=SWAP", "/api/v5/public/funding-rate?instId=ANY"),
        *("/api/v5/public/mark-price?instType=SWAP", "/api/v5/public/open-interest?instType=SWAP"),
        "/api/v5/market/books?instId=BTC-USDT-SWAP&sz=5",
        "/api/v5/public/funding-rate-history?instId=BTC-USDT-SWAP",
        "/api/v5/rubik/stat/contracts/open-interest-history?instId=BTC-USDT-SWAP&period=1D",
    ],
)
async def test_an_answer_is_passed_on_as_it_is_with_its_status(
    api: ServedApi, simulator: Simulator, path: str
) -> None:
    status, headers, body = await get(api, ours(path))
    told_status, told_headers, told = simulator.full("GET", path)
    assert (status, body) == (told_status, told)
    assert headers["content-type"] == told_headers["Content-Type"]
    assert headers["x-perpcache"] == "pass; age=0"
    assert not {"server", "set-cookie", "connection", "via", "etag"} & headers.keys()
    head = await get(api, ours(path), "HEAD")
    assert (head[0], head[2], head[1]["content-length"]) == (status, b"", headers["content-length"])


async def test_fifty_who_ask_the_same_cost_the_exchange_one_request(
    api: ServedApi, simulator: Simulator
) -> None:
    simulator.post("/sim/faults", {"kind": "hold", "endpoint": "exchange_info"})
    waiting = [asyncio.create_task(get(api, ours(LISTS[0]))) for _ in range(50)]
    await asyncio.to_thread(simulator.get, "/sim/held", count=1)
    simulator.delete("/sim/faults")
    answers = await asyncio.gather(*waiting)
    assert {answer[0] for answer in answers} == {200}
    assert len({answer[2] for answer in answers}) == 1
    assert simulator.stats()["requests"]["binance"] == {"exchange_info": {"200": 1}}


@pytest.mark.parametrize("path", [KLINES, *LISTS])
async def test_for_a_moment_others_are_given_the_same(
    start_api: StartApi, redis_url: str, simulator: Simulator, path: str
) -> None:
    """By the process that asked, and by another one."""
    one, other = [await start_api(**settings_of(simulator, redis_url)) for _ in range(2)]

    async def shared() -> bool:
        """Whether these came within the moment, and in one minute."""
        first = await get(one, ours(path))
        before = asked(simulator)
        answers = [await get(api, ours(path)) for api in (one, other, other)]
        assert {(status, body) for status, _, body in answers} == {(200, first[2])}
        hows = [headers["x-perpcache"].partition("; age=") for _, headers, _ in answers]
        assert all(0 <= int(age) <= 60 for _, _, age in hows)
        assert [how for how, _, _ in hows].count("pass") == asked(simulator) - before
        return asked(simulator) == before

    await until(shared)


async def test_two_processes_ask_once(
    start_api: StartApi, redis_url: str, simulator: Simulator
) -> None:
    both = [await start_api(**settings_of(simulator, redis_url)) for _ in range(2)]
    simulator.post("/sim/faults", {"kind": "hold", "endpoint": "exchange_info"})
    waiting = [asyncio.create_task(get(api, ours(LISTS[0]))) for api in both * 20]
    await asyncio.to_thread(simulator.get, "/sim/held", count=1)
    simulator.delete("/sim/faults")
    answers = await asyncio.gather(*waiting)
    assert {answer[0] for answer in answers} == {200}
    assert len({answer[2] for answer in answers}) == 1
    assert simulator.stats()["requests"]["binance"] == {"exchange_info": {"200": 1}}


# What carries a key, and what is no question.

KEYS: Mapping[str, str] = {
    "X-MBX-APIKEY": "s3cret",
    "X-BAPI-API-KEY": "s3cret",
    "OK-ACCESS-KEY": "s3cret",
    "Authorization": "Bearer s3cret",
    "Cookie": "session=s3cret",
}


@pytest.mark.parametrize("exchange", ALL)
async def test_keys_are_refused_go_no_further_and_are_not_logged(
    api: ServedApi, simulator: Simulator, exchange: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bybit = "/v5/market/kline?symbol=BTCUSDT&interval=1"
    path = {"binance": KLINES, "bybit": bybit, "okx": OKX_BARS}[exchange]
    before = asked(simulator)
    answers = [await get(api, f"/{exchange}{path}", **{name: key}) for name, key in KEYS.items()]
    for query in ("signature=s3cret", "apiKey=s3cret", "timestamp=1&signature=s3cret"):
        answers.append(await get(api, f"/{exchange}{path}&{query}"))
        answers.append(await get(api, f"/{exchange}/any/order?{query}", "POST"))
    for status, _, body in answers:
        assert status == 403
        told = orjson.loads(body)
        assert (told.get("code") or told.get("retCode")) in (-2015, 10005, "50111")
        assert "send signed requests to the exchange itself" in body.decode()
        assert b"s3cret" not in body
    assert asked(simulator) == before
    # pytest listens to the log of accesses, too, which the service does not write (serve_app).
    logged = [each for each in caplog.records if each.name != "uvicorn.access"]
    assert "s3cret" not in "".join(each.getMessage() for each in logged)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("POST", KLINES, 405), ("DELETE", KLINES, 405), ("PUT", KLINES, 405)),
        *(("GET", "/fapi/v1/account", 404), ("POST", "/fapi/v1/order", 404)),
        *(("GET", f"{KLINES}&symbol=ETHUSDT", 400), ("GET", f"{KLINES}&x=%0d%0ay", 400)),
    ],
)
async def test_what_is_no_question_is_refused_in_the_form_of_the_exchange(
    api: ServedApi, simulator: Simulator, method: str, path: str, status: int
) -> None:
    before = asked(simulator)
    found, headers, body = await get(api, ours(path), method)
    assert found == status
    assert set(orjson.loads(body)) == {"code", "msg"}
    assert ("allow" in headers) == (status == 405)
    assert asked(simulator) == before


@pytest.mark.parametrize(
    "target",
    [
        *(b"http://example.com/binance/fapi/v1/klines", b"/binance/http://example.com/"),
        *(b"/binance//example.com/fapi/v1/klines", b"/binance/../../fapi/v1/klines"),
        *(b"/binance/fapi%2fv1%2fklines?symbol=BTCUSDT", b"/binance/fapi/v1/klines%00"),
        *(b"/binance/fapi/v1/kline\xc5\x9b", b"/binance/fapi/v1/klines;x=1", b"/binance/%2e%2e/x"),
        b"//binance/fapi/v1/klines",
    ],
)
async def test_no_trick_with_the_address_asks_anybody(
    api: ServedApi, simulator: Simulator, target: bytes
) -> None:
    before = asked(simulator)
    host = b"127.0.0.1:%d" % api.port
    request = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (target, host)
    status, _, _ = await api.raw(request)
    assert status in (400, 404, 421)
    assert asked(simulator) == before


async def test_a_body_is_refused(api: ServedApi, simulator: Simulator) -> None:
    host = b"127.0.0.1:%d" % api.port
    request = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    status, _, body = await api.raw(request % (ours(KLINES).encode(), host))
    assert (status, orjson.loads(body)["code"]) == (400, -1100)
    assert asked(simulator) == 0


async def test_the_read_token_guards_it(
    start_api: StartApi, redis_url: str, simulator: Simulator
) -> None:
    api = await start_api(**settings_of(simulator, redis_url, read_token="t0ken"))
    for headers in ({}, {"Authorization": "Bearer other"}):
        status, _, body = await get(api, ours(KLINES), **headers)
        assert (status, orjson.loads(body)["code"]) == (401, -2015)
    assert asked(simulator) == 0
    assert (await get(api, ours(KLINES), Authorization="Bearer t0ken"))[0] == 200


async def test_it_is_off_by_default_and_answers_only_for_exchanges_that_are_collected(
    start_api: StartApi, redis_url: str, simulator: Simulator
) -> None:
    for others in ({"facade": "off"}, {"exchanges": "bybit"}):
        api = await start_api(**settings_of(simulator, redis_url) | others)
        status, _, body = await get(api, ours(KLINES))
        assert (status, orjson.loads(body)) == (404, {"detail": "Not Found"})


async def test_a_host_whose_clock_is_behind_tells_no_candle_of_before_a_close(
    api: ServedApi, simulator: Simulator
) -> None:
    """Binance tells the time in no answer with candles, but its headers do."""
    path, day_ms = "/fapi/v1/klines?symbol=BTCUSDT&interval=1d&limit=1", 86_400_000
    close_ms = (SystemClock().wall_ms() // day_ms + 1) * day_ms
    advance_ms = close_ms - 30_000 - simulator.get("/sim/clock")["now_ms"]
    simulator.post("/sim/clock", {"advance_ms": advance_ms})
    _, _, before = await get(api, ours(path))
    assert orjson.loads(before)[0][0] == close_ms - day_ms
    simulator.post("/sim/clock", {"advance_ms": 31_000})
    await get(api, ours(DEPTH))
    _, _, after = await get(api, ours(path))
    assert orjson.loads(after)[0][0] == close_ms


# Limits.


async def test_the_limits_of_all_behind_the_address_are_told(
    api: ServedApi, simulator: Simulator
) -> None:
    """A collector at the same address used 1000."""
    collector = SharedBudgets(api.store, "default", SystemClock())
    limit = VENUES[Exchange("binance")].limits["weight"]
    await collector.take(Exchange("binance"), "weight", limit, 2160, 1000, 1000)

    async def used() -> int | None:
        _, headers, _ = await get(api, ours(DEPTH))
        told = int(headers["x-mbx-used-weight-1m"])
        return told if told >= 1002 else None

    assert await until(used) <= 1010
    _, headers, _ = await get(api, "/bybit/v5/market/time")
    assert int(headers["x-bapi-limit"]) == 600
    assert 590 <= int(headers["x-bapi-limit-status"]) <= 600
    _, headers, _ = await get(api, "/binance/fapi/v1/fundingRate")
    assert "x-mbx-used-weight-1m" not in headers
    status, headers, _ = await get(api, "/okx/api/v5/public/time")  # which tells of none
    assert status == 200
    assert not any("limit" in name for name in headers)


async def test_collection_comes_first(api: ServedApi, simulator: Simulator) -> None:
    """Of 2160 of weight the collector has 2000: 48 are left for what is passed through, 36 of them
    for one client."""
    collector = SharedBudgets(api.store, "default", SystemClock())
    limit = VENUES[Exchange("binance")].limits["weight"]
    await collector.take(Exchange("binance"), "weight", limit, 2160, 2000, 2000)
    answers = [
        await get(api, f"/binance/fapi/v1/klines?symbol=BTCUSDT&interval=1h&limit={100 + number}")
        for number in range(30)
    ]
    statuses = [status for status, _, _ in answers]
    passed = statuses.count(200)
    assert statuses == [200] * passed + [429] * (30 - passed)
    assert 9 <= passed <= 18  # what this process holds of the budget unused is not left, too
    _, headers, body = answers[-1]
    assert 1 <= int(headers["retry-after"]) <= 66
    assert orjson.loads(body)["code"] == -1003
    assert "passed through is used up" in orjson.loads(body)["msg"]
    room = await collector.take(Exchange("binance"), "weight", limit, 2160, 1, 2160)
    assert room.room >= 2160 - 2000 - 2 * 48


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (KLINES, 418, -1003),
        ("/v5/market/time", 403, 10018),
        ("/api/v5/public/time", 429, "50011"),  # it has no ban
    ],
)
async def test_in_a_ban_the_exchange_is_not_asked(
    api: ServedApi, simulator: Simulator, path: str, status: int, code: int
) -> None:
    exchange = Exchange(ours(path).split("/")[1])
    await SharedBudgets(api.store, "default", SystemClock()).pause(exchange, 90, "IP banned")
    found, headers, body = await get(api, ours(path))
    assert found == status
    assert 80 < int(headers["retry-after"]) <= 90
    told = orjson.loads(body)
    assert told.get("code", told.get("retCode")) == code
    assert "IP banned" in body.decode()
    assert asked(simulator) == 0


async def test_a_ban_that_comes_is_told_without_our_address_and_ends_the_asking(
    api: ServedApi, simulator: Simulator
) -> None:
    simulator.post("/sim/faults", {"kind": "status", "status": 418, "endpoint": "klines"})
    for path in (KLINES, DEPTH):
        status, headers, body = await get(api, ours(path))
        assert (status, orjson.loads(body)["code"]) == (418, -1003)
        assert int(headers["retry-after"]) > 60
        assert b"127.0.0.1" not in body
    assert simulator.stats()["requests"]["binance"] == {"klines": {"418": 1}}


async def test_a_short_ban_of_another_process_is_known_by_its_words(
    start_api: StartApi, redis_url: str, simulator: Simulator
) -> None:
    one, other = [await start_api(**settings_of(simulator, redis_url)) for _ in range(2)]
    fault = {"kind": "status", "status": 418, "endpoint": "klines", "ban_s": 30}
    simulator.post("/sim/faults", fault)
    for api in (one, other):
        assert (await get(api, ours(KLINES)))[0] == 418
    assert simulator.stats()["requests"]["binance"] == {"klines": {"418": 1}}


@pytest.mark.parametrize("status", [429, 200])
async def test_okxs_limit_is_told_as_a_limit_whatever_its_status(
    api: ServedApi, simulator: Simulator, status: int
) -> None:
    simulator.post("/sim/faults", {"kind": "okx_code", "code": 50011, "status": status})
    found, headers, body = await get(api, ours(OKX_BARS))
    assert (found, orjson.loads(body)["code"], orjson.loads(body)["data"]) == (429, "50011", [])
    assert 1 <= int(headers["retry-after"]) <= 2


async def test_a_pause_that_is_no_ban_is_told_as_a_limit(
    api: ServedApi, simulator: Simulator
) -> None:
    fault = {"kind": "status", "status": 429, "endpoint": "klines", "retry_after": 30}
    simulator.post("/sim/faults", fault)
    for path in (KLINES, DEPTH):
        assert (await get(api, ours(path)))[0] == 429


async def test_it_is_told_at_once_where_this_process_has_no_room_though_the_store_knows_of_none(
    api: ServedApi, simulator: Simulator
) -> None:
    """The store loses what was used: 648 of 2160 in this minute, each of them 10."""
    paths = iter(f"/binance/fapi/v1/klines?symbol=BTCUSDT&limit={n}" for n in range(1001, 1200))
    statuses = []
    for _ in range(2):
        for path in islice(paths, 45):
            statuses.append((await get(api, f"{path}&interval=1h"))[0])
        await api.store.execute("FLUSHALL")
    assert statuses == [200] * 64 + [429] * 26
    before = asked(simulator)
    status, headers, body = await get(api, f"{next(paths)}&interval=1h")
    assert (status, asked(simulator)) == (429, before)
    assert 1 <= int(headers["retry-after"]) <= 60
    assert orjson.loads(body)["code"] == -1003
    assert "passed through is used up" in orjson.loads(body)["msg"]


# What an exchange may do wrong.


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        *(({"kind": "status", "status": 503}, 503), ({"kind": "html_200"}, 200)),
        *(({"kind": "truncated_json"}, 200), ({"kind": "challenge"}, 403)),
        *(({"kind": "reset"}, 502), ({"kind": "empty_body"}, 200)),
    ],
)
async def test_what_is_no_answer_is_told_to_who_asked_and_to_nobody_else(
    api: ServedApi, simulator: Simulator, fault: dict[str, Any], status: int
) -> None:
    for path in (KLINES, "/fapi/v1/exchangeInfo"):
        simulator.post("/sim/faults", {**fault, "count": 1})
        assert (await get(api, ours(path)))[0] == status
        found, headers, body = await get(api, ours(path))
        assert (found, headers["x-perpcache"]) == (200, "pass; age=0")
        assert body == simulator.full("GET", path)[2]


async def test_an_exchange_that_is_late_is_told_as_late(
    start_api: StartApi, redis_url: str, start_simulator: StartSimulator
) -> None:
    simulator = start_simulator(binance=2, bybit=2)
    api = await start_api(**settings_of(simulator, redis_url))
    simulator.post("/sim/faults", {"kind": "hang", "seconds": 30})
    status, _, body = await get(api, ours(KLINES))
    assert (status, orjson.loads(body)["code"]) == (504, -1007)


async def test_an_error_of_the_exchange_is_given_to_others_for_a_moment(
    api: ServedApi, simulator: Simulator
) -> None:
    path = "/v5/market/kline?category=linear&interval=60&symbol=NONE"

    async def shared() -> bool:
        first = await get(api, ours(path))
        assert orjson.loads(first[2])["retCode"] == 10001
        before = asked(simulator)
        return (await get(api, ours(path)))[2] == first[2] and asked(simulator) == before

    await until(shared)


async def test_without_the_store_it_is_asked_all_the_same(
    start_api: StartApi, simulator: Simulator
) -> None:
    api = await start_api(**settings_of(simulator, "redis://127.0.0.1:1"))
    status, headers, body = await get(api, ours(KLINES))
    assert (status, body) == (200, simulator.full("GET", KLINES)[2])
    assert headers["x-perpcache"] == "pass; age=0"


async def test_the_schema_speaks_of_it(api: ServedApi, native_api: ServedApi) -> None:
    for each, speaks in ((api, True), (native_api, False)):
        schema = orjson.loads((await get(each, "/openapi.json"))[2])
        assert ("docs/facade.md" in schema["info"]["description"]) is speaks


async def test_what_is_asked_is_counted(api: ServedApi, simulator: Simulator) -> None:
    for path in (LISTS[0], LISTS[0], "/fapi/v1/nothing"):
        await get(api, ours(path))
    page = (await get(api, "/metrics"))[2].decode()
    for path, outcome in (*((LISTS[0], "pass"), (LISTS[0], "shared"), ("unknown", "refused")),):
        labels = f'exchange="binance",outcome="{outcome}",path="{path}"'
        (line,) = [
            line
            for line in page.splitlines()
            if line.startswith("perpcache_facade_requests_total{")
            and all(label in line for label in labels.split(","))
        ]
        assert line.endswith(" 1.0")
    assert "perpcache_facade_upstream_requests_total{" in page
