"""What a pool of connections tells, as it reaches the candle book."""

import pytest

from live.candle_book import CandleBook
from live.candle_changes import Change, Reason
from live.candle_feed import CandleFeed
from live.events import CandleEvent, Dropped, LeftOut
from live.stream_venue import Channel, Topic
from tests.live.candle_events import event, moment

BTC, ETH = "BTCUSDT", "ETHUSDT"
TOPICS = [Topic(Channel.CANDLE, symbol, "5m") for symbol in (BTC, ETH)]


class Feeding:
    """A feed with one connection, on which candle 0 of both markets was closed and proven."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.now_ms = moment(-1, 200)
        self.book = CandleBook(self.changes.append, now_ms=self.now_ms, pause_ms=10**9)
        self.book.list_markets([BTC, ETH], self.now_ms)
        self.feed = CandleFeed(self.book, lambda: self.now_ms)
        self.feed.on_epoch_began(1, TOPICS)
        for symbol in (BTC, ETH):
            self.bring(event(-1, 250, symbol=symbol))
            self.bring(event(-1, 300.5, "9", closed=True, symbol=symbol))
            self.bring(event(0, 300.5, "9", closed=True, symbol=symbol))
        assert self.book.unproven() == {}

    def bring(self, event: CandleEvent, epoch: int = 1) -> None:
        self.now_ms = event.event_time_ms + 50
        self.feed.on_event(epoch, event)

    def unproven(self) -> dict[str, Reason]:
        return {symbol: lapse.reason for symbol, lapse in self.book.unproven().items()}


@pytest.mark.parametrize(
    ("text", "unproven"),
    [
        (LeftOut(Dropped.UNREADABLE, "x", BTC), {BTC: Reason.UNREADABLE}),
        (LeftOut(Dropped.UNREADABLE, "x"), {BTC: Reason.UNREADABLE, ETH: Reason.UNREADABLE}),
        (LeftOut(Dropped.OTHER_PRODUCT, "x"), {}),
        (LeftOut(Dropped.UNREAD_KIND, "x", BTC), {}),
    ],
)
def test_what_could_not_be_read(text: LeftOut, unproven: dict[str, Reason]) -> None:
    feeding = Feeding()
    feeding.feed.on_event(1, text)
    assert feeding.unproven() == unproven
    assert feeding.feed.dropped.total() == (text.cause is not Dropped.UNREADABLE)


def test_a_connection_that_ends() -> None:
    feeding = Feeding()
    feeding.feed.on_epoch_ended(1, "cut")
    assert feeding.unproven() == {BTC: Reason.EPOCH_ENDED, ETH: Reason.EPOCH_ENDED}


def test_topics_that_are_subscribed_anew() -> None:
    feeding = Feeding()
    others = [Topic(Channel.CANDLE, ETH, "1m"), Topic(Channel.TICKER, ETH)]
    feeding.feed.on_topics_changed(1, [], others)
    feeding.feed.on_topics_changed(1, TOPICS[:1], TOPICS[:1])
    assert feeding.unproven() == {BTC: Reason.EPOCH_ENDED}


def test_who_needs_a_connection() -> None:
    feeding = Feeding()
    feeding.feed.on_epoch_began(2, TOPICS)
    feeding.bring(event(1, 10, symbol=BTC), 2)
    assert sorted(feeding.feed.needs(1)) == [BTC, ETH]
    for epoch in (1, 2):
        feeding.bring(event(1, 300.5, "9", closed=True, symbol=BTC), epoch)
    assert feeding.feed.needs(1) == [ETH]
    assert feeding.feed.needs(2) == []


def test_a_closing_without_a_time_of_its_own_is_not_believed_before_the_close() -> None:
    """As OKX sends them: the close stands for the time. It must not move what is known of it."""
    feeding = Feeding()
    heard: list[int] = []

    def hear(event_time_ms: int) -> int:
        heard.append(event_time_ms)
        return feeding.now_ms

    feed = CandleFeed(feeding.book, lambda: feeding.now_ms, hear)
    feeding.now_ms = moment(1, 270)
    feed.on_event(1, event(1, 270, "5"))
    feed.on_event(1, event(1, 300, "6", closed=True))
    assert heard == [moment(1, 270)]
    assert feeding.unproven() == {BTC: Reason.IMPOSSIBLE}
    assert feeding.book.state.closed(BTC, moment(1, 0)) is None
    feeding.now_ms = moment(1, 299)  # a second behind
    feed.on_event(1, event(1, 300, "6", closed=True, symbol=ETH))
    assert feeding.book.state.closed(ETH, moment(1, 0)) is not None
    assert feeding.unproven() == {BTC: Reason.IMPOSSIBLE}


@pytest.mark.parametrize("lives", [True, False])
def test_quiet_markets_stay_proven_while_the_heartbeat_comes(lives: bool) -> None:
    """None of the followed ones is traded for minutes: the connection is judged by all its data."""
    now_ms = moment(-1, 200)
    book = CandleBook(lambda change: None, now_ms=now_ms)
    feed = CandleFeed(book, lambda: now_ms)
    book.list_markets([BTC], now_ms)
    feed.on_epoch_began(1, TOPICS)
    for second in range(250, 902, 10):  # from before candle 0 to after candle 1
        now_ms = moment(-1, second)
        if lives:
            feed.on_heartbeat(1)
        if second in (250, 610):
            feed.on_event(1, event(second // 300 - 1, second % 300))
        book.tick(now_ms)
    now_ms = moment(2, 1)
    feed.on_event(1, event(1, 301, "9", closed=True))
    closed = book.state.closed(BTC, moment(1, 0))
    assert closed is not None
    assert closed.unproven is (None if lives else Reason.NOT_WHOLE)
    assert book.counts[Reason.PAUSED] == (0 if lives else 2)
