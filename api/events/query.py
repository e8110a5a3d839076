"""The parameters of GET /events: which events a listener wants, and where it goes on."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from api.documents.query import InvalidQuery, QueryReader
from documents.names import GLOBAL_FR, OVERVIEW
from documents.text import DocumentFilter
from market.timeframes import Timeframe

DOCUMENT: Final = "document"
CANDLES: Final = "candles"
JOB: Final = "job"
PAUSE: Final = "pause"
ALERT: Final = "alert"
STALE: Final = "stale"
RESET: Final = "reset"  # never asked for, always told
KINDS: Final = (DOCUMENT, CANDLES, JOB, PAUSE, STALE, ALERT)
PARAMETERS: Final = ("event", "timeframe", "exchange", "symbol", "last_event_id")
_LONGEST_CACHED: Final = 256
_WITHOUT_CANDLES: Final = (GLOBAL_FR, OVERVIEW)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The events of a listener; None means no filter.

    `timeframes` narrows documents, candles and stale markets, `markets` the latter two and, by
    exchange, pauses.
    """

    kinds: frozenset[str]
    timeframes: frozenset[str] | None
    markets: DocumentFilter

    def wants_document(self, name: str) -> bool:
        return DOCUMENT in self.kinds and self._is_in(name)

    def wants_candles(self, name: str) -> bool:
        return CANDLES in self.kinds and name not in _WITHOUT_CANDLES and self._is_in(name)

    def wants_stale(self, name: str) -> bool:
        return STALE in self.kinds and name not in _WITHOUT_CANDLES and self._is_in(name)

    def wants_pause(self, exchange: str) -> bool:
        return PAUSE in self.kinds and self.markets.matches(exchange, None)

    def _is_in(self, name: str) -> bool:
        return self.timeframes is None or name in self.timeframes


class EventQuery(NamedTuple):
    """A parsed query string; `last_event_id` as it was given."""

    filter: EventFilter
    last_event_id: str | None


def read_event_query(query_string: bytes) -> EventQuery:
    """Parses the query string; equal ones give the same filter. Raises InvalidQuery."""
    if len(query_string) > _LONGEST_CACHED:
        return _read(query_string)
    return _read_cached(query_string)


def _read(query_string: bytes) -> EventQuery:
    reader = QueryReader(query_string, PARAMETERS)
    timeframes = reader.chosen("timeframe", list(Timeframe))
    kinds = reader.chosen("event", KINDS)
    if kinds is None:
        # Candles of all timeframes are much, and nobody means them by asking for nothing.
        kinds = frozenset(KINDS) - ({CANDLES} if timeframes is None else set())
    elif CANDLES in kinds and timeframes is None:
        allowed = ", ".join(Timeframe)
        reader.refuse("timeframe", "missing", f"candles need one or more of {allowed}")
    markets = DocumentFilter(exchanges=reader.exchanges(), symbols=reader.symbols())
    last_event_id = reader.single("last_event_id")
    if reader.errors:
        raise InvalidQuery(reader.errors)
    return EventQuery(_interned(kinds, timeframes, markets), last_event_id)


_read_cached = lru_cache(1024)(_read)
# Listeners with one filter share their events' bytes.
_interned = lru_cache(1024)(EventFilter)
