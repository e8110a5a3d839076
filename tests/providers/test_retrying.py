"""Retries: only of what may pass, within the time, and at most a fifth of a minute's calls."""

import pytest

from providers.errors import ErrorClass, ProviderError
from providers.retrying import RetryBudget, retried
from tests.providers.asking import SetClock

FAILED = ProviderError(ErrorClass.TRANSIENT, "503")


def test_a_fifth_of_the_calls_of_a_minute_and_one_at_least() -> None:
    clock = SetClock()
    budget = RetryBudget(clock)
    assert [budget.take() for _ in range(3)] == [True, False, False]
    for _ in range(10):
        budget.called()
    assert [budget.take() for _ in range(3)] == [True, False, False]
    clock.now_ms += 60_001
    assert [budget.take() for _ in range(2)] == [True, False]


async def _times(outcomes: list[ProviderError | str], times: int, deadline_s: float = 1e12) -> int:
    clock = SetClock()
    budget = RetryBudget(clock)
    for _ in range(100):
        budget.called()
    made = 0

    async def call() -> str:
        nonlocal made
        outcome = outcomes[made]
        made += 1
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    try:
        await retried(FAILED, call, times=times, deadline_s=deadline_s, budget=budget, clock=clock)
    except ProviderError as error:
        assert error is (outcomes[made - 1] if made else FAILED)
    return made


@pytest.mark.parametrize(
    ("outcomes", "times", "made"),
    [
        (["answer"], 1, 1),
        ([FAILED, "answer"], 1, 1),
        ([FAILED, "answer"], 2, 2),
        ([ProviderError(ErrorClass.RATE_LIMITED, "429"), "answer"], 2, 1),
    ],
)
async def test_as_often_as_allowed_and_only_what_may_pass(
    outcomes: list[ProviderError | str], times: int, made: int
) -> None:
    assert await _times(outcomes, times) == made


async def test_not_beyond_the_deadline() -> None:
    assert await _times(["answer"], 1, deadline_s=0.0) == 0
