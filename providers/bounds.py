"""The bounds of answers: whether a record is of what was asked, and young enough."""

from collections.abc import Sequence
from typing import Final

from providers.errors import ErrorClass, ProviderError
from providers.questions import Kind, Question
from providers.records import (
    Balance,
    ChainStats,
    GasPrice,
    Price,
    PriceKind,
    Record,
    SentimentReading,
    WhaleTransfer,
)
from providers.resources import Resource

# What a chain of prices may answer with: a perpetual's price is none of the spot market.
_KINDS: Final = {
    "price.spot": frozenset((PriceKind.SPOT,)),
    "price.perp": frozenset((PriceKind.PERP_LAST, PriceKind.MARK, PriceKind.INDEX)),
    "price.aggregate": frozenset((PriceKind.AGGREGATE,)),
}
# How old a provider's own stamp may be when it comes, in s. Indices of days have midnight's.
OLDEST_S: Final = {
    Kind.PRICE: 900.0,
    Kind.GAS: 600.0,
    Kind.SENTIMENT: 3 * 86_400.0,
    Kind.STATS: 6 * 3_600.0,
}
AHEAD_S: Final = 300.0  # and how far ahead: clocks differ
MANY: Final = (Kind.NEWS, Kind.WHALES, Kind.RPC)  # one answer for all subjects, which may be empty


def subject_of(record: Record) -> str | None:
    """The subject that the record is about; None for kinds whose answer is of all subjects."""
    match record:
        case Price(asset=asset) | SentimentReading(asset=asset):
            return asset
        case GasPrice(chain=chain) | ChainStats(chain=chain):
            return chain
        case Balance(address=address):
            return address
        case _:
            return None


def checked(
    records: Sequence[Record], resource: Resource, question: Question, now_ms: int
) -> list[Record]:
    """The records that answer the question. Raises ProviderError if none does: `unknown` where it
    told something else, `bad_payload` where it told what is too old or has not come yet."""
    if question.kind in MANY and not records:
        return []
    asked = [record for record in records if _is_asked(record, question)]
    if not asked:
        raise ProviderError(ErrorClass.UNKNOWN, f"{resource.id} told of something else")
    in_time = [record for record in asked if _is_in_time(record, question.kind, now_ms)]
    if not in_time:
        raise ProviderError(
            ErrorClass.BAD_PAYLOAD, f"{resource.id}: its stamp is too old or ahead of the time"
        )
    return in_time


def _is_asked(record: Record, question: Question) -> bool:
    if question.kind in MANY:
        return not isinstance(record, WhaleTransfer) or record.chain in question.subjects
    if subject_of(record) not in question.subjects:
        return False
    if isinstance(record, Price):
        quote = question.option("quote", record.quote)
        kinds = _KINDS.get(question.chain, frozenset(PriceKind))
        return record.quote.upper() == quote.upper() and record.kind in kinds
    if isinstance(record, SentimentReading):
        return record.metric == question.option("metric", record.metric)
    return True


def _is_in_time(record: Record, kind: Kind, now_ms: int) -> bool:
    stamp_ms = record.as_of_ms
    if isinstance(record, ChainStats) and record.head_time_ms is not None:
        stamp_ms = record.head_time_ms
    if stamp_ms is None:
        return True
    if stamp_ms > now_ms + AHEAD_S * 1000 and kind not in MANY:
        return False
    oldest_s = OLDEST_S.get(kind)
    return oldest_s is None or now_ms - stamp_ms <= oldest_s * 1000
