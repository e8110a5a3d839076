"""Who is asked for next: the client who had least, over any order in which questions come."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.left_over import Room
from facade.shares import MOST_OF_CLIENT, NoRoom, Paused, Shares, Turn

FREE = Room(True, 0.0, 0.0, "", 0)


class Limit:
    """Room that a test gives out, request by request."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.answers: asyncio.Queue[Room] = asyncio.Queue()

    async def take(self, weight: int) -> Room:
        room = await self.answers.get()
        if room.is_free:
            self.given.append(weight)
        return room


@pytest.fixture
async def limit() -> Limit:
    return Limit()


@pytest.fixture
async def shares(limit: Limit) -> AsyncIterator[Shares]:
    found = Shares(limit.take)
    yield found
    await found.aclose()


async def served(shares: Shares, turns: list[tuple[str, int]], limit: Limit) -> list[str]:
    """The clients of these questions, which all wait, in the order in which they find room."""
    order: list[str] = []

    async def wait(name: str, turn: Turn) -> None:
        await shares.room(turn, 30)
        order.append(name)

    made = [(name, shares.turn([name], weight)) for name, weight in turns]
    async with asyncio.TaskGroup() as group:
        for name, turn in made:
            group.create_task(wait(name, turn))
        for _ in turns:
            limit.answers.put_nowait(FREE)
    return order


async def test_one_question_does_not_wait_for_a_hundred_of_another(
    shares: Shares, limit: Limit
) -> None:
    questions = [("many", 1)] * MOST_OF_CLIENT + [("one", 1)]
    assert (await served(shares, questions, limit)).index("one") == 1


async def test_a_heavy_question_counts_as_what_it_weighs(shares: Shares, limit: Limit) -> None:
    order = await served(shares, [("heavy", 40)] * 2 + [("light", 1)] * 50, limit)
    assert order == ["heavy", *["light"] * 40, "heavy", *["light"] * 10]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 40)), min_size=1, max_size=60))
def test_no_client_gets_further_ahead_than_one_question(questions: list[tuple[str, int]]) -> None:
    """Of clients that both still wait, what each was given differs by no more than the heaviest
    question of each (the bound of start-time fair queueing)."""

    async def run() -> list[str]:
        limit = Limit()
        shares = Shares(limit.take)
        try:
            return await served(shares, questions, limit)
        finally:
            await shares.aclose()

    order = asyncio.run(run())
    assert Counter(order) == Counter(name for name, _ in questions)
    left = {name: [w for n, w in questions if n == name] for name in "abcd"}
    heaviest = {name: max(weights, default=0) for name, weights in left.items()}
    had = Counter[str]()
    for name in order:
        had[name] += left[name].pop(0)
        waiting = [each for each in "abcd" if left[each]]
        for one in waiting:
            for other in waiting:
                assert had[one] - had[other] <= heaviest[one] + heaviest[other]


async def test_who_joins_a_question_serves_it_with_its_own_turn(
    shares: Shares, limit: Limit
) -> None:
    order: list[str] = []

    async def wait(name: str, turn: Turn) -> None:
        await shares.room(turn, 30)
        order.append(name)

    turns = [(f"{number}", shares.turn(["busy"], 1)) for number in range(10)]
    turns[9][1].join("new")
    async with asyncio.TaskGroup() as group:
        for name, turn in turns:
            group.create_task(wait(name, turn))
        for _ in turns:
            limit.answers.put_nowait(FREE)
    assert order[:2] == ["0", "9"]
    assert limit.given == [1] * 10


async def test_a_client_may_have_so_many_questions_waiting_and_others_are_free(
    shares: Shares,
) -> None:
    for _ in range(MOST_OF_CLIENT):
        shares.turn(["many"], 1)
    with pytest.raises(NoRoom, match="too many requests wait already"):
        shares.turn(["many"], 1)
    shares.turn(["other"], 1)
    assert shares.turn(["many", "third"], 1).clients == {"third"}


async def test_it_is_told_at_once_when_there_is_no_room_in_time(
    shares: Shares, limit: Limit
) -> None:
    limit.answers.put_nowait(Room(False, 12.5, 0.0, "", 0))
    with pytest.raises(NoRoom) as caught:
        await shares.room(shares.turn(["a"], 1), 5)
    assert caught.value.retry_s == 12.5


async def test_room_that_comes_in_time_is_waited_for(shares: Shares, limit: Limit) -> None:
    for room in (Room(False, 0.05, 0.0, "", 0), FREE):
        limit.answers.put_nowait(room)
    await shares.room(shares.turn(["a"], 1), 5)


async def test_a_pause_ends_the_waiting_of_all(shares: Shares, limit: Limit) -> None:
    turns = [shares.turn([name], 1) for name in "abc"]
    waiting = [asyncio.create_task(shares.room(turn, 30)) for turn in turns]
    limit.answers.put_nowait(Room(False, 0.0, 77.0, "banned", 0))
    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(each, Paused)
        assert (str(each), each.retry_s) == ("banned", 77.0)


async def test_a_question_that_nobody_waits_for_any_more_takes_no_room(
    shares: Shares, limit: Limit
) -> None:
    first, second = (
        asyncio.create_task(shares.room(shares.turn([name], weight), 30))
        for name, weight in (("a", 1), ("b", 2))
    )
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    limit.answers.put_nowait(FREE)
    limit.answers.put_nowait(FREE)
    await first
    assert limit.given == [1]
    assert limit.answers.qsize() == 1
