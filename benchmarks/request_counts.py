"""What the simulator counted: the requests of a close, by endpoint and period, and as text."""

from collections.abc import Mapping
from typing import Any, Final

# An exchange may serve candles at two paths.
CANDLES: Final = ("klines", "history_klines")


def finest_requests(stats: Mapping[str, Any], endpoint: str) -> int:
    """Answered requests for 5m rows, of all exchanges."""
    names = CANDLES if endpoint in CANDLES else (endpoint,)
    asked = [each.get(name, {}) for each in stats["periods"].values() for name in names]
    return sum(each.get(period, 0) for each in asked for period in ("5m", "5", "5min"))


def requests_of_collections(stats: Mapping[str, Any]) -> int:
    """All requests but those of other jobs, such as for the funding of a midnight."""
    return sum(
        sum(statuses.values())
        for endpoints in stats["requests"].values()
        for endpoint, statuses in endpoints.items()
        if endpoint in (*CANDLES, "open_interest", "time")
    )


def told_requests(stats: Mapping[str, Any]) -> str:
    """Such as `binance klines 5m 450; ...`, audits included."""
    parts = [
        f"{exchange} {endpoint} " + ", ".join(f"{period} {n}" for period, n in periods.items())
        for exchange, endpoints in stats["periods"].items()
        for endpoint, periods in endpoints.items()
    ]
    return "; ".join(parts)
