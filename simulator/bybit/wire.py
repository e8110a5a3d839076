"""Bybit v5 linear's simulated HTTP API: paths, parameter checks, cursors, retCodes.

A comment says "choice" where the documentation is silent.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote

from simulator.answers import HTML, PERIODS_MS, Answer, candle_rows, dump, error_page, times_of
from simulator.bybit import lists, refusals, trading
from simulator.bybit import markets as own_markets
from simulator.bybit.limits import NAME, BybitLimits, BybitLimitSettings, add_options
from simulator.bybit.rows import kline_rows, open_interest_rows, premium_rows, price_rows
from simulator.bybit.streams.exchange import BybitStreams
from simulator.candles import Ints
from simulator.exchange import (
    Admission,
    BodyShape,
    Exchange,
    FaultKind,
    ListedContract,
    MakeMarket,
    own_text,
)
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.pages import RowPages
from simulator.parameters import FAR_MS, Query, whole_number
from simulator.recent_trades import newest_trades
from simulator.recorded_files import RecordedSeries
from simulator.stats import Stats
from simulator.streams.book import Book
from simulator.streams.candle_view import Tapes
from simulator.text import plain

_PATHS: Final = {
    "/v5/market/time": "time",
    "/v5/market/kline": "klines",
    "/v5/market/mark-price-kline": "mark_klines",
    "/v5/market/index-price-kline": "index_klines",
    "/v5/market/premium-index-price-kline": "premium_klines",
    "/v5/market/open-interest": "open_interest",
    "/v5/market/funding/history": "funding",
    "/v5/market/instruments-info": "instruments",
    "/v5/market/tickers": "tickers",
    "/v5/market/orderbook": "orderbook",
    "/v5/market/recent-trade": "recent_trades",
    "/v5/market/risk-limit": "risk_limits",
}
# W and M are not modelled.
INTERVALS_MS: Final = {
    "1": PERIODS_MS["1m"], "3": PERIODS_MS["3m"],
    "5": PERIODS_MS["5m"], "15": PERIODS_MS["15m"], "30": PERIODS_MS["30m"],
    "60": PERIODS_MS["1h"], "120": PERIODS_MS["2h"], "240": PERIODS_MS["4h"],
    "360": PERIODS_MS["6h"], "720": PERIODS_MS["12h"], "D": PERIODS_MS["1d"],
}  # fmt: skip
_OI_PERIODS_MS: Final = {
    "5min": PERIODS_MS["5m"], "15min": PERIODS_MS["15m"], "30min": PERIODS_MS["30m"],
    "1h": PERIODS_MS["1h"], "4h": PERIODS_MS["4h"], "1d": PERIODS_MS["1d"],
}  # fmt: skip


OTHER_CATEGORIES: Final = ("spot", "inverse", "option")  # not modelled
_RISK_LIMIT_PAGE: Final = 15  # contracts of one page, as clients of the exchange say


class Refused(Exception):
    """The exchange rejects the parameters; with retCode and retMsg (HTTP 200)."""

    def __init__(
        self, code: int, message: str, result: object = None, *, rejected: bool = True
    ) -> None:
        super().__init__(message)
        self.code = code
        self.rejected = rejected  # False if the client could not have known
        self.result = {} if result is None else result


class Bybit(Exchange):
    """The simulated Bybit v5 linear."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Bybit v5 linear"
    prefixes = ("/v5/",)
    paths = _PATHS
    page_rows: ClassVar[Mapping[str, int]] = {
        "klines": 200, "open_interest": 50, "funding": 200, "instruments": 500,
    }  # fmt: skip
    traits = own_markets.TRAITS
    streams = BybitStreams
    shape = BodyShape(
        rows_at=(("result", "list"),),
        open_interest=("openInterest", "singleOpenInterest"),
        times=("timestamp", "fundingRateTimestamp"),
    )
    fault_kinds: ClassVar[Mapping[str, FaultKind]] = {
        "retcode": FaultKind(
            "Bybit's retCode `code` with HTTP 200", fields=("code", "message"), needs=("code",)
        ),
        "repeated_cursor": FaultKind("the same cursor and page again and again (Bybit)"),
    }

    def __init__(self, markets: ExchangeMarkets, stats: Stats, options: Namespace) -> None:
        super().__init__(markets, stats, options)
        self._limit_headers = bool(options.bapi_headers)
        self._limits = BybitLimits(BybitLimitSettings.from_options(options), markets.clock, stats)
        self._answers: dict[str, Callable[[Query], bytes]] = {
            "time": self._time,
            "klines": self._klines,
            "mark_klines": self._price_klines,
            "index_klines": self._price_klines,
            "premium_klines": self._premium_klines,
            "open_interest": self._open_interest,
            "funding": self._funding,
            "instruments": self._instruments,
            "tickers": self._tickers,
            "orderbook": self._orderbook,
            "recent_trades": self._recent_trades,
            "risk_limits": self._risk_limits,
        }

    def answer(self, endpoint: str, query: Query) -> Answer:
        """Answers a request that the rate limit has admitted."""
        try:
            return self._envelope(0, "OK", self._answers[endpoint](query))
        except Refused as refused:
            answer = self._envelope(refused.code, str(refused), dump(refused.result))
            answer.rejected = refused.rejected
            return answer

    @classmethod
    def add_options(cls, group: Any) -> None:
        add_options(group)

    def admit(self, client: str, endpoint: str, query: Query) -> Admission:
        refused = self._limits.take(client) is not None
        return Admission(self.name, refused=refusals.rate_403() if refused else None)

    def reset_limits(self) -> None:
        self._limits.forget()

    def body_refused(self) -> Answer:
        """The exchange's CDN refuses a GET with a body."""
        return Answer(403, refusals.BODY_HTML, HTML, rejected=True)

    def unknown_path(self) -> Answer:
        return Answer(404, b"404 page not found", "text/plain; charset=utf-8")

    def bad_status(self, status: int, rule: Mapping[str, Any], client: str, counter: str) -> Answer:
        """An HTTP error; the 403 of the rate limit is enforced against further requests."""
        text = own_text(status, rule)
        if text is not None or status != 403:
            return text or error_page(status)
        variant = rule.get("variant", "")
        if variant == "geo":
            return self.geo_blocked()
        if variant == "body":
            return Answer(403, refusals.BODY_HTML, HTML)
        if variant in ("", "rate"):
            ban_s = float(rule.get("ban_s", self._limits.settings.ban_s))
            self._limits.ban(client, ban_s)
        return refusals.rate_403()

    def long_message(self, length: int) -> Answer:
        return self._envelope(10001, "symbol" * (length // 6), b"{}")

    def geo_blocked(self) -> Answer:
        return Answer(403, refusals.GEO_HTML, HTML)

    def own_fault(self, rule: Mapping[str, Any], endpoint: str, query: dict[str, str]) -> Answer:
        if rule["kind"] == "retcode":
            code = rule["code"]
            text = str(rule.get("message", refusals.RETCODE_TEXTS.get(code, "error")))
            return self._envelope(code, text, b"{}")
        query.pop("cursor", None)
        answer = self.answer(endpoint, query)
        if not answer.rejected:
            refusals.repeat_cursor(answer)
        return answer

    @classmethod
    def uncollected(cls, make: MakeMarket, start_ms: int) -> list[Market]:
        return own_markets.uncollected(make, start_ms)

    @classmethod
    def recorded_lists(cls, folder: Path) -> dict[str, dict[str, Any]]:
        return own_markets.recorded_lists(folder)

    @classmethod
    def recorded_bodies(cls, folder: Path) -> list[RecordedSeries]:
        return own_markets.recorded_bodies(folder)

    @classmethod
    def listed_contract(cls, entry: Mapping[str, Any]) -> ListedContract:
        return own_markets.listed_contract(entry)

    def _envelope(self, code: int, message: str, result: bytes) -> Answer:
        now_ms = self.now_ms()
        body = b'{"retCode":%d,"retMsg":%s,"result":%s,"retExtInfo":{},"time":%d}' % (
            code, dump(message), result, now_ms,
        )  # fmt: skip
        headers = {"Ret_code": str(code), "Timenow": str(now_ms), "Traceid": f"{now_ms:032x}"}
        if self._limit_headers:  # documented for every request, but not seen on public ones
            headers["X-Bapi-Limit"] = str(self._limits.settings.in_5_s)
            headers["X-Bapi-Limit-Status"] = str(self._limits.settings.in_5_s - 1)
            headers["X-Bapi-Limit-Reset-Timestamp"] = str(now_ms)
        return Answer(200, body, "application/json; charset=utf-8", headers)

    # --- parameters

    @staticmethod
    def _category(query: Query, default: str = "") -> None:
        category = query.get("category", default)
        if category != "linear":  # inverse, spot and option are not modelled
            raise Refused(10001, "params error: category is invalid")  # the text: choice

    def _market(self, query: Query, empty: object = None) -> Market:
        market = self.markets.find(self.name, query.get("symbol", ""))
        if market is None:
            known = query.get("symbol", "") in self.markets.by_exchange[self.name]
            text = "Not supported symbols" if known else "params error: symbol invalid"
            raise Refused(10001, text, empty, rejected=not known)
        return market

    # --- series

    def _klines(self, query: Query) -> bytes:
        def render(market: Market, candles: Ints) -> list[bytes]:
            return kline_rows(candles, market.price_decimals, market.quantity_decimals)

        return self._candles(query, "", render)

    def _price_klines(self, query: Query) -> bytes:
        """Mark price and index price are the last price, as in tickers (choice)."""
        return self._candles(
            query, "prices", lambda market, candles: price_rows(candles, market.price_decimals)
        )

    def _premium_klines(self, query: Query) -> bytes:
        return self._candles(query, "premium", lambda market, candles: premium_rows(candles))

    def _candles(
        self, query: Query, kind: str, render: Callable[[Market, Ints], list[bytes]]
    ) -> bytes:
        self._category(query, "linear")
        market = self._market(query, {"category": "", "symbol": "", "list": []})
        interval_ms = INTERVALS_MS.get(query.get("interval", ""))
        if interval_ms is None:
            raise Refused(10001, "params error: interval is invalid")  # the text: choice
        limit = _limit(query, 200, 1000)
        start_ms, end_ms = _number(query, "start"), _number(query, "end")

        def rows(first_ms: int, last_ms: int) -> tuple[list[int], list[bytes]]:
            candles = market.closed(interval_ms, first_ms, last_ms)
            return times_of(candles), render(market, candles)

        first = market.candles.first_ms
        pages = RowPages(
            self.markets.pages, (market.name, kind) if kind else market.name, interval_ms,
            first - first % interval_ms, False, rows,
        )  # fmt: skip
        # An unaligned start gives the candle that contains it. A start alone runs forward; a window
        # wider than the limit gives its newest rows.
        text = candle_rows(
            market, pages, lambda candles: render(market, candles), limit=limit,
            first_ms=0 if start_ms is None else start_ms - start_ms % interval_ms,
            last_ms=FAR_MS if end_ms is None else end_ms,
            forward=start_ms is not None and end_ms is None, now_ms=self.now_ms(),
        )  # fmt: skip
        head = f'{{"symbol":"{market.symbol}","category":"linear","list":['
        return head.encode() + text + b"]}"

    def _open_interest(self, query: Query) -> bytes:
        self._category(query)
        market = self._market(query, {"category": "", "list": [], "nextPageCursor": ""})
        period_ms = _OI_PERIODS_MS.get(query.get("intervalTime", ""))
        if period_ms is None:
            raise Refused(10001, "params error: intervalTime is invalid")
        limit = _limit(query, 50, 200)
        start_ms, end_ms = _number(query, "startTime"), _number(query, "endTime")
        if start_ms is None or end_ms is None:
            start_ms = 0  # a startTime alone is silently ignored
        last_ms = market.newest_snapshot_ms(period_ms, self.now_ms())
        if end_ms is not None:
            last_ms = min(last_ms, end_ms)
        if query.get("cursor"):
            last_ms = min(last_ms, _cursor_time(query["cursor"]) - 1)
        pages = RowPages(
            self.markets.pages, (market.name, "oi"), period_ms, market.candles.first_ms, False,
            lambda first_ms, last_ms: open_interest_rows(market, period_ms, first_ms, last_ms),
        )  # fmt: skip
        page = pages.newest(limit, start_ms, last_ms)
        cursor = ""
        if page.count == limit and pages.newest(1, start_ms, page.first_ms - 1).count:
            number = market.number * 1_000_000 + page.first_ms // period_ms
            cursor = quote(f"lastid={number}&lasttime={page.first_ms}", safe="")
        head = f'{{"symbol":"{market.symbol}","category":"linear","list":['
        return head.encode() + page.text[:-1] + b'],"nextPageCursor":"%s"}' % cursor.encode()

    def _funding(self, query: Query) -> bytes:
        self._category(query)
        market = self._market(query, {"category": "", "list": []})
        limit = _limit(query, 200, 200)
        start_ms, end_ms = _number(query, "startTime"), _number(query, "endTime")
        if start_ms is not None and end_ms is None:  # the code: choice
            raise Refused(10001, "params error: Time is invalid", {"category": "", "list": []})
        now_ms = self.now_ms()
        last_ms = now_ms if end_ms is None else min(end_ms, now_ms)
        found = market.funding.newest(limit, last_ms)
        if start_ms is not None:
            found = [item for item in found if item.time_ms >= start_ms]
        rows = [
            f'{{"symbol":"{market.symbol}","fundingRate":"{plain(item.rate, 8)}",'
            f'"fundingRateTimestamp":"{item.time_ms}"}}'
            for item in reversed(found)
        ]
        return ('{"category":"linear","list":[' + ",".join(rows) + "]}").encode()

    # --- lists and the present

    def _time(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        return dump({"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)})

    def _instruments(self, query: Query) -> bytes:
        if query.get("category") in OTHER_CATEGORIES:  # choice: nothing is listed there
            return dump({"category": query["category"], "list": [], "nextPageCursor": ""})
        self._category(query)
        limit = _limit(query, 500, 1000)
        markets = sorted(self.markets.by_exchange[self.name].values(), key=lambda m: m.symbol)
        status = query.get("status") or "Trading"
        markets = [m for m in markets if m.status == status]
        for name, field in (
            ("symbol", "symbol"),
            ("baseCoin", "base"),
            ("symbolType", "symbol_type"),
        ):
            if query.get(name):
                markets = [m for m in markets if getattr(m, field) == query[name]]
        if query.get("symbol") and not markets:
            raise Refused(10001, "params error: symbol invalid")
        if query.get("cursor"):
            last = _cursor_fields(query["cursor"]).get("last")
            if last is None:
                raise Refused(10001, "params error: cursor is invalid")  # the text: choice
            markets = [m for m in markets if m.symbol > last]
        page = markets[:limit]
        cursor = ""
        if len(page) == limit:  # also when nothing follows: such a cursor was recorded
            cursor = quote(f"first={page[0].symbol}&last={page[-1].symbol}", safe="")
        now_ms = self.now_ms()
        recorded = self.markets.recorded_lists.get(self.name, {})
        entries = [lists.instrument(m, now_ms, recorded.get(m.symbol)) for m in page]
        return dump({"category": "linear", "list": entries, "nextPageCursor": cursor})

    def _tickers(self, query: Query) -> bytes:
        self._category(query)
        now_ms = self.now_ms()
        markets: list[Market]
        if query.get("symbol"):
            markets = [self._market(query)]
        else:
            every = self.markets.by_exchange[self.name].values()
            markets = [m for m in every if not m.gone and m.status == "Trading"]
        entries: list[dict[str, Any]] = [lists.ticker(m, now_ms) for m in markets]
        return dump({"category": "linear", "list": entries})

    def _orderbook(self, query: Query) -> bytes:
        self._category(query)
        market, limit = self._market(query), _limit(query, 25, 1000)
        book = Book(market, Tapes(), self.markets.seed)
        return dump(trading.orderbook(book, self.now_ms(), limit))

    def _recent_trades(self, query: Query) -> bytes:
        self._category(query)
        market, limit = self._market(query), _limit(query, 500, 1000)
        found = newest_trades(market, self.now_ms(), limit)
        return dump({"category": "linear", "list": trading.recent_trades(market, found)})

    def _risk_limits(self, query: Query) -> bytes:
        self._category(query)
        markets: list[Market]
        if query.get("symbol"):
            markets = [self._market(query)]
        else:
            every = self.markets.by_exchange[self.name].values()
            markets = sorted(
                (m for m in every if not m.gone and m.status == "Trading"), key=lambda m: m.symbol
            )
        if query.get("cursor"):
            last = _cursor_fields(query["cursor"]).get("last", "")
            markets = [m for m in markets if m.symbol > last]
        page, rest = markets[:_RISK_LIMIT_PAGE], markets[_RISK_LIMIT_PAGE:]
        cursor = quote(f"last={page[-1].symbol}", safe="") if rest else ""
        entries = [entry for market in page for entry in trading.risk_limits(market)]
        return dump({"category": "linear", "list": entries, "nextPageCursor": cursor})


def _number(query: Query, name: str) -> int | None:
    if not query.get(name):
        return None
    value = whole_number(query[name])
    if value is None:
        raise Refused(10001, f"params error: {name} is invalid")  # the text: choice
    return value


def _limit(query: Query, default: int, most: int) -> int:
    limit = _number(query, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:  # choice: refused rather than cut
        raise Refused(10001, "params error: limit is invalid")
    return limit


def _cursor_fields(cursor: str) -> dict[str, str]:
    # Choice: a cursor is accepted verbatim or percent-encoded once more.
    parts = (part.partition("=") for part in unquote(cursor).split("&"))
    return {name: value for name, _, value in parts}


def _cursor_time(cursor: str) -> int:
    time_ms = whole_number(_cursor_fields(cursor).get("lasttime", ""))
    if time_ms is None:
        raise Refused(10001, "params error: cursor is invalid")  # the text: choice
    return time_ms
