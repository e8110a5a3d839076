"""The rules of a candle book, one table row each; faults that streams are known for by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from live.candle_book import CandleBook, Count
from live.candle_changes import Change, ClosedCandle, Delisted, Lapse, Reason, Way
from live.events import CandleEvent
from market.candles import Candle
from tests.live.candle_events import STEP_MS, event, moment

BTC, ETH = "BTCUSDT", "ETHUSDT"
CLOSED = ("100.10", "101.20", "99.90", "100.40")


@dataclass
class Desk:
    """A book of two markets, and what it has told. ETH keeps every connection busy by itself."""

    changes: list[Change] = field(default_factory=list)
    heard: dict[int, int] = field(default_factory=dict)  # by epoch, the last message in ms

    def __post_init__(self) -> None:
        self.book = CandleBook(self.changes.append, now_ms=moment(-1, 0.5))
        self.book.list_markets([BTC, ETH], moment(-1, 0.5))

    def begin(self, candle: int, second: float, epoch: int = 1) -> None:
        self.book.begin_epoch(epoch, moment(candle, second))
        self.heard[epoch] = moment(candle, second)

    def end(self, candle: int, second: float, epoch: int = 1) -> None:
        self.pass_time(moment(candle, second))
        del self.heard[epoch]
        self.book.end_epoch(epoch, moment(candle, second))

    def take(self, event: CandleEvent, epoch: int = 1, late_s: float = 0.1) -> None:
        """The event arrives so long after its time."""
        now_ms = event.event_time_ms + round(late_s * 1000)
        self.pass_time(now_ms)
        self.heard[epoch] = now_ms
        self.book.take(epoch, event, now_ms)

    def pass_time(self, until_ms: int) -> None:
        for epoch in self.heard:
            while until_ms - self.heard[epoch] > 20_000:
                self.heard[epoch] += 20_000
                candle, passed_ms = divmod(self.heard[epoch] - moment(0, 0), STEP_MS)
                state = event(candle, passed_ms / 1000, f"{passed_ms}", symbol=ETH)
                self.book.take(epoch, state, self.heard[epoch])

    def forming(self, candle: int, second: float, volume: str = "1.5", **more: Any) -> None:
        epoch = more.pop("epoch", 1)
        self.take(event(candle, second, volume, **more), epoch)

    def closing(self, candle: int, lag: float = 0.5, volume: str = "9.5", **more: Any) -> None:
        epoch = more.pop("epoch", 1)
        self.take(event(candle, 300 + lag, volume, closed=True, **more), epoch)

    def tick(self, candle: int, second: float) -> None:
        self.pass_time(moment(candle, second))
        self.book.tick(moment(candle, second))

    def primed(self) -> None:
        """One connection, and candle 0 closed and proven."""
        self.begin(-1, 100)
        self.forming(-1, 290)
        self.closing(-1)
        self.forming(0, 20)
        self.closing(0)
        assert self.unproven(0) == "proven"
        assert self.lapse() is None

    def unproven(self, candle: int) -> Reason | str | None:
        """Why the candle is unproven: 'proven', or None if it is not closed."""
        closed = self.book.state.closed(BTC, moment(candle, 0))
        return None if closed is None else closed.unproven or "proven"

    def told(self, candle: int) -> list[ClosedCandle]:
        """What was told of BTC's candle, in order."""
        closed = [change for change in self.changes if isinstance(change, ClosedCandle)]
        return [c for c in closed if (c.symbol, c.open_time_ms) == (BTC, moment(candle, 0))]

    def lapse(self) -> Reason | None:
        found = self.book.unproven().get(BTC)
        return found.reason if found is not None else None


def one_whole_candle(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20)
    desk.closing(1)


def candle_of_the_connect(desk: Desk) -> None:
    desk.begin(0, 100)
    desk.forming(0, 110)
    desk.closing(0)
    desk.forming(1, 10)
    desk.closing(1)


def first_message_is_a_close(desk: Desk) -> None:
    desk.begin(0, 299)
    desk.closing(0)
    desk.closing(1)  # whatever came before it came after this candle's open


def first_message_is_of_the_candle_before(desk: Desk) -> None:
    desk.begin(0, 298)
    desk.forming(0, 299)
    desk.closing(1)  # there is none of candle 0


def silent_with_a_closing_event(desk: Desk) -> None:
    desk.primed()
    desk.closing(1, lag=2.0, volume="0", prices=("100.40",) * 4)


def silent_without_one(desk: Desk) -> None:
    desk.primed()
    desk.tick(2, 31)


def silent_then_traded(desk: Desk) -> None:
    silent_without_one(desk)
    desk.forming(2, 290)
    desk.closing(2)


def stalled_and_taken_for_closed(desk: Desk) -> None:
    """Fault 2: a stalled stream; its last forming state looks closed when time passes."""
    desk.primed()
    desk.forming(1, 20)
    desk.tick(1, 100)
    desk.tick(2, 40)


def local_clock_is_ahead(desk: Desk) -> None:
    """Fault 3: by our clock the candle is over, the exchange has not closed it."""
    desk.primed()
    desk.forming(1, 20)
    desk.tick(2, 3)


def flag_before_the_close(desk: Desk) -> None:
    desk.primed()
    desk.closing(1, lag=-10)


def close_is_missing(desk: Desk) -> None:
    """Fault 4: it does not come at all."""
    desk.primed()
    desk.forming(1, 270)
    desk.tick(2, 0.2)
    desk.tick(2, 29.9)
    assert desk.lapse() is None
    desk.tick(2, 30)


def close_is_lost_and_a_newer_candle_comes(desk: Desk) -> None:
    """Fault 4: a newer candle is no proof that the one before is closed."""
    desk.primed()
    desk.forming(1, 270)
    desk.forming(2, 5)


def close_comes_after_a_newer_candle(desk: Desk) -> None:
    close_is_lost_and_a_newer_candle_comes(desk)
    desk.take(event(1, 300.5, "9.5", closed=True), late_s=6)


def close_comes_29_s_late(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 270)
    desk.tick(2, 29)
    desk.closing(1, lag=29.5)


def close_comes_31_s_late(desk: Desk) -> None:
    close_is_missing(desk)
    desk.closing(1, lag=31)


def connection_is_lost(desk: Desk) -> None:
    """Fault 5: nobody knows what the gap held."""
    desk.primed()
    desk.forming(1, 20)
    desk.end(1, 30)
    desk.begin(1, 31, epoch=2)
    desk.forming(1, 40, "2.5", epoch=2)
    desk.closing(1, epoch=2)


def whole_again_after_a_reconnect(desk: Desk) -> None:
    connection_is_lost(desk)
    desk.forming(2, 20, epoch=2)
    desk.closing(2, epoch=2)


def replaced_across_a_close(desk: Desk) -> None:
    """The old connection covers candle 1, the new one what follows."""
    desk.primed()
    desk.forming(1, 20)
    desk.begin(1, 100, epoch=2)
    desk.forming(1, 120, "2.5", epoch=2)
    desk.closing(1, epoch=2, lag=0.4)  # it comes here first
    desk.closing(1, epoch=1, lag=0.4)
    desk.end(2, 5)


def replaced_within_a_candle(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20)
    desk.begin(1, 100, epoch=2)
    desk.forming(1, 120, "2.5", epoch=2)
    desk.end(1, 200)
    desk.closing(1, epoch=2)


def ended_between_close_and_closing_event(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 290)
    desk.tick(2, 0.1)
    desk.end(2, 0.2)


def event_time_after_the_close(desk: Desk) -> None:
    """Fault 14: the event of the close is stamped in the next candle, and belongs to its own."""
    desk.primed()
    desk.closing(1, lag=29)


def repeated_close(desk: Desk) -> None:
    """Fault 17: the same values again, in another writing."""
    one_whole_candle(desk)
    desk.closing(1, lag=1, volume="9.50", turnover="9.500")


def repeated_close_with_other_values(desk: Desk) -> None:
    one_whole_candle(desk)
    desk.closing(1, lag=1, volume="9.6")
    desk.closing(1, lag=1.5)  # the first values once more do not heal it


def two_connections_close_differently(desk: Desk) -> None:
    replaced_across_a_close(desk)
    desk.begin(2, 6, epoch=3)
    desk.closing(1, epoch=2, lag=7, volume="9.4")


def forming_after_the_close(desk: Desk) -> None:
    one_whole_candle(desk)
    desk.take(event(1, 299, "9.4"), late_s=3)


def time_goes_backwards(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20)
    desk.forming(1, 19, "2.5")
    desk.closing(1)


def volume_goes_backwards(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20, "2.5")
    desk.forming(1, 21, "2.4")
    desk.closing(1)


def volume_goes_back_in_the_last_digit(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20, "12345678901234567.001")  # both are one float
    desk.forming(1, 21, "12345678901234567.000")
    desk.closing(1, volume="12345678901234567.002")


def close_holds_less_than_before(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20, "9.6")
    desk.closing(1, volume="9.5")


def close_has_a_smaller_range(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20, prices=("100.10", "101.30", "99.90", "100.40"))
    desk.closing(1)


def unreadable_message_of_the_connection(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20)
    desk.book.unreadable(1, moment(1, 30))
    desk.closing(1)


def unreadable_entry_of_another_market(desk: Desk) -> None:
    desk.primed()
    desk.book.unreadable(1, moment(1, 30), ETH)
    desk.closing(1)


def number_that_is_none(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20)
    desk.forming(1, 21, "1,5")
    desk.closing(1)


def close_with_impossible_prices(desk: Desk) -> None:
    desk.primed()
    desk.closing(1, prices=("100.10", "99.00", "99.90", "100.40"))
    desk.tick(2, 31)


def connection_pauses(desk: Desk) -> None:
    """Nothing of any market for more than half a minute: what came before proves nothing."""
    desk.primed()
    desk.forming(1, 20)
    desk.heard[1] = moment(1, 51)
    desk.closing(1)


def subscribed_anew(desk: Desk) -> None:
    desk.primed()
    desk.forming(1, 20)
    desk.book.unsubscribe(1, [BTC], moment(1, 30))
    desk.closing(1)


def garbage_from_the_future(desk: Desk) -> None:
    desk.primed()
    desk.book.take(1, event(900, 1), moment(1, 20))
    desk.closing(1)


PROVEN = "proven"
NOT_WHOLE, MISSED, BACKWARDS = (
    Reason.NOT_WHOLE,
    Reason.MISSED_CLOSE,
    Reason.NUMBERS_BACKWARDS,
)


@pytest.mark.parametrize(
    ("history", "closed", "lapse"),
    [
        (one_whole_candle, (PROVEN, PROVEN), None),
        (candle_of_the_connect, (NOT_WHOLE, PROVEN), None),
        (first_message_is_a_close, (NOT_WHOLE, NOT_WHOLE), Reason.STARTING),
        (first_message_is_of_the_candle_before, (None, PROVEN), None),
        (silent_with_a_closing_event, (PROVEN, PROVEN), None),
        (silent_without_one, (PROVEN, None), Reason.SILENT),
        (silent_then_traded, (PROVEN, None, PROVEN), None),
        (stalled_and_taken_for_closed, (PROVEN, None), MISSED),
        (local_clock_is_ahead, (PROVEN, None), None),
        (flag_before_the_close, (PROVEN, None), Reason.IMPOSSIBLE),
        (close_is_missing, (PROVEN, None), MISSED),
        (close_is_lost_and_a_newer_candle_comes, (PROVEN, None), MISSED),
        (close_comes_after_a_newer_candle, (PROVEN, MISSED), MISSED),
        (close_comes_29_s_late, (PROVEN, PROVEN), None),
        (close_comes_31_s_late, (PROVEN, Reason.LATE_CLOSE), MISSED),
        (connection_is_lost, (PROVEN, NOT_WHOLE), Reason.EPOCH_ENDED),
        (whole_again_after_a_reconnect, (PROVEN, NOT_WHOLE, PROVEN), None),
        (replaced_across_a_close, (PROVEN, PROVEN), None),
        (replaced_within_a_candle, (PROVEN, NOT_WHOLE), Reason.EPOCH_ENDED),
        (ended_between_close_and_closing_event, (PROVEN, None), Reason.EPOCH_ENDED),
        (event_time_after_the_close, (PROVEN, PROVEN), None),
        (repeated_close, (PROVEN, PROVEN), None),
        (repeated_close_with_other_values, (PROVEN, Reason.CONTRADICTED), Reason.CONTRADICTED),
        (two_connections_close_differently, (PROVEN, Reason.CONTRADICTED), Reason.CONTRADICTED),
        (forming_after_the_close, (PROVEN, PROVEN), None),
        (time_goes_backwards, (PROVEN, NOT_WHOLE), Reason.OUT_OF_ORDER),
        (volume_goes_backwards, (PROVEN, NOT_WHOLE), BACKWARDS),
        (volume_goes_back_in_the_last_digit, (PROVEN, NOT_WHOLE), BACKWARDS),
        (close_holds_less_than_before, (PROVEN, BACKWARDS), BACKWARDS),
        (close_has_a_smaller_range, (PROVEN, BACKWARDS), BACKWARDS),
        (unreadable_message_of_the_connection, (PROVEN, NOT_WHOLE), Reason.UNREADABLE),
        (unreadable_entry_of_another_market, (PROVEN, PROVEN), None),
        (number_that_is_none, (PROVEN, NOT_WHOLE), Reason.UNREADABLE),
        (close_with_impossible_prices, (PROVEN, None), Reason.IMPOSSIBLE),
        (connection_pauses, (PROVEN, NOT_WHOLE), Reason.PAUSED),
        (subscribed_anew, (PROVEN, NOT_WHOLE), Reason.EPOCH_ENDED),
        (garbage_from_the_future, (PROVEN, NOT_WHOLE), Reason.IMPOSSIBLE),
    ],
)
def test_what_is_closed(
    history: Callable[[Desk], None], closed: tuple[Reason | str | None, ...], lapse: Reason | None
) -> None:
    desk = Desk()
    history(desk)
    assert tuple(desk.unproven(candle) for candle in range(len(closed))) == closed
    assert desk.lapse() is lapse


def test_a_closed_candle_has_the_texts_of_its_closing_event_and_when_it_came() -> None:
    desk = Desk()
    desk.primed()
    desk.forming(1, 20)
    desk.closing(1, lag=0.7, volume="9.500", turnover="954.380000000000000001")
    assert desk.told(1) == [
        ClosedCandle(
            symbol=BTC,
            open_time_ms=moment(1, 0),
            open="100.10",
            high="101.20",
            low="99.90",
            close="100.40",
            volume="9.500",
            turnover="954.380000000000000001",
            event_time_ms=moment(2, 0.7),
            known_ms=moment(2, 0.8),
            epoch=1,
            way=Way.STREAM,
            unproven=None,
        )
    ]
    assert desk.book.state.proven_until_ms(BTC) == moment(2, 0)


def test_a_contradicted_candle_keeps_what_came_first() -> None:
    desk = Desk()
    repeated_close_with_other_values(desk)
    told = desk.told(1)
    assert [(c.volume, c.unproven) for c in told] == [
        ("9.5", None),
        ("9.5", Reason.CONTRADICTED),
    ]


def test_only_the_connection_that_covers_it_proves_a_candle() -> None:
    desk = Desk()
    replaced_across_a_close(desk)
    told = desk.told(1)
    assert [(c.epoch, c.unproven) for c in told] == [(2, NOT_WHOLE), (1, None)]


def test_a_connection_may_go_when_another_one_covers_what_it_covers() -> None:
    desk = Desk()
    desk.primed()
    desk.begin(1, 100, epoch=2)
    desk.forming(1, 120, "2.5", epoch=1)
    desk.forming(1, 120, "2.5", epoch=2)
    assert BTC in desk.book.needs(1, moment(1, 200))
    desk.tick(2, 0.1)
    assert BTC in desk.book.needs(1, moment(2, 0.1))
    desk.closing(1, epoch=1)
    desk.closing(1, epoch=2)
    assert BTC not in desk.book.needs(1, moment(2, 1))
    desk.end(2, 2)
    assert desk.lapse() is None
    desk.closing(2, epoch=2)
    assert desk.unproven(2) == PROVEN


def forming_of(desk: Desk) -> list[tuple[int, str]]:
    return [(c.open_time_ms, c.volume) for c in desk.book.forming() if c.symbol == BTC]


@pytest.mark.parametrize(
    ("second", "volume", "shown"),
    [
        (21, "1.6", "1.6"),
        (20, "1.6", "1.6"),  # of the same event time
        (21, "1.5", "1.5"),
        (19, "1.6", "1.5"),
        (21, "1.4", "1.5"),
    ],
)
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_forming_candle_never_goes_back(
    second: float, volume: str, shown: str, epoch: int
) -> None:
    desk = Desk()
    desk.primed()
    desk.begin(1, 1, epoch=2)
    desk.forming(1, 20)
    assert forming_of(desk) == [(moment(1, 0), "1.5")]
    desk.book.take(epoch, event(1, second, volume), moment(1, 22))
    assert forming_of(desk) == [(moment(1, 0), shown)]
    assert (desk.lapse() is None) == (shown == volume or epoch == 2)


def test_an_older_connection_that_goes_on_does_not_turn_a_forming_candle_back() -> None:
    desk = Desk()
    desk.primed()
    desk.begin(1, 1, epoch=2)
    desk.forming(1, 20, "1.5", epoch=2)
    desk.forming(1, 30, "2.5", epoch=1)
    desk.end(1, 31, epoch=1)
    assert forming_of(desk) == [(moment(1, 0), "2.5")]


def test_no_forming_candle_is_left_of_a_closed_one() -> None:
    desk = Desk()
    desk.primed()
    desk.forming(1, 20)
    desk.closing(1)
    assert forming_of(desk) == []
    desk.take(event(1, 299, "9.4"), late_s=3)
    assert forming_of(desk) == []
    assert desk.book.counts[Count.AFTER_CLOSE] == 1


@pytest.mark.parametrize(
    ("epoch", "unknown", "count"),
    [
        (1, event(1, 20, symbol="BTCUSD_PERP"), Count.UNKNOWN_SYMBOL),  # fault 18: COIN-M
        (1, event(1, 20, timeframe="1m"), Count.OTHER_TIMEFRAME),
        (7, event(1, 20), Count.UNKNOWN_EPOCH),
    ],
)
def test_what_is_not_followed_is_dropped_and_counted(
    epoch: int, unknown: CandleEvent, count: Count
) -> None:
    desk = Desk()
    desk.primed()
    told = list(desk.changes)
    desk.book.take(epoch, unknown, moment(1, 21))
    assert desk.changes == told
    assert desk.book.counts[count] == 1


def test_messages_of_a_market_that_is_not_listed_any_more_are_dropped() -> None:
    """Fault 9."""
    desk = Desk()
    desk.primed()
    desk.book.list_markets([ETH], moment(1, 10))
    desk.forming(1, 20)
    desk.closing(1)
    assert desk.changes[-1:] == [Delisted([BTC])]
    assert desk.book.counts[Count.UNKNOWN_SYMBOL] == 2
    assert BTC not in desk.book.state.markets
    desk.book.list_markets([BTC, ETH], moment(2, 10))
    assert desk.changes[-1:] == [Lapse([BTC], Reason.STARTING, moment(2, 10))]
    desk.forming(2, 20)
    desk.closing(2)
    assert desk.unproven(2) == NOT_WHOLE


def test_rest_is_not_replaced_by_a_stream() -> None:
    desk = Desk()
    desk.primed()
    read = Candle(moment(1, 0), 100.1, 101.2, 99.9, 100.4, "9.5", "9.5")
    desk.book.read_by_rest(BTC, [read], moment(1, 200))
    assert desk.unproven(1) is None  # it had not closed
    desk.book.read_by_rest(BTC, [read], moment(2, 0.2))
    told = list(desk.changes)
    desk.closing(1)
    assert desk.changes == told
    assert desk.book.counts[Count.KNOWN_BY_REST] == 1
    assert desk.book.counts[Count.DIFFERS_FROM_REST] == 0


@pytest.mark.parametrize("stream_first", [True, False])
def test_a_candle_that_differs_from_rest_makes_its_connection_doubtful(stream_first: bool) -> None:
    desk = Desk()
    desk.primed()
    desk.begin(1, 100, epoch=2)
    desk.forming(1, 200)
    read = Candle(moment(1, 0), 100.1, 101.2, 99.9, 100.4, "9.6", "9.6")
    calls: list[Callable[[], None]] = [
        lambda: desk.closing(1),
        lambda: desk.book.read_by_rest(BTC, [read], moment(2, 3)),
    ]
    for call in calls if stream_first else reversed(calls):
        call()
    closed = desk.book.state.closed(BTC, moment(1, 0))
    assert closed is not None
    assert (closed.way, closed.volume, closed.is_proven) == (Way.REST, "9.6", True)
    assert desk.book.counts[Count.DIFFERS_FROM_REST] == 1
    assert desk.book.differing_epochs() == {1: 1}
    assert desk.lapse() is Reason.CONTRADICTED
    assert desk.book.unproven()[ETH].reason is not None


def test_a_lapse_says_since_when() -> None:
    desk = Desk()
    close_is_missing(desk)
    assert desk.changes[-1] == Lapse([BTC], MISSED, moment(2, 0))
    desk = Desk()
    connection_is_lost(desk)
    assert desk.book.unproven()[BTC].since_ms == moment(1, 30)


def test_the_first_fault_counts() -> None:
    desk = Desk()
    connection_is_lost(desk)
    desk.book.unreadable(2, moment(2, 1), BTC)
    assert desk.book.unproven()[BTC] == Lapse([BTC], Reason.EPOCH_ENDED, moment(1, 30))


def test_the_watch_tells_who_had_no_closing_event() -> None:
    desk = Desk()
    desk.primed()
    desk.forming(1, 20)
    desk.tick(2, 0.1)
    desk.tick(2, 2.4)
    close = desk.book.close_of(moment(1, 0))
    assert close is not None
    assert (close.without_soon, close.without) == (None, None)
    desk.tick(2, 2.5)
    assert close.without_soon == frozenset((BTC, ETH))
    desk.closing(1, lag=4)
    desk.tick(2, 30)
    assert close.without == frozenset((ETH,))
    assert close.silent == frozenset()


def test_lags_are_those_of_first_closing_events() -> None:
    desk = Desk()
    assert desk.book.lag_ms(0.5) is None
    desk.primed()  # 0.5 s, twice
    for candle, lag in enumerate((0.2, 0.8, 2.0), start=1):
        desk.forming(candle, 20)
        desk.closing(candle, lag=lag)
        desk.closing(candle, lag=lag + 1)
    assert desk.book.lag_ms(0) == 200
    assert desk.book.lag_ms(0.5) == 500
    assert desk.book.lag_ms(0.99) == 2000


def test_without_an_event_time_the_lag_is_ours() -> None:
    desk = Desk()
    desk.primed()
    desk.forming(1, 20)
    desk.take(event(1, 300, "9.5", closed=True), late_s=0.9)
    assert desk.unproven(1) == PROVEN
    assert desk.book.lag_ms(1) == 900


def test_a_closing_event_from_long_ago_is_dropped() -> None:
    desk = Desk()
    desk.primed()
    for candle in range(1, 20):
        desk.forming(candle, 20)
        desk.closing(candle)
    desk.take(event(1, 300.5, "9.5", closed=True), late_s=6000)
    assert desk.book.counts[Count.TOO_OLD] == 1
    assert len(desk.book.state.markets[BTC].closed) == 16


def test_after_a_long_sleep_the_newest_closes_are_told() -> None:
    desk = Desk()
    desk.primed()
    desk.book.tick(moment(500, 40))
    assert desk.lapse() is Reason.PAUSED
    assert desk.book.close_of(moment(499, 0)) is not None


def test_a_number_in_use_is_refused() -> None:
    desk = Desk()
    desk.begin(0, 1)
    with pytest.raises(ValueError, match="epoch 1"):
        desk.book.begin_epoch(1, moment(0, 2))
