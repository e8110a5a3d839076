"""Lists of markets in a real PostgreSQL: confirmation, lives, names that cannot be stored."""

from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from database import Database, ListingState, SavedMarkets
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import Timeframe
from market.unread_entries import CANNOT_BE_READ, NOT_CLEAR, UNUSABLE_NAME, UnreadEntry
from tests.fixtures.postgres import DatabaseIn

BYBIT = Exchange.BYBIT
DAY_MS = 86_400_000
LAUNCH_MS = 1_600_000_000_000
NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


def listed(symbol: str, launched_ms: int = LAUNCH_MS) -> ListedMarket:
    base = symbol.removesuffix("USDT")
    return ListedMarket(Market(BYBIT, symbol, base, "USDT", launched_ms), None)


def whole(count: int) -> list[ListedMarket]:
    return [listed(f"C{number:03}USDT") for number in range(count)]


async def save(
    database: Database, entries: Sequence[ListedMarket], seen_at_ms: int
) -> SavedMarkets:
    return await database.markets.save_markets(BYBIT, entries, seen_at_ms=seen_at_ms)


async def active(database: Database) -> list[str]:
    found = await database.get_all_unique_coins(exchanges=[BYBIT], quote="USDT")
    return [market.symbol for market in found]


async def since(database: Database, symbol: str) -> int:
    found = await database.get_all_unique_coins(exchanges=[BYBIT], quote="USDT")
    return next(market.since_ms for market in found if market.symbol == symbol)


async def state(database: Database) -> ListingState:
    return (await database.listings.states([BYBIT], "USDT"))[BYBIT]


@pytest.mark.parametrize(
    ("before", "after", "believed"),
    [(40, 36, True), (39, 35, False), (40, 35, False), (8, 5, True), (8, 4, False), (40, 1, False)],
)
async def test_a_list_that_would_remove_many_is_not_believed_at_once(
    database: Database, before: int, after: int, believed: bool
) -> None:
    await save(database, whole(before), NOW_MS)
    found = await save(database, whole(after), NOW_MS + 1)
    gone = before - after
    if believed:
        assert (found.delisted, found.unconfirmed) == (gone, 0)
        assert len(await active(database)) == after
        return
    assert found == SavedMarkets(0, 0, 0, unconfirmed=gone)
    assert len(await active(database)) == before
    told = await state(database)
    assert (told.discovered_ms, told.unconfirmed_ms, told.unconfirmed) == (NOW_MS, NOW_MS + 1, gone)


async def test_it_is_believed_when_it_says_so_again_after_a_minute_and_a_restart(
    database: Database, database_url: str
) -> None:
    await save(database, whole(40), NOW_MS)
    await save(database, whole(20), NOW_MS + DAY_MS)
    # Asked again too soon, which another POST may cause, it says nothing new.
    assert (await save(database, whole(20), NOW_MS + DAY_MS + MINUTE_MS - 1)).unconfirmed == 20
    await database.aclose()
    again = Database(database_url)
    try:
        found = await save(again, whole(20), NOW_MS + DAY_MS + MINUTE_MS)
        assert (found.delisted, found.unconfirmed) == (20, 0)
        assert await active(again) == [entry.market.symbol for entry in whole(20)]
        assert (await state(again)).unconfirmed_ms is None
        # And all of them come back with the next whole list, as the contracts that they were.
        found = await save(again, whole(40), NOW_MS + DAY_MS + 2 * MINUTE_MS)
        assert (found.returned, found.replaced, found.unconfirmed) == (20, 0, 0)
    finally:
        await again.aclose()


async def test_a_list_cut_elsewhere_each_time_is_never_believed(database: Database) -> None:
    full = whole(40)
    await save(database, full, NOW_MS)
    for turn in range(4):
        cut = full[turn : turn + 20]
        assert (await save(database, cut, NOW_MS + (turn + 1) * MINUTE_MS)).unconfirmed == 20
    assert len(await active(database)) == 40
    # A good one in between, and it must say so twice again.
    await save(database, full[:20], NOW_MS + 6 * MINUTE_MS)
    assert (await save(database, full, NOW_MS + 7 * MINUTE_MS)).delisted == 0
    assert (await save(database, full[:20], NOW_MS + 8 * MINUTE_MS)).unconfirmed == 20


async def test_new_markets_and_duplicates_remove_nothing(database: Database) -> None:
    await save(database, whole(10), NOW_MS)
    found = await save(database, [*whole(40), *whole(40)], NOW_MS + 1)
    assert (found.added, found.unconfirmed) == (30, 0)
    assert (await state(database)).active == 40


async def test_launch_times_moved_for_many_need_confirmation_too(database: Database) -> None:
    """One list could otherwise take the history of every market."""
    await save(database, whole(40), NOW_MS)
    moved = [listed(entry.market.symbol, LAUNCH_MS + 2 * DAY_MS) for entry in whole(40)]
    assert (await save(database, moved, NOW_MS + 1)).unconfirmed == 40
    assert await since(database, "C000USDT") == 0
    assert (await save(database, moved, NOW_MS + 1 + MINUTE_MS)).replaced == 40
    assert await since(database, "C000USDT") == LAUNCH_MS + 2 * DAY_MS


async def test_a_moved_launch_begins_a_life_and_ends_the_metadata(database: Database) -> None:
    await save(database, whole(9), NOW_MS)
    numbers = {f"bybit:C00{number}USDT": {"hurst": 0.5} for number in (0, 1)}
    await database.markets.save_metadata(Timeframe.H4, numbers, computed_at_ms=NOW_MS)
    relaunched = listed("C000USDT", LAUNCH_MS + DAY_MS + 1)
    found = await save(database, [relaunched, *whole(9)[1:]], NOW_MS + DAY_MS)
    assert (found.replaced, found.delisted, found.returned) == (1, 0, 0)
    coins = await database.get_coins_from_db(Timeframe.H4, exchanges=[BYBIT], quote="USDT")
    assert [(c.market.since_ms, c.market.launched_ms) for c in coins[:2]] == [
        (LAUNCH_MS + DAY_MS + 1,) * 2,
        (0, LAUNCH_MS),
    ]
    assert [coin.meta["hurst"] for coin in coins[:2]] == [None, 0.5]
    assert (await save(database, [relaunched, *whole(9)[1:]], NOW_MS + 2 * DAY_MS)).replaced == 0
    [record, *_] = await database.coin_records.list_coins(BYBIT)
    assert record.market.since_ms == LAUNCH_MS + DAY_MS + 1


async def test_a_suspension_is_no_end_and_a_delisting_of_days_is(database: Database) -> None:
    rest = whole(9)[1:]
    for step, gone in enumerate((True, False, True, True, False)):
        entries = rest if gone else whole(9)
        found = await save(database, entries, NOW_MS + step * DAY_MS)
        if step == 0:
            await save(database, whole(9), NOW_MS + 1)  # known before anything else
            await save(database, rest, NOW_MS + 2)
        if step == 1:
            assert (found.returned, found.replaced) == (1, 0)
            assert await since(database, "C000USDT") == 0
    assert (found.returned, found.replaced) == (1, 1)
    # Since the last list that lacked it.
    assert await since(database, "C000USDT") == NOW_MS + 3 * DAY_MS


async def test_a_list_of_a_time_that_has_not_come_makes_no_absence_longer(
    database: Database,
) -> None:
    """The exchange's clock was ahead when the last list was taken in."""
    rest = whole(9)[1:]
    await save(database, whole(9), NOW_MS)
    await save(database, rest, NOW_MS + 1)
    await save(database, rest, NOW_MS + 5 * DAY_MS)
    found = await save(database, whole(9), NOW_MS + 2 * MINUTE_MS)
    assert (found.returned, found.replaced) == (1, 0)
    assert await since(database, "C000USDT") == 0
    # And none shorter, if it was the first one that lacked the market.
    await save(database, rest, NOW_MS + 5 * DAY_MS)
    await save(database, rest, NOW_MS + 4 * MINUTE_MS)
    until_ms = NOW_MS + 4 * MINUTE_MS + DAY_MS
    await save(database, rest, until_ms)
    found = await save(database, whole(9), until_ms + MINUTE_MS)
    assert (found.returned, found.replaced) == (1, 1)
    assert await since(database, "C000USDT") == until_ms


async def test_a_life_of_a_time_that_has_not_come_is_forgotten(database: Database) -> None:
    await save(database, whole(9), NOW_MS)
    ahead_ms = NOW_MS + 5 * DAY_MS
    moved = [listed("C000USDT", ahead_ms), *whole(9)[1:]]
    assert (await save(database, moved, ahead_ms)).replaced == 1
    await save(database, whole(9)[:1] + whole(9)[2:], NOW_MS + 1)  # lacks another one
    [first, *_] = await database.get_all_unique_coins(exchanges=[BYBIT], quote="USDT")
    assert (first.symbol, first.launched_ms, first.since_ms) == ("C000USDT", LAUNCH_MS, 0)
    # So is one that lists began, because one of them lacked the market days later.
    rest = [*whole(9)[:1], *whole(9)[2:]]
    for at_ms in (NOW_MS + 2, ahead_ms):
        await save(database, rest, at_ms)
    assert (await save(database, whole(9), ahead_ms + 1)).replaced == 1
    assert await since(database, "C001USDT") == ahead_ms
    assert (await save(database, whole(9), NOW_MS + 3)).replaced == 0
    assert await since(database, "C001USDT") == 0
    # One that began just now is of now.
    moved = [listed("C000USDT", NOW_MS + DAY_MS), *whole(9)[2:]]
    assert (await save(database, moved, NOW_MS + DAY_MS)).replaced == 1
    assert (await save(database, moved, NOW_MS + DAY_MS)).replaced == 0
    assert await since(database, "C000USDT") == NOW_MS + DAY_MS


async def test_markets_are_judged_by_the_exchanges_time_and_the_next_list_is_due_by_ours(
    database: Database, database_url: str
) -> None:
    async def save_at(entries: Sequence[ListedMarket], seen_ms: int, now_ms: int) -> SavedMarkets:
        return await database.markets.save_markets(
            BYBIT, entries, seen_at_ms=seen_ms, now_ms=now_ms
        )

    ours_ms = NOW_MS + 90 * DAY_MS  # this machine's clock is ahead
    rest = whole(9)[1:]
    await save_at(whole(9), NOW_MS, ours_ms)
    assert (await state(database)).discovered_ms == ours_ms
    assert await database.markets.discovered_at_ms(BYBIT) == ours_ms
    await save_at(rest, NOW_MS + 1, ours_ms + 1)
    await save_at(rest, NOW_MS + DAY_MS + 1, ours_ms)  # it is set back
    found = await save_at(whole(9), NOW_MS + DAY_MS + 2, ours_ms - 9 * DAY_MS)
    assert (found.returned, found.replaced) == (1, 1)
    assert await since(database, "C000USDT") == NOW_MS + DAY_MS + 1
    [record, *_] = await database.coin_records.list_coins(BYBIT)
    assert (record.first_seen_ms, record.last_seen_ms) == (NOW_MS, NOW_MS + DAY_MS + 2)
    # A list that is not believed is asked again after a minute of ours.
    assert (await save_at(whole(4), NOW_MS + DAY_MS + 3, ours_ms)).unconfirmed == 5
    assert (await state(database)).unconfirmed_ms == ours_ms
    assert (await save_at(whole(4), NOW_MS + 2 * DAY_MS, ours_ms + 1)).unconfirmed == 5
    assert (await save_at(whole(4), NOW_MS + DAY_MS + 4, ours_ms + MINUTE_MS)).delisted == 5
    # What the release before stored has one time only.
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("UPDATE listings SET seen_ms = NULL")
        await connection.execute("UPDATE discoveries SET finished_ms = $1", NOW_MS + 3 * DAY_MS)
    finally:
        await connection.close()
    found = await save_at(whole(9), NOW_MS + 4 * DAY_MS, ours_ms)
    assert (found.returned, found.replaced) == (5, 5)
    assert await since(database, "C008USDT") == NOW_MS + 3 * DAY_MS


async def test_another_coin_under_the_name_of_one_delisted(database: Database) -> None:
    await save(database, whole(9), NOW_MS)
    await save(database, whole(9)[1:], NOW_MS + 1)
    relaunched = listed("C000USDT", LAUNCH_MS + 3_600_000)
    found = await save(database, [relaunched, *whole(9)[1:]], NOW_MS + 2)
    assert (found.returned, found.replaced) == (1, 1)
    assert await since(database, "C000USDT") == LAUNCH_MS + 3_600_000


async def test_the_release_before_writes_beside(database: Database, database_url: str) -> None:
    """It stores a new launch time and knows no lives; what was known is compared all the same."""
    await save(database, whole(9), NOW_MS)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO coins (exchange, symbol, base, quote, launched_ms, first_seen_ms,"
            " last_seen_ms) VALUES ('bybit', 'NEWUSDT', 'NEW', 'USDT', $1, 1, 1)", LAUNCH_MS
        )  # fmt: skip
        moved_ms = LAUNCH_MS + 9 * DAY_MS
        await connection.execute(
            "UPDATE coins SET launched_ms = $1 WHERE symbol = 'C000USDT'", moved_ms
        )
        await connection.execute("UPDATE coins SET active = false WHERE symbol = 'C001USDT'")
    finally:
        await connection.close()
    entries = [listed("C000USDT", moved_ms), *whole(9)[1:], listed("NEWUSDT", moved_ms)]
    found = await save(database, entries, NOW_MS + DAY_MS)
    assert (found.added, found.returned, found.replaced) == (0, 1, 2)
    assert await since(database, "C000USDT") == moved_ms
    assert await since(database, "C001USDT") == 0
    assert await since(database, "NEWUSDT") == moved_ms


async def test_impossible_launch_times_cost_nothing(database: Database) -> None:
    odd = [0, -7, 10**30, LAUNCH_MS // 1000, LAUNCH_MS * 1000, NOW_MS * 2]
    entries = [listed(f"ODD{number}USDT", launched) for number, launched in enumerate(odd)]
    await save(database, [*entries, listed("GOODUSDT")], NOW_MS)
    await save(database, [*entries, listed("GOODUSDT")], NOW_MS + 1)
    found = await database.get_all_unique_coins(exchanges=[BYBIT], quote="USDT")
    told = {market.symbol: (market.launched_ms, market.since_ms) for market in found}
    assert told == {"GOODUSDT": (LAUNCH_MS, 0)} | {
        f"ODD{number}USDT": (0, 0) for number in range(len(odd))
    }
    # A time once known is kept.
    await save(database, [*entries, listed("GOODUSDT", 10**30)], NOW_MS + 2)
    found = await database.get_all_unique_coins(exchanges=[BYBIT], quote="USDT")
    assert {market.launched_ms for market in found if market.symbol == "GOODUSDT"} == {LAUNCH_MS}


async def test_names_that_cannot_be_stored_are_told_and_cost_no_others(database: Database) -> None:
    odd = ["A\0USDT", "\ud800USDT", "L" * 9000]
    found = await save(database, [*map(listed, odd), listed("GOODUSDT")], NOW_MS)
    why = "a name with characters that cannot be stored"
    assert (found.added, found.unread) == (1, ())
    assert found.refused == (
        f"A\\x00USDT: {why}",
        f"{'L' * 100}...: a name of 9000 characters, at most 100 can be stored",
        f"\\ud800USDT: {why}",
    )
    assert (await state(database)).refused == found.refused
    assert await active(database) == ["GOODUSDT"]
    await save(database, [listed("L" * 100), listed("GOODUSDT")], NOW_MS + 1)
    assert (await state(database)).refused == ()
    assert len(await active(database)) == 2


async def test_failures_are_counted_until_a_list_is_read(database: Database) -> None:
    assert await state(database) == ListingState()
    await database.listings.failed(BYBIT, "HTTP 502", at_ms=NOW_MS)
    await database.listings.failed(BYBIT, "odd \0 \ud800" + "x" * 900, at_ms=NOW_MS + 1)
    told = await state(database)
    assert (told.failures, told.failed_ms, told.discovered_ms) == (2, NOW_MS + 1, None)
    assert told.failure is not None
    assert told.failure.startswith("odd \\x00 \\ud800xx") and len(told.failure) == 500
    await save(database, whole(3), NOW_MS + 2)
    await database.coin_records.set_enabled(["bybit:C000USDT"], False)
    assert await state(database) == ListingState(NOW_MS + 2, active=3, enabled=2)


async def test_an_entry_that_cannot_be_read_ends_no_market(database: Database) -> None:
    await save(database, whole(9), NOW_MS)
    found = await database.markets.save_markets(
        BYBIT,
        whole(7),
        seen_at_ms=NOW_MS + 1,
        unread=[
            UnreadEntry("C008USDT", CANNOT_BE_READ),
            UnreadEntry("UNKNOWNUSDT", CANNOT_BE_READ),
            UnreadEntry("NEW/USDT", UNUSABLE_NAME, expected=True),
            UnreadEntry("C001USDT", NOT_CLEAR, expected=True),  # and once more, readably
        ],
    )
    assert found == SavedMarkets(
        delisted=1,
        unread=(
            "C008USDT: its entry in the list of markets cannot be read",
            "NEW/USDT: its name, or its coin's, cannot be used",
        ),
    )
    assert (await state(database)).refused == found.unread
    assert await active(database) == [f"C00{number}USDT" for number in (*range(7), 8)]
    # A list that is not believed tells of them too, and the next whole one does no more.
    found = await database.markets.save_markets(
        BYBIT, whole(2), seen_at_ms=NOW_MS + 2, unread=[UnreadEntry("C003USDT", NOT_CLEAR)]
    )
    assert (found.unconfirmed, len(found.unread)) == (5, 1)
    assert (await state(database)).refused == found.unread
    await save(database, whole(9), NOW_MS + 3)
    assert (await state(database)).refused == ()


async def test_of_many_that_cannot_be_taken_the_first_are_named_and_the_others_counted(
    database: Database,
) -> None:
    odd = [f"ODD{number:03}\n" for number in range(300)]
    found = await database.markets.save_markets(
        BYBIT,
        [*whole(1), *(listed(f"{'L' * 101}{number}") for number in range(5))],
        seen_at_ms=NOW_MS,
        unread=[UnreadEntry(name, UNUSABLE_NAME, expected=True) for name in odd],
    )
    assert (len(found.unread), len(found.refused)) == (300, 5)
    told = (await state(database)).refused
    assert told == found.told
    assert len(told) == 20
    assert told[5] == "ODD000\\n: its name, or its coin's, cannot be used"
    assert told[19] == (
        "ODD014\\n: its name, or its coin's, cannot be used (and 285 more contracts are left out)"
    )


async def test_a_known_market_whose_coin_cannot_be_stored_any_more_stays(
    database: Database,
) -> None:
    await save(database, whole(9), NOW_MS)
    renamed = ListedMarket(Market(BYBIT, "C008USDT", "C\0", "USDT", LAUNCH_MS), None)
    found = await save(database, [*whole(8), renamed], NOW_MS + 1)
    assert (found.delisted, len(found.refused)) == (0, 1)
    assert len(await active(database)) == 9


@pytest.mark.parametrize(
    ("encoding", "held"),
    [
        ("LATIN1", ["CAFÉUSDT", "GOODUSDT"]),
        ("EUC_JP", ["CAFÉUSDT", "GOODUSDT", "猫USDT"]),
        ("SQL_ASCII", ["CAFÉUSDT", "GOODUSDT", "猫USDT", "龙虾USDT"]),
        ("UTF8", ["CAFÉUSDT", "GOODUSDT", "猫USDT", "龙虾USDT"]),
    ],
)
async def test_a_name_that_the_databases_encoding_lacks_fails_alone(
    database_in: DatabaseIn, encoding: str, held: list[str]
) -> None:
    names = ["CAFÉUSDT", "GOODUSDT", "猫USDT", "龙虾USDT"]
    database = Database(await database_in(encoding))
    try:
        found = await save(database, [*map(listed, names)], NOW_MS)
        assert sorted(await active(database)) == sorted(held)
        why = f"a name with characters that the database cannot hold in its encoding {encoding}"
        escapes = {"猫USDT": "\\u732bUSDT", "龙虾USDT": "\\u9f99\\u867eUSDT"}
        assert found.refused == tuple(f"{escapes[n]}: {why}" for n in names if n not in held)
        assert (await state(database)).refused == found.refused
        # So does an unreadable one, and what an exchange says when its list cannot be read.
        unread = [UnreadEntry("龙/虾USDT", UNUSABLE_NAME, expected=True)]
        await database.markets.save_markets(
            BYBIT, [listed("GOODUSDT")], seen_at_ms=NOW_MS + 1, unread=unread
        )
        await database.listings.failed(BYBIT, "HTTP 502: 服务", at_ms=NOW_MS + 2)
        said = "服务" if encoding == "UTF8" else "\\u670d\\u52a1"
        assert (await state(database)).failure == f"HTTP 502: {said}"
    finally:
        await database.aclose()
