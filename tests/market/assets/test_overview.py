"""The figures of assets: by hand, and against a second computation over any input."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market.assets.overview import overview_of
from market.assets.readings import MarketHistory
from market.left_out import LeftOut
from market.markets import Exchange, FundingSeries, Market, MarketSeries
from tests.fixtures.base_rows import MIDNIGHT, STEP_MS, base_of
from tests.fixtures.naive_overview import Told, differences, naive_overview
from tests.fixtures.overviews import (
    AS_OF,
    EXCHANGES,
    HOUR_MS,
    NOW,
    history,
    market_of,
    served,
    told,
)


def only(markets: list[Told]) -> Any:
    """The one asset of these markets, which is also what the other computation finds."""
    found = served(markets)
    assert not differences(found, naive_overview(markets))
    (asset,) = found["assets"]
    return asset


def test_open_interest_is_summed_in_coins_and_in_quote_units() -> None:
    found = only(
        [
            told("binance", "1000PEPE", price=2000.0, interest=5.0),
            told("bybit", price=2.1, interest=1000.0),
            told("third", "PEPE1000", price=2200.0, interest=1.0),
        ]
    )
    assert found["open_interest"] == {
        "coins": 7000.0,
        "quote": 10_000.0 + 2100.0 + 2200.0,
        "exchanges": ["binance", "bybit", "third"],
    }
    assert [each["units"] for each in found["markets"]] == [1000, 1, 1000]
    assert found["price"]["lowest"] == 2.0 and found["price"]["highest"] == 2.2
    assert found["price"]["spread_bps"] == pytest.approx(1000.0)
    assert found["left_out"] == []


def test_funding_is_weighted_by_open_interest_and_told_for_8_hours_and_a_year() -> None:
    found = only(
        [
            told("binance", interest=300.0, settlements={NOW - 1: 0.0002}, hours=4),
            told("bybit", interest=100.0, settlements={NOW - HOUR_MS: -0.0008}),
        ]
    )
    assert found["markets"][0]["funding"]["rate_8h"] == pytest.approx(0.0004)
    assert found["markets"][0]["funding"]["rate_year"] == pytest.approx(0.0002 * 6 * 365)
    assert found["funding"]["rate_8h"] == pytest.approx((3 * 0.0004 - 0.0008) / 4)
    assert found["funding"]["rate_year"] == pytest.approx((3 * 0.0004 - 0.0008) / 4 * 1095)


def test_a_rate_that_a_later_one_may_have_replaced_is_not_told() -> None:
    checked = NOW - 7 * HOUR_MS  # of 8 h: NOW is 06:00
    found = only([told("binance", checked_ms=checked), told("bybit", interest=1.0)])
    assert found["markets"][0]["funding"] is None
    assert found["funding"]["exchanges"] == ["bybit"]


@pytest.mark.parametrize(
    ("invalid_ms", "after", "known"),
    [
        (NOW - 6 * HOUR_MS, False, False),
        (NOW - 14 * HOUR_MS, True, False),
        (NOW - 22 * HOUR_MS, False, True),
        (NOW, False, False),
        (NOW + HOUR_MS, False, True),
    ],
)
def test_the_rate_after_an_invalid_settlement_is_not_known(
    invalid_ms: int, after: bool, known: bool
) -> None:
    each = told()
    left_out = (LeftOut(invalid_ms, "no rate", after),)
    rows = [(NOW - 14 * HOUR_MS, 0.0001)]
    series = FundingSeries(market_of(each), rows, 8, NOW - 60_000, left_out)
    found = overview_of([history(each)], {series.market.key: series}, AS_OF)
    assert (found.assets[0].markets[0].funding is not None) == known


def test_a_settlement_at_the_instant_is_told_though_stamped_late() -> None:
    found = only(
        [told(settlements={NOW - 8 * HOUR_MS: 0.1, NOW + 12: 0.2}, hours=1, checked_ms=NOW)]
    )
    assert found["markets"][0]["funding"]["rate"] == 0.2


def test_a_market_listed_in_between_is_no_change() -> None:
    young = told("bybit", since_ms=NOW - 2 * HOUR_MS, interest=900.0)
    grown = told("binance", interest=100.0)
    grown.interest[NOW] = 110.0
    found = only([grown, young])
    assert found["open_interest"]["coins"] == 1010.0
    assert found["change"]["24h"] == {
        "coins": 10.0,
        "coins_fraction": 0.1,
        "quote": 20.0,
        "quote_fraction": 0.1,
        "exchanges": ["binance"],
    }
    assert found["change"]["1h"]["exchanges"] == ["binance", "bybit"]
    assert found["turnover_24h"]["partial"] == ["bybit"]
    assert found["markets"][1]["turnover_24h"] == {"quote": 240.0, "candles": 24}


def test_a_change_is_unknown_where_no_market_tells_both_instants() -> None:
    found = only([told(since_ms=NOW - 2 * HOUR_MS)])
    assert found["change"]["4h"] is None and found["change"]["24h"] is None
    assert found["change"]["1h"]["coins"] == 0.0


def test_growth_from_nothing_has_no_fraction() -> None:
    each = told()
    each.interest[NOW - HOUR_MS] = 0.0
    assert only([each])["change"]["1h"]["coins_fraction"] is None


def test_unknown_is_never_zero() -> None:
    found = only([told(interest=0.0), told("bybit", interest=1.0)])
    assert found["markets"][0]["open_interest"] == {"coins": 0.0, "quote": 0.0}
    nothing = told("bybit")
    nothing.interest.clear()
    found = only([nothing])
    assert found["open_interest"] == {"coins": None, "quote": None, "exchanges": []}
    assert found["funding"]["rate_8h"] is None


def test_of_two_coins_with_one_name_neither_is_summed() -> None:
    found = only([told("binance", price=2.0), told("bybit", price=0.5)])
    assert found["open_interest"]["coins"] is None and found["price"]["median"] is None
    assert [each["exchange"] for each in found["left_out"]] == ["binance", "bybit"]
    assert "nothing tells which" in found["left_out"][0]["reason"]
    assert found["markets"][0]["open_interest"]["quote"] == 200.0  # its own numbers stand


def test_the_coin_that_two_of_three_do_not_mean_is_left_out() -> None:
    markets = [told("binance"), told("bybit", price=2.02), told("third", price=40.0, interest=1.0)]
    found = only(markets)
    assert found["open_interest"]["exchanges"] == ["binance", "bybit"]
    (left,) = found["left_out"]
    assert left["exchange"] == "third"
    assert "40" in left["reason"] and "1.5" in left["reason"]


def test_prices_count_by_turnover_where_open_interest_is_not_known_of_all() -> None:
    traded = told("third", price=1.4)
    traded.interest.clear()
    traded.candles = {ms: (price, 1000.0) for ms, (price, _) in traded.candles.items()}
    markets = [told("binance", price=1.0), told("bybit", price=1.2), traded]
    assert only(markets)["price"]["median"] == 1.4
    traded.candles = {ms: (price, 10.0) for ms, (price, _) in traded.candles.items()}
    assert only(markets)["price"]["median"] == 1.2


def test_stale_markets_are_named_and_not_summed() -> None:
    older = told("bybit")
    del older.candles[NOW - STEP_MS]
    found = only([told("binance"), older, told("third", stale_since=NOW)])
    assert found["open_interest"]["exchanges"] == ["binance"]
    reasons = {each["exchange"]: each["reason"] for each in found["left_out"]}
    assert str(NOW - STEP_MS) in reasons["bybit"] and str(NOW) in reasons["third"]


def test_everything_is_told_of_the_instant_before_while_open_interest_comes() -> None:
    markets = [told(exchange, base) for exchange in EXCHANGES for base in ("AA", "BB", "CC")]
    assert served(markets)["at"] == NOW
    for each in markets:
        del each.interest[NOW]
    assert served(markets)["at"] == NOW - STEP_MS
    for each in markets[:-1]:
        each.interest[NOW] = 1.0
    assert served(markets)["at"] == NOW - STEP_MS  # 8 of 9
    markets.append(told("bybit", "DD"))
    assert served(markets)["at"] == NOW  # 9 of 10
    assert not differences(served(markets), naive_overview(markets))


def test_a_hole_at_the_instant_leaves_the_market_out() -> None:
    one, other = told("binance"), told("bybit")
    for each in (one, other):
        del each.interest[NOW]
    del other.candles[NOW - 2 * STEP_MS]
    found = only([one, other])
    assert found["markets"][1]["price"] is None
    assert f"no candle that ended at {NOW - STEP_MS}" in found["left_out"][0]["reason"]


def test_nothing_is_known_without_candles() -> None:
    assert served([]) == {"at": None, "assets": []}
    assert served([told(candles={})]) == {"at": None, "assets": []}


def test_assets_and_markets_come_in_order_whatever_the_input() -> None:
    markets = [told(x, base) for base in ("ZZ", "1000PEPE", "AA", "PEPE") for x in EXCHANGES]
    found = served(markets)
    assert found == served(markets[::-1])
    assert [each["asset"] for each in found["assets"]] == ["AA", "PEPE", "ZZ"]
    assert [(m["exchange"], m["symbol"]) for m in found["assets"][1]["markets"]] == sorted(
        (m["exchange"], m["symbol"]) for m in found["assets"][1]["markets"]
    )


def test_a_base_tells_only_candles_that_were_seen_closed() -> None:
    """The one that forms, and one that was read before its close, are none."""
    market = Market(Exchange.BINANCE, "PEPEUSDT", "PEPE", "USDT")
    base = base_of(range(12), as_of_ms=11 * STEP_MS + 1000)
    found = MarketHistory.of_base(market, base)
    assert found.closed_ms == MIDNIGHT + 11 * STEP_MS
    assert found.interest.times[-1] == MIDNIGHT + 11 * STEP_MS
    unread = base.until(MIDNIGHT + 14 * STEP_MS)
    assert MarketHistory.of_base(market, unread).closed_ms == MIDNIGHT + 10 * STEP_MS


def test_the_document_tells_the_same_as_the_base() -> None:
    market = Market(Exchange.BINANCE, "PEPEUSDT", "PEPE", "USDT")
    as_of = MIDNIGHT + 11 * STEP_MS + 1000
    base = base_of(range(12), as_of_ms=11 * STEP_MS + 1000)
    of_base = MarketHistory.of_base(market, base)
    of_series = MarketHistory.of_series(MarketSeries(market, base.rows, as_of), as_of)
    assert of_base.candles.times.tolist() == of_series.candles.times.tolist()
    assert list(of_base.interest) == list(of_series.interest)


# --- any input ---------------------------------------------------------------------------------

_PRICES = st.sampled_from([2.0, 2.1, 1.999, 2.9, 3.1, 0.002, 40.0])
_SLOTS = st.sampled_from([1, 2, 3, 12, 13, 48, 49, 288, 289, 290])


@st.composite
def _any_market(draw: st.DrawFn, exchange: str, base: str) -> Told:
    count = draw(st.sampled_from([0, 1, 5, 13, 50, 289, 300]))
    last = draw(st.sampled_from([0, 0, 0, 0, 1, 2]))
    price = draw(_PRICES) * (1000 if base.startswith("1000") else 1)
    opens = [NOW - STEP_MS * (last + 1 + back) for back in range(count)]
    each = Told(exchange, f"{base}USDT", base)
    wave = draw(st.sampled_from([0.0, 0.001]))
    each.candles = {ms: (price * (1 + wave * (i % 7)), 1.5 + i % 11) for i, ms in enumerate(opens)}
    each.interest = {ms: draw(st.sampled_from([0.0, 7.5])) + i % 5 for i, ms in enumerate(opens)}
    if draw(st.booleans()):
        each.interest[NOW] = draw(st.sampled_from([0.0, 3.25, 1e6]))
    for slot in draw(st.lists(_SLOTS, max_size=3)):
        each.candles.pop(NOW - slot * STEP_MS, None)
    for slot in draw(st.lists(_SLOTS, max_size=3)):
        each.interest.pop(NOW - (slot - 1) * STEP_MS, None)
    each.stale_since = draw(st.sampled_from([None] * 6 + [NOW - STEP_MS]))
    each.hours = draw(st.sampled_from([1, 2, 4, 8]))
    each.checked_ms = draw(st.sampled_from([None, NOW - 8 * HOUR_MS, NOW - 3, NOW, AS_OF]))
    settled = draw(st.lists(st.sampled_from([-9, -8, -4, -1, 0, 1]), max_size=3))
    each.settlements = {NOW + hours * HOUR_MS + 5: 0.0001 * (hours + 3) for hours in settled}
    return each


@st.composite
def _any_markets(draw: st.DrawFn) -> list[Told]:
    exchanges = draw(st.sampled_from([EXCHANGES[:1], EXCHANGES[:2], EXCHANGES]))
    bases = draw(st.sampled_from([("AA",), ("AA", "1000AA"), ("AA", "BB")]))
    pairs = [(x, b) for x in exchanges for b in bases]
    kept = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=len(pairs)))
    return [draw(_any_market(exchange, base)) for exchange, base in kept]


@settings(max_examples=150, deadline=None)
@example([told("binance"), told("bybit", price=3.0), told("third", price=3.01)])
@given(_any_markets())
def test_any_markets_have_the_figures_of_the_other_computation(markets: list[Told]) -> None:
    found, expected = served(markets), naive_overview(markets)
    assert not differences(found, expected)
