"""The data of data points: what a MarketDataPoint of the built-in collectors holds, by type.

Prices and sizes are Decimal, exact in the exchange's text; sizes and volumes in base units,
turnover in quote units; moments are datetimes in UTC. Every `data` has `exchange_symbol`, the
exchange's own name of the market.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from live.events import CandleEvent, Level, TickerEvent, TradeEvent
from live.reading import INTERVALS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_ms: int) -> datetime:
    """UTC milliseconds as a datetime in UTC, exactly."""
    return _EPOCH + timedelta(milliseconds=time_ms)


def candle_data(event: CandleEvent) -> dict[str, Any]:
    """`timeframe`, `timestamp` and `close_time` (opening, and the opening of the next candle),
    `open`, `high`, `low`, `close`, `volume`, `turnover`, `trades_count` (None where the exchange
    does not tell it), `closed` (the exchange's own flag: while it is False the candle changes).

    These are what BaseDataCollector.validate_ohlcv_data makes an OHLCVData of.
    """
    interval_ms = INTERVALS[event.timeframe][1]
    return {
        "exchange_symbol": event.symbol,
        "timeframe": event.timeframe,
        "timestamp": moment(event.open_time_ms),
        "close_time": moment(event.open_time_ms + interval_ms),
        "open": Decimal(event.open),
        "high": Decimal(event.high),
        "low": Decimal(event.low),
        "close": Decimal(event.close),
        "volume": Decimal(event.volume),
        "turnover": Decimal(event.turnover),
        "trades_count": event.trades,
        "closed": event.closed,
    }


def trade_data(event: TradeEvent) -> dict[str, Any]:
    """`trade_id`, `price`, `size`, `side` of the taker ("buy" or "sell")."""
    return {
        "exchange_symbol": event.symbol,
        "trade_id": event.trade_id,
        "price": Decimal(event.price),
        "size": Decimal(event.size),
        "side": event.side,
    }


def ticker_data(symbol: str, values: Mapping[str, str]) -> dict[str, Any]:
    """What is known of the market, by the names of TickerEvent: last_price, bid_price, ask_price,
    high_24h, volume_24h and others; an exchange does not tell all. `trades_24h` is an int."""
    data: dict[str, Any] = {"exchange_symbol": symbol}
    for name, text in values.items():
        data[name] = int(text) if name == "trades_24h" else Decimal(text)
    return data


def book_data(
    symbol: str, bids: Sequence[Level], asks: Sequence[Level], last_id: int
) -> dict[str, Any]:
    """`bids` and `asks`: lists of (price, size), the best first; `last_id`: the exchange's number
    of the book's last change."""
    return {
        "exchange_symbol": symbol,
        "bids": [(Decimal(price), Decimal(size)) for price, size in bids],
        "asks": [(Decimal(price), Decimal(size)) for price, size in asks],
        "last_id": last_id,
    }


class Tickers:
    """The whole tickers of an exchange that sends changes, on each connection by itself."""

    def __init__(self) -> None:
        self._states: dict[tuple[int, str], dict[str, str]] = {}

    def merged(self, epoch: int, event: TickerEvent) -> Mapping[str, str] | None:
        """All that is known after this event; None for a change before anything whole."""
        if not event.is_change:
            self._states[epoch, event.symbol] = dict(event.values)
            return event.values
        state = self._states.get((epoch, event.symbol))
        if state is None:
            return None
        state.update(event.values)
        return dict(state)

    def end(self, epoch: int, symbols: Sequence[str] | None = None) -> None:
        """Forgets a connection, or these markets on it."""
        for key in list(self._states):
            if key[0] == epoch and (symbols is None or key[1] in symbols):
                del self._states[key]
