"""Ranges of the record, against a plain list of everything that was ever stored."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from data_collector.data_processing import merge_data
from database import Database, SeriesKey, SeriesRows
from history.reading import HistoryReader, RecordChanged
from history.selection import Block, Kind, MarketName, Place, Selection, Survey
from market.candles import Candle
from market.markets import Exchange, FundingSeries, Market
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe

H1 = Timeframe.H1
START_MS = 1_764_547_200_000
BTC, ETH = MarketName("binance", "BTCUSDT"), MarketName("bybit", "ETHUSDT")
Version = tuple[int, int | None, tuple[float, ...]]  # known from, known to, values


@dataclass
class Everything:
    """All versions of all rows, as they were stored."""

    versions: dict[SeriesKey, dict[int, list[Version]]] = field(default_factory=dict)

    def put(self, rows: SeriesRows, known_at_ms: int) -> None:
        series = self.versions.setdefault(rows.key, {})
        for time_ms, values in zip(rows.times.tolist(), rows.values.tolist(), strict=True):
            known = series.setdefault(time_ms, [])
            if known and known[-1][1] is None:
                if known[-1][2] == tuple(values):
                    continue
                known[-1] = (known[-1][0], known_at_ms, known[-1][2])
            known.append((known_at_ms, None, tuple(values)))
        for time_ms in rows.removed.tolist():
            known = series.get(time_ms, [])
            if known and known[-1][1] is None:
                known[-1] = (known[-1][0], known_at_ms, known[-1][2])

    def at(
        self, key: SeriesKey, as_of_ms: int | None, public_after_ms: int | None = None
    ) -> dict[int, tuple[tuple[float, ...], int]]:
        """Values and since when they are known, by time."""
        found = {}
        for time_ms, versions in sorted(self.versions.get(key, {}).items()):
            for known_from, known_to, values in versions:
                until = float("inf") if as_of_ms is None else as_of_ms
                is_known = known_from <= until and (known_to is None or known_to > until)
                is_first = (known_from, known_to, values) == versions[0]
                if public_after_ms is not None and as_of_ms is not None and is_first:
                    is_known |= known_from > as_of_ms >= time_ms + public_after_ms
                if is_known:
                    found[time_ms] = (values, known_from)
        return found


@dataclass
class Record:
    database: Database
    reader: HistoryReader
    everything: Everything = field(default_factory=Everything)

    async def store(self, known_at_ms: int, *rows: SeriesRows) -> None:
        await self.database.history.store(rows, known_at_ms)
        for each in rows:
            self.everything.put(each, known_at_ms)


@pytest.fixture
async def record(database_url: str) -> AsyncIterator[Record]:
    database = Database(database_url)
    yield Record(database, HistoryReader(database.history))
    await database.aclose()


def candles(
    market: MarketName, times: list[int], *, seed: float = 0.0, removed: list[int] | None = None
) -> SeriesRows:
    base = np.array([[1.5, 3.0, 1.0, 2.0, 10.0, 20.0]]) + seed
    values = np.repeat(base, len(times), axis=0) + np.arange(len(times))[:, None]
    return SeriesRows(
        SeriesKey.candles(*market, H1),
        np.array(times, np.int64),
        values,
        np.array(removed or [], np.int64),
    )


def points(key: SeriesKey, pairs: list[tuple[int, float]]) -> SeriesRows:
    times, values = zip(*pairs, strict=True)
    return SeriesRows(key, np.array(times, np.int64), np.array(values)[:, None])


def hours(*numbers: int) -> list[int]:
    return [START_MS + number * HOUR_MS for number in numbers]


async def read(
    record: Record,
    selection: Selection,
    limit: int | None = None,
    after: Place | None = None,
    pin_ms: int | None = None,
) -> tuple[Survey, list[Block]]:
    survey = await record.reader.survey(selection, limit=limit, after=after, pin_ms=pin_ms)
    blocks = [block async for block in record.reader.blocks(selection, survey)]
    assert sum(map(len, blocks)) == survey.rows
    return survey, blocks


def selection_of(kind: Kind = "candles", *markets: MarketName, **more: object) -> Selection:
    fields = {
        "interval_ms": H1.interval_ms,
        "interest": kind == "candles",
        "rates": kind == "candles",
    }
    return Selection(kind, markets or (BTC,), **{**fields, **more})  # type: ignore[arg-type]


async def test_random_histories_are_read_as_they_were_stored(record: Record) -> None:
    """Pages of any size, as of any time, with whatever was compacted in between."""
    chance = random.Random(20261130)  # noqa: S311 - of a test
    keys = [SeriesKey.candles(*market, H1) for market in (BTC, ETH)]
    now_ms = START_MS
    await record.store(now_ms, *(candles(market, hours(*range(30))) for market in (BTC, ETH)))
    for step in range(12):
        now_ms += chance.randrange(1, 5) * HOUR_MS
        rows = []
        for key in keys:
            known = list(record.everything.at(key, None))
            times = {START_MS + chance.randrange(60) * HOUR_MS for _ in range(chance.randrange(8))}
            removed = chance.sample(known, min(len(known), chance.randrange(3)))
            times -= set(removed)
            values = [[chance.choice((1.0, 2.5, 0.1 + 0.2))] * 6 for _ in times]
            rows.append(
                SeriesRows(
                    key,
                    np.array(sorted(times), np.int64),
                    np.array(values).reshape(len(times), 6),
                    np.array(sorted(removed), np.int64),
                )
            )
        await record.store(now_ms, *rows)
        if step % 4 == 3:
            # Of few rows only those go into chunks whose slot is over.
            await record.database.history.compact(now_ms + 1000 * DAY_MS)
    for _ in range(40):
        await _read_somehow(record, chance, now_ms)


async def _read_somehow(record: Record, chance: random.Random, now_ms: int) -> None:
    as_of_ms = chance.choice((None, START_MS + chance.randrange(now_ms - START_MS), now_ms + 5))
    unrecorded = chance.random() < 0.3
    revisions = chance.random() < 0.3
    from_ms, to_ms = sorted(START_MS + chance.randrange(-5, 65) * HOUR_MS for _ in range(2))
    selection = selection_of(
        "candles", BTC, ETH, from_ms=from_ms, to_ms=to_ms, as_of_ms=as_of_ms,
        unrecorded=unrecorded, revisions=revisions, interest=False, rates=False,
    )  # fmt: skip
    found, after, pin_ms, pages = [], None, None, 0
    limit = chance.choice((None, 1, 2, 7, 100))
    while True:
        survey, blocks = await read(record, selection, limit, after, pin_ms)
        assert limit is None or revisions or survey.rows <= limit
        for block in blocks:
            ends = [None] * len(block) if block.known_to is None else block.known_to.tolist()
            columns = (block.times.tolist(), block.values[:, :6].tolist(), block.known_at.tolist())
            for time_ms, values, known_at, known_to in zip(*columns, ends, strict=True):
                found.append((block.market, time_ms, tuple(values), known_at, known_to))
        pages += 1
        if survey.last is None:
            break
        after, pin_ms = survey.last, survey.pin_ms
    expected: list[tuple[object, ...]] = []
    for market in (BTC, ETH):
        key = SeriesKey.candles(*market, H1)
        if revisions:
            until = as_of_ms or 2**62
            expected += [
                (
                    market,
                    time_ms,
                    values,
                    known_from,
                    known_to if known_to and known_to <= until else 2**63 - 1,
                )
                for time_ms, versions in sorted(record.everything.versions.get(key, {}).items())
                for known_from, known_to, values in versions
                if from_ms <= time_ms < to_ms
                and (
                    known_from <= until
                    or (
                        unrecorded
                        and known_from == versions[0][0]
                        and time_ms + H1.interval_ms <= until
                    )
                )
            ]
            continue
        public_ms = H1.interval_ms if unrecorded else None
        expected += [
            (market, time_ms, values, known_at, None)
            for time_ms, (values, known_at) in record.everything.at(
                key, as_of_ms, public_ms
            ).items()
            if from_ms <= time_ms < to_ms
        ]
    assert found == expected


async def test_a_candle_has_the_numbers_of_the_document(record: Record) -> None:
    """Open interest at its opening, and the rate in force at its end, by the collector's merge."""
    times = hours(*range(-2, 30))
    interest = [(time_ms, 5.0 + i) for i, time_ms in enumerate(times) if i % 5]
    interest += [(time_ms + 5 * MINUTE_MS, 1.0) for time_ms in times]  # for shorter timeframes
    settled = [(START_MS + hour * HOUR_MS + 3, hour / 1000) for hour in range(-16, 31, 8)]
    known_ms = START_MS + 40 * HOUR_MS
    await record.store(
        known_ms,
        candles(BTC, times),
        points(SeriesKey.open_interest(*BTC), sorted(interest)),
        points(SeriesKey.funding(*BTC), settled),
    )
    document = merge_data(
        [
            Candle(time_ms, row[0], row[1], row[2], row[3], str(row[4]), str(row[5]))
            for time_ms, row in zip(times, candles(BTC, times).values.tolist(), strict=True)
        ],
        sorted(interest),
        FundingSeries(Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT"), settled, 8, known_ms),
        timeframe=H1,
        as_of_ms=times[-1],
        history_candles=5000,
    )
    for limit in (None, 1, 5):
        rows, after, pin_ms = [], None, None
        while True:
            survey, blocks = await read(record, selection_of(), limit, after, pin_ms)
            rows += [
                (time_ms, *(None if np.isnan(value) else value for value in values))
                for block in blocks
                for time_ms, values in zip(block.times.tolist(), block.values.tolist(), strict=True)
            ]
            if survey.last is None:
                break
            after, pin_ms = survey.last, survey.pin_ms
        assert rows == list(document.rows)


async def test_the_digest_is_that_of_the_rows(record: Record) -> None:
    """Storing elsewhere and compacting change nothing; a correction does, also of a part."""
    key = SeriesKey.open_interest(*BTC)
    many = candles(BTC, hours(*range(1, 40)))  # so many that they are compacted
    await record.store(START_MS, many, points(key, [(hours(2)[0], 4.0)]))
    selection = selection_of(to_ms=hours(3)[0])
    first, _ = await read(record, selection)
    await record.store(START_MS + 1, candles(BTC, hours(3, 4)), candles(ETH, hours(1, 2)))
    await record.database.history.compact(START_MS + 1000 * DAY_MS)
    again, _ = await read(record, selection)
    assert again == first
    assert first.as_of_ms == START_MS
    digests = {first.digest}
    for change in (
        candles(BTC, hours(1), seed=0.5),
        points(key, [(hours(2)[0], 5.0)]),
        points(key, [(hours(1)[0], 5.0)]),
        points(SeriesKey.funding(*BTC), [(hours(0)[0], 0.001)]),
        candles(BTC, [], removed=hours(1)),
    ):
        await record.store(START_MS + 10 * (len(digests) + 1), change)
        survey, _ = await read(record, selection)
        digests.add(survey.digest)
        assert survey.as_of_ms == START_MS + 10 * len(digests)
    assert len(digests) == 6
    then, blocks = await read(record, selection_of(to_ms=hours(3)[0], as_of_ms=first.as_of_ms))
    assert then.digest == first.digest
    assert blocks[0].times.tolist() == hours(1, 2)


async def test_later_pages_are_of_the_state_of_the_first(record: Record) -> None:
    await record.store(START_MS, candles(BTC, hours(1, 2, 3, 4)))
    selection = selection_of()
    first, _ = await read(record, selection, 2)
    await record.store(
        START_MS + 5, candles(BTC, hours(4, 5), seed=7), candles(BTC, [], removed=hours(3))
    )
    assert first.last is not None
    survey, blocks = await read(record, selection, 2, first.last, first.pin_ms)
    assert survey.last is None
    assert [block.times.tolist() for block in blocks] == [hours(3, 4)]
    assert blocks[0].values[1, 0] == 4.5
    assert first.as_of_ms == survey.as_of_ms == START_MS
    now, _ = await read(record, selection, 2)
    assert now.as_of_ms == START_MS + 5


async def test_rows_that_come_while_they_are_read_are_noticed(record: Record) -> None:
    """A document that was published earlier may be stored later: rows of the state being read."""
    await record.store(START_MS + 9, candles(BTC, hours(1, 2, 3)))
    survey = await record.reader.survey(selection_of())
    await record.store(START_MS + 5, candles(BTC, hours(4)))
    again = await record.reader.survey(selection_of(to_ms=hours(4)[0]))
    assert again.digest == survey.digest
    await record.store(START_MS + 5, candles(BTC, hours(0)))
    blocks = record.reader.blocks(selection_of(), survey)
    assert [block.times.tolist() async for block in blocks] == [hours(1, 2, 3)]
    await record.store(START_MS + 6, points(SeriesKey.open_interest(*BTC), [(hours(2)[0], 1.0)]))
    with pytest.raises(RecordChanged):
        [block async for block in record.reader.blocks(selection_of(), survey)]


async def test_open_interest_on_a_grid_and_prices_at_the_end(record: Record) -> None:
    times = range(START_MS, START_MS + 3 * HOUR_MS, 5 * MINUTE_MS)
    snapshots = [(time_ms, float(i)) for i, time_ms in enumerate(times)]
    await record.store(
        START_MS,
        points(SeriesKey.open_interest(*BTC), snapshots),
        candles(BTC, hours(0, 1, 2)),
    )
    _, [block] = await read(record, selection_of("open_interest"))
    assert block.times.tolist() == hours(0, 1, 2)
    assert block.values[:, 0].tolist() == [0.0, 12.0, 24.0]
    _, [block] = await read(record, selection_of("open_interest", interval_ms=5 * MINUTE_MS))
    assert block.times.tolist() == list(times)
    prices = selection_of("prices", from_ms=hours(1)[0], to_ms=hours(3)[0])
    survey, [block] = await read(record, prices)
    assert block.times.tolist() == hours(1, 2)
    assert block.values.tolist() == [[2.0], [3.0]]
    assert survey.rows == 2
    first, [block] = await read(record, prices, 1)
    assert block.times.tolist() == hours(1)
    _, [block] = await read(record, prices, 1, first.last, first.pin_ms)
    assert block.times.tolist() == hours(2)


async def test_markets_are_found_in_any_case_and_by_exchange(record: Record) -> None:
    odd = MarketName("bybit", "kPEPEUSDT")
    both = MarketName("bybit", "BTCUSDT")
    for market in (BTC, ETH, odd, both):
        await record.store(START_MS, candles(market, hours(0)))
    find = record.reader.find_markets
    found = await find([(None, "btcusdt"), ("bybit", "KPEPEUSDT"), (None, "ETHUSD")])
    assert found.markets == (BTC, both, odd)
    assert found.unknown == ("ETHUSD",)
    assert (await find([("binance", "ETHUSDT")])).markets == ()
    assert await record.reader.near("ETHUSD") == ["ETHUSDT", "BTCUSDT"]
    many = [(None, f"X{i}") for i in range(20)]
    assert (await find([*many, (None, "ethusdt")])).markets == (ETH,)
    survey = await record.reader.survey(selection_of("funding"))
    assert (survey.rows, survey.as_of_ms, survey.markets) == (0, None, (BTC,))
