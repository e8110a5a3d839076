"""An order book is whole or serves nothing, by each exchange's rule; its oracle is a plain dict."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from live.events import BookEvent, Level
from live.exchanges import STREAM_VENUES
from live.order_book import MOST_BUFFERED, BookState, OrderBook, PriceLevel

BINANCE: Final = STREAM_VENUES["binance"].book
BYBIT: Final = STREAM_VENUES["bybit"].book
OKX: Final = STREAM_VENUES["okx"].book
SNAPSHOT: Final = ([("100.0", "1"), ("99.5", "2")], [("100.5", "3"), ("101.0", "4")])


def snapshot(
    number: int, bids: Sequence[Level] = SNAPSHOT[0], asks: Sequence[Level] = SNAPSHOT[1]
) -> BookEvent:
    return BookEvent("X", number, True, bids, asks, number, previous_id=-1)


def change(
    first: int | None,
    last: int,
    previous: int | None,
    bids: Sequence[Level] = (),
    asks: Sequence[Level] = (),
) -> BookEvent:
    """Binance: U, u, pu; OKX: None, seqId, prevSeqId; Bybit: None, u, None."""
    return BookEvent("X", last, False, bids, asks, last, first, previous)


def numbered(last: int, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> BookEvent:
    return change(None, last, None, bids, asks)


def live_binance() -> OrderBook:
    """Live at 20, from a snapshot of 15."""
    book = OrderBook("X", BINANCE)
    book.apply(change(11, 20, 10))
    assert book.load(snapshot(15))
    return book


def live(rule: str) -> OrderBook:
    book = OrderBook("X", STREAM_VENUES[rule].book)
    assert book.apply(snapshot(10))
    return book


# --- Binance: U, u, pu and a snapshot over REST --------------------------------------------------


def test_changes_are_buffered_until_a_snapshot_joins_them() -> None:
    book = OrderBook("X", BINANCE)
    assert (book.state, book.wants_snapshot) == (BookState.WAITING, False)
    assert not book.apply(change(11, 20, 10, bids=[("100.0", "7")]))
    assert (book.state, book.wants_snapshot) == (BookState.BUFFERING, True)
    assert book.best_bid is None
    assert not book.apply(change(22, 30, 20, asks=[("100.5", "0")]))
    assert book.load(snapshot(15))
    assert (book.state, book.wants_snapshot, book.last_id) == (BookState.LIVE, False, 30)
    assert book.top(9) == ([("100.0", "7"), ("99.5", "2")], [("101.0", "4")])


@pytest.mark.parametrize(
    ("first", "last", "previous", "state", "wants_snapshot"),
    [
        (11, 19, 10, BookState.BUFFERING, False),  # u < lastUpdateId: dropped, the next one joins
        (11, 20, 10, BookState.LIVE, False),  # u = lastUpdateId
        (20, 25, 19, BookState.LIVE, False),  # U = lastUpdateId
        (15, 25, 14, BookState.LIVE, False),
        (22, 25, 20, BookState.LIVE, False),  # pu = lastUpdateId
        (22, 25, 18, BookState.LIVE, False),  # nothing happened between pu and U
        (22, 25, 21, BookState.BUFFERING, True),  # a change between the two was missed
        (22, 25, None, BookState.BUFFERING, True),
    ],
)
@pytest.mark.parametrize("snapshot_comes_first", [False, True])
def test_the_first_change_must_join_the_snapshot(
    first: int,
    last: int,
    previous: int | None,
    state: BookState,
    wants_snapshot: bool,
    snapshot_comes_first: bool,
) -> None:
    book = OrderBook("X", BINANCE)
    if snapshot_comes_first:
        book.load(snapshot(20))
        book.apply(change(first, last, previous))
    else:
        book.apply(change(first, last, previous))
        book.load(snapshot(20))
    assert (book.state, book.wants_snapshot) == (state, wants_snapshot)
    assert book.is_live == (state is BookState.LIVE)


def test_a_snapshot_newer_than_all_changes_waits_for_the_next() -> None:
    book = OrderBook("X", BINANCE)
    book.apply(change(11, 20, 10))
    assert not book.load(snapshot(25))
    assert not book.wants_snapshot
    assert book.apply(change(24, 30, 20))
    assert book.last_id == 30


def test_a_snapshot_older_than_all_changes_is_asked_for_again() -> None:
    book = OrderBook("X", BINANCE)
    book.apply(change(11, 20, 10))
    assert not book.load(snapshot(5))
    assert book.wants_snapshot
    assert "snapshot 5 was older" in book.reason
    assert book.load(snapshot(12))


def test_a_gap_breaks_the_book_until_a_newer_snapshot() -> None:
    book = live_binance()
    assert book.apply(change(21, 22, 20))
    assert not book.apply(change(40, 45, 39, bids=[("99.0", "5")]))
    assert (book.state, book.breaks, book.wants_snapshot) == (BookState.BROKEN, 1, True)
    assert book.reason == "a change after 39 came where 22 was the last"
    assert (book.top(5), book.best_bid, book.best_ask) == (([], []), None, None)
    assert not book.apply(change(46, 50, 45, bids=[("98.0", "6")]))
    assert not book.load(snapshot(21))  # of before the gap
    assert book.wants_snapshot
    assert book.load(snapshot(42))
    assert book.top(9)[0] == [("100.0", "1"), ("99.5", "2"), ("99.0", "5"), ("98.0", "6")]
    assert book.last_id == 50


def test_a_gap_among_the_buffered_changes_breaks_the_book() -> None:
    book = OrderBook("X", BINANCE)
    for event in (change(11, 20, 10), change(31, 40, 30), change(41, 50, 40)):
        book.apply(event)
    assert not book.load(snapshot(15))
    assert (book.state, book.breaks) == (BookState.BROKEN, 1)
    assert book.load(snapshot(35))
    assert book.last_id == 50


def test_a_repeated_change_breaks_the_book() -> None:
    book = live_binance()
    assert book.apply(change(21, 22, 20))
    assert not book.apply(change(21, 22, 20))


def test_a_live_book_takes_no_snapshot_over_rest() -> None:
    book = live_binance()
    assert book.load(snapshot(5, [("1", "1")], []))
    assert book.best_bid == PriceLevel(Decimal("100.0"), Decimal(1))


def test_too_many_buffered_changes_drop_the_oldest() -> None:
    book = OrderBook("X", BINANCE)
    for number in range(1, MOST_BUFFERED + 11):
        book.apply(change(number, number, number - 1))
    assert not book.load(snapshot(9))  # before the oldest that is kept, 11
    assert book.wants_snapshot
    assert book.load(snapshot(11))
    assert book.last_id == MOST_BUFFERED + 10


def test_countless_buffered_levels_drop_the_oldest() -> None:
    levels = [(str(price), "1") for price in range(1, 5_001)]
    book = OrderBook("X", BINANCE)
    for number in range(1, 51):
        book.apply(change(number, number, number - 1, bids=levels))
    assert not book.load(snapshot(9))
    assert book.load(snapshot(11, [], []))


def cut_off(levels: int) -> BookEvent:
    """A snapshot with this many bids, from 5000 downwards."""
    return snapshot(15, [(str(5_000 - number), "1") for number in range(levels)], [])


def test_beyond_a_cut_snapshot_nothing_is_known() -> None:
    """A book of 1000 bids goes on below them: a change there is true, but what lies between is
    unknown."""
    book = OrderBook("X", BINANCE)
    book.apply(change(11, 20, 10, bids=[("4001", "7"), ("4000.9", "8"), ("2", "9")]))
    assert book.load(cut_off(1000))
    assert book.top(2_000)[0][-1] == ("4001", "7")
    assert len(book.top(2_000)[0]) == 1000


def test_a_snapshot_that_is_not_cut_is_the_whole_book() -> None:
    book = OrderBook("X", BINANCE)
    book.apply(change(11, 20, 10, bids=[("2", "9")]))
    assert book.load(cut_off(999))
    assert book.top(2_000)[0][-1] == ("2", "9")


def test_a_book_whose_known_levels_are_used_up_breaks() -> None:
    book = OrderBook("X", BINANCE)
    book.apply(change(11, 20, 10))
    book.load(cut_off(1000))
    gone = [(str(5_000 - number), "0") for number in range(980)]
    assert book.apply(change(21, 30, 20, bids=gone))
    assert len(book.top(100)[0]) == 20
    assert not book.apply(change(31, 40, 30, bids=[("4020", "0")]))
    assert "few levels are left" in book.reason


# --- Bybit: u + 1 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "state"),
    [
        ([11, 12, 13], BookState.LIVE),
        ([11, 13], BookState.BROKEN),
        ([11, 11], BookState.BROKEN),
        ([9], BookState.BROKEN),
    ],
)
def test_bybit_counts_by_one(numbers: list[int], state: BookState) -> None:
    book = live("bybit")
    for number in numbers:
        book.apply(numbered(number, bids=[("99.9", str(number))]))
    assert book.state is state
    assert book.top(1)[0] == ([("100.0", "1")] if state is BookState.LIVE else [])


def test_a_change_before_the_snapshot_is_not_used() -> None:
    book = OrderBook("X", BYBIT)
    assert not book.apply(numbered(11, bids=[("1", "1")]))
    assert (book.state, book.wants_snapshot) == (BookState.WAITING, False)
    assert book.apply(snapshot(12))
    assert book.top(9) == SNAPSHOT


@pytest.mark.parametrize("rule", ["bybit", "okx"])
def test_a_later_snapshot_replaces_everything(rule: str) -> None:
    book = live(rule)
    assert book.apply(snapshot(1, [("7", "1")], []))
    assert (book.top(9), book.last_id) == (([("7", "1")], []), 1)
    assert not book.apply(change(None, 11, 10))
    assert book.state is BookState.BROKEN
    assert not book.wants_snapshot  # the stream sends it
    assert book.apply(snapshot(20))
    assert (book.top(9), book.breaks) == (SNAPSHOT, 1)


# --- OKX: prevSeqId and seqId --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ([change(None, 15, 10), change(None, 17, 15)], None),
        ([change(None, 10, 10), change(None, 12, 10)], None),  # nothing new for a minute
        ([change(None, 3, 10), change(None, 5, 3)], None),  # numbering starts again
        ([change(None, 15, 11)], "a change after 11 came where 10 was the last"),
        ([change(None, 15, 9)], "a change after 9 came where 10 was the last"),
        ([change(None, 10, 10, bids=[("1", "1")])], "without a number of its own"),
        ([change(None, -1, None)], "without prevSeqId"),
    ],
)
def test_okx_numbers_point_back(changes: list[BookEvent], fault: str | None) -> None:
    book = live("okx")
    for event in changes:
        book.apply(event)
    assert book.is_live == (fault is None)
    assert fault is None or fault in book.reason


@pytest.mark.parametrize(
    ("last", "previous", "is_live"),
    [
        (30, 20, True),
        (30, 15, True),
        (20, 15, True),
        (30, 21, False),
        (19, 15, False),
        (5, 20, True),  # numbering starts again right after the snapshot
        (5, 40, False),
    ],
)
def test_okx_joins_a_snapshot_over_rest_too(last: int, previous: int, is_live: bool) -> None:
    """For the day on which the stream sends none any more."""
    book = OrderBook("X", OKX)
    book.apply(change(None, last, previous))
    assert not book.wants_snapshot
    assert book.load(snapshot(20)) == is_live


# --- every book ----------------------------------------------------------------------------------


def test_levels_are_sorted_and_exact() -> None:
    book = live("bybit")
    bids = [("99.75", "0.10"), ("100.0", "0"), ("12", "0"), ("98", "5")]
    asks = [("100.25", "1"), ("101.00", "9.000")]
    assert book.apply(numbered(11, bids, asks))
    assert book.bids(2) == [
        PriceLevel(Decimal("99.75"), Decimal("0.10")),
        PriceLevel(Decimal("99.5"), Decimal(2)),
    ]
    assert book.bids(9)[2:] == [PriceLevel(Decimal(98), Decimal(5))]
    assert book.top(9)[1] == [("100.25", "1"), ("100.5", "3"), ("101.00", "9.000")]
    assert book.best_ask == (Decimal("100.25"), Decimal(1))
    assert book.top(0) == ([], [])


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([("100.5", "1")], []),
        ([], [("100.0", "1")]),
        ([("105", "1")], []),
        ([("101", "1")], [("100.75", "1")]),
    ],
)
def test_a_crossed_book_is_broken(bids: list[Level], asks: list[Level]) -> None:
    book = live("bybit")
    assert not book.apply(numbered(11, bids, asks))
    assert book.state is BookState.BROKEN
    assert "is not below the best ask" in book.reason
    assert book.top(1) == ([], [])


def test_an_empty_side_has_no_best() -> None:
    book = live("bybit")
    assert book.apply(numbered(11, bids=[("100.0", "0"), ("99.5", "0")]))
    assert (book.best_bid, book.best_ask) == (None, (Decimal("100.5"), Decimal(3)))


def test_prices_that_a_float_cannot_tell_apart_break_the_book() -> None:
    book = live("bybit")
    assert book.apply(numbered(11, bids=[("0.123456789012345671", "1")]))
    assert book.apply(numbered(12, bids=[("0.1234567890123456710", "2")]))  # the same price
    assert not book.apply(numbered(13, bids=[("0.123456789012345672", "0")]))
    assert "too close" in book.reason


def test_a_book_has_a_most_of_levels() -> None:
    """The worst are forgotten; what comes beyond them is not taken: the book would have holes."""
    book = OrderBook("X", BYBIT, most_levels=3)
    assert book.apply(snapshot(10, [(str(price), "1") for price in (9, 8, 7, 6, 5)], []))
    assert book.top(9)[0] == [("9", "1"), ("8", "1"), ("7", "1")]
    assert book.apply(numbered(11, bids=[("6", "2"), ("8.5", "1")]))
    assert book.top(9)[0] == [("9", "1"), ("8.5", "1"), ("8", "1")]
    assert book.apply(numbered(12, bids=[("7", "2"), ("8.5", "0")]))
    assert book.top(9)[0] == [("9", "1"), ("8", "1")]


def test_a_reset_book_begins_anew() -> None:
    book = live_binance()
    book.reset("the connection was cut")
    assert (book.state, book.reason) == (BookState.WAITING, "the connection was cut")
    assert (book.top(9), book.wants_snapshot, book.breaks) == (([], []), False, 0)
    book.apply(change(51, 60, 50))
    assert book.load(snapshot(55))


def test_a_snapshot_from_before_a_reset_does_not_stay() -> None:
    book = OrderBook("X", BINANCE)
    book.load(snapshot(55))
    book.reset("the connection was cut")
    assert not book.apply(change(51, 60, 50))


def test_an_event_of_another_market_changes_nothing() -> None:
    book = live("bybit")
    with pytest.raises(ValueError, match="Y is not X"):
        book.apply(replace(numbered(11, bids=[("1", "1")]), symbol="Y"))
    with pytest.raises(ValueError, match="Y is not X"):
        book.load(replace(snapshot(11), symbol="Y"))
    assert book.top(9) == SNAPSHOT


PRICES: Final = st.integers(1, 40).map(lambda ticks: f"{ticks / 4:.2f}")
LEVELS: Final = st.lists(st.tuples(PRICES, st.sampled_from(["0", "0.0", "1", "2.50"])), max_size=6)


@settings(max_examples=60)
@given(LEVELS, LEVELS, st.lists(st.tuples(LEVELS, LEVELS), max_size=12))
def test_a_book_equals_a_plain_dict(
    bids: list[Level], asks: list[Level], changes: list[tuple[list[Level], list[Level]]]
) -> None:
    book = OrderBook("X", BYBIT)
    sides: tuple[dict[Decimal, Level], dict[Decimal, Level]] = ({}, {})
    for number, levels in enumerate([(bids, asks), *changes]):
        book.apply(snapshot(0, *levels) if not number else numbered(number, *levels))
        for side, changed in zip(sides, levels, strict=True):
            for price, size in changed:
                side.pop(Decimal(price), None)
                if Decimal(size):
                    side[Decimal(price)] = (price, size)
        best_first = sorted(sides[0].items(), reverse=True), sorted(sides[1].items())
        if sides[0] and sides[1] and best_first[0][0][0] >= best_first[1][0][0]:
            assert book.state is BookState.BROKEN
            return
        expected = tuple([level for _, level in side] for side in best_first)
        assert book.top(100) == expected
        assert book.top(3) == (expected[0][:3], expected[1][:3])
        assert book.last_id == number
