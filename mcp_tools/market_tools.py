"""The tools of markets: which there are, candles, funding and open interest, and the record."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from market.markets import Exchange
from market.timeframes import HOUR_MS, Timeframe
from mcp_tools.answers import (
    ComparedCandle,
    Comparison,
    InterestChange,
    InterestChanges,
    ListedMarket,
    Markets,
    Missing,
    Rows,
    SideOfMarket,
    utc_text,
)
from mcp_tools.api_client import ApiClient, Unanswered
from mcp_tools.arguments import (
    MOST_MARKETS,
    MOST_ROWS,
    Candles,
    Instant,
    MarketCount,
    OneExchange,
    Period,
    RowCount,
    Search,
    Symbol,
    Symbols,
    ThisExchange,
)
from mcp_tools.rows_of_documents import (
    beside_rows,
    cut_rows,
    positions,
    row_limit,
    rows_of,
    told_of_more,
    with_missing,
)
from mcp_tools.rows_of_record import recorded_rows

_PERIODS_H: Final = {"1h": 1, "4h": 4, "24h": 24}
_FUNDING: Final = "global_fr"


class MarketTools:
    """Each public method is a tool; its docstring is what callers read."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def markets(
        self,
        search: Search = None,
        exchange: OneExchange = None,
        timeframe: Candles = Timeframe.H4,
        limit: MarketCount = MOST_MARKETS,
    ) -> Markets:
        """Lists the perpetual contracts that are collected, with statistics of their candles
        (Hurst exponent, entropy, realised volatility). `search` is a part of a symbol."""
        answered = await self._api.get(
            "coins", query={"exchange": exchange, "timeframe": str(timeframe)}
        )
        wanted = (search or "").upper()
        found = [each for each in answered.value["coins"] if wanted in each["symbol"]]
        shown = [ListedMarket(**_fields(each, ListedMarket)) for each in found[:limit]]
        left_out = told_of_more(len(shown), len(found), "markets", "search for a part of a name")
        return Markets(
            **await self._of_document(timeframe, exchange, wanted, left_out),
            timeframe=answered.value.get("timeframe"),
            count=len(found),
            markets=shown,
        )

    async def _of_document(
        self, timeframe: Timeframe, exchange: Exchange | None, wanted: str, left_out: str | None
    ) -> dict[str, Any]:
        """Time, age and what is missing of the document whose run computed the statistics."""
        try:
            document = await self._api.get(
                *("cache", str(timeframe)), query={"exchange": exchange, "limit": 1}
            )
        except Unanswered as error:
            if error.status != 404:
                raise
            lacks = Missing(exchange=exchange, symbol=None, part="meta", reason=str(error))
            return with_missing([lacks], left_out)
        return beside_rows(document, left_out=left_out, only=wanted)

    async def candles(
        self,
        symbols: Symbols,
        timeframe: Candles,
        exchange: OneExchange = None,
        limit: RowCount = 50,
    ) -> Rows:
        """The newest candles of contracts, each row with open interest at its opening and the
        funding rate in force at its end. The last row may be still forming: see
        last_closed_open_time. Null means not known, never zero."""
        asked, _ = row_limit(limit, len(symbols), MOST_ROWS)
        answered = await self._api.get(
            *("cache", str(timeframe)),
            query={"symbol": ",".join(symbols), "exchange": exchange, "limit": asked},
        )
        _, left_out = cut_rows(answered.value, limit, MOST_ROWS, symbols=len(symbols))
        return rows_of(answered, symbols, left_out)

    async def funding(
        self, symbols: Symbols, exchange: OneExchange = None, limit: RowCount = 20
    ) -> Rows:
        """The newest settled funding rates of contracts: a fraction that is paid once each
        interval_hours, so compare markets by the rate divided by their interval."""
        asked, _ = row_limit(limit, len(symbols), MOST_ROWS)
        answered = await self._api.get(
            *("cache", _FUNDING),
            query={"symbol": ",".join(symbols), "exchange": exchange, "limit": asked},
        )
        _, left_out = cut_rows(answered.value, limit, MOST_ROWS, symbols=len(symbols))
        return rows_of(answered, symbols, left_out)

    async def open_interest_changes(
        self, period: Period = "24h", exchange: OneExchange = None, limit: MarketCount = 20
    ) -> InterestChanges:
        """The markets whose open interest has changed most over a period, rising or falling, of all
        that are collected. Made of the hourly snapshots in the 1h document."""
        hours = _PERIODS_H[period]
        answered = await self._api.get(
            *("cache", "1h"), query={"exchange": exchange, "limit": hours + 3}
        )
        document = answered.value
        time, interest = positions(document["columns"], "open_time", "open_interest")
        changes, without = [], 0
        for market in document["markets"]:
            change = _change(market, time, interest, hours * HOUR_MS)
            if change is None:
                without += 1
            else:
                changes.append(change)
        changes.sort(key=lambda each: abs(each.change), reverse=True)
        left_out = told_of_more(
            min(limit, len(changes)), len(changes), "markets", "ask for one exchange"
        )
        return InterestChanges(
            **beside_rows(answered, left_out=left_out),
            period=period,
            changes=changes[:limit],
            without=without,
        )

    async def compare(
        self, symbol: Symbol, timeframe: Candles = Timeframe.H1, limit: RowCount = 24
    ) -> Comparison:
        """One contract on all exchanges side by side: its newest candles, open interest and funding
        rates, and how far the closes are apart."""
        answered = await self._api.get(
            *("cache", str(timeframe)), query={"symbol": symbol, "limit": limit}
        )
        document = answered.value
        rows, left_out = cut_rows(document, limit, MOST_ROWS)
        columns = document["columns"]
        last_closed = document["last_closed_open_time"]
        sides: dict[int, list[SideOfMarket]] = {}
        for market in document["markets"]:
            for row in market["rows"]:
                told = dict(zip(columns, row, strict=True))
                side = SideOfMarket(
                    exchange=market["exchange"], **_fields(told, SideOfMarket, "exchange")
                )
                sides.setdefault(told["open_time"], []).append(side)
        newest = sorted(sides)[-rows:]
        return Comparison(
            **beside_rows(answered, left_out=left_out, asked=[symbol]),
            timeframe=str(timeframe),
            symbol=symbol.upper(),
            candles=[
                ComparedCandle(
                    open_time=open_time,
                    open_utc=utc_text(open_time),
                    closed=open_time <= last_closed,
                    sides=sides[open_time],
                    close_spread=_spread(sides[open_time]),
                )
                for open_time in newest
            ],
        )

    async def history(
        self,
        exchange: ThisExchange,
        symbol: Symbol,
        timeframe: Candles,
        start: Instant,
        end: Instant | None = None,
        as_of: Instant | None = None,
        limit: RowCount = 100,
    ) -> Rows:
        """Closed candles of one market from the record, the earliest first. With `as_of` as they
        were known at that time, without what was corrected or collected later. Runs of candles
        that the record lacks are in `missing`."""
        answered = await self._api.get(
            *("api", "historical", "candles", str(exchange), symbol),
            query={
                "timeframe": str(timeframe),
                **{"from": start, "to": end, "as_of": as_of},
                "limit": limit,
            },
            asked_as={"from": "start", "to": "end"},
        )
        return recorded_rows(answered, exchange, symbol.upper(), timeframe)


def _change(
    market: Mapping[str, Any], time: int, interest: int, period_ms: int
) -> InterestChange | None:
    """Between the newest snapshot and the one a period before it; None without both."""
    known = {row[time]: row[interest] for row in market["rows"] if row[interest] is not None}
    newest = max(known, default=0)
    before = known.get(newest - period_ms)
    if not before:
        return None
    return InterestChange(
        exchange=market["exchange"],
        symbol=market["symbol"],
        time=newest,
        open_interest=known[newest],
        before=before,
        time_utc=utc_text(newest),
        change=known[newest] / before - 1,
    )


def _spread(sides: Sequence[SideOfMarket]) -> float | None:
    closes = [side.close for side in sides if side.close]
    if len(closes) < 2:
        return None
    return (max(closes) - min(closes)) / min(closes)


def _fields(told: Mapping[str, Any], model: Any, *but: str) -> dict[str, Any]:
    """What the model has of what was told."""
    return {name: told.get(name) for name in model.model_fields if name not in but}
