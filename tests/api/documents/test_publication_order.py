"""Which version of a document is the newer one: a table, and any order of arrival."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.documents.publication_order import PublicationOrder
from cache_manager import DocumentMeta
from tests.fixtures.cache import known


@pytest.mark.parametrize(
    ("found", "held", "expected"),
    [
        (known(1, 0), None, True),
        (known(2, 60), known(1, 50), True),
        (known(1, 50), known(2, 60), False),
        (known(2, 60), known(2, 60), False),
        (known(1, 51), known(2, 50), True),  # lost after a wrong clock
        (known(2, 51), known(2, 50), True),
        (known(1, 50), known(2, 50), False),
        (known(2, 40), known(1, 50), True),  # the store's clock was ahead, and it was lost
        # An earlier release wrote no time: the version alone counts.
        (known(2, 0), known(1, 50), True),
        (known(1, 0), known(2, 50), False),
        (known(1, 50), known(2, 0), False),
        (known(2, 50), known(1, 0), True),
    ],
)
def test_the_newer_one(found: DocumentMeta, held: DocumentMeta | None, expected: bool) -> None:
    assert PublicationOrder().is_newer(found, held) is expected


def test_what_was_undone_does_not_come_back() -> None:
    order, wrong, right = PublicationOrder(), known(100, 50), known(40, 60)
    assert order.is_newer(right, wrong)
    order.replaced(wrong, right)
    assert not order.is_newer(wrong, right)
    assert not order.is_newer(known(101, 51), right)  # nor one that nobody has seen here
    order.replaced(right, known(41, 61))
    assert not order.is_newer(known(100, 50), known(41, 61))
    assert order.is_newer(known(42, 62), known(41, 61))
    assert order.is_newer(known(42, 60), known(41, 61))  # not from before the loss
    assert order.is_newer(known(42, 0), known(41, 61))
    # It is so for the name alone.
    other = DocumentMeta("8h", 99, "00", 1, 1, 1, 1, "00", 49)
    assert order.is_newer(other, DocumentMeta("8h", 40, "00", 1, 1, 1, 1, "00", 60))


@given(st.lists(st.integers(0, 19), max_size=60), st.integers(1, 19))
def test_late_answers_take_nobody_back(arrivals: list[int], lost_at: int) -> None:
    """20 publications, whose versions fall once; a process sees any of them, in any order."""
    published = [known(n + (100 if n < lost_at else 50), 1000 + n) for n in range(20)]
    order, held = PublicationOrder(), published[0]
    for number in arrivals:
        is_newer = order.is_newer(published[number], held)
        assert is_newer is (1000 + number > held.published_ms)
        if is_newer:
            order.replaced(held, published[number])
            held = published[number]
