"""How the markets of a run are dealt to helpers that come and go, and in which order it goes on."""

from dataclasses import dataclass

import pytest

from budgets.request_counts import RequestCounts
from data_collector.helped import Helped, packed
from market.markets import Exchange, Market
from tests.fixtures.clock import ManualClock
from timing.clock import Clock
from venues.venue import Endpoint, Request


class NothingSent:
    """A Sender of which nothing is wanted."""

    def __init__(self) -> None:
        self.clock: Clock = ManualClock()
        self.concurrency = 2
        self.counts = RequestCounts()

    async def send(self, request: Request, counts: RequestCounts) -> bytes:
        raise AssertionError(request)


@dataclass(frozen=True)
class One:
    market: Market


def some(count: int, exchange: Exchange = Exchange.BINANCE) -> list[Market]:
    return [Market(exchange, f"M{number:02}USDT", "M", "USDT") for number in range(count)]


def numbers(markets: list[Market]) -> list[int]:
    return [int(market.symbol[1:3]) for market in markets]


@pytest.fixture
def helped() -> Helped:
    return Helped(NothingSent(), some(12))


def goes_on(helped: Helped, count: int, exchange: Exchange = Exchange.BINANCE) -> list[int]:
    """The next markets of a run of twelve that begins now."""
    turn = helped.in_turn(exchange, [One(market) for market in some(12, exchange)])
    return numbers([next(turn).market for _ in range(count)])


def test_helpers_that_come_together_get_equal_parts(helped: Helped) -> None:
    dealt = helped.deal(3)
    assert [*map(numbers, dealt.values())] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_helper_that_comes_late_gets_what_nobody_has_begun(helped: Helped) -> None:
    turn = helped.in_turn(Exchange.BINANCE, [One(market) for market in some(12)])
    begun = [next(turn).market for _ in range(5)]
    assert numbers(begun) == [11, 10, 9, 8, 7]
    (part,) = helped.deal(1).values()
    assert numbers(part) == [0, 1, 2, 3, 4, 5, 6]
    # Both go on towards each other.
    assert numbers([next(turn).market for _ in range(2)]) == [6, 5]


def test_the_next_helper_gets_the_second_half_of_what_the_first_has_left(helped: Helped) -> None:
    ((first, part),) = helped.deal(1).items()
    for market in part[:4]:
        helped.arrived(market.key, packed({}))
    ((_, second),) = helped.deal(1).items()
    assert numbers(second) == [8, 9, 10, 11]
    assert helped.done(first) == {"binance": 8}  # it need not fetch what the second one has


def test_an_asker_tells_a_helper_what_it_has_done_by_itself(helped: Helped) -> None:
    ((part, _),) = helped.deal(1).items()
    assert helped.done(part) == {"binance": 12}
    assert goes_on(helped, 5) == [11, 10, 9, 8, 7]
    assert helped.done(part) == {"binance": 7 + 2}  # as many may wait here for room


def test_what_a_helper_does_not_bring_is_dealt_again(helped: Helped) -> None:
    ((first, part),) = helped.deal(1).items()
    for market in part[:3]:
        helped.arrived(market.key, packed({}))
    assert helped.left(Exchange.BINANCE) == 9 / 12
    assert helped.give_back(first) == 9
    ((_, again),) = helped.deal(1).items()
    assert numbers(again) == [3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_what_has_come_is_worked_through_first(helped: Helped) -> None:
    ((_, part),) = helped.deal(1).items()
    helped.arrived(part[0].key, packed({}))
    helped.arrived("binance:ANOTHERUSDT", packed({}))
    assert goes_on(helped, 2) == [0, 11]


def test_exchanges_are_dealt_apart() -> None:
    helped = Helped(NothingSent(), [*some(12), *some(12, Exchange.BYBIT)])
    assert goes_on(helped, 12, Exchange.BYBIT) == [*reversed(range(12))]
    (part,) = helped.deal(1).values()
    assert {market.exchange for market in part} == {Exchange.BINANCE}
    assert (helped.left(Exchange.BINANCE), helped.left(Exchange.BYBIT)) == (1, 0)


def test_nothing_is_dealt_where_everything_is_begun(helped: Helped) -> None:
    goes_on(helped, 12)
    assert helped.deal(2) == {}


def test_a_part_of_which_most_may_be_under_way_is_not_divided(helped: Helped) -> None:
    ((_, part),) = helped.deal(1).items()
    for market in part[:8]:
        helped.arrived(market.key, packed({}))
    assert helped.deal(1) == {}


async def test_an_answer_of_a_helper_is_told_of_when_it_is_used() -> None:
    told: list[tuple[str, bytes]] = []
    helped = Helped(
        NothingSent(), some(2), lambda request, body: told.append((request.target, body))
    )
    helped.deal(1)
    helped.arrived("binance:M01USDT", packed({"/one": b"[1]", "/two": b"[2]"}))
    assert told == []
    request = Request(Exchange.BINANCE, Endpoint.OPEN_INTEREST, "/two", "c", 1, "M01USDT")
    assert await helped.send(request, RequestCounts()) == b"[2]"
    assert told == [("/two", b"[2]")]
