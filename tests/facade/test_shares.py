"""Who is asked for next: the client who had least, over any order in which questions come."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.left_over import Room
from facade.shares import MOST_OF_CLIENT, NoRoom, Paused, Shares, Turn
from facade.takings import Takings
from tests.fixtures.virtual_time import run_in_virtual_time

PLENTY = 1_000_000
FREE = Room(True, 0.0, 0.0, "", 0, PLENTY)


class Limit:
    """Room that a test gives out, request by request."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.answers: asyncio.Queue[Room] = asyncio.Queue()

    async def take(self, weight: int, part: float) -> Room:
        room = await self.answers.get()
        if room.is_free:
            self.given.append(weight)
        return room


@pytest.fixture
async def limit() -> Limit:
    return Limit()


@pytest.fixture
async def shares(limit: Limit) -> AsyncIterator[Shares]:
    found = Shares(limit.take, Takings(60))
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
        shares = Shares(limit.take, Takings(60))
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
    limit.answers.put_nowait(Room(False, 12.5, 0.0, "", 0, 648))
    with pytest.raises(NoRoom) as caught:
        await shares.room(shares.turn(["a"], 1), 5)
    assert caught.value.retry_s == 12.5


async def test_room_that_comes_in_time_is_waited_for(shares: Shares, limit: Limit) -> None:
    for room in (Room(False, 0.05, 0.0, "", 0, 648), FREE):
        limit.answers.put_nowait(room)
    await shares.room(shares.turn(["a"], 1), 5)


async def test_a_pause_ends_the_waiting_of_all(shares: Shares, limit: Limit) -> None:
    turns = [shares.turn([name], 1) for name in "abc"]
    waiting = [asyncio.create_task(shares.room(turn, 30)) for turn in turns]
    limit.answers.put_nowait(Room(False, 0.0, 77.0, "banned", 0, 0))
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


class Window:
    """A limit of 648 in 60 s, over a clock that a test sets; room is free again after 66 s."""

    allowance = 648

    def __init__(self) -> None:
        self.now_s = 0.0
        self.taken: list[tuple[float, int]] = []

    async def take(self, weight: int, part: float) -> Room:
        self.taken = [each for each in self.taken if each[0] > self.now_s]
        if sum(each for _, each in self.taken) + weight > part * self.allowance:
            wait_s = min((until for until, _ in self.taken), default=60.0) - self.now_s
            return Room(False, wait_s, 0.0, "", 0, self.allowance)
        self.taken.append((self.now_s + 66, weight))
        return Room(True, 0.0, 0.0, "", 0, self.allowance)


@pytest.mark.parametrize("greedy", [1, 3])
def test_who_asks_little_is_never_refused_because_of_who_asked_for_all(greedy: int) -> None:
    run_in_virtual_time(_greedy_and_modest(greedy))


async def _greedy_and_modest(greedy: int) -> None:
    """Greedy clients with 60 questions of weight 20 each half a minute, and two with one of weight
    2 every 5 s, of which the second comes only when the others have had theirs."""
    window = Window()
    shares = Shares(window.take, Takings(60, now_s=lambda: window.now_s))
    had = Counter[str]()
    refused = Counter[str]()

    async def ask(name: str, weight: int) -> None:
        try:
            await shares.room(shares.turn([name], weight), 5)
            had[name] += weight
        except NoRoom:
            refused[name] += 1

    for second in range(0, 300, 5):
        window.now_s = second
        async with asyncio.TaskGroup() as group:
            if second % 30 == 0:
                for name in range(greedy):
                    for _ in range(60):
                        group.create_task(ask(f"greedy {name}", 20))
            group.create_task(ask("modest", 2))
            if second >= 30:
                group.create_task(ask("late", 2))
    await shares.aclose()
    assert (refused["modest"], refused["late"]) == (0, 0)
    assert (had["modest"], had["late"]) == (120, 108)
    all_of_greedy = sum(had[f"greedy {name}"] for name in range(greedy))
    assert 3 * 400 <= all_of_greedy <= 5 * 486
    assert min(had[f"greedy {name}"] for name in range(greedy)) >= all_of_greedy / greedy / 2


async def test_room_for_others_does_not_wait_behind_who_had_its_part() -> None:
    """The first question waits for room that comes soon; there is room for the second now."""
    parts: list[float] = []

    async def take(weight: int, part: float) -> Room:
        parts.append(part)
        is_free = part == 1.0
        return Room(is_free, 3.0, 0.0, "", 0, 100)

    shares = Shares(take, Takings(60))
    await shares.room(shares.turn(["many"], 50), 5)
    waiting = asyncio.create_task(shares.room(shares.turn(["many"], 1), 30))
    await asyncio.sleep(0)
    await shares.room(shares.turn(["other"], 1), 5)
    assert not waiting.done()
    assert parts[:3] == [1.0, 0.75, 1.0]
    assert set(parts[3:]) <= {0.75}
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await shares.aclose()


def test_what_was_taken_is_forgotten_with_its_window() -> None:
    now_s = 0.0
    takings = Takings(60, now_s=lambda: now_s)
    takings.took(["a", "b"], 80)
    assert takings.have_had_theirs(["a"], (), 160)  # 40 of 0.75 * 160 / 3
    assert not takings.have_had_theirs(["a"], (), 162)
    assert takings.have_had_theirs(["a"], ("a", "c"), 162)
    assert not takings.have_had_theirs(["a", "new"], (), 160)
    now_s = 66.0
    assert not takings.have_had_theirs(["a"], (), 160)
    takings.took(["a"], 1)
    assert not takings.have_had_theirs(["a"], (), 160)
