"""Values that cannot be true on one word: jumps, stablecoins off their peg, first values."""

from decimal import Decimal

import pytest

from providers.answers import Answer
from providers.assets import load
from providers.errors import ErrorClass, NoAnswer
from providers.plausible import Plausible, are_two
from providers.records import Price, PriceKind
from providers.resources import Level
from tests.providers.asking import FakeProviders, SetClock, fails, prices, row
from tests.providers.conftest import OpenChains
from tests.providers.making import NOW_MS

ROWS = [row(name, level=level, ttl_s=0.0) for name, level in zip("abc", Level, strict=False)]
ONE, TWO, THREE = ROWS


def value(answer: Answer) -> Decimal:
    [found] = answer.records
    assert isinstance(found, Price)
    return found.value


async def test_a_jump_is_not_believed_and_its_teller_is_a_liar(
    asking: OpenChains, providers: FakeProviders
) -> None:
    async with asking(*ROWS) as opened:
        await opened.chains.ask(prices("btc"), 3)
        providers.does["a"] = providers.tell(factor=1000)
        answer = await opened.chains.ask(prices("btc"), 3)
        assert value(answer) == 60_000
        assert answer.served_by == {"btc": TWO.id}
        [alert] = opened.alerts
        assert (alert.kind, alert.resource) == ("quarantined", ONE.id)
        usage = await opened.chains.usage.read([ONE.id])
        assert dict(usage[ONE.id].failed) == {"bad_payload": 1}
        for _ in range(4):
            await opened.chains.ask(prices("btc"), 3)
        asked = providers.of("a")
        await opened.chains.ask(prices("btc"), 3)
        assert providers.of("a") <= asked + 1  # the breaker is open; a probe may be under way


async def test_a_jump_that_two_tell_is_believed(
    asking: OpenChains, providers: FakeProviders
) -> None:
    async with asking(*ROWS) as opened:
        await opened.chains.ask(prices("btc"), 3)
        providers.prices["bitcoin"] = 30_000.0
        answer = await opened.chains.ask(prices("btc"), 3)
        assert value(answer) == 30_000
        assert opened.alerts == []


async def test_a_jump_of_the_only_source_is_not_given(
    asking: OpenChains, providers: FakeProviders
) -> None:
    clock = SetClock()
    async with asking(ONE, clock=clock) as opened:
        await opened.chains.ask(prices("btc"), 3)
        providers.does["a"] = providers.tell(factor=1000)
        clock.now_ms += 100_000
        answer = await opened.chains.ask(prices("btc"), 3)
        assert value(answer) == 60_000
        assert answer.records[0].stale_since_ms is not None
        clock.now_ms += 300_000
        with pytest.raises(NoAnswer, match="not believed: btc: 6000000"):
            await opened.chains.ask(prices("btc"), 3)
        assert [each.kind for each in opened.alerts] == ["quarantined"]


@pytest.mark.parametrize("names", [["defillama", "coingecko"], ["coingecko", "defillama"]])
async def test_who_copies_is_no_second_source(
    asking: OpenChains, providers: FakeProviders, names: list[str]
) -> None:
    rows = [row(name, level=level, ttl_s=0.0) for name, level in zip(names, Level, strict=False)]
    assert not are_two(*rows)
    async with asking(*rows) as opened:
        await opened.chains.ask(prices("btc"), 3)
        providers.prices["bitcoin"] *= 1000
        answer = await opened.chains.ask(prices("btc"), 3)
        assert value(answer) == 60_000
        assert answer.records[0].stale_since_ms is not None


async def test_a_stablecoin_off_its_peg_needs_two(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = providers.tell(factor=0.9)
    async with asking(*ROWS) as opened:
        answer = await opened.chains.ask(prices("usdt"), 3)
        assert value(answer) == 1
        providers.prices["tether"] = 0.9
        providers.does["a"] = providers.tell()
        answer = await opened.chains.ask(prices("usdt"), 3)
        assert value(answer) == Decimal("0.9")


@pytest.mark.parametrize(
    ("told", "quote", "held"),
    [("0.94", "USD", True), ("1.06", "USDC", True), ("0.96", "USD", False), ("0.9", "EUR", False)],
)
def test_a_stablecoin_that_moves_a_little_is_held_where_it_leaves_its_peg(
    told: str, quote: str, held: bool
) -> None:
    def of(amount: str) -> Price:
        return Price(
            provider="a",
            resource="price.spot/a",
            fetched_at_ms=NOW_MS,
            as_of_ms=None,
            asset="usdt",
            quote=quote,
            kind=PriceKind.SPOT,
            value=Decimal(amount),
        )

    doubt = Plausible(load()).doubt(of(told), of("1"), NOW_MS + 60_000)
    assert (doubt is not None and doubt.held) is held


async def test_a_first_value_is_compared_and_of_two_that_differ_a_third_decides(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = providers.tell(factor=1000)
    async with asking(*ROWS) as opened:
        answer = await opened.chains.ask(prices("btc"), 3)
        assert value(answer) == 60_000
        assert [each.resource for each in opened.alerts] == [ONE.id]


async def test_first_values_that_contradict_each_other_are_not_given(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["a"] = providers.tell(factor=1000)
    async with asking(ONE, TWO) as opened:
        with pytest.raises(NoAnswer):
            await opened.chains.ask(prices("btc"), 3)


async def test_a_first_value_of_the_only_source_is_given(
    asking: OpenChains, providers: FakeProviders
) -> None:
    providers.does["b"] = fails(500)
    async with asking(ONE, TWO) as opened:
        assert value(await opened.chains.ask(prices("btc"), 3)) == 60_000


async def test_what_came_is_not_of_the_question(
    asking: OpenChains, providers: FakeProviders
) -> None:
    """Another kind of price, and one whose stamp is too old."""
    clock = SetClock()
    spot = row("a", read={**ONE.read, "kind": "spot"})
    providers.does["b"] = providers.tell(at=clock.now_ms - 3_600_000)
    async with asking(spot, TWO, THREE, clock=clock) as opened:
        answer = await opened.chains.ask(prices("btc"), 3)
    assert answer.served_by == {"btc": THREE.id}
    assert [(each.resource, each.error_class) for each in answer.tried] == [
        (spot.id, ErrorClass.UNKNOWN),
        (TWO.id, ErrorClass.BAD_PAYLOAD),
    ]


async def test_a_subject_that_nobody_has_is_not_asked_for_again(
    asking: OpenChains, providers: FakeProviders
) -> None:
    del providers.prices["solana"]
    async with asking(ONE, TWO) as opened:
        for _ in range(3):
            with pytest.raises(NoAnswer):
                await opened.chains.ask(prices("sol"), 3)
        assert providers.asked == ["a", "b"]
        assert (await opened.chains.ask(prices("btc"), 3)).served_by == {"btc": ONE.id}


async def test_a_subject_that_was_known_lately_is_asked_for_in_the_end(
    asking: OpenChains, providers: FakeProviders
) -> None:
    async with asking(ONE, TWO) as opened:
        await opened.chains.ask(prices("sol"), 3)
        sol = providers.prices.pop("solana")
        stale = await opened.chains.ask(prices("sol"), 3)
        assert stale.records[0].stale_since_ms is not None
        providers.prices["solana"] = sol
        answer = await opened.chains.ask(prices("sol"), 3)
        assert answer.served_by == {"sol": ONE.id}
        assert answer.records[0].stale_since_ms is None
