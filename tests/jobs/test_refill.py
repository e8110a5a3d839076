"""What a document that is published again says is missing."""

from jobs.refill import Refill, _missing
from market.left_out import MOST_NAMED, LeftOut
from market.markets import NOT_FETCHED_YET, Exchange, Missing, MissingPart
from market.rows import Rows

NO_ROWS = Rows.of([])
BTC, ETH = "binance:BTCUSDT", "binance:ETHUSDT"


def lack(key: str, reason: str, part: MissingPart = "open_interest") -> Missing:
    exchange, symbol = key.split(":")
    return Missing(Exchange(exchange), symbol or None, part, reason)


def test_only_what_was_not_fetched_yet_goes_away_and_only_of_the_markets_that_are_done() -> None:
    others = [
        lack("binance:", "HTTP 502", "listing"),
        lack(BTC, NOT_FETCHED_YET, "funding_rate"),
        lack(BTC, "row at 0 left out: odd", "klines"),
        lack(BTC, "row at 0 left out: odd"),
        lack(BTC, "HTTP 500"),
        lack(ETH, NOT_FETCHED_YET),
        lack("bybit:BTCUSDT", NOT_FETCHED_YET),
    ]
    before = [*others, lack(BTC, NOT_FETCHED_YET)]
    assert sorted(_missing(before, {BTC: Refill(NO_ROWS)})) == sorted(others)


def test_a_reason_takes_its_place() -> None:
    found = _missing([lack(BTC, NOT_FETCHED_YET)], {BTC: Refill(NO_ROWS, reasons=["HTTP 404"])})
    assert found == [lack(BTC, "HTTP 404")]


def test_rows_left_out_join_those_told_of_before() -> None:
    before = [
        lack(BTC, "and 3 more, up to 1"),
        *(lack(BTC, f"row at {at} left out: odd") for at in range(2, MOST_NAMED)),
        lack(BTC, "row at 5 left out: odd", "klines"),
        lack(BTC, NOT_FETCHED_YET),
    ]
    rows = [LeftOut(at, "odd") for at in range(100, 105)]
    assert sorted(_missing(before, {BTC: Refill(NO_ROWS, rows)})) == sorted([
        lack(BTC, "row at 5 left out: odd", "klines"),
        lack(BTC, "and 6 more, up to 4"),
        *(lack(BTC, f"row at {at} left out: odd") for at in range(5, MOST_NAMED)),
        *(lack(BTC, f"row at {at} left out: odd") for at in range(100, 105)),
    ])  # fmt: skip
