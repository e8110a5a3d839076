"""Reads which settlements of a market are known, from the document of all markets' funding."""

import orjson

from facade.history_questions import Settlements


def read_settlements(document: bytes, exchange: str, symbol: str) -> Settlements | None:
    """The known settlements of a market, of a document that was filtered to it; None where the
    document lacks it, or some of it: the exchange may have delisted it."""
    found = orjson.loads(document)
    if found["missing"]:
        return None
    for market in found["markets"]:
        if (market["exchange"], market["symbol"]) == (exchange, symbol):
            return Settlements([time_ms for time_ms, _ in market["rows"]], market["checked_at"])
    return None
