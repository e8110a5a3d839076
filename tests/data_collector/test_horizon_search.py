"""Which starts are asked for, one by one, until it is known where a history begins."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import structlog

from data_collector.horizons import FAR_SHOWN_BY, SHOWN_BY, Horizons
from data_collector.task_builder import FetchTask
from market.markets import Exchange
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from tests.fixtures.markets import market
from venues.errors import WindowRefused
from venues.venue import Endpoint

H4 = 4 * HOUR_MS
START_MS = 1_795_132_800_000
DAY = DAY_MS // H4  # steps


def task_of(name: str, first: int = 0, last: int = 60) -> FetchTask:
    """The snapshots of a market from the step `first` to `last`."""
    begin_ms, end_ms = START_MS + first * H4, START_MS + last * H4
    return FetchTask(
        market(Exchange.BINANCE, name),
        Endpoint.OPEN_INTEREST,
        Timeframe.H4,
        begin_ms,
        end_ms,
        H4,
        newest_ms=end_ms,
        narrow_ms=H4,
    )


class Served:
    """An exchange that serves each market from some step on; `asked`: the steps asked for."""

    def __init__(self, kept: int, odd: Mapping[str, int] | None = None) -> None:
        self.asked: list[int] = []
        self.kept = kept
        self._odd = odd or {}
        self.horizons = Horizons()

    async def __call__(self, task: FetchTask) -> Sequence[tuple[int]]:
        self.asked.append((task.start_ms - START_MS) // H4)
        await asyncio.sleep(0)
        if self.asked[-1] < self._odd.get(task.market.symbol, self.kept):
            raise WindowRefused("-1130", exchange=task.market.exchange)
        return [(task.start_ms,)]

    async def fetch(self, task: FetchTask) -> tuple[int | None, list[int]]:
        """The step of the first row, and the steps asked for."""
        self.asked.clear()
        rows = await self.horizons.fetch(task, self)
        return ((rows[0][0] - START_MS) // H4 if rows else None), list(self.asked)


async def test_a_search_doubles_its_steps_then_halves_what_is_left() -> None:
    assert await Served(7).fetch(task_of("A", last=20)) == (7, [0, 1, 3, 20, 7, 5, 6])
    assert await Served(0).fetch(task_of("A")) == (0, [0])
    assert await Served(1).fetch(task_of("A")) == (1, [0, 1])
    assert await Served(2).fetch(task_of("A")) == (2, [0, 1, 3, 2])
    assert await Served(20).fetch(task_of("A", last=20)) == (20, [0, 1, 3, 20, 7, 13, 16, 18, 19])


async def test_a_market_that_nothing_is_served_of() -> None:
    served = Served(99)
    with pytest.raises(WindowRefused):
        await served.fetch(task_of("A", last=20))
    assert served.asked == [0, 1, 3, 20]


async def test_a_task_that_cannot_be_narrowed_is_asked_for_once() -> None:
    served = Served(7)
    with pytest.raises(WindowRefused):
        await served.fetch(replace(task_of("A"), narrow_ms=0))
    assert served.asked == [0]


@pytest.mark.parametrize(
    ("kept", "shown_by"), [(5, SHOWN_BY), (4 * DAY, SHOWN_BY), (4 * DAY + 1, FAR_SHOWN_BY)]
)
async def test_a_start_is_known_after_so_many_markets(kept: int, shown_by: int) -> None:
    served = Served(kept)
    with structlog.testing.capture_logs() as logs:
        for number in range(shown_by):
            start, asked = await served.fetch(task_of(f"A{number}"))
            assert start == kept
            assert asked[0] == 0
        for number in range(3):
            assert await served.fetch(task_of(f"B{number}")) == (kept, [kept])
        await served.fetch(task_of("C"))
    assert [(log["event"], log["start_ms"], log["refused_from_ms"]) for log in logs] == [
        ("history_begins", START_MS + kept * H4, START_MS)
    ]
    # Nothing is asked for where a whole window lies before it.
    served.asked.clear()
    assert await served.horizons.fetch(task_of("C", last=kept - 1), served) == ()
    assert served.asked == []
    assert await served.fetch(task_of("D", first=kept + 1)) == (kept + 1, [kept + 1])


async def test_what_one_market_has_shown_the_next_confirms_in_two_requests() -> None:
    served = Served(5)
    await served.fetch(task_of("A"))
    assert await served.fetch(task_of("B")) == (5, [0, 5, 4])
    assert await Served(5).fetch(task_of("A", first=4)) == (5, [4, 5])
    near = Served(1)
    await near.fetch(task_of("A"))
    assert await near.fetch(task_of("B")) == (1, [0, 1])


async def test_a_hint_outside_of_the_window_is_not_asked_for() -> None:
    served = Served(5)
    await served.fetch(task_of("A"))
    served.kept = 7  # it has moved on
    assert await served.fetch(task_of("B", first=5)) == (7, [5, 6, 8, 7])
    served = Served(5)
    await served.fetch(task_of("A"))
    assert await served.fetch(task_of("B", last=5)) == (5, [0, 5, 4])
    with pytest.raises(WindowRefused):
        await served.fetch(task_of("C", last=4))
    assert served.asked == [0, 1, 3, 4]


async def test_the_hint_is_what_most_markets_have_shown() -> None:
    served = Served(5, {"A": 9})
    for name in "ABC":
        await served.fetch(task_of(name))
    served = Served(5, {"A": 9})
    await served.fetch(task_of("B"))
    await served.fetch(task_of("A"))
    assert (await served.fetch(task_of("C")))[1] == [0, 5, 4]
    served = Served(9, {"B": 5, "C": 5})
    for name in "BCA":
        await served.fetch(task_of(name))
    assert (await served.fetch(task_of("D")))[1][:2] == [0, 5]


async def test_the_earliest_of_several_known_starts_counts() -> None:
    served = Served(2, dict.fromkeys("DEF", 10))
    found = await asyncio.gather(
        *(served.horizons.fetch(task_of(name), served) for name in "ABCDEF")
    )
    assert [(rows[0][0] - START_MS) // H4 for rows in found] == [2, 2, 2, 10, 10, 10]
    assert await served.fetch(task_of("G")) == (2, [2])


async def test_a_market_that_is_served_from_before_shows_that_it_is_not_everybodys_start() -> None:
    served = Served(2, {"Z": 0})
    for name in "ABZC":
        await served.fetch(task_of(name))
    await served.fetch(task_of("Y", first=5))  # a later start says nothing more
    assert (await served.fetch(task_of("D")))[1][0] == 0
    # One whose window begins right there does not.
    served = Served(2)
    for name in "ABC":
        await served.fetch(task_of(name))
    await served.fetch(task_of("Z", first=2))
    assert await served.fetch(task_of("D")) == (2, [2])


async def test_far_is_measured_from_the_earliest_start_that_was_asked_for() -> None:
    served = Served(5 * DAY)
    await served.fetch(task_of("A"))
    for name in ("B", "C", "D"):
        await served.fetch(task_of(name, first=2 * DAY))
    assert (await served.fetch(task_of("E", first=2 * DAY)))[1][0] == 2 * DAY


async def test_the_start_that_was_served_to_a_market() -> None:
    served = Served(5, {"Z": 0})
    await served.fetch(task_of("A"))
    await served.fetch(task_of("Z"))
    assert served.horizons.served(task_of("A")).start_ms == START_MS + 5 * H4
    assert served.horizons.served(task_of("A", first=7)) == task_of("A", first=7)
    assert served.horizons.served(task_of("Z")) == task_of("Z")
    assert served.horizons.served(task_of("never asked")) == task_of("never asked")


async def test_a_hint_between_the_last_two_starts_of_a_market_leaves_it_nothing() -> None:
    def settlements(name: str, first_ms: int, last_ms: int) -> FetchTask:
        task = replace(task_of(name), endpoint=Endpoint.FUNDING, period=None, narrow_ms=2 * H4)
        return replace(task, start_ms=START_MS + first_ms, end_ms=START_MS + last_ms)

    served = Served(4)
    await served.horizons.fetch(settlements("A", H4 // 2, 10 * H4), served)
    served.asked.clear()
    with pytest.raises(WindowRefused):
        await served.horizons.fetch(settlements("B", 0, 5 * H4), served)
    assert served.asked == [0]


async def test_a_start_that_moves_on_during_a_run_is_followed() -> None:
    served = Served(5)
    for name in "ABC":
        await served.fetch(task_of(name))
    served.kept = 6
    for name in "DEF":
        assert await served.fetch(task_of(name)) == (6, [5, 6])
    assert await served.fetch(task_of("G")) == (6, [6])


async def test_a_market_that_waited_for_the_search_begins_at_the_known_start() -> None:
    served = Served(5)
    tasks = [task_of(name) for name in "ABCD"]
    await asyncio.gather(*(served.horizons.fetch(task, served) for task in tasks))
    # All are refused, the first searches, two confirm what it found, and the last knows it.
    assert served.asked == [0, 0, 0, 0, 1, 3, 60, 7, 5, 4, 5, 4, 5, 4, 5]
    assert [served.horizons.served(task).start_ms for task in tasks] == [START_MS + 5 * H4] * 4
