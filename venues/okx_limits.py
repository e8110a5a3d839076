"""OKX's limits: one of each endpoint, without weights; some are counted by market."""

from collections.abc import Mapping
from typing import Final

from venues.venue import Limit

LIMITS: Final[Mapping[str, Limit]] = {
    "time": Limit(10, 2),
    "instruments": Limit(20, 2),
    "candles": Limit(40, 2),
    "history_candles": Limit(20, 2),
    "open_interest": Limit(10, 2, by_market=True),
    "funding_now": Limit(10, 2, by_market=True),
    "funding": Limit(10, 2, by_market=True),
    "tickers": Limit(20, 2),
    "status": Limit(1, 5),
    # Of what is passed through alone (facade/exchanges); those of ratios share theirs.
    **{"books": Limit(40, 2), "trades": Limit(100, 2), "ratios": Limit(5, 2)},
    **{f"{each}_candles": Limit(20, 2) for each in ("mark", "index")},
    **{f"history_{each}_candles": Limit(10, 2) for each in ("mark", "index")},
    **{each: Limit(20, 2) for each in ("ticker", "index_tickers", "price_limit")},
    **{each: Limit(10, 2, by_market=True) for each in ("open_interest_now", "mark_price")},
}
