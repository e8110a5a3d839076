"""The settlements of all contracts at once: pages, the window, and when they are complete."""

import json

import pytest

from data_collector.recent_settlements import is_complete, recent_settlements
from data_collector.run import CollectionRun
from market.columns import FundingRow
from market.markets import Exchange, FundingSeries
from market.timeframes import HOUR_MS, MINUTE_MS
from tests.fixtures.markets import market
from tests.fixtures.scripted import Scripted, query_of
from venues.errors import BadRequest
from venues.venue import Request

T0 = 1_795_132_800_000
A = market(Exchange.BINANCE, "AUSDT")


def body(*rows: tuple[str, int, float]) -> bytes:
    return json.dumps(
        [
            {"symbol": symbol, "fundingTime": T0 + time_ms, "fundingRate": str(rate)}
            for symbol, time_ms, rate in rows
        ]
    ).encode()


async def _recent(*pages: bytes) -> tuple[dict[str, list[FundingRow]], list[int]]:
    """What was found from T0 to T0 + 8 hours, times from T0 on, and the start of each request."""
    left = list(pages)

    def answer(request: Request) -> bytes:
        if not left:
            raise BadRequest("no", exchange=Exchange.BINANCE)
        return left.pop(0)

    sender = Scripted(answer)
    run = CollectionRun(sender)
    found = await recent_settlements(run, Exchange.BINANCE, T0, T0 + 8 * HOUR_MS)
    assert {query_of(request)["endTime"] for request in sender.sent} == {str(T0 + 8 * HOUR_MS)}
    starts = [int(query_of(request)["startTime"]) - T0 for request in sender.sent]
    return {
        name: [(time_ms - T0, rate) for time_ms, rate in rows] for name, rows in found.items()
    }, starts


async def test_pages_follow_from_the_last_time_until_nothing_new_comes() -> None:
    found, starts = await _recent(
        body(("A", 0, 0.1), ("B", HOUR_MS, 0.2)),
        body(("B", HOUR_MS, 0.2), ("A", 8 * HOUR_MS, 0.3)),
        body(("A", 8 * HOUR_MS, 0.3)),
    )
    assert found == {"A": [(0, 0.1), (8 * HOUR_MS, 0.3)], "B": [(HOUR_MS, 0.2)]}
    assert starts == [0, HOUR_MS, 8 * HOUR_MS]


async def test_a_window_is_kept_to_and_a_failed_page_ends_it() -> None:
    late = 8 * HOUR_MS + 1
    found, starts = await _recent(body(("A", -1, 0.1), ("B", 0, 0.1), ("C", late, 0.1)))
    assert found == {"B": [(0, 0.1)]}
    assert starts == [0, late]
    found, starts = await _recent(body())
    assert (found, starts) == ({}, [0])


async def test_settlements_that_pages_disagree_on_are_left_out() -> None:
    found, _ = await _recent(
        body(("A", 3, 0.1), ("B", 3, 0.1)), body(("A", 1, 0.1), ("B", 1, 0.2)), body()
    )
    assert found == {"A": [(1, 0.1)], "B": []}


@pytest.mark.parametrize(
    ("interval", "settled", "after_ms", "complete"),
    [
        (8, [], 4 * MINUTE_MS - 1, True),  # it may be unpublished
        (8, [], 4 * MINUTE_MS, False),
        (8, [0], 4 * MINUTE_MS, True),
        (8, [0], 8 * HOUR_MS - 1, True),
        (4, [0], 5 * HOUR_MS, False),
        (4, [0, 4], 5 * HOUR_MS, True),
        (4, [4], 5 * HOUR_MS, False),
        (4, [0], 4 * HOUR_MS, True),
    ],
)
def test_when_the_settlements_are_complete(
    interval: int, settled: list[int], after_ms: int, complete: bool
) -> None:
    series = FundingSeries(A, [], interval, T0 - 1)
    rows = [(T0 + hour * HOUR_MS + 7, 0.1) for hour in settled]
    assert is_complete(series, rows, T0 + after_ms) is complete
