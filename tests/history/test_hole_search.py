"""Holes of the record are found, noted with what is known of them, and gone once filled."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from database import (
    Database,
    FillRows,
    HoleFilter,
    HolePlace,
    NotedHole,
    Publish,
    SeriesKey,
    SeriesRows,
    write_publish,
)
from history.hole_search import HoleSearch
from market.rows import Times
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe

NOW_MS = 1_790_000_000_000 // DAY_MS * DAY_MS + 2 * HOUR_MS + 1
H1 = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H1)
M5 = SeriesKey.candles("binance", "BTCUSDT", Timeframe.M5)
OI = SeriesKey.open_interest("binance", "BTCUSDT")
FR = SeriesKey.funding("binance", "BTCUSDT")
BTC = ("binance", "BTCUSDT")
ALL = tuple(Timeframe)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


def hours(*numbers: int) -> Times:
    """So many hours before the last full day began; negative: after it."""
    return np.sort(NOW_MS // DAY_MS * DAY_MS - HOUR_MS * np.array(numbers, np.int64))


def hour(number: int) -> int:
    return int(hours(number)[0])


def without(first: int, last: int, *lacking: int) -> Times:
    return hours(*(n for n in range(last, first + 1) if n not in lacking))


def rows(key: SeriesKey, times: Times) -> SeriesRows:
    return SeriesRows(key, times, np.ones((len(times), key.width)))


def answer(key: SeriesKey, from_ms: int, to_ms: int, times: Sequence[int] = ()) -> FillRows:
    found = np.array(times, np.int64)
    return FillRows(key, from_ms, to_ms, found, np.ones((len(found), key.width)), covered=True)


def search_of(database: Database, *collected: tuple[str, str]) -> HoleSearch:
    return HoleSearch(database, collected or (BTC,), ALL)


async def holes_of(database: Database, key: SeriesKey) -> list[NotedHole]:
    return (await database.holes.noted([key]))[key]


async def test_a_hole_is_asked_for_twice_a_day_apart_and_then_is_the_exchanges(
    database: Database,
) -> None:
    search = search_of(database)
    # The candle of 00:00 closed at 01:00, an hour ago: it is the last that is expected.
    await database.history.store([rows(H1, without(600, 0, 7, 8, 300))], NOW_MS)
    assert (await search.search(NOW_MS, seconds=60)).holes == 2
    first = NotedHole(hour(300), hour(299), HOUR_MS, "not_asked")
    last = NotedHole(hour(8), hour(6), HOUR_MS, "not_asked")
    assert await holes_of(database, H1) == [first, last]
    assert await search.search(NOW_MS, seconds=60) == await search.search(NOW_MS, seconds=0)

    asked_ms = NOW_MS + MINUTE_MS
    await database.history.fill([answer(H1, hour(8), hour(6))], "rest", asked_ms)
    assert (await search.search(asked_ms, seconds=60)).markets == 1  # because of that answer
    last = NotedHole(hour(8), hour(6), HOUR_MS, "asked", asked_ms, asked_ms)
    assert await holes_of(database, H1) == [first, last]
    due = {"asked_before_ms": asked_ms - 1, "longest_ms": DAY_MS, "limit": 9}
    assert [each.hole for each in await database.holes.due(asked_ms, **due)] == [first]
    due |= {"asked_before_ms": asked_ms, "longest_ms": 0}
    assert [each.hole for each in await database.holes.due(asked_ms, **due)] == [last]

    again_ms = asked_ms + DAY_MS
    await database.history.fill(
        [answer(H1, hour(8), hour(6)), answer(H1, hour(300), hour(299), [hour(300)])],
        "rest",
        again_ms,
    )
    await search_of(database, ("bybit", "BTCUSDT")).search(again_ms, seconds=60)
    # Collected no more: nothing after the last row is expected. The one is filled, the other stays.
    done = NotedHole(hour(8), hour(6), HOUR_MS, "exchange", asked_ms, again_ms)
    assert await holes_of(database, H1) == [done]
    await search_of(database, BTC).look_at([BTC], again_ms)
    # What closed since, until an hour ago, was not recorded.
    tail = NotedHole(hour(-1), hour(-25), HOUR_MS, "not_asked")
    assert await holes_of(database, H1) == [done, tail]
    assert await database.holes.counts() == {
        ("binance", "exchange"): 1,
        ("binance", "not_asked"): 1,
    }
    # Compaction changes nothing about it.
    await database.history.compact(again_ms + 1)
    await search_of(database, BTC).look_at([BTC], again_ms)
    assert await holes_of(database, H1) == [done, tail]


async def test_what_a_document_shows_is_left_to_it(database: Database) -> None:
    publish = Publish(
        "1h", None, 5, NOW_MS, NOW_MS, hour(200), 201, None,
        [("binance", "BTCUSDT", "BTC", "USDT")], [], [], b"",
    )  # fmt: skip

    async def within(connection: Any) -> None:
        await write_publish(connection, publish, NOW_MS)

    await database.history.store([rows(H1, without(600, 0, 10, 300))], NOW_MS, within=within)
    await search_of(database).search(NOW_MS, seconds=60)
    assert [hole.state for hole in await holes_of(database, H1)] == ["not_asked", "document"]


async def test_open_interest_is_expected_where_candles_are_and_told_out_of_reach(
    database: Database,
) -> None:
    fives = np.arange(hour(48), hour(-1) + 1, 5 * MINUTE_MS)
    begin = 35 * 24
    stored = [
        rows(H1, without(begin, 0)),
        rows(M5, fives),
        # An hour at the end of each range: five days ago, 34 days ago; and five minutes of today.
        rows(OI, without(begin, 49, 120, 34 * 24)),
        rows(OI, np.delete(fives, 17)),
    ]
    await database.history.store(stored, NOW_MS)
    await search_of(database).search(NOW_MS, seconds=60)
    assert await holes_of(database, H1) == await holes_of(database, M5) == []
    five = int(fives[17])
    assert await holes_of(database, OI) == [
        NotedHole(hour(34 * 24), hour(34 * 24 - 1), HOUR_MS, "out_of_reach"),
        NotedHole(hour(120), hour(119), HOUR_MS, "not_asked"),
        NotedHole(five, five + 5 * MINUTE_MS, 5 * MINUTE_MS, "not_asked"),
    ]


async def test_funding_has_holes_where_settlements_are_too_far_apart(database: Database) -> None:
    late = hours(*(8 * n for n in range(30) if n not in (5, 6))) + 7
    await database.history.store([rows(FR, late)], NOW_MS)
    await search_of(database).search(NOW_MS, seconds=60)
    assert await holes_of(database, FR) == [NotedHole(hour(48), hour(32) + 7, 1, "not_asked")]


async def test_every_market_is_looked_at_once_in_three_days(database: Database) -> None:
    markets = [("bybit", f"A{n:02}USDT") for n in range(45)]
    stored = [rows(SeriesKey.candles(*name, Timeframe.H4), hours(4, 0)) for name in markets]
    stored += [rows(SeriesKey.candles(*markets[7], Timeframe.D1), hours(72, 24))]
    await database.history.store(stored, NOW_MS)
    search = search_of(database, ("other", "BTCUSDT"))
    found = await search.search(NOW_MS, seconds=60)
    assert (found.markets, found.series, found.holes) == (45, 46, 1)
    assert (await search.search(NOW_MS + DAY_MS - 1, seconds=60)).markets == 0
    assert (await search.search(NOW_MS + DAY_MS, seconds=60)).markets == 1  # it has a hole
    assert (await search.search(NOW_MS + 3 * DAY_MS, seconds=60)).markets == 45
    # The clock went back: looks that have not come yet are none.
    assert (await search.search(NOW_MS + 2 * DAY_MS, seconds=60)).markets == 45


async def test_holes_are_listed_in_pages_by_what_is_asked_for(database: Database) -> None:
    names = [("binance", "BTCUSDT"), ("binance", "ETHUSDT"), ("bybit", "BTCUSDT")]
    keys = [
        SeriesKey.candles(*name, timeframe)
        for name in names
        for timeframe in (Timeframe.H1, Timeframe.H2)
    ]
    keys += [SeriesKey.funding(*names[1])]
    await database.history.store([rows(key, hours(24, 0)) for key in keys], NOW_MS)
    wanted = {}
    for n, key in enumerate(keys):
        step_ms = key.interval_ms if key.kind == "candles" else 1
        state = ("asked", "exchange")[n % 2]
        wanted[key] = [
            NotedHole(hour(at), hour(at) + step_ms, step_ms, state, n, NOW_MS)  # type: ignore[arg-type]
            for at in (20, 12, 8)
        ]
    for name in names:
        mine = {key: holes for key, holes in wanted.items() if (key.exchange, key.symbol) == name}
        await database.holes.note(name, mine, NOW_MS)
    every = [(key, hole) for key in sorted(wanted) for hole in wanted[key]]

    async def listed(which: HoleFilter, limit: int) -> list[tuple[SeriesKey, NotedHole]]:
        found: list[tuple[SeriesKey, NotedHole]] = []
        after: HolePlace | None = None
        while page := await database.holes.listed(which, after, limit):
            assert len(page) <= limit and {each.looked_at_ms for each in page} == {NOW_MS}
            found += [(each.key, each.hole) for each in page]
            after = page[-1].place
        return found

    for limit in (1, 4, 100):
        assert await listed(HoleFilter(), limit) == every
    for which, fits in (
        (HoleFilter(exchanges=["bybit"]), lambda key, _: key.exchange == "bybit"),
        (HoleFilter(symbols=["ETHUSDT"]), lambda key, _: key.symbol == "ETHUSDT"),
        (HoleFilter(kinds=["funding"]), lambda key, _: key.kind == "funding"),
        (HoleFilter(intervals_ms=[2 * HOUR_MS]), lambda key, _: key.interval_ms == 2 * HOUR_MS),
        (HoleFilter(states=["exchange"]), lambda _, hole: hole.state == "exchange"),
        (HoleFilter(symbols=[]), lambda *_: False),
    ):
        assert await listed(which, 4) == [each for each in every if fits(*each)], which
    assert sum((await database.holes.counts()).values()) == len(every)
    with pytest.raises(ValueError, match="overlap"):
        await database.holes.note(names[0], {keys[0]: [every[0][1]] * 2}, NOW_MS)


async def test_where_periods_reach_differently_far_that_of_the_hole_decides(
    database: Database,
) -> None:
    """OKX tells 1,440 snapshots of each period: 5 days of 5m, 60 of 1h."""
    of = ("okx", "BTCUSDT")
    h1, m5 = (SeriesKey.candles(*of, each) for each in (Timeframe.H1, Timeframe.M5))
    interest, begin = SeriesKey.open_interest(*of), 62 * 24
    fives = np.arange(hour(6 * 24), hour(-1) + 1, 5 * MINUTE_MS)
    # Of 1h 61 days ago and 20, of 5m five and a half days ago and a day.
    old, new = (int(fives[np.searchsorted(fives, hour(n)) + 1]) for n in (5 * 24 + 12, 24))
    stored = [
        rows(h1, without(begin, 0)),
        rows(m5, fives),
        rows(interest, without(begin, 6 * 24 + 1, 61 * 24, 20 * 24)),
        rows(interest, fives[~np.isin(fives, (old, new))]),
    ]
    await database.history.store(stored, NOW_MS)
    await search_of(database, of).search(NOW_MS, seconds=60)
    step_ms = 5 * MINUTE_MS
    assert await holes_of(database, interest) == [
        NotedHole(hour(61 * 24), hour(61 * 24 - 1), HOUR_MS, "out_of_reach"),
        NotedHole(hour(20 * 24), hour(20 * 24 - 1), HOUR_MS, "not_asked"),
        NotedHole(old, old + step_ms, step_ms, "out_of_reach"),
        NotedHole(new, new + step_ms, step_ms, "not_asked"),
    ]
