"""GET /status: what it shows, what it costs, and what is left of it while a store is away."""

import gzip
import time
from collections.abc import Awaitable
from typing import Any, Final

import msgspec
import pytest
import redis

from api.overview.models import Status
from database import Database
from documents.building import DocumentBuilder
from documents.meta import DocumentCounts
from documents.names import SERVED
from live.configured.actual import CollectorState, StateTeller, lease_name
from live.configured.definition import CollectorDefinition, to_ascii_json
from live.feed_state import FeedState, FeedTeller, LastClose, state_key
from market.markets import Exchange, Market, MarketSeries, Missing
from market.timeframes import Timeframe
from stores.hot.beats import beat, live_beat
from stores.hot.leases import try_acquire
from tests.fixtures.api import ServedApi, StartApi, ask, get
from tests.fixtures.lateness import elapsed
from tests.fixtures.overviews import AS_OF, NOW, document_of
from tests.fixtures.overviews import told as told_of

CLOSE_MS: Final = 1_795_186_800_000
FEED: Final = FeedState(
    exchange="binance",
    holder="host:2",
    at_ms=CLOSE_MS + 4_000,
    clock_offset_ms=-12,
    connections=1,
    streams=448,
    markets=447,
    messages_per_s=361.5,
    lag_ms={"p50": 620, "p99": 1840},
    unproven={"silent": 3, "starting": 1},
    reconnects={"cut": 2},
    last_failure="cut: Cannot connect to host 10.1.2.3:443",
    refused=1,
    restarts=0,
    last_close=LastClose(CLOSE_MS, 4, None, 0),
)
JOURNAL: Final = {
    "close": CLOSE_MS,
    **{"stream": 445, "rest": 3, "lacking": 0},
    **{"taken": 441, "repaired": 3, "sampled": 4, "compared": 51_300, "differing": 1},
}


@pytest.fixture(autouse=True)
def made_for_each_question(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What a test has just done is to be seen; one test is about what is shared."""
    if "shared" not in request.node.name:
        monkeypatch.setattr("api.overview.endpoint.MADE_EVERY_S", 0.0)


async def status(api: ServedApi) -> dict[str, Any]:
    code, headers, told = await ask(api, "GET", "/status")
    assert (code, headers["content-type"]) == (200, "application/json")
    Status.model_validate(told, strict=True)
    assert Status(**told).model_dump(mode="json") == told  # and it has no more than they tell
    return dict(told)


async def tell(api: ServedApi, state: FeedState) -> None:
    """As its feed does."""
    lease = await try_acquire(api.store, f"live:{state.exchange}", holder="host:2", ttl_s=15)
    assert lease is not None
    await FeedTeller(api.store, lease, state.exchange).tell(state)
    await lease.release()


async def end_pass(api: ServedApi, result: dict[str, Any] | None, as_of_ms: int = CLOSE_MS) -> None:
    await api.queue.request("collect:all")
    async with api.lease() as lease:
        job = await api.queue.take(lease)
        assert job is not None
        state: Any = "failed" if result is None else "complete"
        error = "bybit: connection refused by 10.1.2.3:443" if result is None else None
        await api.queue.finish(
            job, lease, state=state, as_of_ms=as_of_ms, result=result, error=error
        )


def document_of_three() -> Any:
    builder = DocumentBuilder(Timeframe.M5, "collected")
    for name, stale_ms in (("A", None), ("B", None), ("C", CLOSE_MS)):
        market = Market(Exchange.BINANCE, f"{name}USDT", name, "USDT")
        builder.add(MarketSeries(market, [], CLOSE_MS, stale_ms), {})
    lacks = [Missing(Exchange.BYBIT, symbol, "klines", "why") for symbol in ("X", "Y")]
    return builder.finish_deflated(
        version=7, as_of_ms=CLOSE_MS, updated_at_ms=CLOSE_MS, missing=lacks
    )


async def test_it_shows_what_is_known(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    api = await start_api(**store_settings, dsn=database_url, live="on")
    await beat(api.store, "host:1", "a note")
    await live_beat(api.store, "host:2", "a note")
    await tell(api, FEED)
    await end_pass(api, {"closing": {"binance": JOURNAL}})
    await api.store.execute("SET", "pause:default:bybit", "too many requests", "PX", 90_000)
    meta = await api.publish("5m", document_of_three(), 7)
    await api.publish("4h", b"{}", 8)  # as an earlier release does
    asked_ms = time.time_ns() // 1_000_000
    told = await status(api)
    assert 0 <= told.pop("at") - asked_ms < 60_000
    assert told["status"] == "degraded" and told["parts"]["exchanges"].startswith("bybit is paused")
    of_5m, of_4h = told["documents"]["5m"], told["documents"]["4h"]
    assert 0 <= of_5m.pop("age_s") < 60
    assert of_5m == {
        **{"version": 7, "as_of": 7, "updated_at": meta.updated_at_ms, "is_stored": True},
        **{"bytes": meta.stored_bytes, "json_bytes": meta.json_bytes},
        **{"markets": 3, "stale": 1, "missing": 2, "at": None, "assets": None},
    }
    assert (of_4h["version"], of_4h["markets"], of_4h["stale"]) == (8, None, None)
    assert told["documents"]["1d"] is None
    assert list(told["documents"]) == list(SERVED)
    binance, bybit = told["exchanges"]["binance"], told["exchanges"]["bybit"]
    assert binance["feed"] == {
        **{"holder": "host:2", "at": CLOSE_MS + 4_000, "clock_offset_ms": -12},
        **{"connections": 1, "streams": 448, "markets": 447, "messages_per_s": 361.5},
        "lag_ms": {"p50": 620, "p99": 1840},
        **{"unproven": {"silent": 3, "starting": 1}, "reconnects": {"cut": 2}},
        "last_failure": binance["feed"]["last_failure"],
        **{"refused": 1, "log_restarts": 0},
        "last_close": {"close": CLOSE_MS, "without_soon": 4, "without": None, "silent": 0},
    }
    assert "10.1.2.3" not in str(told)
    finished_ms = binance["closing"].pop("finished_at")
    assert abs(finished_ms - asked_ms) < 60_000
    assert binance["closing"] == JOURNAL | {"as_of": CLOSE_MS}
    assert binance["list"] == {"discovered_at": None, "markets": 0, "enabled": 0, "failures": 0}
    assert (binance["pause"], binance["is_live"]) == (None, True)
    assert bybit["pause"]["cause"] == "too many requests"
    assert 80 < bybit["pause"]["left_s"] <= 90
    assert (bybit["feed"], bybit["closing"]) == (None, None)
    (job,) = told["jobs"]
    assert (job["id"], job["state"], job["last"]["run"]) == ("collect:all", "complete", 1)
    hot, cold, disk = (told["stores"][name] for name in ("hot", "cold", "disk"))
    assert (hot["kind"], hot["state"]) == (api.store.kind, "ok")
    assert (cold["kind"], cold["state"]) == ("postgresql", "ok")
    assert hot["memory"]["used"] > 100_000 and hot["memory"]["policy"] == "noeviction"
    assert 0 < disk["free"] < disk["total"]
    assert told["processes"] == {"workers": ["host:1"], "live": ["host:2"], "api": ["api-1"]}
    async with api.lease() as lease:
        held = (await status(api))["leases"]
        assert list(held) == ["worker"] and held["worker"]["holder"] == "test worker"
        assert 0 < held["worker"]["left_s"] <= 15
        lease.check()
    # A live process that died tells nothing once its heartbeat and its state have expired.
    longest_ms = {"native": 15_000, "upstash": 90_000}[api.store.kind]
    assert 0 < await api.store.execute("PTTL", state_key("binance")) <= longest_ms
    for key in (state_key("binance"), "processes:live:host:2"):
        await api.store.execute("DEL", key)
    told = await status(api)
    assert told["exchanges"]["binance"]["feed"] is None
    assert told["processes"]["live"] == []
    # After a pass that failed nothing is known of the last close.
    await end_pass(api, None)
    told = await status(api)
    assert told["exchanges"]["binance"]["closing"] is None
    assert told["jobs"][0]["last"]["state"] == "failed"


async def test_while_the_hot_store_is_away_it_says_so(
    start_api: StartApi, database_url: str
) -> None:
    api = await start_api(redis_url="redis://127.0.0.1:1", dsn=database_url)
    async with elapsed() as took:
        told = await status(api)
    assert took.own_s < 3
    assert told["status"] == "unavailable"
    assert told["stores"]["hot"]["state"].startswith("away: ")
    assert "127.0.0.1" not in str(told)
    assert told["stores"]["cold"]["state"] == "ok"
    assert told["documents"] == told["leases"] == {}
    assert told["jobs"] == told["processes"]["workers"] == told["collectors"] == []
    assert told["processes"]["api"] == ["api-1"]
    assert told["exchanges"]["binance"]["list"]["markets"] == 0


async def test_while_the_database_is_away_it_says_so(native_api: ServedApi) -> None:
    await native_api.publish("4h", b"{}", 8)
    told = await status(native_api)
    assert told["stores"]["cold"]["state"].startswith("away: ")
    assert told["exchanges"]["bybit"]["list"] is None
    assert told["collectors"] is None
    assert told["documents"]["4h"]["version"] == 8
    # Without settings the live exchange is asked.
    assert told["exchanges"]["bybit"]["is_live"] is True
    await native_api.store.execute("DEL", "cache:4h")
    assert (await status(native_api))["documents"]["4h"]["is_stored"] is False


@pytest.mark.parametrize(
    "closing",
    [
        *(None, 7, [], {"binance": 7}, {"binance": {}}),
        {"binance": {**JOURNAL, "rest": "3"}},
        {"binance": {**JOURNAL, "rest": -3}},
        {"binance": {name: JOURNAL[name] for name in JOURNAL if name != "rest"}},
    ],
)
async def test_what_others_wrote_is_not_shown(native_api: ServedApi, closing: Any) -> None:
    await end_pass(native_api, {"closing": closing})
    for value in ("garbage", '{"exchange":"binance"}'):
        await native_api.store.execute("SET", state_key("binance"), value)
        told = await status(native_api)
        assert told["exchanges"]["binance"]["feed"] is None
        assert told["exchanges"]["binance"]["closing"] is None
    for key in (state_key("binance"), "workers", "processes:live", "job:collect:all"):
        await native_api.store.execute("DEL", key)
        await native_api.store.execute("RPUSH", key, "theirs")
    told = await status(native_api)
    assert told["exchanges"]["binance"]["feed"] is None
    assert told["processes"]["workers"] == told["processes"]["live"] == told["jobs"] == []


async def test_it_shows_the_collectors(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    """With two commands of the store."""
    database = Database(database_url)
    names = {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT"}
    majors = CollectorDefinition("majors", "binance", names, ("ticker", "candle"), ("redis",))
    others = CollectorDefinition("others", "bybit", names, ("trade",), ("redis",), enabled=False)
    try:
        await database.collectors.take_file("/f", CLOSE_MS, to_ascii_json([majors, others]))
    finally:
        await database.aclose()
    api = await start_api(redis_url=redis_url, dsn=database_url)
    lease = await try_acquire(api.store, lease_name("majors"), holder="host:2", ttl_s=15)
    assert lease is not None
    await StateTeller(api.store, lease, "majors").tell(
        CollectorState(
            *("host:2", CLOSE_MS, CLOSE_MS + 5, 1, None),
            {"status": "running"},
            {"is_healthy": True, "issues": []},
            *(None, {}),
        )
    )
    told = (await status(api))["collectors"]
    assert told == [
        {
            **{"name": "majors", "exchange": "binance", "data_types": ["ticker", "candle"]},
            **{"symbols": 2, "enabled": True, "running": True},
            "actual": {
                **{"holder": "host:2", "since": CLOSE_MS, "at": CLOSE_MS + 5, "status": "running"},
                **{"is_healthy": True, "issues": [], "error": None, "restarts": 1},
            },
        },
        {
            **{"name": "others", "exchange": "bybit", "data_types": ["trade"]},
            **{"symbols": 2, "enabled": False, "running": False, "actual": None},
        },
    ]
    assert await sent_by(status(api), redis_url) == ["EVALSHA", "EVALSHA"]
    await lease.release()


async def fill(api: ServedApi) -> None:
    """As much as a large installation tells."""
    for name in (*map(str, Timeframe), "global_fr"):
        await api.publish(name, b"{}", 8)
    for number in range(20):
        await beat(api.store, f"host-{number}:1", "x" * 60_000)
        await live_beat(api.store, f"host-{number}:2", "x" * 60_000)
    for exchange in ("binance", "bybit"):
        await tell(api, replace_state(exchange))
    result = {"closing": {"binance": JOURNAL, "bybit": JOURNAL}, "padding": ["x" * 20] * 100}
    await end_pass(api, result)
    for job_id in ("collect:4h", "collect:1h", "funding", "discovery", "fill"):
        await api.queue.request(job_id)


def replace_state(exchange: str) -> FeedState:
    return msgspec.structs.replace(FEED, exchange=exchange)


async def test_it_costs_two_commands_of_the_store_at_most(
    native_api: ServedApi, redis_url: str
) -> None:
    """Bound: two."""
    await fill(native_api)
    await status(native_api)  # the script is known from now on
    assert await sent_by(status(native_api), redis_url) == ["EVALSHA"]


async def sent_by(asking: Awaitable[object], redis_url: str) -> list[str]:
    """The commands that the store gets meanwhile, without those of scripts."""
    sent: list[str] = []
    with redis.Redis.from_url(redis_url) as other, other.monitor() as monitor:
        other.ping()  # its connection is there
        await asking
        other.echo("the end")
        for command in monitor.listen():
            if "the end" in command["command"]:
                break
            if command["client_type"] != "lua":
                sent.append(command["command"].split()[0])
    # Its second connection may be opened only now.
    return [name for name in sent[sent.index("PING") + 1 :] if name not in ("CLIENT", "HELLO")]


async def test_it_takes_less_than_20_ms(native_api: ServedApi) -> None:
    await fill(native_api)
    await status(native_api)
    began_s = time.process_time()  # with the client's part
    for _ in range(20):
        await ask(native_api, "GET", "/status")
    assert (time.process_time() - began_s) / 20 < 0.02


async def test_what_is_made_is_shared_for_a_second(native_api: ServedApi, redis_url: str) -> None:
    await status(native_api)

    async def several() -> None:
        plain = [await get(native_api, "/status") for _ in range(3)]
        packed = await get(native_api, "/status", accept_encoding="deflate, gzip")
        bare = await get(native_api, "/status", "HEAD")
        bodies = {body for _, _, body in plain}
        if len(bodies) == 1:  # else a second was over meanwhile
            assert gzip.decompress(packed[2]) == plain[0][2]
        assert packed[1]["content-encoding"] == "gzip"
        assert packed[1]["vary"] == "Accept-Encoding"
        assert (bare[0], bare[2]) == (200, b"")
        assert "content-encoding" not in plain[0][1]

    async with elapsed() as took:
        sent = await sent_by(several(), redis_url)
    assert sent.count("EVALSHA") <= 1 + took.own_s


async def test_the_overview_says_of_when_it_tells_and_of_how_many_assets(api: ServedApi) -> None:
    body = document_of([told_of("binance"), told_of("bybit", "ETH")])
    async with api.lease() as lease:
        meta = await api.cache.save_to_cache(
            "overview",
            body,
            version=9,
            as_of_ms=AS_OF,
            updated_at_ms=AS_OF + 1,
            lease=lease,
            counts=DocumentCounts(2, 0, 1, NOW, 2),
        )
    shown = (await status(api))["documents"]["overview"]
    shown.pop("age_s")
    assert shown == {
        **{"version": 9, "as_of": AS_OF, "updated_at": AS_OF + 1, "is_stored": True},
        **{"bytes": meta.stored_bytes, "json_bytes": len(body)},
        **{"markets": 2, "stale": 0, "missing": 1, "at": NOW, "assets": 2},
    }
    caches = (await ask(api, "GET", "/ready"))[2]["caches"]
    assert caches["overview"]["version"] == 9
    page = (await get(api, "/metrics"))[2].decode()
    assert 'perpcache_cache_version{timeframe="overview"} 9.0' in page
    # A release that does not know of when it tells publishes it without.
    await api.publish("overview", body, 10)
    shown = (await status(api))["documents"]["overview"]
    assert (shown["version"], shown["at"], shown["assets"]) == (10, None, None)
