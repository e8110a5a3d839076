"""The stored form of the bases of an exchange's markets: JSON in the form of a candle document.

Each row is a 5m candle with its open interest; in place of the funding rate stands `read_at`, when
the candle was read; the columns of trades follow where a base has them. A market's head has
`holes`, [time, read_at, open interest] of each instant without a candle, `lost`, the candles with
more digits than a float tells, and `interest_at`.
"""

from collections.abc import Mapping
from math import isinf, isnan
from typing import Any, Final

import numpy as np
import orjson
import structlog

from documents.chunks import Chunk, KeptMarket, NotFinite, encode_market
from documents.deflated import Deflated, deflate, join_parts
from documents.names import base_name
from documents.reading import NO_TIME, decode_rows
from documents.text import DocumentError, DocumentText, MarketSpan
from market.base import STEP_MS, Base
from market.columns import CANDLE, NUMBERS, TRADES, WIDE_COLUMNS, column_index
from market.markets import COLUMNS, Exchange, Market
from market.rows import Rows
from market.timeframes import Timeframe

BASE_COLUMNS: Final = (*COLUMNS[:-1], "read_at")
WIDE_BASE_COLUMNS: Final = (*BASE_COLUMNS, *WIDE_COLUMNS[len(COLUMNS) :])
_COMMA: Final = deflate(b",")
_INTEREST: Final = column_index("open_interest")
_READ_AT: Final = len(BASE_COLUMNS) - 2  # in a line of values, which has no time

log = structlog.get_logger(__name__)


def base_rows(base: Base) -> Rows:
    """The rows of a market as they are stored."""
    there = np.flatnonzero(base.there)
    values = base.values[there]
    values[:, _READ_AT] = base.read_ms[there]
    return Rows(base.times[there], values)


def base_head(market: Market, base: Base) -> bytes:
    """The head of a market, up to the bracket that opens its rows. Raises NotFinite."""
    holes = [
        [int(base.times[slot]), int(base.read_ms[slot]), _number(base.values[slot, _INTEREST])]
        for slot in np.flatnonzero(~base.there)
    ]
    head = {
        "exchange": market.exchange,
        "symbol": market.symbol,
        "base": market.base,
        "quote": market.quote,
        "checked_at": base.as_of_ms,
        "interest_at": base.interest_ms,
        "holes": holes,
        "lost": base.times[base.lost].tolist(),
    }
    if base.streamed.any():
        head["streamed"] = base.times[base.streamed].tolist()
    return orjson.dumps(head)[:-1] + b',"rows":['


class BaseBuilder:
    """Builds the document of an exchange's bases market by market; holds their compressed JSON.

    `kept`: the closed chunks of an earlier document by symbol, used again where the rows are the
    same; after `add` those of this document. `trade_columns`: one of the bases tells of trades.
    """

    def __init__(
        self,
        exchange: Exchange,
        kept: dict[str, KeptMarket] | None = None,
        *,
        trade_columns: bool = False,
    ) -> None:
        self._exchange = exchange
        self._trade_columns = trade_columns
        self._chunks: dict[str, list[Chunk]] = {}
        self.kept = {} if kept is None else kept

    def add(self, market: Market, base: Base) -> None:
        """Encodes and compresses one market. Raises ValueError if a number is not finite."""
        known = self.kept.get(market.symbol, KeptMarket())
        try:
            rows = base_rows(base).fitted(self._trade_columns)
            found = encode_market(base_head(market, base), rows, STEP_MS, known)
        except NotFinite:
            raise ValueError(f"{market.key}: its base holds a number that is not finite") from None
        self._chunks[market.symbol], self.kept[market.symbol] = found

    def finish_deflated(self, *, version: int, as_of_ms: int, updated_at_ms: int) -> Deflated:
        """The whole document, compressed. Its bytes do not depend on the order of `add`."""
        header = {
            "timeframe": base_name(self._exchange),
            "interval_ms": STEP_MS,
            "version": version,
            "as_of": as_of_ms,
            "updated_at": updated_at_ms,
            "last_closed_open_time": Timeframe.M5.last_closed_open_time(as_of_ms),
            "source": "collected",
            "columns": WIDE_BASE_COLUMNS if self._trade_columns else BASE_COLUMNS,
        }
        parts = [deflate(orjson.dumps(header)[:-1] + b',"markets":[')]
        for symbol in sorted(self._chunks):
            if len(parts) > 1:
                parts.append(_COMMA)
            parts += (chunk.part for chunk in self._chunks[symbol])
        parts.append(deflate(b'],"missing":[]}'))
        return join_parts(parts)


def decode_bases(document: bytes, exchange: Exchange) -> dict[str, Base]:
    """The bases of an exchange's markets by Market.key, as they were when they were stored.

    They are as wide as the document's columns. A market that cannot be read is left out, as if it
    had none. Raises DocumentError if this is not such a document.
    """
    text = DocumentText(document)
    columns: Any = text.header.get("columns")
    name = text.header.get("timeframe")
    ours = columns in (list(BASE_COLUMNS), list(WIDE_BASE_COLUMNS))
    if not ours or name != base_name(exchange):
        raise DocumentError(f"not the base of {exchange}")
    bases = {}
    for span in text.markets:
        key = f"{exchange}:{span.symbol}"
        try:
            bases[key] = _decode(text, span, len(columns))
        except (DocumentError, LookupError, TypeError, ValueError, OverflowError) as error:
            log.error("stored_base_unreadable", market=key, error=str(error))
    return bases


def _decode(text: DocumentText, span: MarketSpan, width: int) -> Base:
    head = text.head(span)
    rows = decode_rows(text.rows(span), width)
    holes = np.array(head["holes"], np.float64).reshape(-1, 3)
    if not (np.abs(holes[:, 0]) < NO_TIME).all():
        raise DocumentError("a hole has no time")
    as_of_ms, interest_ms = _time(head, "checked_at"), _time(head, "interest_at")
    times = np.concatenate((rows.times, holes[:, 0].astype(np.int64)))
    order = np.argsort(times, kind="stable")
    first_ms, newest_ms = int(times[order[0]]), Timeframe.M5.floor(as_of_ms)
    slots = first_ms + STEP_MS * np.arange(len(times))
    if int(slots[-1]) != newest_ms or not np.array_equal(times[order], slots):
        raise DocumentError("its instants are not those from the first one to checked_at")
    blank = np.full((len(holes), rows.values.shape[1]), np.nan)
    blank[:, _INTEREST], blank[:, _READ_AT] = holes[:, 2], holes[:, 1]
    values = np.concatenate((rows.values, blank))[order]
    read_at = values[:, _READ_AT].copy()
    values[:, _READ_AT] = np.nan
    nullable = np.isinf(values[:, _INTEREST]).any() or np.isinf(values[:, TRADES]).any()
    if not np.isfinite(rows.values[:, NUMBERS]).all() or nullable:
        raise DocumentError("a row is not of finite numbers")
    if not ((read_at >= 0) & (read_at <= as_of_ms)).all() or interest_ms > as_of_ms:
        raise DocumentError("it was read after checked_at")
    lost = np.isin(times[order], np.array(head["lost"], np.int64))
    if lost.sum() != len(head["lost"]) or np.isnan(values[lost][:, CANDLE]).any():
        raise DocumentError("it has no candle where one lost digits")
    # Earlier releases do not tell them: these slots are read again.
    streamed = np.isin(times[order], np.array(head.get("streamed", []), np.int64))
    return Base(first_ms, values, read_at.astype(np.int64), lost, as_of_ms, interest_ms, streamed)


def _time(head: Mapping[str, Any], name: str) -> int:
    value = head[name]
    if type(value) is not int or value < 0:
        raise DocumentError(f"{name} is not a time: {value!r:.50}")
    return value


def _number(value: float) -> float | None:
    """As JSON tells it. Raises NotFinite."""
    if isinf(value):
        raise NotFinite
    return None if isnan(value) else float(value)
