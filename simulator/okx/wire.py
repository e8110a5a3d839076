"""OKX v5's simulated HTTP API: paths, parameter checks, windows, codes.

A comment says "choice" where the documentation is silent.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from simulator.answers import Answer, dump, error_page, times_of
from simulator.candles import DAY_MS, NO_CANDLES, Ints
from simulator.exchange import Admission, BodyShape, Exchange, FaultKind, MakeMarket, own_text
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.okx import bars, lists, refusals
from simulator.okx import markets as own_markets
from simulator.okx.bars import BARS, Bar
from simulator.okx.contracts import SPOT
from simulator.okx.limits import NAME, OkxLimits, OkxLimitSettings, add_options
from simulator.okx.rows import candle_rows, open_interest_rows
from simulator.okx.streams import books
from simulator.okx.streams.exchange import OkxStreams
from simulator.pages import RowPages
from simulator.parameters import FAR_MS, Query, whole_number
from simulator.stats import Stats
from simulator.streams.candle_view import Tapes

_PATHS: Final = {
    "/api/v5/public/time": "time",
    "/api/v5/public/instruments": "instruments",
    "/api/v5/market/candles": "klines",
    "/api/v5/market/history-candles": "history_klines",
    "/api/v5/public/open-interest": "open_interest_now",
    "/api/v5/rubik/stat/contracts/open-interest-history": "open_interest",
    "/api/v5/public/funding-rate": "funding_now",
    "/api/v5/public/funding-rate-history": "funding",
    "/api/v5/public/mark-price": "mark_price",
    "/api/v5/market/tickers": "tickers",
    "/api/v5/market/books": "books",
    "/api/v5/system/status": "system_status",
}
_KINDS: Final = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")  # those between are not modelled
_NEWEST_ROWS: Final = 1_440  # of `candles` and of the open interest's history
_FUNDING_KEPT_MS: Final = 92 * DAY_MS  # 3 months


class Refused(Exception):
    """The exchange rejects the parameters."""

    def __init__(self, code: int, message: str = "", *, rejected: bool = True) -> None:
        super().__init__(message)
        self.answer = refusals.error(code, message)
        self.answer.rejected = rejected  # False if the client could not have known


class Okx(Exchange):
    """The simulated OKX v5: swaps and spot."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "OKX v5 swaps and spot"
    prefixes = ("/api/v5/",)
    paths = _PATHS
    page_rows: ClassVar[Mapping[str, int]] = {
        "klines": 100, "history_klines": 100, "open_interest": 100, "funding": 400,
    }  # fmt: skip
    polled = False
    streams = OkxStreams
    symbol_parameter = "instId"
    traits = own_markets.TRAITS
    shape = BodyShape(
        rows_at=(("data",),),
        open_interest=("oi", "oiCcy"),
        volume_place=6,
        interest_place=2,
        rates=("fundingRate", "realizedRate"),
        times=("ts", "fundingTime"),
        symbol="instId",
        status="state",
    )
    fault_kinds: ClassVar[Mapping[str, FaultKind]] = {
        "okx_code": FaultKind(
            "OKX's `code` with its HTTP status, or another `status`",
            fields=("code", "message"), needs=("code",),
        ),
        "okx_maintenance": FaultKind(
            "OKX's system_status tells a maintenance from now on, for `lasts_s` (3600)",
            fields=("lasts_s",),
        ),
    }  # fmt: skip

    def __init__(self, markets: ExchangeMarkets, stats: Stats, options: Namespace) -> None:
        super().__init__(markets, stats, options)
        self._tapes = Tapes()
        self._history_lacks: int = options.okx_history_lacks
        self._limits = OkxLimits(OkxLimitSettings.from_options(options), markets.clock, stats)
        self._answers: dict[str, Callable[[Query], bytes]] = {
            "time": lambda query: dump([{"ts": str(self.now_ms())}]),
            "instruments": self._instruments,
            "klines": lambda query: self._klines(query, _NEWEST_ROWS),
            "history_klines": lambda query: self._klines(query, None),
            "open_interest_now": self._open_interest_now,
            "open_interest": self._open_interest,
            "funding_now": self._funding_now,
            "funding": self._funding,
            "mark_price": self._mark_price,
            "tickers": self._tickers,
            "books": self._books,
            "system_status": lambda query: b"[]",
        }

    def answer(self, endpoint: str, query: Query) -> Answer:
        """Answers a request that the rate limits have admitted."""
        try:
            return _envelope(self._answers[endpoint](query))
        except Refused as refused:
            return refused.answer

    @classmethod
    def add_options(cls, group: Any) -> None:
        add_options(group)
        group.add_argument(
            "--okx-checksum",
            choices=list(books.CHECKSUMS),
            default="both",
            help="OKX's order books with the checksum 0 or without; both: every other one (both)",
        )
        group.add_argument(
            "--okx-history-lacks",
            type=int,
            default=0,
            metavar="N",
            help="the newest rows that OKX's history-candles does not have yet (0)",
        )

    def admit(self, client: str, endpoint: str, query: Query) -> Admission:
        status = self._limits.take(client, endpoint, query)
        refused = None if status is None else refusals.error(50011, status=status)
        return Admission(self.name, refused=refused)

    def reset_limits(self) -> None:
        self._limits.forget()

    def bad_status(self, status: int, rule: Mapping[str, Any], client: str, counter: str) -> Answer:
        """An HTTP error, in the envelope where the exchange's own servers send it."""
        return own_text(status, rule) or refusals.by_status(status) or error_page(status)

    def long_message(self, length: int) -> Answer:
        return refusals.error(51000, "x" * length)

    def own_fault(self, rule: Mapping[str, Any], endpoint: str, query: dict[str, str]) -> Answer:
        if rule["kind"] == "okx_code":
            return refusals.error(rule["code"], str(rule.get("message", "")), rule.get("status"))
        if endpoint != "system_status":
            return self.answer(endpoint, query)
        now_ms = self.now_ms()
        window = {
            "begin": str(now_ms), "end": str(now_ms + int(rule.get("lasts_s", 3600)) * 1000),
            "href": "", "maintType": "1", "preOpenBegin": "", "scheDesc": "", "serviceType": "5",
            "state": "ongoing", "system": "unified", "title": "Trading system upgrade", "env": "1",
        }  # fmt: skip
        return _envelope(dump([window]))

    @classmethod
    def uncollected(cls, make: MakeMarket, start_ms: int) -> list[Market]:
        return own_markets.uncollected(make, start_ms)

    # --- parameters

    def _market(self, query: Query, *, swap: bool = False) -> Market:
        symbol = _needed(query, "instId")
        market = self.markets.find(self.name, symbol)
        closed = market is not None and market.status in (own_markets.PREOPEN, own_markets.TEST)
        if market is None or closed or (swap and market.contract_type == SPOT):
            known = market is None and symbol in self.markets.by_exchange[self.name]
            raise Refused(51001, rejected=not known)
        return market

    def _live(self, kind: str) -> list[Market]:
        every = self.markets.by_exchange[self.name].values()
        return [
            market for market in every
            if not market.gone and market.status == own_markets.LIVE
            and lists.kind_of(market) == kind
        ]  # fmt: skip

    def _chosen(self, query: Query) -> Iterable[Market]:
        """The live instruments of `instType`, or those of them that `instId` or a family names."""
        kind = _needed(query, "instType")
        if kind not in _KINDS:
            raise Refused(51000, "Parameter instType error")
        found = self._live(kind)
        if query.get("instId"):
            found = [self._market(query)]
        wanted = query.get("instFamily") or query.get("uly")
        return [m for m in found if not wanted or lists.family(m) == wanted]

    # --- series

    def _klines(self, query: Query, newest: int | None) -> bytes:
        """Both paths of candles; the history has the newest ones, too (choice)."""
        market, bar = self._market(query), _bar(query, "bar", "1m")
        limit = _limit(query, 100, 300)
        now_ms = self.now_ms()
        # Both exclusive. Whatever the window is, its newest rows are sent.
        first_ms = (_number(query, "before", 0)) + 1
        last_ms = (_number(query, "after", FAR_MS)) - 1
        open_ms = bar.open_ms(now_ms)
        if newest is None:
            last_ms = min(last_ms, open_ms - self._history_lacks * bar.interval_ms)
        if newest is not None:
            first_ms = max(first_ms, open_ms - (newest - 1) * bar.interval_ms)

        def rows(start_ms: int, end_ms: int) -> tuple[list[int], list[bytes]]:
            candles = bars.closed(market, bar, start_ms + bar.offset_ms, end_ms + bar.offset_ms)
            return times_of(candles), candle_rows(market, candles, 1)

        pages = RowPages(
            self.markets.pages, (market.name, bar.offset_ms), bar.interval_ms,
            bar.open_ms(market.candles.first_ms), False, rows,
        )  # fmt: skip
        forming: Ints = NO_CANDLES
        if first_ms <= open_ms <= last_ms:
            forming = bars.forming(market, bar, now_ms)
        page = pages.newest(
            limit - forming.shape[1], first_ms, min(last_ms, open_ms - bar.interval_ms)
        )
        return _list(b"".join(candle_rows(market, forming, 0)) + page.text)

    def _open_interest(self, query: Query) -> bytes:
        market, bar = self._market(query, swap=True), _bar(query, "period", "5m", bars.PERIODS)
        limit = _limit(query, 100, 100)
        last_ms = bars.newest_snapshot_ms(market, bar, self.now_ms())
        first_ms = max(
            _number(query, "begin", 0), last_ms - (_NEWEST_ROWS - 1) * bar.interval_ms
        )  # both inclusive: choice

        def rows(start_ms: int, end_ms: int) -> tuple[list[int], list[bytes]]:
            moved_ms = bar.offset_ms
            return open_interest_rows(market, bar, start_ms + moved_ms, end_ms + moved_ms)

        pages = RowPages(
            self.markets.pages, (market.name, "oi", bar.offset_ms), bar.interval_ms,
            market.candles.first_ms, False, rows,
        )  # fmt: skip
        return _list(
            pages.newest(limit, first_ms, min(last_ms, _number(query, "end", FAR_MS))).text
        )

    def _funding(self, query: Query) -> bytes:
        market = self._market(query, swap=True)
        limit = _limit(query, 400, 400)
        now_ms = self.now_ms()
        last_ms = min(_number(query, "after", FAR_MS) - 1, now_ms)
        first_ms = max(_number(query, "before", 0) + 1, now_ms - _FUNDING_KEPT_MS)
        found = [i for i in market.funding.newest(limit, last_ms) if i.time_ms >= first_ms]
        return dump([lists.settlement(market, i.time_ms, i.rate) for i in reversed(found)])

    # --- lists and the present

    def _instruments(self, query: Query) -> bytes:
        kind = _needed(query, "instType")
        if kind not in _KINDS:
            raise Refused(51000, "Parameter instType error")
        every = self.markets.by_exchange[self.name].values()
        found = [m for m in every if not m.gone and lists.kind_of(m) == kind]
        wanted = query.get("instFamily") or query.get("uly")
        found = [m for m in found if not wanted or lists.family(m) == wanted]
        if query.get("instId"):
            found = [m for m in found if m.symbol == query["instId"]]
            if not found:
                raise Refused(51001, rejected=query["instId"] not in {m.symbol for m in every})
        return dump([lists.instrument(market) for market in found])

    def _tickers(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        return dump(
            [lists.ticker(m, now_ms, self._book(m).top(now_ms)) for m in self._chosen(query)]
        )

    def _books(self, query: Query) -> bytes:
        market, depth = self._market(query), _limit(query, 1, books.DEPTH, "sz")
        return dump([books.rest_book(self._book(market), self.now_ms(), depth)])

    def _book(self, market: Market) -> books.OkxBook:
        return books.OkxBook(market, self._tapes, self.markets.seed)

    def _open_interest_now(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        return dump([lists.open_interest_now(m, now_ms) for m in self._swaps(query)])

    def _mark_price(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        return dump([lists.mark_price(market, now_ms) for market in self._swaps(query)])

    def _funding_now(self, query: Query) -> bytes:
        now_ms = self.now_ms()
        every = _needed(query, "instId") == "ANY"
        markets = self._live("SWAP") if every else [self._market(query, swap=True)]
        return dump([lists.funding_now(market, now_ms) for market in markets])

    def _swaps(self, query: Query) -> list[Market]:
        return [market for market in self._chosen(query) if market.contract_type != SPOT]


def _envelope(data: bytes) -> Answer:
    return Answer(200, b'{"code":"0","msg":"","data":' + data + b"}")


def _list(rows: bytes) -> bytes:
    """A JSON array of rows of which each is followed by a comma."""
    return b"[" + rows[:-1] + b"]"


def _needed(query: Query, name: str) -> str:
    if not query.get(name):
        raise Refused(50014, f"Parameter {name} can not be empty.")
    return query[name]


def _bar(query: Query, name: str, default: str, known: Mapping[str, Bar] = BARS) -> Bar:
    bar = known.get(query.get(name) or default)
    if bar is None:
        raise Refused(51000, f"Parameter {name} error")
    return bar


def _number(query: Query, name: str, default: int) -> int:
    if not query.get(name):
        return default
    value = whole_number(query[name])
    if value is None:
        raise Refused(51000, f"Parameter {name} error")
    return value


def _limit(query: Query, default: int, most: int, name: str = "limit") -> int:
    """The rows of a page; more than the most are cut to it (choice)."""
    limit = _number(query, name, default)
    if limit < 1:
        raise Refused(51000, f"Parameter {name} error")
    return min(limit, most)
