"""GET /ready tells what a user would not see otherwise: absences, pauses, locks, refused writes."""

from typing import Any, Literal
from urllib.parse import urlsplit

import asyncpg
import pytest

from budgets.shared_budgets import SharedBudgets
from database import Database
from job_queue.kinds import JOB_IDS
from market.markets import Exchange, ListedMarket, Market
from stores.hot.beats import beat
from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.clock import next_millisecond
from tests.fixtures.postgres import User
from tests.fixtures.signals import until
from timing.clock import SystemClock

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
WELL = dict.fromkeys(("store", "worker", "database", "exchanges", "history"), "ok")


@pytest.fixture
async def api(start_api: StartApi, store_settings: dict[str, Any], database_url: str) -> ServedApi:
    """An API whose worker beats."""
    api = await start_api(**store_settings, dsn=database_url)
    await beat(api.store, "host:1")
    return api


async def ready(api: ServedApi) -> tuple[int, dict[str, Any]]:
    """The answer of /ready, asked for again where a busy machine's store took too long."""
    for _ in range(5):
        status, _, answer = await ask(api, "GET", "/ready")
        if answer["parts"]["store"] != "away: no answer in time":
            break
    return status, answer


async def degraded(api: ServedApi) -> dict[str, str]:
    """The parts that are not ok, of an answer that is 200 and degraded."""
    status, answer = await ready(api)
    assert (status, answer["status"]) == (200, "degraded"), answer
    return {part: state for part, state in answer["parts"].items() if state != "ok"}


async def parts(api: ServedApi) -> Any:
    return (await ready(api))[1]["parts"]


async def end(
    api: ServedApi,
    job_id: str,
    *,
    state: Literal["complete", "failed"] = "complete",
    error: str | None = None,
    lane: str = "worker",
    **result: Any,
) -> None:
    await api.queue.request(job_id)
    async with api.lease(lane) as lease:
        job = await api.queue.take(lease)
        assert job is not None
        next_millisecond()
        await api.queue.finish(
            job,
            lease,
            state=state,
            as_of_ms=None,
            result=result if state == "complete" else None,
            error=error,
        )


async def test_an_exchange_that_brought_nothing_is_named_with_its_reason(api: ServedApi) -> None:
    await end(api, "collect:4h", markets=3, absent={"bybit": "HTTP 451: not served here"})
    told = await degraded(api)
    assert told.keys() == {"exchanges"}
    assert told["exchanges"].startswith("bybit brought nothing in the run of collect:4h that ended")
    assert told["exchanges"].endswith("Z: HTTP 451: not served here")
    # The list of markets is another matter: a run of discovery says nothing of the rows.
    await end(api, "discovery", markets=3)
    assert (await degraded(api)).keys() == {"exchanges"}
    # One that is not configured here is nobody's business.
    await end(api, "collect:4h", markets=3, absent={"okx": "gone"})
    assert await parts(api) == WELL
    # A record that another release wrote, or nobody, does no harm.
    oddities: tuple[Any, ...] = (None, [], "bybit", 7)
    for odd in oddities:
        await end(api, "collect:4h", markets=3, absent=odd)
        assert await parts(api) == WELL


async def test_the_newest_run_counts(api: ServedApi) -> None:
    await end(api, "collect:4h", absent={"bybit": "no answer"})
    await end(api, "collect:1h", markets=3)
    assert await parts(api) == WELL
    await end(api, "funding", lane="funding", absent={"binance": "no answer"})
    assert (await degraded(api))["exchanges"].startswith("binance brought nothing in the run of f")


async def test_funding_does_not_hide_that_a_collection_lacked_an_exchange(api: ServedApi) -> None:
    """An hourly refresh of funding may well succeed where no candles can be had."""
    await end(api, "collect:4h", absent={"bybit": "HTTP 503"})
    await end(api, "funding", lane="funding", markets=3)
    assert (await degraded(api))["exchanges"].startswith("bybit brought nothing in the run of coll")
    await end(api, "funding", lane="funding", state="failed", error="binance funding: no answer")
    both = (await degraded(api))["exchanges"].split("; ")
    assert [text.split(" at ")[0] for text in both] == [
        "bybit brought nothing in the run of collect:4h that ended",
        "the last run of funding failed",
    ]
    await end(api, "collect:4h", markets=3)
    await end(api, "funding", lane="funding", markets=3)
    assert await parts(api) == WELL


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("the worker died in each of 3 attempts", "the worker died in each of 3 attempts"),
        ("internal error: KeyError: 'bybit'", "internal error: KeyError: 'bybit'"),
        ("redis: OOM not allowed at 10.0.0.7:6379", "redis: OOM not allowed at (address)"),
        ("no active USDT markets on bybit: all are disabled", "no active USDT markets on bybit"),
        (None, "Z"),
    ],
)
async def test_a_run_that_failed_for_reasons_of_ours_is_told_until_one_completes(
    api: ServedApi, error: str | None, told: str
) -> None:
    """Each document gets older by itself, whatever others do."""
    for job_id in ("collect:4h", "discovery"):
        await end(api, job_id, state="failed", error=error)
        await end(api, "collect:1h", markets=3)
        await end(api, "funding", lane="funding", markets=3)
        found = await degraded(api)
        assert found.keys() == {"worker"}
        assert found["worker"].startswith(f"the last run of {job_id} failed at 2")
        assert told in found["worker"] and "10.0.0.7" not in found["worker"]
        # It is told beside what else is wrong with the lane.
        await api.store.execute("SET", "lock:worker", "mine")
        assert [text[:12] for text in (await degraded(api))["worker"].split("; ")] == [
            "lock:worker ",
            "until then n",
            "the last run",
        ]
        await api.store.execute("DEL", "lock:worker")
        await end(api, job_id, markets=3)
        assert await parts(api) == WELL


async def test_a_failed_run_is_forgotten_once_others_have_made_all_its_documents(
    api: ServedApi,
) -> None:
    """4h and 8h are made by `collect:4h` and by the job of all timeframes, whichever ran last."""
    await end(api, "collect:4h", state="failed", error="internal error: KeyError")
    await end(api, "collect:1h", state="failed", error="internal error: TypeError")
    assert (await degraded(api))["worker"].count("the last run of") == 2
    await end(api, "collect:all", markets=3)
    assert await parts(api) == WELL
    # The other way round: every timeframe has to be made by a job of its own.
    await end(api, "collect:all", state="failed", error="internal error: KeyError")
    others = [job_id for job_id in JOB_IDS if job_id.startswith("collect:")]
    others.remove("collect:all")
    for job_id in others:
        told = (await degraded(api))["worker"]
        assert "the last run of collect:all failed at 2" in told
        await end(api, job_id, markets=3)
    assert await parts(api) == WELL
    # Once a run of 2h has failed too, nothing is known to have made it since.
    await end(api, "collect:2h", state="failed", error="internal error: KeyError")
    told = (await degraded(api))["worker"]
    assert told.startswith("the last run of collect:all failed at 2")
    assert "; the last run of collect:2h failed at 2" in told


async def test_the_job_of_all_counts_for_what_it_makes_here(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    api = await start_api(**store_settings, dsn=database_url, timeframes="5m,1h")
    await beat(api.store, "host:1")
    for job_id in ("collect:1h", "collect:4h"):
        await end(api, job_id, state="failed", error="internal error: KeyError")
    await end(api, "collect:all", absent={"bybit": "HTTP 451"})
    told = await degraded(api)
    assert told["worker"].startswith("the last run of collect:4h failed at 2")
    assert told["worker"].count("the last run of") == 1
    assert told["exchanges"].startswith("bybit brought nothing in the run of collect:all that ende")


async def test_a_document_whose_value_is_gone_is_told(api: ServedApi) -> None:
    """Its meta still tells a version and an age, but nobody can read it."""
    for name in ("4h", "8h"):
        await api.publish(name, b'{"x":1}', 7)
    assert await parts(api) == WELL
    await api.store.execute("DEL", "cache:4h")
    told = "has lost cache:4h, evicted or deleted: the next run makes it again"
    assert await degraded(api) == {"store": told}
    await api.store.execute("LPUSH", "cache:4h", "theirs")
    await api.store.execute("SET", "cache:8h", "theirs")
    assert await degraded(api) == {"store": told.replace("4h", "4h, cache:8h")}
    for name in ("4h", "8h"):
        await api.publish(name, b'{"x":1}', 8)
    assert await parts(api) == WELL
    # Without its meta there is no document, as before the first run.
    await api.store.execute("DEL", "cache:4h:meta")
    await api.store.execute("SET", "cache:8h:meta", "theirs")
    assert await parts(api) == WELL


async def test_a_list_that_cannot_be_read_or_is_not_believed(
    api: ServedApi, database_url: str
) -> None:
    database = Database(database_url)
    try:
        await database.listings.failed(
            BYBIT, "bybit instruments: HTTP 502", at_ms=1_700_000_000_000
        )
        await until(lambda: _told(api, "bybit: its list of markets could not be read"))
        told = (await degraded(api))["exchanges"]
        assert "last at 2023-11-14T22:13:20Z (1 in a row): bybit instruments: HTTP 502" in told
        whole = [
            ListedMarket(Market(BYBIT, f"C{number}USDT", f"C{number}", "USDT"), None)
            for number in range(20)
        ]
        await database.markets.save_markets(BYBIT, whole, seen_at_ms=1_700_000_000_000)
        await until(lambda: _told(api, "ok"))
        await database.markets.save_markets(BYBIT, whole[:5], seen_at_ms=1_700_000_060_000)
        await until(lambda: _told(api, "bybit: its list of markets would remove 15 of 20"))
        await database.markets.save_markets(BYBIT, whole[:5], seen_at_ms=1_700_000_120_000)
        await until(lambda: _told(api, "ok"))
    finally:
        await database.aclose()


async def _told(api: ServedApi, words: str) -> bool:
    told: str = (await parts(api))["exchanges"]
    return told == words if words == "ok" else words in told


async def test_a_pause_of_days_is_told_and_one_of_seconds_is_not(api: ServedApi) -> None:
    shared = SharedBudgets(api.store, "default", SystemClock())
    await shared.pause(BINANCE, 50.0, "-1003 Too many requests")
    assert await parts(api) == WELL
    await shared.pause(BINANCE, 259_200.0, "-1003 banned until Tuesday")
    told = (await degraded(api))["exchanges"]
    assert "binance is paused for 2591" in told or "binance is paused for 259200" in told
    assert "s more: -1003 banned until Tuesday; nothing is asked of it" in told
    await api.store.execute("DEL", "pause:default:binance")
    assert await parts(api) == WELL


@pytest.mark.parametrize("lane", ["worker", "funding"])
async def test_a_lock_that_never_expires_is_told_with_what_to_do(api: ServedApi, lane: str) -> None:
    lock = f"lock:{lane}"
    await api.store.execute("SET", lock, "7 abc host:1")
    told = (await degraded(api))["worker"]
    assert told == (
        f"{lock} is held by host:1 and never expires: if that process is gone, delete the key"
        f" {api.store.prefix}{lock}; until then no job of this lane runs"
    )
    # A value that is no lease's, or of a foreign type, is one too.
    await api.store.execute("SET", lock, "mine")
    assert (await degraded(api))["worker"].startswith(f"{lock} is held by nobody known and never")
    await api.store.execute("DEL", lock)
    await api.store.execute("LPUSH", lock, "mine")
    assert (await degraded(api))["worker"].startswith(f"{lock} is held by nobody known and never")
    await api.store.execute("DEL", lock)
    assert await parts(api) == WELL


async def test_a_lock_held_for_long_by_one_that_sends_no_heartbeat_is_told(api: ServedApi) -> None:
    await api.store.execute("SET", "lock:worker", "7 abc host:2", "PX", 3_600_000)
    told = (await degraded(api))["worker"]
    assert told.startswith("lock:worker is held by host:2 for 3")
    assert "s more and has sent no heartbeat" in told
    await beat(api.store, "host:2")
    assert await parts(api) == WELL
    # A command in the foreground sends none; its lease ends soon after it would have died.
    await api.store.execute("SET", "lock:worker", "8 abc host:3", "PX", 60_000)
    assert await parts(api) == WELL


async def test_a_read_only_database_is_told(api: ServedApi, database_url: str) -> None:
    assert await parts(api) == WELL
    name = urlsplit(database_url).path.removeprefix("/")
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = $1 AND pid <> pg_backend_pid()", name
        )  # fmt: skip

        async def read_only() -> bool:
            return "read-only" in (await parts(api))["database"]

        await until(read_only)
        assert await degraded(api) == {
            "database": "takes no writes: its transactions are read-only; set"
            " default_transaction_read_only to off for this user and database"
        }
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ("ALTER TABLE coin_metadata RENAME TO a", 'relation "coin_metadata" does not exist'),
        ("ALTER TABLE market_lives RENAME TO b", 'relation "market_lives" does not exist'),
        ("ALTER TABLE coin_metadata RENAME hurst TO c", "column m.hurst does not exist"),
    ],
)
async def test_a_table_that_only_runs_need_is_told_when_it_is_gone(
    api: ServedApi, database_url: str, change: str, lacking: str
) -> None:
    """Runs go on without it, with the last known markets: nothing else tells of it."""
    assert await parts(api) == WELL
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(change)
    finally:
        await connection.close()

    async def told() -> bool:
        return lacking in (await parts(api))["database"]

    await until(told)
    assert (await degraded(api)).keys() == {"database"}


async def test_a_database_that_refused_writes_in_the_last_run_is_told(api: ServedApi) -> None:
    """A full disk answers reads; only a run that wrote has met it."""
    full = "the database takes no writes: could not extend file: No space left on device"
    await end(api, "collect:4h", metadata_not_stored=full)
    told = (await degraded(api))["database"]
    assert told.startswith("takes no writes: could not extend file: No space left on device (in")
    await end(api, "funding", lane="funding", markets=3)  # writes nothing there
    assert (await degraded(api)).keys() == {"database"}
    # The same once more is told once, of the newest run.
    await end(api, "collect:1h", metadata_not_stored=full)
    told = (await degraded(api))["database"]
    assert told.count("takes no writes") == 1 and "(in the run of collect:1h" in told
    # A run that could not store its metadata for a moment has not shown that it is well again.
    away = "the database did not answer in time"
    await end(api, "collect:2h", metadata_not_stored=away)
    assert (await degraded(api)).keys() == {"database"}
    await end(api, "collect:5m", markets=3)
    # That it was away then says nothing of now: it is asked.
    assert await parts(api) == WELL
    await end(api, "collect:6h", state="failed", error="the database failed: no such table")
    assert (await degraded(api))["database"].startswith("failed: no such table (in the run of coll")
    await end(api, "discovery", markets=3)
    assert await parts(api) == WELL


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("the database takes no writes: could not extend file", "takes no writes: could not ext"),
        ("the database denies its user SELECT on coins: grant these rights", "denies its user SE"),
        ("the database failed: character has no equivalent", "failed: character has no equiva"),
        ("the database did not answer in time", "did not answer in time (in the run of"),
        ("the database failed: cannot reach ('10.0.0.7', 5432)", "failed: cannot reach (address)"),
    ],
)
async def test_a_discovery_that_the_database_failed_is_told_until_one_completes(
    api: ServedApi, error: str, told: str
) -> None:
    await end(api, "discovery", state="failed", error=error)
    await end(api, "collect:1h", markets=3)
    await end(api, "funding", lane="funding", markets=3)
    found = (await degraded(api))["database"]
    assert found.startswith(told) and "in the run of discovery that ended at 2" in found
    # What another run met, and what it meets, are told side by side.
    full = "the database takes no writes: No space left on device"
    await end(api, "collect:4h", metadata_not_stored=full)
    both = (await degraded(api))["database"].split("; ")
    assert [text.partition(" (in")[0] for text in both] == [
        found.partition(" (in")[0],
        "takes no writes: No space left on device",
    ]
    await end(api, "discovery", markets=3)
    assert await parts(api) == WELL


async def test_a_right_that_the_user_lacks_is_told_as_what_it_is(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str, user: User
) -> None:
    await user.may("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public")
    await user.may("USAGE ON ALL SEQUENCES IN SCHEMA public")
    await user.may_not("SELECT ON coins, listings")
    api = await start_api(**store_settings, dsn=user.url)
    await beat(api.store, "host:1")
    assert await degraded(api) == {
        "database": "denies its user SELECT on coins, listings: grant these rights"
    }
    await user.may("SELECT ON coins, listings")
    await until(lambda: _is_well(api))


async def _is_well(api: ServedApi) -> bool:
    return bool(await parts(api) == WELL)
