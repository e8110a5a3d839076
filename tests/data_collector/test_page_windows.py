"""The windows that pages are asked for, one by one, and rows at and beyond the edges of each."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from data_collector.fetch_strategies import fetch_funding, fetch_klines
from data_collector.run import CollectionRun
from data_collector.task_builder import FetchTask, funding_task
from data_collector.url_builder import endpoint_table
from market.left_out import LeftOut
from market.markets import Exchange
from market.timeframes import HOUR_MS, Timeframe
from tests.fixtures.markets import market
from tests.fixtures.scripted import Scripted, history, query_of, wire
from venues.errors import BadPayload
from venues.venue import Endpoint, Request

H1 = HOUR_MS
START_MS = 1_795_132_800_000
BINANCE, BYBIT = (market(exchange, "XUSDT") for exchange in (Exchange.BINANCE, Exchange.BYBIT))
OUTSIDE = "outside of the requested window"
DISPUTED = "two different rows for this instant"


def hours(*numbers: float) -> list[int]:
    return [START_MS + round(number * H1) for number in numbers]


def task_of(count: int, *, late: int = 0, of: Any = BINANCE) -> FetchTask:
    """So many hourly rows from START_MS on, of which the last `late` are optional."""
    end_ms = START_MS + (count - 1) * H1
    return FetchTask(
        of, Endpoint.KLINES, Timeframe.H1, START_MS, end_ms, H1, newest_ms=end_ms - late * H1
    )


def windows(sender: Scripted) -> list[tuple[float, float]]:
    """First and last hour of each request's window."""
    found = []
    for request in sender.sent:
        table, query = endpoint_table(request.exchange, request.endpoint), query_of(request)
        start_ms, end_ms = int(query[table.start]), int(query[table.end])
        found.append(((start_ms - START_MS) / H1, (end_ms + 1 - START_MS) / H1 - 1))
    return found


def pages(*bodies: bytes) -> Scripted:
    """Answers with one body after the other, the last one again and again."""
    left = list(bodies)
    return Scripted(lambda request: left.pop(0) if len(left) > 1 else left[0])


def candle(hour: float, low: str = "1") -> list[Any]:
    (time_ms,) = hours(hour)
    return [time_ms, "2", "3", low, "2", "5", time_ms + H1 - 1, "6", 1, "", "", ""]


def settlement(hour: float, rate: str = "0.001", **more: str) -> dict[str, Any]:
    (time_ms,) = hours(hour)
    return {"symbol": "XUSDT", "fundingTime": time_ms, "fundingRate": rate, **more}


def body(*rows: Any) -> bytes:
    return json.dumps(rows).encode()


async def klines(sender: Scripted, task: FetchTask) -> tuple[list[int], list[LeftOut]]:
    left_out: list[LeftOut] = []
    rows = await fetch_klines(CollectionRun(sender), task, left_out)
    return [row[0] for row in rows], left_out


# --- which windows -------------------------------------------------------------------------------


async def test_ascending_pages_follow_one_another() -> None:
    sender = Scripted(history(range(START_MS, START_MS + 1200 * H1, H1)))
    rows, _ = await klines(sender, task_of(1200))
    assert len(rows) == 1200
    assert windows(sender) == [(0, 498), (499, 997), (998, 1199)]
    assert [query_of(request)["limit"] for request in sender.sent] == ["499", "499", "202"]
    assert {query_of(request)["interval"] for request in sender.sent} == {"1h"}


async def test_descending_pages_end_before_one_another() -> None:
    sender = Scripted(history(range(START_MS, START_MS + 2100 * H1, H1)))
    rows, _ = await klines(sender, task_of(2100, of=BYBIT))
    assert rows == list(range(START_MS, START_MS + 2100 * H1, H1))
    assert windows(sender) == [(0, 2099), (0, 1099), (0, 99)]
    assert [query_of(request)["limit"] for request in sender.sent] == ["1000", "1000", "100"]


async def test_what_a_page_lacks_at_its_ends_is_asked_for_again() -> None:
    """First what lies before its oldest row, as it is asked for last."""
    held = hours(*range(3, 10), *range(12, 20))
    sender = Scripted(history(held, lambda limit: 7))
    rows, _ = await klines(sender, task_of(20))
    assert rows == held
    assert windows(sender) == [(0, 19), (10, 19), (19, 19), (10, 11), (0, 2)]


async def test_late_rows_are_asked_for_again_where_a_page_came_short() -> None:
    held = hours(*range(498), *range(499, 599))
    short = Scripted(history(held))
    assert (await klines(short, task_of(600, late=1)))[0] == held
    assert windows(short) == [(0, 498), (498, 599), (599, 599), (498, 498)]
    whole = Scripted(history(hours(*range(599))))
    await klines(whole, task_of(600, late=1))
    assert windows(whole) == [(0, 498), (499, 599)]


@pytest.mark.parametrize("of", [BINANCE, BYBIT])
async def test_an_empty_answer_is_the_end(of: Any) -> None:
    sender = Scripted(history([]))
    assert await klines(sender, task_of(20, of=of)) == ([], [])
    assert windows(sender) == [(0, 19)]


@pytest.mark.parametrize(("of", "most"), [(BINANCE, 230), (BYBIT, 140)])
async def test_pages_that_never_end_are_given_up(of: Any, most: int) -> None:
    """Thirty times as many as 2500 rows need, and fifty."""
    sender = Scripted(history(range(START_MS, START_MS + 2500 * H1, H1), lambda limit: 1))
    with pytest.raises(BadPayload, match="paging did not end: no page was the last one"):
        await klines(sender, task_of(2500, of=of))
    assert len(sender.sent) == most


async def _funding(
    sender: Scripted, end: float, hours_apart: int = 8, of: Any = BINANCE
) -> tuple[list[float], list[LeftOut], list[tuple[int, int]]]:
    """The hours of the settlements, those left out, and each request's window from START_MS on."""
    (end_ms,) = hours(end)
    task = funding_task(of, start_ms=START_MS, end_ms=end_ms, interval_hours=hours_apart)
    left_out: list[LeftOut] = []
    rows = await fetch_funding(CollectionRun(sender), task, left_out)
    asked = []
    for request in sender.sent:
        query = query_of(request)
        asked.append((int(query["startTime"]) - START_MS, int(query["endTime"]) - START_MS))
    return [(row[0] - START_MS) / H1 for row in rows], left_out, asked


async def test_settlements_are_asked_for_from_the_ms_after_the_last_one() -> None:
    held = hours(0, 8, 16, 24)
    found, _, asked = await _funding(Scripted(history(held, lambda limit: 2)), 24)
    assert found == [0, 8, 16, 24]  # those at both ends of the window belong to it
    assert asked == [(0, 24 * H1), (8 * H1 + 1, 24 * H1)]
    sender = Scripted(history(held, lambda limit: 2))
    found, _, asked = await _funding(sender, 24, of=BYBIT)
    assert found == [0, 8, 16, 24]
    assert asked == [(0, 24 * H1), (0, 16 * H1 - 1)]


async def test_the_regular_settlement_beside_an_extra_charge_may_be_on_the_next_page() -> None:
    extra = settlement(8, rateType="Special")
    sender = pages(
        body(settlement(0), extra), body(extra, settlement(8)), body(settlement(16)), body()
    )
    found, _, asked = await _funding(sender, 20)
    assert found == [0, 8, 16]
    assert asked == [(0, 20 * H1), (8 * H1, 20 * H1), (8 * H1 + 1, 20 * H1)]


async def test_an_extra_charge_alone_does_not_end_the_history() -> None:
    sender = pages(
        body(settlement(4, rateType="Special")),
        body(settlement(4, rateType="Special"), settlement(8)),
        body(),
    )
    found, _, asked = await _funding(sender, 15)
    assert found == [8]
    assert asked == [(0, 15 * H1), (4 * H1, 15 * H1)]
    at_the_start = pages(body(settlement(0, rateType="Special")), body(settlement(8)))
    found, _, asked = await _funding(at_the_start, 15)
    assert (found, asked) == ([8], [(0, 15 * H1), (1, 15 * H1)])


async def test_an_extra_charge_counts_where_others_lie_outside_of_the_window() -> None:
    sender = pages(
        body(settlement(-1), settlement(2), settlement(8, rateType="Special")),
        body(settlement(8)),
        body(),
    )
    found, _, asked = await _funding(sender, 15)
    assert found == [2, 8]
    assert asked == [(0, 15 * H1), (8 * H1, 15 * H1)]


# --- rows beyond the window ----------------------------------------------------------------------


async def test_rows_near_the_window_are_cut_and_those_far_from_it_are_left_out() -> None:
    """Near: by no more than the window's length and two rows, here four hours."""
    sender = pages(wire(Request(Exchange.BINANCE, Endpoint.KLINES, "", "", 1), hours(*NEAR)))
    rows, left_out = await klines(sender, task_of(3))
    assert rows == hours(0, 1, 2)
    assert left_out == [LeftOut(time_ms, OUTSIDE) for time_ms in hours(-5, 7)]
    assert len(sender.sent) == 1


NEAR = (-5, -4, -1, 0, 1, 2, 3, 6, 7)


@pytest.mark.parametrize("beyond", [(-1,), (-3, -2, -1), (3,), (3, 4)])
async def test_a_window_that_is_ignored_is_an_error(beyond: Sequence[int]) -> None:
    sender = pages(body(*map(candle, beyond)))
    with pytest.raises(BadPayload, match=f"^binance klines XUSDT: rows {OUTSIDE}$"):
        await klines(sender, task_of(3))
    assert len(sender.sent) == 1


@pytest.mark.parametrize("edge", [(-1, 0), (2, 3)])
async def test_a_row_at_an_edge_shows_that_the_window_is_kept_to(edge: Sequence[int]) -> None:
    sender = pages(body(*map(candle, edge)), body())
    rows, left_out = await klines(sender, task_of(3))
    assert rows == [time_ms for time_ms in hours(*edge) if time_ms in hours(0, 2)]
    assert left_out == []


async def test_after_good_pages_far_rows_alone_are_a_hole() -> None:
    first = body(*map(candle, range(5)))
    sender = pages(first, body(candle(-100), candle(100)), body())
    rows, left_out = await klines(sender, task_of(10))
    assert rows == hours(*range(5))
    assert left_out == [LeftOut(time_ms, OUTSIDE) for time_ms in hours(-100, 100)]
    near = pages(first, body(candle(12)), body())
    with pytest.raises(BadPayload, match=OUTSIDE):
        await klines(near, task_of(10))
    empty = pages(body(), body(candle(100)))
    rows, _ = await klines(empty, task_of(10))
    assert rows == []


async def test_after_a_good_page_and_an_empty_one_far_rows_are_a_hole() -> None:
    sender = pages(body(*map(candle, (3, 4, 5))), body(), body(candle(-100)))
    rows, left_out = await klines(sender, task_of(10))
    assert (rows, left_out) == (hours(3, 4, 5), [LeftOut(hours(-100)[0], OUTSIDE)])
    assert windows(sender) == [(0, 9), (6, 9), (0, 2)]


async def test_what_a_cut_page_lacks_is_asked_for_again() -> None:
    sender = pages(body(candle(-1), candle(3), candle(4)), body(candle(0)), body())
    assert (await klines(sender, task_of(5)))[0] == hours(0, 3, 4)
    assert windows(sender) == [(0, 4), (0, 2), (1, 2)]
    off_grid = candle(2 + 1 / 12)  # counts as the one of hour 2
    for first in (body(candle(0), candle(1), off_grid), body(candle(-1), candle(0), off_grid)):
        sender = pages(first, body(candle(3), candle(4)), body(candle(1)))
        await klines(sender, task_of(5))
        assert windows(sender)[1] == (3, 4)


async def test_settlements_near_the_window_are_cut() -> None:
    late = settlement(32 + 1 / H1)  # farther than the window and two intervals
    sender = pages(body(settlement(0), settlement(8), settlement(31), late), body())
    assert (await _funding(sender, 8))[1] == [LeftOut(START_MS + 32 * H1 + 1, OUTSIDE)]
    sender = pages(body(settlement(-1), settlement(0), settlement(8), settlement(9)), body())
    found, left_out, asked = await _funding(sender, 8)
    assert (found, left_out) == ([0, 8], [])
    assert asked == [(0, 8 * H1)]


# --- rows left out -------------------------------------------------------------------------------


async def test_rows_left_out_count_from_the_start_to_the_end_of_the_last_candle() -> None:
    ms = 1 / H1
    off = [candle(-ms), candle(ms), candle(2 + (H1 - 1) * ms), candle(0), candle(1), candle(2)]
    rows, left_out = await klines(pages(body(*off, candle(3, low="0"))), task_of(3))
    assert rows == hours(0, 1, 2)
    assert [row.time_ms for row in left_out] == [START_MS + 1, START_MS + 3 * H1 - 1]
    _, left_out = await klines(pages(body(candle(0, low="0"), candle(1))), task_of(2))
    assert left_out == [LeftOut(START_MS, IMPOSSIBLE)]
    sent = [settlement(0), settlement(8, rate="99"), settlement(8 + ms, rate="99")]
    _, left_out, _ = await _funding(pages(body(*sent), body()), 8)
    assert [row.time_ms for row in left_out] == [START_MS + 8 * H1]


async def test_a_row_of_unknown_time_before_all_others_is_placed_before_the_window() -> None:
    unreadable = ["x", *candle(0)[1:]]
    rows, left_out = await klines(pages(body(unreadable, candle(0), candle(1))), task_of(2))
    assert rows == hours(0, 1)
    assert [(row.time_ms, row.after) for row in left_out] == [(START_MS - H1, True)]
    later = pages(body(candle(0), unreadable, candle(1)))
    _, left_out = await klines(later, task_of(2))
    assert [(row.time_ms, row.after) for row in left_out] == [(START_MS, True)]
    sender = pages(body({**settlement(0), "fundingTime": "x"}, settlement(0), settlement(8)))
    _, left_out, _ = await _funding(sender, 8)
    assert [(row.time_ms, row.after) for row in left_out] == [(START_MS, True)]


IMPOSSIBLE = "impossible prices (high < low, or <= 0)"
UNREADABLE = ["x", *candle(0)[1:]]


@pytest.mark.parametrize("sent", [[candle(0, "0"), candle(1, "0")], [UNREADABLE]])
async def test_a_page_without_any_valid_row_is_asked_for_again(sent: list[Any]) -> None:
    sender = pages(body(*sent), body(candle(0), candle(1)))
    assert await klines(sender, task_of(2)) == (hours(0, 1), [])
    assert len(sender.sent) == 2
    sender = pages(body(*sent))
    with pytest.raises(BadPayload) as failed:
        await klines(sender, task_of(2))
    assert len(sender.sent) == 3
    error = failed.value
    assert (error.exchange, error.endpoint, error.market) == (
        Exchange.BINANCE,
        Endpoint.KLINES,
        "XUSDT",
    )
    assert error.cause.startswith(f"unexpected answer: none of its {len(sent)} rows is valid: row ")


async def test_one_row_that_can_be_read_and_is_invalid_is_believed() -> None:
    sender = pages(body(candle(1, "0")), body())
    assert await klines(sender, task_of(2)) == ([], [LeftOut(START_MS + H1, IMPOSSIBLE)])
    assert windows(sender) == [(0, 1), (0, 0)]  # nothing else may be before it


async def test_after_a_good_page_one_without_any_valid_row_is_believed() -> None:
    sender = pages(body(candle(0)), body(candle(1, "0"), candle(2, "0")), body())
    rows, left_out = await klines(sender, task_of(3))
    assert (rows, [row.time_ms for row in left_out]) == (hours(0), hours(1, 2))
    assert len(sender.sent) == 2


# --- pages that disagree -------------------------------------------------------------------------


async def test_pages_that_disagree_are_asked_for_once_more() -> None:
    """Settlements stamped some ms apart are of one instant."""
    ms = 1 / H1
    extra = settlement(8 + 5 * ms, rateType="Special")
    first = body(settlement(0), settlement(8 + ms), extra)
    other = body(settlement(8 + 7 * ms, rate="0.5"), settlement(16))
    again = pages(first, other, body(settlement(0), settlement(8), settlement(16)))
    found, left_out, _ = await _funding(again, 20)
    assert (found, left_out) == ([0, 8, 16], [])
    assert len(again.sent) == 3
    left = [first, other, first, other]
    sender = Scripted(lambda request: left.pop(0))
    found, left_out, _ = await _funding(sender, 20)
    assert found == [0, 16]
    assert left_out == [LeftOut(START_MS + 8 * H1, DISPUTED)]
    assert left == []
