"""A market's trades of the recent past, from its tapes, for the exchanges' lists of trades."""

from typing import Final

from simulator.candles import HOUR_MS, MINUTE_MS, SLOT_MS
from simulator.market import Market
from simulator.tape import IDS_A_MINUTE, Tape, Trade

_REACH_MS: Final = 2 * HOUR_MS  # how far lists of the newest trades go back (choice)


def newest_trades(market: Market, now_ms: int, limit: int) -> list[Trade]:
    """The last `limit` trades before now, ascending."""
    found: list[Trade] = []
    at_ms = now_ms
    while len(found) < limit and at_ms > now_ms - _REACH_MS:
        tape = market.candles.tape(at_ms)
        if tape is None:
            at_ms -= at_ms % SLOT_MS + 1
            continue
        last = tape.count_at(now_ms)
        first = max(last - (limit - len(found)), 0)
        found = _trades(tape, first, last) + found
        at_ms = tape.start_ms - 1
    return found


def trades_between(market: Market, first_ms: int, last_ms: int, limit: int) -> list[Trade]:
    """The first `limit` trades from one time to another, both included, ascending."""
    found: list[Trade] = []
    at_ms = first_ms
    while len(found) < limit and at_ms <= last_ms:
        tape = market.candles.tape(at_ms)
        if tape is None:
            at_ms += SLOT_MS - at_ms % SLOT_MS
            continue
        first = tape.count_at(first_ms - 1) if first_ms > tape.start_ms else 0
        last = min(tape.count_at(last_ms), first + limit - len(found))
        found += _trades(tape, first, last)
        at_ms = tape.start_ms + tape.length_ms
    return found


def trades_from_number(market: Market, number: int, now_ms: int, limit: int) -> list[Trade]:
    """The first `limit` trades up to now that have this number or a later one, ascending."""
    around_ms = (number - 1) // IDS_A_MINUTE * MINUTE_MS
    tape = market.candles.tape(around_ms) if around_ms <= now_ms else None
    first_ms = around_ms if tape is None else tape.start_ms
    found = trades_between(market, first_ms, now_ms, limit + number % IDS_A_MINUTE)
    return [trade for trade in found if trade.number >= number][:limit]


def _trades(tape: Tape, first: int, last: int) -> list[Trade]:
    return [tape.trade(event) for event in range(first + 1, last + 1)]
