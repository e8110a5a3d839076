"""Binance's ticker, miniTicker and markPrice streams, of one market and of all."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from simulator.answers import dump
from simulator.binance import lists
from simulator.market import Market
from simulator.streams.candle_view import Tapes
from simulator.streams.clockwork import ClockFeed
from simulator.streams.feeds import Message
from simulator.streams.traded import Traded

Render = Callable[[Market, int], dict[str, Any]]
Markets = Callable[[], list[Market]]
# Rows of the other product, COIN-M, which the streams of all markets mix in.
_COIN_M: Final = ("BTCUSD_PERP", "ETHUSD_PERP", "XRPUSD_PERP")


def mini_ticker(market: Market, now_ms: int) -> dict[str, Any]:
    day = lists.ticker_24h(market, now_ms)
    return {
        "e": "24hrMiniTicker",
        "E": now_ms,
        "s": market.symbol,
        "ps": _pair(market.symbol),
        "c": day["lastPrice"],
        "o": day["openPrice"],
        "h": day["highPrice"],
        "l": day["lowPrice"],
        "v": day["volume"],
        "q": day["quoteVolume"],
        "st": 1,
    }


def ticker(market: Market, now_ms: int) -> dict[str, Any]:
    day = lists.ticker_24h(market, now_ms)
    return {
        "e": "24hrTicker",
        "E": now_ms,
        "s": market.symbol,
        "ps": _pair(market.symbol),
        "p": day["priceChange"],
        "P": day["priceChangePercent"],
        "w": day["weightedAvgPrice"],
        "c": day["lastPrice"],
        "Q": day["lastQty"],
        "o": day["openPrice"],
        "h": day["highPrice"],
        "l": day["lowPrice"],
        "v": day["volume"],
        "q": day["quoteVolume"],
        "O": day["openTime"],
        "C": day["closeTime"],
        "F": day["firstId"],
        "L": day["lastId"],
        "n": day["count"],
        "st": 1,
    }


def mark_price(market: Market, now_ms: int) -> dict[str, Any]:
    index = lists.premium_index(market, now_ms)
    return {
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": market.symbol,
        "p": index["markPrice"],
        "i": index["indexPrice"],
        "P": index["estimatedSettlePrice"],
        "r": index["lastFundingRate"],
        "ap": index["markPrice"],
        "T": index["nextFundingTime"],
        "st": 1,
    }


class OneFeed(ClockFeed):
    """One market's row, every `every_ms`; `if_traded`: only after a trade."""

    def __init__(
        self, market: Market, render: Render, tapes: Tapes, every_ms: int, *, if_traded: bool
    ) -> None:
        super().__init__(every_ms)
        self._market = market
        self._render = render
        self._traded = Traded(tapes) if if_traded else None

    def messages(self, now_ms: int) -> Iterable[Message]:
        if self._traded is not None and not self._traded.since_last(self._market, now_ms):
            return ()
        return (Message(dump(self._render(self._market, now_ms))),)


class AllFeed(ClockFeed):
    """An array of all markets' rows, COIN-M ones among them; TradFi contracts come in a frame of
    their own. `if_traded`: only markets with a trade since the last one; it may be empty."""

    def __init__(
        self, markets: Markets, render: Render, tapes: Tapes, every_ms: int, *, if_traded: bool,
        split: bool,
    ) -> None:  # fmt: skip
        super().__init__(every_ms)
        self._markets = markets
        self._render = render
        self._traded = Traded(tapes) if if_traded else None
        self._split = split

    def messages(self, now_ms: int) -> Iterable[Message]:
        found = [m for m in self._markets() if self._is_wanted(m, now_ms)]
        apart = [m for m in found if self._split and m.contract_type.startswith("TRADIFI")]
        rows = [self._render(m, now_ms) for m in found if m not in apart]
        rows += [_of_coin_m(rows[0], symbol) for symbol in _COIN_M if rows]
        frames = [Message(dump(rows))]
        if apart:
            frames.append(Message(dump([self._render(m, now_ms) for m in apart])))
        return frames

    def _is_wanted(self, market: Market, now_ms: int) -> bool:
        return self._traded is None or self._traded.since_last(market, now_ms)


def _of_coin_m(row: dict[str, Any], symbol: str) -> dict[str, Any]:
    return row | {"s": symbol, "st": 2} | ({"ps": _pair(symbol)} if "ps" in row else {})


def _pair(symbol: str) -> str:
    return symbol.partition("_")[0]
