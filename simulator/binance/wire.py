"""Binance USD-M's simulated HTTP API: paths, parameter checks, weights, row formats.

A comment says "choice" where the documentation is silent.
"""

from argparse import Namespace
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from simulator.answers import HTML, JSON_UTF8, PERIODS_MS, Answer, candle_rows, dump, times_of
from simulator.binance import lists, refusals, trading
from simulator.binance import markets as own_markets
from simulator.binance.limits import NAME, BinanceLimits, BinanceLimitSettings, add_options
from simulator.binance.price_candles import price_rows
from simulator.binance.rows import funding_rows, kline_rows, open_interest_rows
from simulator.binance.streams.books import rest_book
from simulator.binance.streams.exchange import BinanceStreams
from simulator.candles import HOUR_MS, MINUTE_MS, Ints
from simulator.exchange import Admission, BodyShape, Exchange, ListedContract, MakeMarket, own_text
from simulator.exchange_markets import ExchangeMarkets
from simulator.funding import Settlement
from simulator.market import FundingSource, Market
from simulator.pages import RowPages
from simulator.parameters import FAR_MS, Query, whole_number
from simulator.recent_trades import newest_trades, trades_between, trades_from_number
from simulator.stats import Stats
from simulator.streams.book import Book
from simulator.streams.candle_view import Tapes
from simulator.text import fixed

_FIRST_FUNDING_MS: Final = 1_568_102_400_000  # of the first contract, 2019-09-10 08:00

_PATHS: Final = {
    "/fapi/v1/ping": "ping",
    "/fapi/v1/time": "time",
    "/fapi/v1/exchangeInfo": "exchange_info",
    "/fapi/v1/klines": "klines",
    "/fapi/v1/continuousKlines": "continuous_klines",
    "/fapi/v1/markPriceKlines": "mark_klines",
    "/fapi/v1/indexPriceKlines": "index_klines",
    "/fapi/v1/premiumIndexKlines": "premium_klines",
    "/fapi/v1/depth": "depth",
    "/fapi/v1/trades": "trades",
    "/fapi/v1/aggTrades": "aggregated_trades",
    "/futures/data/openInterestHist": "open_interest",
    "/fapi/v1/openInterest": "open_interest_now",
    "/fapi/v1/fundingRate": "funding",
    "/fapi/v1/fundingInfo": "funding_info",
    "/fapi/v1/premiumIndex": "premium_index",
    "/fapi/v1/ticker/24hr": "ticker_24h",
    "/fapi/v1/ticker/price": "ticker_price",
    "/fapi/v2/ticker/price": "ticker_price",
    "/fapi/v1/ticker/bookTicker": "book_ticker",
}
# Endpoint -> the counter that it is counted in; the others count by weight.
_COUNTERS: Final = {"open_interest": "data", "funding": "funding", "funding_info": "funding"}
# Limit of GET depth -> its weight; other limits are refused.
_DEPTH_WEIGHTS: Final = {
    "5": 2, "10": 2, "20": 2, "50": 2, "100": 5, "500": 10, "1000": 20,
}  # fmt: skip
_WEIGHTS_ONE_ALL: Final = {
    "premium_index": (1, 10), "ticker_24h": (1, 40), "ticker_price": (1, 2),
    "book_ticker": (2, 5), "trades": (5, 5), "aggregated_trades": (20, 20),
}  # fmt: skip
# Their header of used weight is documented to be wrong.
_WRONG_HEADER: Final = ("ticker_price", "book_ticker")
_CONTRACT_TYPES: Final = ("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL")


class Refused(Exception):
    """The exchange rejects the parameters; with HTTP status and body."""

    def __init__(self, code: int, message: str, *, rejected: bool = True) -> None:
        super().__init__(message)
        self.status = 400
        self.rejected = rejected  # False if the client could not have known
        self.body = dump({"code": code, "msg": message})


class FundingLimitRefused(Refused):
    """The special error body of fundingRate with limit > 1000 (HTTP 400: choice)."""

    def __init__(self) -> None:
        super().__init__(0, "")
        text = "limit can not greater than 1000"
        self.body = dump(
            {
                "status": "ERROR", "type": "VALID", "code": "000002", "errorData": {"limit": text},
                "data": None, "subData": None, "params": None,
            }
        )  # fmt: skip


class Window(NamedTuple):
    start_ms: int | None
    end_ms: int | None


class Binance(Exchange):
    """The simulated Binance USD-M."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Binance USD-M futures"
    prefixes = ("/fapi/", "/futures/")
    paths = _PATHS
    page_rows: ClassVar[Mapping[str, int]] = {"klines": 500, "open_interest": 30, "funding": 100}
    traits = own_markets.TRAITS
    streams = BinanceStreams
    shape = BodyShape(
        rows_at=((), ("symbols",)),
        open_interest=("openInterest", "sumOpenInterest"),
        times=("timestamp", "fundingTime"),
    )

    def __init__(self, markets: ExchangeMarkets, stats: Stats, options: Namespace) -> None:
        super().__init__(markets, stats, options)
        self._limits = BinanceLimits(
            BinanceLimitSettings.from_options(options), markets.clock, stats
        )
        self._answers: dict[str, Callable[[Query], bytes]] = {
            "ping": lambda query: b"{}",
            "time": lambda query: dump({"serverTime": self.now_ms()}),
            "exchange_info": self._exchange_info,
            "klines": self._klines,
            "continuous_klines": self._continuous_klines,
            "mark_klines": lambda query: self._price_klines("mark_klines", query),
            "index_klines": lambda query: self._price_klines("index_klines", query),
            "premium_klines": lambda query: self._price_klines("premium_klines", query),
            "depth": self._depth,
            "trades": self._trades,
            "aggregated_trades": self._aggregated_trades,
            "open_interest": self._open_interest,
            "open_interest_now": self._open_interest_now,
            "funding": self._funding,
            "funding_info": self._funding_info,
            "premium_index": self._premium_index,
            "ticker_24h": self._ticker_24h,
            "ticker_price": self._ticker_price,
            "book_ticker": self._book_ticker,
        }

    def answer(self, endpoint: str, query: Query) -> Answer:
        """Answers a request that the rate limits have admitted."""
        kind = JSON_UTF8 if endpoint in _COUNTERS else "application/json"
        try:
            return Answer(200, self._answers[endpoint](query), kind)
        except Refused as refused:
            return Answer(refused.status, refused.body, kind, rejected=refused.rejected)

    @classmethod
    def add_options(cls, group: Any) -> None:
        add_options(group)

    def admit(self, client: str, endpoint: str, query: Query) -> Admission:
        counter, cost = self._cost(endpoint, query)
        refusal = self._limits.take(client, counter, cost)
        headers = self._headers(endpoint, self._limits.weight_used(client), cost)
        if refusal is None:
            return Admission(counter, headers)
        return Admission(counter, headers, refusals.refusal(refusal, client, self._limits.settings))

    def reset_limits(self) -> None:
        self._limits.forget()

    def unknown_path(self) -> Answer:
        return Answer(404, b"<html><head><title>404 Not Found</title></head></html>", HTML)

    def bad_status(self, status: int, rule: Mapping[str, Any], client: str, counter: str) -> Answer:
        """An HTTP error; a 429 or 418 is enforced against further requests."""
        settings = self._limits.settings
        if status == 429:
            refusal = self._limits.refuse_429(
                client, counter, float(rule.get("retry_after", 5)), by_fault=True
            )
            return refusals.refusal(refusal, client, settings)
        if status == 418:
            ban_s = float(rule.get("ban_s", settings.ban_s))
            return refusals.refusal(self._limits.ban(client, ban_s), client, settings)
        return own_text(status, rule) or refusals.bad_status(status, str(rule.get("variant", "")))

    def long_message(self, length: int) -> Answer:
        return Answer(400, dump({"code": -1100, "msg": "symbol" * (length // 6)}), JSON_UTF8)

    @classmethod
    def uncollected(cls, make: MakeMarket, start_ms: int) -> list[Market]:
        return own_markets.uncollected(make, start_ms)

    @classmethod
    def recorded_lists(cls, folder: Path) -> dict[str, dict[str, Any]]:
        return own_markets.recorded_lists(folder)

    @classmethod
    def listed_contract(cls, entry: Mapping[str, Any]) -> ListedContract:
        return own_markets.listed_contract(entry)

    def _cost(self, endpoint: str, query: Query) -> tuple[str, int]:
        """The counter that a request is counted in, and its cost."""
        if endpoint in _COUNTERS:
            return _COUNTERS[endpoint], 1
        if endpoint.endswith("klines"):
            limit = whole_number(query.get("limit", "500")) or 500
            return "weight", 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
        if endpoint == "depth":
            return "weight", _DEPTH_WEIGHTS.get(query.get("limit", "500"), 20)
        one, every = _WEIGHTS_ONE_ALL.get(endpoint, (1, 1))
        return "weight", one if query.get("symbol") else every

    def _headers(self, endpoint: str, weight_used: int, cost: int) -> dict[str, str]:
        """The weight headers, for endpoints where the exchange sends them."""
        if endpoint in _COUNTERS:
            return {}
        if endpoint in _WRONG_HEADER:  # choice: this request's own
            weight_used = cost
        return {"x-mbx-used-weight-1m": str(weight_used), "x-response-time": "1ms"}

    # --- parameters

    def _market(self, query: Query) -> Market:
        if not query.get("symbol"):
            raise _missing("symbol")
        market = self.markets.find(self.name, query["symbol"])
        if market is None:
            known = query["symbol"] in self.markets.by_exchange[self.name]
            raise Refused(-1121, "Invalid symbol.", rejected=not known)
        return market

    def _contract(self, query: Query, contract_type: str) -> Market:
        """The contract of this type that the parameter `pair` has."""
        if not query.get("pair"):
            raise _missing("pair")
        for market in self.markets.by_exchange[self.name].values():
            pair = market.symbol.partition("_")[0]
            if pair == query["pair"] and market.contract_type == contract_type and not market.gone:
                return market
        raise Refused(-4144, "Invalid pair.")  # the text: choice

    def _limit(self, query: Query, default: int, most: int) -> int:
        limit = _number(query, "limit")
        if limit is None:
            return default
        if not 1 <= limit <= most:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return limit

    def _window(self, query: Query) -> Window:
        start_ms, end_ms = _number(query, "startTime"), _number(query, "endTime")
        if start_ms is not None and end_ms is not None and start_ms > end_ms:
            raise Refused(-1023, "Start time is greater than end time.")
        return Window(start_ms, end_ms)

    # --- candles

    def _klines(self, query: Query) -> bytes:
        market = self._market(query)

        def render(candles: Ints, interval_ms: int) -> list[bytes]:
            return kline_rows(candles, interval_ms, market.price_decimals, market.quantity_decimals)

        return self._candles(query, market, market.name, render)

    def _continuous_klines(self, query: Query) -> bytes:
        if not query.get("contractType"):
            raise _missing("contractType")
        if query["contractType"] not in _CONTRACT_TYPES:
            raise Refused(-1130, "Data sent for parameter 'contractType' is not valid.")  # choice
        market = self._contract(query, query["contractType"])
        return self._klines({**query, "symbol": market.symbol})

    def _price_klines(self, endpoint: str, query: Query) -> bytes:
        """Candles of the mark price, the index price (of a pair) or the premium index."""
        if endpoint == "index_klines":
            market = self._contract(query, "PERPETUAL")
        else:
            market = self._market(query)

        def render(candles: Ints, interval_ms: int) -> list[bytes]:
            return price_rows(candles, interval_ms, market.price_decimals, endpoint)

        return self._candles(query, market, (market.name, endpoint), render)

    def _candles(
        self, query: Query, market: Market, key: Hashable,
        render: Callable[[Ints, int], list[bytes]],
    ) -> bytes:  # fmt: skip
        if not query.get("interval"):
            raise _missing("interval")
        interval_ms = PERIODS_MS.get(query["interval"])
        if interval_ms is None:  # 3d, 1w and 1M are not modelled
            raise Refused(-1120, "Invalid interval.")
        limit = self._limit(query, 500, 1500)  # above 1500: choice
        start_ms, end_ms = self._window(query)

        def rows(first_ms: int, last_ms: int) -> tuple[list[int], list[bytes]]:
            candles = market.closed(interval_ms, first_ms, last_ms)
            return times_of(candles), render(candles, interval_ms)

        first = market.candles.first_ms
        pages = RowPages(
            self.markets.pages, key, interval_ms, first - first % interval_ms, True, rows
        )
        # The bounds apply to open times, so an unaligned start begins at the next candle. With a
        # start, rows run forward from it.
        text = candle_rows(
            market, pages, lambda candles: render(candles, interval_ms),
            limit=limit, first_ms=start_ms or 0,
            last_ms=FAR_MS if end_ms is None else end_ms, forward=start_ms is not None,
            now_ms=self.now_ms(),
        )  # fmt: skip
        return b"[" + text + b"]"

    # --- the order book

    def _depth(self, query: Query) -> bytes:
        market, limit = self._market(query), query.get("limit", "500")
        if limit not in _DEPTH_WEIGHTS:
            raise Refused(-4021, f"'{limit}' is not valid depth limit.")
        book = Book(market, Tapes(), self.markets.seed)
        return dump(rest_book(book, self.now_ms(), int(limit)))

    def _book_ticker(self, query: Query) -> bytes:
        now_ms, tapes, seed = self.now_ms(), Tapes(), self.markets.seed
        if query.get("symbol"):
            return dump(trading.book_ticker(Book(self._market(query), tapes, seed), now_ms))
        books = (Book(market, tapes, seed) for market in self._listed())
        return dump([trading.book_ticker(book, now_ms) for book in books])

    # --- trades

    def _trades(self, query: Query) -> bytes:
        market, limit = self._market(query), self._limit(query, 500, 1000)
        return dump(trading.trades(market, newest_trades(market, self.now_ms(), limit)))

    def _aggregated_trades(self, query: Query) -> bytes:
        """From `fromId` on; without it within the times, an hour at most (choice: longer windows
        are cut), or the newest."""
        market, limit, now_ms = self._market(query), self._limit(query, 500, 1000), self.now_ms()
        (start_ms, end_ms), from_id = self._window(query), _number(query, "fromId")
        last_ms = now_ms if end_ms is None else min(end_ms, now_ms)
        if from_id is not None:
            found = trades_from_number(market, from_id, now_ms, limit)
        elif start_ms is None:
            found = newest_trades(market, last_ms, limit)
        else:
            found = trades_between(market, start_ms, min(last_ms, start_ms + HOUR_MS), limit)
        return dump(trading.aggregated_trades(market, found))

    # --- open interest

    def _open_interest(self, query: Query) -> bytes:
        market = self._market(query)
        if not query.get("period"):
            raise _missing("period")
        if query["period"] not in PERIODS_MS or query["period"] in ("1m", "3m", "8h"):
            raise Refused(-1130, "parameter 'period' is invalid.")
        period_ms = PERIODS_MS[query["period"]]
        limit = self._limit(query, 30, 500)
        window = self._window(query)
        now_ms = self.now_ms()
        start_ms = window.start_ms
        if start_ms is None:
            start_ms = now_ms - own_markets.OPEN_INTEREST_KEPT_MS
        elif (
            start_ms < now_ms - own_markets.OPEN_INTEREST_KEPT_MS - MINUTE_MS
        ):  # the minute: choice
            raise Refused(-1130, "parameter 'startTime' is invalid.")
        pages = RowPages(
            self.markets.pages, (market.name, "oi"), period_ms,
            market.candles.first_ms, True,
            lambda first_ms, last_ms: open_interest_rows(market, period_ms, first_ms, last_ms),
        )  # fmt: skip
        last_ms = market.newest_snapshot_ms(period_ms, now_ms)
        if window.end_ms is not None:
            last_ms = min(last_ms, window.end_ms)
        # A startTime alone, or a window wider than the limit (choice), gives the newest rows.
        return b"[" + pages.newest(limit, start_ms, last_ms).text[:-1] + b"]"

    def _open_interest_now(self, query: Query) -> bytes:
        market = self._market(query)
        now_ms = self.now_ms()
        points = market.snapshots(MINUTE_MS * 5, now_ms - HOUR_MS, now_ms)
        value = int(points[1, -1]) if points.shape[1] else 0
        text = fixed(value, market.open_interest_decimals)
        return dump({"openInterest": text, "symbol": market.symbol, "time": now_ms})

    # --- funding

    def _funding(self, query: Query) -> bytes:
        limit_text = query.get("limit", "100")
        if (whole_number(limit_text) or 0) > 1000:
            raise FundingLimitRefused
        limit = self._limit(query, 100, 1000)
        start_ms, end_ms = self._window(query)
        now_ms = self.now_ms()
        last_ms = now_ms if end_ms is None else min(end_ms, now_ms)
        if not query.get("symbol"):
            return _list(self._funding_of_all(limit, start_ms, last_ms))
        market = self._market(query)
        if start_ms is None:  # without times: the newest (choice; pages disagree)
            found = market.funding.newest(limit, last_ms)
        else:
            found = _forward(market.funding, limit, start_ms, last_ms)
        return _list(funding_rows(market, found))

    def _funding_of_all(self, limit: int, start_ms: int | None, last_ms: int) -> list[bytes]:
        """Rows of all symbols, ordered by time and symbol."""
        found: list[tuple[int, str, Settlement]] = []
        step_ms = HOUR_MS
        from_ms = last_ms if start_ms is None else max(start_ms, _FIRST_FUNDING_MS)
        hour_ms = from_ms - from_ms % step_ms
        markets = [m for m in self.markets.by_exchange[self.name].values() if not m.gone]
        for _ in range(24 * 40):
            first_ms, end_ms = hour_ms, min(hour_ms + step_ms - 1, last_ms)
            if start_ms is not None:
                first_ms = max(first_ms, start_ms)
            for market in markets:
                if market.funding.may_settle_in(hour_ms):
                    for item in market.funding.settlements(first_ms, end_ms):
                        found.append((item.time_ms, market.symbol, item))
            hour_ms += -step_ms if start_ms is None else step_ms
            if len(found) >= limit or hour_ms > last_ms:
                break
        found.sort(key=lambda entry: (entry[0], entry[1], entry[2].special))
        chosen = found[-limit:] if start_ms is None else found[:limit]
        by_symbol = self.markets.by_exchange[self.name]
        return [
            row for _, symbol, item in chosen for row in funding_rows(by_symbol[symbol], [item])
        ]

    def _funding_info(self, query: Query) -> bytes:
        return dump(lists.funding_info(self.markets, self.now_ms()))

    # --- the present

    def _premium_index(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        if query.get("symbol"):
            return dump(lists.premium_index(self._market(query), now_ms))
        return dump([lists.premium_index(m, now_ms) for m in self._listed()])

    def _ticker_24h(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        if query.get("symbol"):
            return dump(lists.ticker_24h(self._market(query), now_ms))
        return dump([lists.ticker_24h(m, now_ms) for m in self._listed()])

    def _ticker_price(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        if query.get("symbol"):
            return dump(lists.ticker_price(self._market(query), now_ms))
        return dump([lists.ticker_price(m, now_ms) for m in self._listed()])

    def _exchange_info(self, query: Query) -> bytes:
        return dump(
            lists.exchange_info(self.markets, self.now_ms(), self._limits.settings.weight_a_minute)
        )

    def _listed(self) -> list[Market]:
        markets = self.markets.by_exchange[self.name].values()
        return [m for m in markets if not m.gone and m.status in ("TRADING", "SETTLING")]


def _forward(funding: FundingSource, limit: int, start_ms: int, last_ms: int) -> list[Settlement]:
    """The first `limit` settlements from `start_ms` on."""
    found: list[Settlement] = []
    while len(found) < limit and start_ms <= last_ms:
        end_ms = min(last_ms, start_ms + max(limit, 300) * 8 * HOUR_MS)
        found += funding.settlements(start_ms, end_ms)
        start_ms = end_ms + 1
    return found[:limit]


def _missing(name: str) -> Refused:
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    return Refused(-1102, text)


def _number(query: Query, name: str) -> int | None:
    if name not in query:
        return None
    value = whole_number(query[name])
    if value is None:
        text = f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        raise Refused(-1100, text)
    return value


def _list(rows: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(rows) + b"]"
