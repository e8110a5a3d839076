"""RestartPace: pauses that double up to a limit, and an end after too many failures in a row."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workers.streams.options import StreamOptions
from workers.streams.pace import RestartPace


def test_the_pauses_double_up_to_the_longest_and_then_it_is_given_up() -> None:
    options = StreamOptions(restarts=5, first_pause_s=1, longest_pause_s=6)
    pace = RestartPace(options, between=lambda _, most: most)
    assert [pace.failed(0) for _ in range(6)] == [1, 2, 4, 6, 6, None]


def test_a_connection_that_brought_messages_for_long_ends_the_row() -> None:
    options = StreamOptions(restarts=2, first_pause_s=1, longest_pause_s=60)
    pace = RestartPace(options, between=lambda least, _: least)
    brought = [0.0, 0.0, 61.0, 60.0, 0.0]
    assert [pace.failed(brought_s) for brought_s in brought] == [0.5, 1, 0.5, 1, None]


@given(
    st.floats(0.001, 86_400), st.floats(0.001, 86_400), st.integers(0, 200), st.integers(0, 2**32)
)
def test_any_pause_is_within_its_limits(
    first_s: float, longest_s: float, restarts: int, seed: int
) -> None:
    first_s = min(first_s, longest_s)
    options = StreamOptions(restarts=restarts, first_pause_s=first_s, longest_pause_s=longest_s)
    bounds: list[tuple[float, float]] = []

    def between(least: float, most: float) -> float:
        bounds.append((least, most))
        return least + (most - least) * (seed / 2**32)

    pace = RestartPace(options, between)
    pauses = [pace.failed(0) for _ in range(restarts + 1)]
    assert pauses.pop() is None
    assert all(pause is not None and first_s / 2 <= pause <= longest_s for pause in pauses)
    assert all(before[1] <= after[1] for before, after in pairwise(bounds))
