"""The rule of Binance USD-M futures order books: U, u and pu, from a snapshot over REST."""

from typing import Final
from urllib.parse import quote

import msgspec

from live.binance.messages import EXCHANGE
from live.book_rules import BookRule, Place
from live.errors import UnreadableMessage
from live.events import BookEvent
from live.reading import BookLevel, Id, Time, levels_of, not_in_format
from venues.entries import DECODE_ERRORS

_DEPTH_LIMIT: Final = 1000


class _Snapshot(msgspec.Struct):
    lastUpdateId: Id
    bids: list[BookLevel]
    asks: list[BookLevel]
    E: Time = 0


_SNAPSHOT: Final = msgspec.json.Decoder(_Snapshot)


def _read_snapshot(symbol: str, body: bytes) -> BookEvent:
    """{"lastUpdateId":600859605486,"E":1626992741242,"T":1626992741238,"bids":[["0.01731",
    "57618"]],"asks":[["0.01732","74607"]]}"""
    try:
        snapshot = _SNAPSHOT.decode(body)
    except DECODE_ERRORS as error:
        raise not_in_format(EXCHANGE, body, error, symbol) from None
    bids, asks = levels_of(snapshot.bids), levels_of(snapshot.asks)
    if isinstance(bids, str) or isinstance(asks, str):
        fault = bids if isinstance(bids, str) else asks
        raise UnreadableMessage(f"order book: {fault}", exchange=EXCHANGE, symbol=symbol)
    return BookEvent(symbol, snapshot.E, True, bids, asks, snapshot.lastUpdateId)


def _place(change: BookEvent, snapshot_id: int) -> Place:
    """Drop u < lastUpdateId; the first to apply has U <= lastUpdateId <= u. One whose pu is
    lastUpdateId or less, though its U is greater, joins as well: between pu and U nothing
    happened to this book."""
    if change.last_id < snapshot_id:
        return Place.BEFORE
    starts = (change.first_id, change.previous_id)
    joins = any(start is not None and start <= snapshot_id for start in starts)
    return Place.JOINS if joins else Place.AFTER


def _fault(change: BookEvent, last_id: int) -> str | None:
    """Each pu is the last u. U need not be that plus one: numbers are shared with other books."""
    if change.previous_id == last_id:
        return None
    return f"a change after {change.previous_id} came where {last_id} was the last"


RULE: Final = BookRule(
    fault=_fault,
    sends_snapshot=False,
    depth=_DEPTH_LIMIT,
    place=_place,
    snapshot_path=lambda symbol: (
        f"/fapi/v1/depth?symbol={quote(symbol, safe='')}&limit={_DEPTH_LIMIT}"
    ),
    read_snapshot=_read_snapshot,
    snapshot_weight=20,
    cut_depths=frozenset((5, 10, 20, 50, 100, 500, _DEPTH_LIMIT)),
)
