"""Rows that exchanges told are kept as they came, and none is lost, whoever writes at one time."""

import asyncio
import time
from collections.abc import Iterable, Iterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facade.exchanges import FACADES
from facade.hearing import Heard, Hearing, rows_of
from facade.kept_contracts import KeptContracts
from facade.kept_rows import KeptRows
from facade.told_rows import ToldRow
from market.markets import Exchange
from stores.hot.store import HotStore, StoreUnavailable
from venues.venue import Endpoint, Request

BINANCE, BYBIT = Exchange("binance"), Exchange("bybit")
INTEREST, FUNDING = Endpoint.OPEN_INTEREST, Endpoint.FUNDING
DAY_MS = 86_400_000
FIRST_MS = 1_786_816_800_000


def interest(time_ms: int, text: str) -> ToldRow:
    return ToldRow("BTCUSDT", time_ms, text)


async def times_of(kept: KeptRows, endpoint: Endpoint = INTEREST) -> list[int]:
    first_ms, last_ms = FIRST_MS - 40 * DAY_MS, FIRST_MS + 40 * DAY_MS
    rows = await kept.read(BINANCE, endpoint, "BTCUSDT", first_ms, last_ms)
    return [row.time_ms for row in rows]


async def test_rows_are_read_by_their_time(store: HotStore) -> None:
    kept = KeptRows(store)
    times = [FIRST_MS + step * DAY_MS // 3 for step in range(9)]
    await kept.add(BINANCE, INTEREST, [interest(each, f'{{"n":{each}}}') for each in times])
    found = await kept.read(BINANCE, INTEREST, "BTCUSDT", times[2], times[5])
    assert [(row.time_ms, row.text) for row in found] == [
        (each, f'{{"n":{each}}}') for each in times[2:6]
    ]
    assert await kept.read(BINANCE, INTEREST, "ETHUSDT", times[0], times[-1]) == []
    assert await kept.read(BYBIT, INTEREST, "BTCUSDT", times[0], times[-1]) == []


async def test_writers_at_one_time_lose_nothing(store: HotStore) -> None:
    writers = [KeptRows(store) for _ in range(4)]
    times = [FIRST_MS + step * 300_000 for step in range(120)]
    await asyncio.gather(
        *(
            writers[number % 4].add(BINANCE, INTEREST, [interest(each, str(each))])
            for number, each in enumerate(times[:4])
        )
    )
    # Each of them goes on with all that it has not got in.
    for _ in range(3):
        await asyncio.gather(
            *(
                writer.add(BINANCE, INTEREST, [interest(each, str(each)) for each in times[at::4]])
                for at, writer in enumerate(writers)
            )
        )
    assert await times_of(writers[0]) == times


async def test_what_was_told_in_two_ways_is_none(store: HotStore) -> None:
    kept = KeptRows(store)
    await kept.add(BINANCE, INTEREST, [interest(FIRST_MS, "1"), interest(FIRST_MS + 1, "2")])
    await kept.add(BINANCE, INTEREST, [interest(FIRST_MS, "other")])
    assert await times_of(kept) == [FIRST_MS + 1]
    await kept.add(BINANCE, INTEREST, [interest(FIRST_MS, "1")])
    assert await times_of(kept) == [FIRST_MS + 1]  # for good: nobody knows which is right


async def test_rows_of_one_time_may_have_names(store: HotStore) -> None:
    kept = KeptRows(store)
    rows = [ToldRow("BTCUSDT", FIRST_MS, name, name) for name in ("Regular", "Special")]
    await kept.add(BINANCE, FUNDING, rows)
    found = await kept.read(BINANCE, FUNDING, "BTCUSDT", FIRST_MS, FIRST_MS)
    assert [row.text for row in found] == ["Regular", "Special"]


async def test_old_rows_are_kept_as_long_as_exchanges_tell_them(store: HotStore) -> None:
    """500 snapshots of each grid, and a month."""
    kept = KeptRows(store)
    now_ms = FIRST_MS + 60 * DAY_MS
    times = list(range(now_ms - 45 * DAY_MS, now_ms + 1, 300_000))
    await kept.add(BINANCE, INTEREST, [interest(each, "1") for each in times])
    for step_ms, count in ((300_000, 500), (900_000, 500), (1_800_000, 500), (3_600_000, 720)):
        first_ms = now_ms - (count - 1) * step_ms
        found = await kept.read(BINANCE, INTEREST, "BTCUSDT", first_ms, now_ms, step_ms=step_ms)
        assert [row.time_ms for row in found] == list(range(first_ms, now_ms + 1, step_ms))
    all_of_it = await kept.read(BINANCE, INTEREST, "BTCUSDT", times[0], now_ms)
    assert len(all_of_it) < 2_000
    old = now_ms - 40 * DAY_MS
    await kept.add(BINANCE, INTEREST, [interest(old, "1")])  # a backfill
    assert await kept.read(BINANCE, INTEREST, "BTCUSDT", old, old) == []


async def test_a_row_of_a_time_to_come_takes_no_place(store: HotStore) -> None:
    kept = KeptRows(store)
    await kept.add(BINANCE, INTEREST, [interest(FIRST_MS * 1000, "1")])
    now_ms = time.time_ns() // 1_000_000 // 300_000 * 300_000
    await kept.add(BINANCE, INTEREST, [interest(now_ms, "1")])
    found = await kept.read(BINANCE, INTEREST, "BTCUSDT", now_ms, now_ms)
    assert [row.time_ms for row in found] == [now_ms]


@pytest.mark.parametrize("value", ["", "x", "0" * 16 + "AAAA", "0" * 16 + "e", "0" * 40])
async def test_what_others_wrote_is_replaced(store: HotStore, value: str) -> None:
    kept = KeptRows(store)
    key = f"facade:rows:binance:open_interest:BTCUSDT:3600000:{FIRST_MS // (8 * DAY_MS)}"
    await store.execute("SET", key, value)
    await kept.add(BINANCE, INTEREST, [interest(FIRST_MS, "1")])
    assert await times_of(kept) == [FIRST_MS]
    await store.execute("DEL", key)
    await store.execute("LPUSH", key, "1")
    await kept.add(BINANCE, INTEREST, [interest(FIRST_MS, "2")])


ANSWERS = {
    (BINANCE, INTEREST): (
        b'[{"symbol":"BTCUSDT","sumOpenInterest":"111856.66400000","sumOpenInterestValue":'
        b'"7052143210.12345678","CMCCirculatingSupply":"19900000.1","timestamp":1786816800000},\n'
        b' {"symbol": "BTCUSDT",\n"sumOpenInterest": "1.0", "timestamp": "1786817100000"}]',
        [1786816800000, 1786817100000],
    ),
    (BINANCE, FUNDING): (
        b'[{"symbol":"BTCUSDT","fundingTime":1786780800002,"fundingRate":"0.00006523",'
        b'"markPrice":"63050.01692754","rateType":"Regular"}]',
        [1786780800002],
    ),
    (BYBIT, INTEREST): (
        b'{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSDT","category":"linear","list":['
        b'{"openInterest":"2.5","singleOpenInterest":"1.25","timestamp":"1786816800000"}],'
        b'"nextPageCursor":""},"retExtInfo":{},"time":1786816800123}',
        [1786816800000],
    ),
    (BYBIT, FUNDING): (
        b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[{"symbol":"BTCUSDT",'
        b'"fundingRate":"0.0001","fundingRateTimestamp":"1786780800000"}]},"time":1}',
        [1786780800000],
    ),
}


@pytest.mark.parametrize(("exchange", "endpoint"), ANSWERS)
async def test_answers_that_come_are_kept(
    store: HotStore, exchange: Exchange, endpoint: Endpoint
) -> None:
    body, times = ANSWERS[exchange, endpoint]
    kept = KeptRows(store)
    hearing = Hearing(kept, KeptContracts(store))
    hearing.note(Request(exchange, endpoint, "/x", "c", 1, "BTCUSDT"), body)
    hearing.note(Request(exchange, Endpoint.KLINES, "/x", "c", 1, "BTCUSDT"), b"[[1]]")
    for wrong in (b"", b"{}", b"[1]", b"[[]]", b'{"result":{"list":[{}],"category":"linear"}}'):
        hearing.note(Request(exchange, endpoint, "/x", "c", 1, "BTCUSDT"), wrong)
    stop = asyncio.Event()
    running = asyncio.create_task(hearing.run(stop))
    stop.set()
    await running
    found = await kept.read(exchange, endpoint, "BTCUSDT", times[0], times[-1])
    assert [row.time_ms for row in found] == times
    sent = list(entries(orjson.loads(body)))
    assert [orjson.loads(row.text) for row in found] == sent


def entries(answer: object) -> Iterator[object]:
    listed = answer["result"]["list"] if isinstance(answer, dict) else answer
    assert isinstance(listed, list)
    yield from listed


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=80) | st.sampled_from([b"[null]", b'[{"symbol":1}]', b"[" * 5000]))
def test_no_answer_harms_who_hears_it(body: bytes) -> None:
    for exchange, facade in FACADES.items():
        for endpoint in facade.read_rows:
            assert not any(rows_of([Heard(exchange, endpoint, "BTCUSDT", body)]).values())


class AwayOnce(KeptRows):
    """The first that is kept finds no store."""

    is_away = True

    async def add(self, exchange: Exchange, endpoint: Endpoint, rows: Iterable[ToldRow]) -> None:
        if self.is_away:
            self.is_away = False
            raise StoreUnavailable("away")
        await super().add(exchange, endpoint, rows)


async def test_answers_wait_for_the_store(store: HotStore) -> None:
    kept = AwayOnce(store)
    hearing = Hearing(kept, KeptContracts(store))
    body, times = ANSWERS[BINANCE, INTEREST]
    hearing.hear(Heard(BINANCE, INTEREST, "BTCUSDT", body))
    assert not await hearing.flush()
    hearing.hear(Heard(BYBIT, INTEREST, "BTCUSDT", ANSWERS[BYBIT, INTEREST][0]))
    assert await kept.read(BINANCE, INTEREST, "BTCUSDT", times[0], times[-1]) == []
    assert await hearing.flush()
    for exchange, count in ((BINANCE, 2), (BYBIT, 1)):
        found = await kept.read(exchange, INTEREST, "BTCUSDT", times[0], times[-1])
        assert len(found) == count


async def test_what_waits_has_a_limit(store: HotStore) -> None:
    kept = AwayOnce(store)
    hearing = Hearing(kept, KeptContracts(store))
    large = b"[" + b" " * 9_000_000 + b"]"
    body, times = ANSWERS[BINANCE, INTEREST]
    for each in (body, large, large, large, large):
        hearing.hear(Heard(BINANCE, INTEREST, "BTCUSDT", each))
    hearing.hear(Heard(BYBIT, INTEREST, "BTCUSDT", ANSWERS[BYBIT, INTEREST][0]))
    kept.is_away = False
    assert await hearing.flush()
    assert await kept.read(BINANCE, INTEREST, "BTCUSDT", times[0], times[-1]) == []  # the oldest
    assert len(await kept.read(BYBIT, INTEREST, "BTCUSDT", times[0], times[-1])) == 1
