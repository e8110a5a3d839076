"""What a backfill costs, beside the table of the documents' facts, which was computed by hand.

The table is for a year of 500 markets on each exchange, at 0.9 of the limits, in rounded numbers.
"""

import pytest

from history.backfill.bounds import Bounds
from history.backfill.cost import Costs
from history.backfill.planning import estimate
from history.backfill.series import Target, stages
from history.backfill.shares import shares_beside_collections
from history.backfill.wanted import wish
from market.markets import Exchange, Market
from market.timeframes import DAY_MS, Timeframe

NOW_MS = 1_795_132_800_000 + 700_000  # some minutes after a full day, 2026-11-20
BINANCE, BYBIT, OKX = Exchange.BINANCE, Exchange.BYBIT, Exchange.OKX
MARKETS = 500
NINE = [each for each in Timeframe if each.collected_as is each]


def costs_of(
    *, timeframes: list[Timeframe], what: str, hours: int = 8, share: float = 1.0
) -> Costs:
    wanted = wish(
        timeframes=timeframes,
        what=[what],
        from_ms=NOW_MS - 700_000 - 365 * DAY_MS,
        collected=[BINANCE, BYBIT],
        usual=NINE,
        now_ms=NOW_MS,
    )
    targets = [
        Target(Market(exchange, f"M{number}USDT", f"M{number}", "USDT", 1), funding_hours=hours)
        for exchange in (BINANCE, BYBIT)
        for number in range(MARKETS)
    ]
    bounds = Bounds(NOW_MS, lambda _: 0, {})
    shares = shares_beside_collections(0.9, share, {BINANCE: 0, BYBIT: 0})
    return estimate(wanted, targets, lambda _: bounds, {}, Costs(0.9, shares))


@pytest.mark.parametrize(
    ("timeframe", "binance", "bybit"),
    [
        ("5m", (105_500, 98), (53_000, 8.2)),
        ("15m", (35_500, 33), (18_000, 2.8)),
        ("30m", (18_000, 17), (9_000, 1.4)),
        ("1h", (9_000, 8.3), (4_500, 0.7)),
        ("2h", (4_500, 4.2), (2_500, 0.4)),
        ("4h", (2_500, 2.3), (1_500, 0.2)),
    ],
)
def test_candles(timeframe: str, binance: tuple[int, float], bybit: tuple[int, float]) -> None:
    costs = costs_of(timeframes=[Timeframe(timeframe)], what="candles")
    asked = {line.exchange: line for line in costs.lines() if line.requests}
    for exchange, (requests, minutes) in ((BINANCE, binance), (BYBIT, bybit)):
        assert asked[exchange].requests == pytest.approx(requests, abs=500), exchange
        assert asked[exchange].seconds / 60 == pytest.approx(minutes, rel=0.05, abs=0.1), exchange
    assert costs.seconds / 60 == pytest.approx(binance[1], rel=0.05)


def test_nine_timeframes() -> None:
    limits = costs_of(timeframes=NINE, what="candles").by_limit()
    assert limits[BINANCE, "weight"][1] / 60 == pytest.approx(166, rel=0.02)
    assert limits[BYBIT, "requests"][1] / 60 == pytest.approx(14, rel=0.03)


@pytest.mark.parametrize(
    ("timeframe", "binance", "bybit"),
    [
        ("5m", (9_000, 50), (263_000, 41)),
        ("15m", (3_000, 17), (88_000, 14)),
        ("1h", (1_000, 5.6), (22_000, 3.4)),
        ("2h", (500, 2.8), (22_000, 3.4)),
        ("4h", (500, 2.8), (5_500, 0.8)),
        ("1d", (500, 2.8), (1_000, 0.2)),
    ],
)
def test_open_interest(
    timeframe: str, binance: tuple[int, float], bybit: tuple[int, float]
) -> None:
    costs = costs_of(timeframes=[Timeframe(timeframe)], what="open_interest")
    for line, (requests, minutes) in zip(costs.lines(), (binance, bybit), strict=True):
        assert line.requests == pytest.approx(requests, abs=500)
        assert line.seconds / 60 == pytest.approx(minutes, rel=0.06, abs=0.1)


@pytest.mark.parametrize(
    ("hours", "binance", "bybit"),
    [(8, (1_000, 11), 0.5), (4, (1_500, 17), 0.85), (1, (4_500, 50), 3.4)],
)
def test_funding(hours: int, binance: tuple[int, float], bybit: float) -> None:
    first, second = costs_of(timeframes=NINE, what="funding", hours=hours).lines()
    assert first.requests == pytest.approx(binance[0], abs=1)
    assert first.seconds / 60 == pytest.approx(binance[1], rel=0.03)
    assert second.seconds / 60 == pytest.approx(bybit, rel=0.1)


def test_half_of_the_budget_takes_twice_the_time() -> None:
    whole = costs_of(timeframes=[Timeframe.H1], what="candles")
    half = costs_of(timeframes=[Timeframe.H1], what="candles", share=0.5)
    assert half.seconds == pytest.approx(2 * whole.seconds)
    assert half.requests == whole.requests


def test_a_limit_by_market_takes_the_time_of_one_market() -> None:
    wanted = wish(
        timeframes=[Timeframe.H1],
        what=["candles", "open_interest"],
        from_ms=NOW_MS - 40 * DAY_MS,
        collected=[OKX],
        usual=NINE,
        now_ms=NOW_MS,
    )
    targets = [
        Target(Market(OKX, f"M{n}USDT", f"M{n}", "USDT", 1), funding_hours=8) for n in range(100)
    ]
    bounds = Bounds(NOW_MS, lambda _: 0, {})
    shares = shares_beside_collections(0.9, 0.5, {OKX: 100})
    assert shares[OKX, "open_interest"] == 0.5  # collections need one request of each market
    costs = estimate(wanted, targets, lambda _: bounds, {}, Costs(0.9, shares))
    found = {line.name: line for line in costs.lines() if line.requests}
    # 960 hours: 4 pages of candles, 10 of snapshots.
    assert found["1h"].requests == pytest.approx(400, abs=100)
    assert found["1h"].seconds == found["1h"].requests * 2 / (18 * 0.5)
    assert found["open_interest"].requests == pytest.approx(1000, abs=100)
    assert found["open_interest"].seconds == found["open_interest"].requests / 100 * 2 / (9 * 0.5)
    by_limit = costs.by_limit()
    assert by_limit[OKX, "open_interest"] == (
        found["open_interest"].requests,
        found["open_interest"].seconds,
    )


def test_open_interest_of_which_longer_periods_reach_further() -> None:
    """A year of OKX's: 1,440 of 5m, then of 15m what is older, and so on; all of it is one line."""
    wanted = wish(
        timeframes=NINE,
        what=["open_interest"],
        from_ms=NOW_MS - 700_000 - 365 * DAY_MS,
        collected=[OKX],
        usual=NINE,
        now_ms=NOW_MS,
    )
    targets = [Target(Market(OKX, "BTCUSDT", "BTC", "USDT", 1))]
    bounds = Bounds(NOW_MS, lambda _: 0, {})
    shares = shares_beside_collections(0.9, 0.5, {OKX: 100})
    (line,) = estimate(wanted, targets, lambda _: bounds, {}, Costs(0.9, shares)).lines()
    # 5 days of 5m, 10 of 15m, 15 of 30m, 30 of 1h, 60 of 2h, 120 of 4h, 120 of 6h, 5 of 12h.
    rows = [1440, 960, 720, 720, 720, 720, 480, 10]
    assert line.rows == pytest.approx(sum(rows), abs=20)  # an hour more of each
    assert line.requests == pytest.approx(sum(-(-each // 100) for each in rows), abs=3)
    assert line.name == "open_interest"
    periods = [str(each.period) for each in stages(OKX, wanted)]
    assert periods == ["5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"]
    for exchange in (BINANCE, BYBIT):  # all periods reach as far
        assert [str(each.period) for each in stages(exchange, wanted)] == ["5m"]
