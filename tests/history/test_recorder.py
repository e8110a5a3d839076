"""The recorder against a naive list of versions: random publishes, kills, outages and gaps."""

import asyncio
import base64
import zlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import orjson
import pytest

from cache_manager import CacheManager, meta_key
from database import Database, DatabaseUnavailable, SeriesKey
from documents.journal import decode_entry, deflated_entry, read_stored_entry
from documents.names import DOCUMENTS, GLOBAL_FR
from history.recorder import Observer, Recorded, Recorder
from market.timeframes import HOUR_MS, MINUTE_MS
from stores.hot.journal import JOURNAL, STATE, Journal, read_state
from stores.hot.leases import Lease
from stores.hot.store import HotStore
from tests.fixtures.cache import PIECE_BYTES
from tests.history.past import (
    MARKETS,
    TABLES,
    Past,
    Version,
    in_order,
    naive,
    publishes,
    recorded,
)

if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]

# Over Upstash the first test and that of copies are enough: the commands are the same.
natively: Final = pytest.mark.parametrize("store_environment", ["native"], indirect=True)
DRAWN: Final = ("5m", "15m", "1h", GLOBAL_FR)


class Killed(Exception):
    """In place of a kill."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


@pytest.fixture
async def session(database: Database, database_url: str) -> AsyncIterator["Session"]:
    found = await asyncpg.connect(database_url, timeout=30)
    yield found
    await found.close()


@pytest.fixture
def past(cache: CacheManager, lease: Lease) -> Past:
    return Past(1, cache, lease)


def recorder(past: Past, database: Database, **observer: Any) -> Recorder:
    return Recorder(past.cache, database, lambda: past.now_ms, Observer(**observer))


async def check(session: "Session", database: Database, past: Past) -> list[Version]:
    """The record is what the recorded versions tell one by one; returns those."""
    by_name = {(each.document, each.version): each for each in past.versions}
    rows = await session.fetch("SELECT document, version FROM history_publishes ORDER BY ctid")
    versions = [by_name[row["document"], row["version"]] for row in rows]
    assert in_order(await recorded(database)) == in_order(naive(versions))
    times = {(each.document, each.version, each.updated_at_ms) for each in versions}
    assert times == set(await publishes(session))
    return versions


async def test_what_was_published_is_recorded_version_by_version(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    lags: list[int] = []
    for _ in range(4):
        for document in DRAWN:
            await past.publish(document)
        past.pass_time()
    result = await recorder(past, database, recorded=lambda _, at_ms: lags.append(at_ms)).record()
    assert (result.entries, result.gaps) == (16, [])
    assert lags == [each.updated_at_ms for each in past.versions]
    assert await check(session, database, past) == past.versions
    assert (await read_state(store)).told["recorded_at"] == str(lags[-1])
    assert result.rows > 0
    # Once more there is nothing to do.
    assert await recorder(past, database).record() == Recorded()
    # The entries are kept as they came, with the forming rows.
    for version in past.versions:
        row = await session.fetchrow(
            "SELECT j.entry, p.*, u.markets FROM history_journal AS j"
            " JOIN history_publishes AS p USING (document, version)"
            " JOIN history_universes AS u USING (universe_id)"
            " WHERE document = $1 AND version = $2",
            *(version.document, version.version),
        )
        assert row is not None
        entry = decode_entry(row["entry"])
        forming = {market.key: list(market.forming) for market in entry.markets}
        assert forming == version.forming or version.document == GLOBAL_FR
        assert row["as_of"] == version.updated_at_ms - 250
        if version.document != GLOBAL_FR:
            assert row["funding_updated_at"] is not None and row["candles"] == 6
            fresh = [each for key, each in version.closed.items() if key not in version.carried]
            assert row["first_open_time"] <= min(min(rows) for _, rows in fresh)


@natively
async def test_entries_are_forgotten_and_the_log_of_publishes_is_not(
    past: Past, database: Database, session: "Session"
) -> None:
    for document in DRAWN[:2]:
        await past.publish(document)
        past.now_ms += MINUTE_MS
    await recorder(past, database).record()
    newest_ms = past.versions[-1].updated_at_ms
    assert await database.publishes.forget_entries(newest_ms) == 1
    assert await session.fetchval("SELECT updated_at FROM history_journal") == newest_ms
    assert len(await publishes(session)) == 2


def breaking(database: Database, break_at: Callable[[], str]) -> None:
    """Has the database's transactions end as drawn: `before` or `after` they were committed, or
    `away`."""
    store = type(database.history).store.__get__(database.history)

    async def broken(rows: Any, known_at_ms: int, *, within: Any = None) -> Any:
        how = break_at()

        async def and_then(connection: Any) -> None:
            if within is not None:
                await within(connection)
            if how == "before":
                raise Killed

        if how == "away":
            raise DatabaseUnavailable("the database is away")
        stored = await store(rows, known_at_ms, within=and_then)
        if how == "after":
            raise Killed
        return stored

    database.history.store = broken  # type: ignore[method-assign]


async def play(past: Past, database: Database, steps: int, *, gaps: bool) -> bool:
    """Random publishes and recordings; returns whether versions may not have been told."""
    chance, may_lack, away = past.chance, False, False

    def break_at() -> str:
        if away:
            return "away"
        return chance.choices(("before", "after", "away", ""), (1, 1, 1, 5))[0]

    breaking(database, break_at)
    for _ in range(steps):
        for document in chance.sample(DRAWN, chance.randint(1, 3)):
            with_entry = not gaps or chance.random() > 0.15
            may_lack |= not with_entry
            await past.publish(document, with_entry=with_entry)
        past.pass_time()
        if chance.random() < 0.2:
            away = not away
        if chance.random() < 0.6:
            try:
                await recorder(past, database).record()
            except (Killed, DatabaseUnavailable):
                continue
    breaking(database, lambda: "")
    return may_lack


async def begin_anew(session: "Session", store: HotStore) -> None:
    await session.execute(f"TRUNCATE {', '.join(f'history_{name}' for name in TABLES)}")
    keys = [f"cache:{name}{end}" for name in DOCUMENTS for end in ("", ":meta")]
    await store.execute("UNLINK", JOURNAL, STATE, *keys)


@natively
@pytest.mark.parametrize("first", [1, pytest.param(100, marks=pytest.mark.slow)])
async def test_each_version_is_recorded_exactly_once_whatever_is_killed(
    past: Past, database: Database, session: "Session", store: HotStore, lease: Lease, first: int
) -> None:
    for seed in range(first, first + (3 if first == 1 else 60)):
        await begin_anew(session, store)
        drawn = Past(seed, past.cache, lease)
        await play(drawn, database, 8, gaps=False)
        result = await recorder(drawn, database).record()
        assert result.gaps == [], seed
        assert await check(session, database, drawn) == drawn.versions, seed


@natively
@pytest.mark.parametrize("first", [1, pytest.param(100, marks=pytest.mark.slow)])
async def test_documents_fill_in_where_versions_are_not_told_one_by_one(
    database: Database, session: "Session", store: HotStore, lease: Lease, first: int
) -> None:
    """Hosts of an earlier release publish, and the journal is full now and then."""
    for seed in range(first, first + (3 if first == 1 else 60)):
        await begin_anew(session, store)
        limit = 100_000_000 if seed % 2 else 12_000
        cache = CacheManager(store, piece_bytes=PIECE_BYTES, journal_bytes=limit)
        drawn = Past(seed, cache, lease)
        await play(drawn, database, 8, gaps=True)
        await recorder(drawn, database).record()
        versions = await check(session, database, drawn)
        # The newest of each document is there, whatever was lost on the way.
        newest = {each.document: each.version for each in drawn.versions}
        assert {each.document: each.version for each in versions} == newest, seed


@natively
async def test_a_gap_is_told_with_its_document_and_times(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    gaps: list[int] = []
    first = await past.publish("5m")
    await recorder(past, database).record()
    past.now_ms += 5 * MINUTE_MS
    await past.publish("5m", with_entry=False)  # a host of the release before
    past.now_ms += 5 * MINUTE_MS
    last = await past.publish("5m")
    past.now_ms += 5 * MINUTE_MS
    result = await recorder(past, database, gap=lambda: gaps.append(1)).record()
    (gap,) = result.gaps
    assert (gap.document, gap.since_ms) == ("5m", first.updated_at_ms)
    assert gap.until_ms == last.updated_at_ms and gaps == [1]
    state = await read_state(store)
    assert (state.told["gaps"], state.told["gap_document"]) == ("1", "5m")
    assert [version for _, version, _ in await publishes(session)] == [first.version, last.version]
    # Without anything in the journal, too; and an earlier release's last version is not missed.
    past.now_ms += 5 * MINUTE_MS
    await past.publish("5m", with_entry=False)
    result = await recorder(past, database).record()
    assert (result.entries, len(result.gaps)) == (0, 1)
    assert (await read_state(store)).told["gaps"] == "2"
    await check(session, database, past)


@natively
@pytest.mark.parametrize("with_entry", [True, False])
async def test_open_interest_of_a_market_that_failed_undoes_no_correction(
    past: Past, database: Database, session: "Session", with_entry: bool
) -> None:
    await past.publish("1h")
    at_ms = past.now_ms // HOUR_MS * HOUR_MS
    past.interest |= {(market.key, at_ms): 7.0 for market in MARKETS}
    past.now_ms += MINUTE_MS
    await past.publish("5m")
    past.now_ms += MINUTE_MS
    past.carried_over = 1.0
    await past.publish("1h", with_entry=with_entry)
    await recorder(past, database).record()
    keys = [SeriesKey.open_interest(market.exchange, market.symbol) for market in MARKETS]
    async with database.history.snapshot() as snapshot:
        found = await snapshot.versions(keys, at_ms, at_ms + 1)
    assert [found[key].values.tolist() for key in keys] == [[[7.0]]] * len(keys)
    assert await check(session, database, past) == past.versions


@natively
async def test_a_store_of_an_earlier_release_is_recorded_as_it_is(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    for document in DRAWN:
        await past.publish(document, with_entry=False)
    result = await recorder(past, database).record()
    assert (result.entries, result.gaps) == (0, [])  # there was no version before
    assert await check(session, database, past) == past.versions
    past.pass_time()
    await past.publish("5m")
    assert (await recorder(past, database).record()).gaps == []
    await check(session, database, past)


@natively
async def test_a_lost_hot_store_is_a_gap_that_its_next_documents_fill(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    await past.publish("5m")
    await recorder(past, database).record()
    await store.execute("UNLINK", JOURNAL, STATE, "cache:5m", "cache:5m:meta")
    past.now_ms += 20 * MINUTE_MS
    await past.publish("5m")
    result = await recorder(past, database).record()
    assert len(result.gaps) == 1
    await check(session, database, past)


async def test_a_whole_entry_is_recorded_from_its_copy(
    past: Past,
    database: Database,
    session: "Session",
    store: HotStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("documents.comparison.MOST_ROWS", 3)
    monkeypatch.setattr("documents.journal_draft.MOST_ROWS", 3)
    monkeypatch.setattr("history.whole_document._MARKETS_AT_ONCE", 1)
    for _ in range(3):
        for document in DRAWN:
            await past.publish(document)
        past.pass_time()
    result = await recorder(past, database).record()
    assert (result.entries, result.gaps) == (12, [])
    assert await check(session, database, past) == past.versions
    # Where the copy is gone, the document fills in.
    first = await past.publish("5m")
    await store.execute("UNLINK", f"journal:document:5m:{first.version}")
    past.now_ms += 20 * MINUTE_MS
    second = await past.publish("5m", with_entry=False)
    result = await recorder(past, database).record()
    assert [gap.until_ms for gap in result.gaps] == [second.updated_at_ms]
    await check(session, database, past)


@natively
async def test_entries_that_cannot_be_read_are_filled_in(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    await past.publish("5m")
    await recorder(past, database).record()
    past.now_ms += 5 * MINUTE_MS
    await past.publish("5m")
    spoil = "local e = redis.call('LINDEX', KEYS[1], 0) return redis.call('LSET', KEYS[1], 0, "
    await store.script("spoil", spoil + "string.sub(e, 1, -9) .. 'AAAAAAAA')").run(
        [JOURNAL], reply=lambda reply: reply
    )
    await store.script("push", "return redis.call('RPUSH', KEYS[1], 'odd')").run(
        [JOURNAL], reply=lambda reply: reply
    )
    result = await recorder(past, database).record()
    assert (result.entries, len(result.gaps)) == (2, 1)
    await check(session, database, past)


@natively
@pytest.mark.parametrize("row", [[*range(12)], [7, 1, 1, 1, 1, 1, 1, 1, None]])
async def test_rows_that_cannot_be_stored_do_not_keep_the_others_waiting(
    past: Past, database: Database, session: "Session", store: HotStore, row: list[Any]
) -> None:
    """Rows with the columns of a later release, and off the grid."""
    await past.publish("5m")
    await recorder(past, database).record()
    past.now_ms += 5 * MINUTE_MS
    version = await past.publish("5m")
    [element] = await store.script("all", "return redis.call('LRANGE', KEYS[1], 0, -1)").run(
        [JOURNAL], reply=lambda reply: reply
    )
    stored = read_stored_entry(element)
    told = orjson.loads(zlib.decompress(deflated_entry(stored.text)))
    first, *_ = told["markets"]
    first[-1] = [first[0], first[1], [row], [], [], False]
    odd = stored.head + base64.b64encode(zlib.compress(orjson.dumps(told)))
    await store.script("put", "return redis.call('LSET', KEYS[1], 0, ARGV[1])").run(
        [JOURNAL], [odd], reply=lambda reply: reply
    )
    await recorder(past, database).record()
    cursors = await database.publishes.cursors()
    assert cursors["5m"].version == version.version
    past.now_ms += 5 * MINUTE_MS
    await past.publish("5m")
    assert (await recorder(past, database).record()).gaps == []


@natively
async def test_a_damaged_chunk_keeps_nothing_from_being_recorded(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    await past.publish("5m")
    await recorder(past, database).record()
    await database.history.compact(past.now_ms + 10 * 24 * HOUR_MS)
    await session.execute("UPDATE history_chunks SET checksum = 5 WHERE series_id = 1")
    for _ in range(3):
        past.now_ms += 5 * MINUTE_MS
        version = await past.publish("5m", with_entry=False)
        result = await recorder(past, database).record()
        assert result.rows > 0
    assert (await database.publishes.cursors())["5m"].version == version.version
    assert (await database.history.check()).faults == ()
    assert await session.fetchval("SELECT count(*) FROM history_damaged_chunks") == 1
    async with database.history.snapshot() as snapshot:
        found = await snapshot.versions(list(version.closed), 0, 2**50)
    for key, (_, rows) in version.closed.items():
        assert rows.keys() <= set(found[key].times.tolist())


@natively
async def test_a_store_that_begins_anew_with_lower_versions_is_recorded(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    await past.publish("5m")
    await recorder(past, database).record()
    await session.execute("UPDATE history_stored SET version = version + 10^12::bigint")
    await store.execute("UNLINK", "cache:5m", "cache:5m:meta")
    past.now_ms += 5 * MINUTE_MS
    version = await past.publish("5m")
    assert len((await recorder(past, database).record()).gaps) == 1
    assert (await database.publishes.cursors())["5m"].version == version.version
    past.now_ms += 5 * MINUTE_MS
    await past.publish("5m")
    assert (await recorder(past, database).record()).gaps == []
    await check(session, database, past)


@natively
async def test_a_clock_that_went_back_does_not_make_values_known_earlier(
    past: Past, database: Database, session: "Session"
) -> None:
    first = await past.publish("5m")
    past.now_ms -= 500
    await past.publish("5m")
    await recorder(past, database).record()
    assert [at_ms for _, _, at_ms in await publishes(session)] == [first.updated_at_ms] * 2


@natively
async def test_a_clock_that_was_ahead_for_once_is_forgotten(
    past: Past, database: Database, session: "Session", store: HotStore
) -> None:
    past.now_ms += 300 * 24 * HOUR_MS
    ahead = await past.publish("5m")
    past.now_ms -= 300 * 24 * HOUR_MS
    past.checked.clear()
    after = await past.publish("5m")
    await recorder(past, database).record()
    # The store is emptied, so that versions are times of now again.
    await store.execute("UNLINK", "cache:5m", "cache:5m:meta")
    past.now_ms += 5 * MINUTE_MS
    anew = await past.publish("5m")
    await recorder(past, database).record()
    assert ahead.version < after.version > anew.version
    times = {version: at_ms for _, version, at_ms in await publishes(session)}
    assert times == {each.version: each.updated_at_ms for each in (ahead, after, anew)}


@natively
async def test_two_recorders_at_once_do_no_harm(
    past: Past, database: Database, session: "Session", cache: CacheManager
) -> None:
    for _ in range(3):
        for document in DRAWN:
            await past.publish(document)
        past.pass_time()
    results = await asyncio.gather(*(recorder(past, database).record() for _ in range(2)))
    assert all(result.gaps == [] for result in results)
    assert await check(session, database, past) == past.versions
    journal = Journal(cache.store, [meta_key(name) for name in DOCUMENTS])
    assert (await journal.take()).waiting == 0
