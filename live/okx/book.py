"""The rule of OKX order books: seqId and prevSeqId; the checksum is dead and never verified."""

from typing import Final
from urllib.parse import quote

import msgspec

from live.book_rules import BookRule, Place
from live.errors import UnreadableMessage
from live.events import BookEvent
from live.okx.messages import EXCHANGE
from live.reading import BookLevel, Id, Time, levels_of, not_in_format
from venues.entries import DECODE_ERRORS, lenient

_DEPTH: Final = 400


class _Snapshot(msgspec.Struct):
    asks: list[BookLevel]
    bids: list[BookLevel]
    ts: Time
    seqId: Id


class _Answer(msgspec.Struct):
    code: str
    msg: str = ""
    data: list[_Snapshot] = []


_ANSWER: Final = lenient(_Answer)


def _read_snapshot(symbol: str, body: bytes) -> BookEvent:
    """{"code":"0","msg":"","data":[{"asks":[["41006.8","0.60038921","0","1"]],"bids":[["41006.3",
    "0.30178218","0","2"]],"ts":"1629966436396","seqId":3235851742}]}"""
    try:
        answer = _ANSWER.decode(body)
    except DECODE_ERRORS as error:
        raise not_in_format(EXCHANGE, body, error, symbol) from None
    if answer.code != "0" or not answer.data:
        raise not_in_format(EXCHANGE, body, None, symbol)
    snapshot = answer.data[0]
    bids, asks = levels_of(snapshot.bids), levels_of(snapshot.asks)
    if isinstance(bids, str) or isinstance(asks, str):
        fault = bids if isinstance(bids, str) else asks
        raise UnreadableMessage(f"order book: {fault}", exchange=EXCHANGE, symbol=symbol)
    return BookEvent(symbol, snapshot.ts, True, bids, asks, snapshot.seqId)


def _place(change: BookEvent, snapshot_id: int) -> Place:
    """The first change to apply has prevSeqId <= the snapshot's seqId <= seqId."""
    before = change.previous_id
    if before is None or change.last_id < before:  # numbering starts again
        return Place.JOINS if before == snapshot_id else Place.AFTER
    if change.last_id < snapshot_id:
        return Place.BEFORE
    return Place.JOINS if before <= snapshot_id else Place.AFTER


def _fault(change: BookEvent, last_id: int) -> str | None:
    """Each prevSeqId is the last seqId. So it is when the exchange repeats it after a minute of
    silence, without levels, and when numbering starts again after maintenance with a smaller
    seqId."""
    if change.previous_id is None:
        return "a change without prevSeqId"
    if change.previous_id != last_id:
        return f"a change after {change.previous_id} came where {last_id} was the last"
    if change.last_id == last_id and (change.bids or change.asks):
        return f"a change without a number of its own, {last_id} again"
    return None


RULE: Final = BookRule(
    fault=_fault,
    depth=_DEPTH,
    sends_snapshot=True,  # an end of that was announced; then over REST
    place=_place,
    snapshot_path=lambda symbol: (
        f"/api/v5/market/books?instId={quote(symbol, safe='')}&sz={_DEPTH}"
    ),
    read_snapshot=_read_snapshot,
    snapshot_weight=1,
)
