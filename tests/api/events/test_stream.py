"""What listeners are told, over HTTP and over each kind of store."""

import asyncio

import pytest

from api.events import broadcast
from budgets.shared_budgets import SharedBudgets
from documents.changes import Changes, MarketChange, StaleMarket, encode_change, encode_changes
from market.markets import Exchange
from tests.api.events.streams import listening
from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.documents import AS_OF_MS, document
from timing.clock import SystemClock

ROW = (60_000, 1.0, 2.0, 0.5, 1.5, 10.0, 15.0, None, 0.0001)
LATER = (360_000, 1.5, 2.5, 1.0, 2.0, 11.0, 16.0, 7.0, 0.0001)
COLUMNS = [
    *("open_time", "open", "high", "low", "close", "volume", "turnover"),
    *("open_interest", "funding_rate"),
]


def changes(base: int) -> Changes:
    """One market with a closed row, one with a corrected and a lost row, one that is stale."""
    markets = (
        MarketChange("binance", "BTCUSDT", [LATER]),
        MarketChange("bybit", "ETHUSDT", (), [ROW], [0]),
        MarketChange("bybit", "OLDUSDT", is_gone=True),
    )
    text = encode_changes(
        [encode_change(each) for each in markets],
        [StaleMarket("bybit", "ETHUSDT", 5)],
        [("binance", "BTCUSDT")],
        [],
        {"binance": 1, "bybit": 2},
    )
    return Changes(base, 4, 2, text)


async def publish(api: ServedApi, version: int, known: Changes | None, name: str = "5m") -> None:
    async with api.lease() as lease:
        await api.cache.save_to_cache(
            *(name, document()),
            version=version,
            as_of_ms=AS_OF_MS,
            updated_at_ms=AS_OF_MS + 1,
            lease=lease,
            changes=known,
        )


async def test_a_publish_is_told(api: ServedApi) -> None:
    async with listening(api.port) as all_kinds, listening(api.port, "timeframe=5m") as of_5m:
        assert all_kinds.retry_ms == of_5m.retry_ms == 2000
        await publish(api, 7, changes(0))
        told = await all_kinds.next()
        assert (told.kind, told.data) == (
            "document",
            {
                **{"name": "5m", "version": 7, "as_of": AS_OF_MS, "updated_at": AS_OF_MS + 1},
                "path": "/cache/5m",
            },
        )
        stale = await all_kinds.next()
        assert (stale.kind, stale.data) == (
            "stale",
            {
                **{"document": "5m", "version": 7, "as_of": AS_OF_MS, "exchanges": []},
                "markets": [{"exchange": "bybit", "symbol": "ETHUSDT", "stale_since": 5}],
                "recovered": [{"exchange": "binance", "symbol": "BTCUSDT"}],
            },
        )
        assert await of_5m.next() == told
        candles = await of_5m.next()
        assert (candles.kind, candles.data) == (
            "candles",
            {
                **{"timeframe": "5m", "version": 7, "as_of": AS_OF_MS, "columns": COLUMNS},
                "markets": [
                    {"exchange": "binance", "symbol": "BTCUSDT", "rows": [list(LATER)]},
                    {
                        **{"exchange": "bybit", "symbol": "ETHUSDT", "rows": []},
                        "corrected": [list(ROW)],
                        "removed": [0],
                    },
                    {"exchange": "bybit", "symbol": "OLDUSDT", "rows": [], "gone": True},
                ],
            },
        )
        assert await of_5m.next() == stale
        assert len({told.id, candles.id, stale.id}) == 3


async def test_each_gets_what_it_asks_for(api: ServedApi) -> None:
    queries = {
        "event=document": ["document"],
        "event=candles&timeframe=5m&symbol=btcusdt": ["candles"],
        "event=candles,stale&timeframe=5m&exchange=binance": ["candles", "stale"],
        "event=candles&event=stale&timeframe=5m&symbol=XYZUSDT": [],
        "event=candles&timeframe=15m": [],
        "timeframe=1h,4h": [],
        "event=pause&exchange=bybit": [],
    }
    async with (
        listening(api.port, "event=candles&timeframe=5m&exchange=bybit") as bybit,
        asyncio.TaskGroup() as group,
    ):

        async def kinds(query: str) -> None:
            async with listening(api.port, f"{query}&_=1") as stream:
                joined[query].set()
                found = [(await stream.next()).kind for _ in queries[query]]
                assert found == queries[query], query
                # A job is told to those only who ask for it.
                if "event" not in query:
                    assert (await stream.next()).kind == "job"

        joined = {query: asyncio.Event() for query in queries}
        for query in queries:
            group.create_task(kinds(query))
        for has_joined in joined.values():
            await has_joined.wait()
        await publish(api, 7, changes(0))
        await api.queue.request("discovery")
        event = await bybit.next()
        assert [m["symbol"] for m in event.data["markets"]] == ["ETHUSDT", "OLDUSDT"]


async def test_the_states_of_a_job(api: ServedApi) -> None:
    async with listening(api.port, "event=job") as stream:
        await api.queue.request("collect:4h")
        async with api.lease() as lease:
            job = await api.queue.take(lease)
            assert job is not None
            await api.queue.progress(job, lease, phase="fetch", done=1, total=2)
            await api.queue.request("collect:4h")  # wanted again
            await api.queue.request("collect:4h")
            await api.queue.finish(
                job, lease, state="complete", as_of_ms=AS_OF_MS, result={}, error=None
            )
            job = await api.queue.take(lease)
            assert job is not None
            await api.queue.hand_back(job, lease)
            job = await api.queue.take(lease)
            assert job is not None
            error = "redis: Error 111 connecting to 10.0.0.7:6379"
            await api.queue.finish(
                job, lease, state="failed", as_of_ms=None, result=None, error=error
            )
        await api.queue.request("funding")
        await api.queue.abort("funding")
        events = await stream.take(9)
    told = [(e.data["id"], e.data["run"], e.data["state"]) for e in events]
    assert told == [
        ("collect:4h", 1, "queued"),
        ("collect:4h", 1, "active"),
        ("collect:4h", 1, "complete"),
        ("collect:4h", 2, "queued"),
        ("collect:4h", 2, "active"),
        ("collect:4h", 2, "queued"),
        ("collect:4h", 2, "active"),
        ("collect:4h", 2, "failed"),
        ("funding", 1, "queued"),
    ]
    complete, failed = events[2].data, events[7].data
    assert (complete["kind"], complete["timeframe"], complete["as_of"]) == (
        *("collect", "4h"),
        AS_OF_MS,
    )
    assert failed["error"] == "redis: Error 111 connecting to (address)"


async def test_a_pause_begins_lasts_longer_and_ends(api: ServedApi) -> None:
    budgets = SharedBudgets(api.store, "office", SystemClock())
    async with (
        listening(api.port, "event=pause") as stream,
        listening(api.port, "event=pause,job&exchange=binance") as other,
    ):
        await budgets.pause(Exchange.BYBIT, 0.2, "10006 Too many visits!")
        await budgets.pause(Exchange.BYBIT, 0.3, "10006 Too many visits!")  # little longer: as told
        await budgets.pause(Exchange.BYBIT, 1.5, "403 from 10.0.0.7")
        begun, longer, ended = await stream.take(3)
        for event in (begun, longer, ended):
            assert (event.data["exchange"], event.data["egress_id"]) == ("bybit", "office")
        assert [e.data["state"] for e in (begun, longer, ended)] == ["begun", "begun", "ended"]
        assert begun.data["cause"] == "10006 Too many visits!"
        assert 0 < begun.data["until"] - begun.data["at"] <= 200
        assert longer.data["cause"] == "403 from (address)"
        assert 1000 < longer.data["until"] - longer.data["at"] <= 1500
        assert ended.data["at"] >= ended.data["until"] >= longer.data["until"]
        await api.queue.request("discovery")
        assert (await other.next()).kind == "job"


async def test_comments_come_and_bring_the_place_to_go_on_from(
    native_api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "BEAT_S", 0.3)
    async with listening(native_api.port, "event=pause") as quiet:
        before = quiet.last_id
        await quiet.until_comment()
        await native_api.queue.request("discovery")  # an event that it did not ask for
        while quiet.last_id == before:
            await quiet.until_comment()
        async with listening(native_api.port, "", quiet.last_id) as again:
            await native_api.queue.request("funding")
            assert (await again.next()).data["id"] == "funding"


async def test_what_the_answer_says(native_api: ServedApi) -> None:
    async with listening(native_api.port) as stream:
        headers = {name.lower(): value for name, value in stream.answer.headers.items()}
    _, by_head, body = await ask(native_api, "HEAD", "/events?event=job")
    assert body == b""
    assert headers.pop("transfer-encoding") == "chunked"
    headers.pop("date")
    by_head.pop("date")
    assert by_head == headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-encoding" not in headers
    assert set(headers["cache-control"].split(", ")) == {"no-cache", "no-transform"}
    assert headers["x-accel-buffering"] == "no"


async def test_what_is_not_known_is_refused(native_api: ServedApi) -> None:
    for query, said in {
        "event=documents": "must be one or more of document, candles, job, pause, stale",
        "event=": "must be one or more of document",
        "timeframe=3m": "must be one or more of 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d",
        "event=candles": "candles need one or more of 5m",
        "exchange=kraken": "must be one or more of binance, bybit",
        "symbol=": "must be one or more symbols",
        "timeframes=5m": "did you mean timeframe?",
        "last_event_id=1-0&last_event_id=2-0": "must be given once",
    }.items():
        status, _, answer = await ask(native_api, "GET", f"/events?{query}")
        assert status == 422 and said in str(answer["detail"]), query
        async with native_api.http.head(f"/events?{query}") as by_head:
            assert by_head.status == 422
    for method in ("POST", "DELETE", "PUT"):
        status, headers, _ = await ask(native_api, method, "/events")
        assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_tokens_and_pages(start_api: StartApi, redis_url: str) -> None:
    page = "https://page.example"
    api = await start_api(redis_url=redis_url, read_token="r3ad", cors_origins=(page,))
    assert (await ask(api, "GET", "/events"))[0] == 401
    allowed = {"Authorization": "Bearer r3ad", "Origin": page}
    async with listening(api.port, headers=allowed) as stream:
        assert stream.answer.headers["Access-Control-Allow-Origin"] == page
    asks = {"Origin": page, "Access-Control-Request-Method": "GET"}
    asks["Access-Control-Request-Headers"] = "authorization,last-event-id"
    async with api.http.options("/events", headers=asks) as answer:
        assert answer.status == 200


async def test_a_client_has_so_many_listeners_at_most(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, max_listeners_per_client=2)
    async with listening(api.port), listening(api.port):
        status, headers, answer = await ask(api, "GET", "/events")
        assert (status, headers["retry-after"]) == (429, "5")
        assert "limit 2, MAX_LISTENERS_PER_CLIENT" in answer["detail"]
        elsewhere = {"X-Forwarded-For": "192.0.2.7"}
        async with listening(api.port, headers=elsewhere):
            pass
        assert 'listeners{process="api-1"}' in (await ask(api, "GET", "/metrics"))[2].decode()
    await api.limits.tasks.until(0)
    async with listening(api.port), listening(api.port):
        pass


async def test_a_stop_ends_all_streams_at_once(native_api: ServedApi) -> None:
    async with listening(native_api.port) as one, listening(native_api.port, "event=job") as two:
        await native_api.app.release_waiters()
        for stream in (one, two):
            await stream.until_end()  # whole: no error of the transfer
        status, headers, _ = await ask(native_api, "GET", "/events")
        assert (status, headers["connection"]) == (503, "close")


async def test_the_overview_is_told_as_a_document_and_is_of_no_timeframe(api: ServedApi) -> None:
    async with (
        listening(api.port) as all_kinds,
        listening(api.port, "event=document") as documents,
        listening(api.port, "timeframe=5m") as of_5m,
        listening(api.port, "event=candles,stale&timeframe=5m,1h") as candles,
    ):
        await publish(api, 3, None, "overview")
        for stream in (all_kinds, documents):
            told = await stream.next()
            assert (told.kind, told.data) == (
                "document",
                {
                    **{"name": "overview", "version": 3, "as_of": AS_OF_MS},
                    **{"updated_at": AS_OF_MS + 1, "path": "/cache/overview"},
                },
            )
        await publish(api, 7, changes(0))
        # A version has no rows: it neither resets nor reaches those who ask for candles.
        assert [each.kind for each in await of_5m.take(3)] == ["document", "candles", "stale"]
        assert [each.kind for each in await candles.take(2)] == ["candles", "stale"]
        # Each further version is told, though none says which came before.
        await publish(api, 4, None, "overview")
        assert [each.data["name"] for each in await documents.take(2)] == ["5m", "overview"]


async def test_an_overview_that_no_event_told_is_told_all_the_same(native_api: ServedApi) -> None:
    """As a release publishes it that tells none."""
    api = native_api
    async with listening(api.port, "event=document") as stream:
        await publish(api, 3, None, "overview")
        first = await stream.next()
        meta = await api.store.execute("GET", "cache:overview:meta")
        later = meta.replace(b'"version":3', b'"version":4')
        assert later != meta
        await api.store.execute("SET", "cache:overview:meta", later)
        await api.store.execute("PUBLISH", "published", "overview 4")
        second = await stream.next()
        assert (first.data["version"], second.data["version"]) == (3, 4)
