"""What listeners are told: the entries of the log as events, and what each filter makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from api.events.framing import WHOLE, Place, frame
from api.events.query import ALERT, CANDLES, DOCUMENT, JOB, PAUSE, RESET, STALE, EventFilter
from documents.changes import MarketChange, ReadChanges
from documents.names import SERVED
from job_queue.kinds import JOBS
from market.columns import COLUMNS, columns_of
from status.runs import told_error
from stores.hot.event_log import Entry, Position
from texts.foreign import cut
from texts.hidden_addresses import without_addresses, without_ips

# The events of one publish, in this order.
_DOCUMENT_NUMBER: Final = 1
_CANDLES_NUMBER: Final = 2
_STALE_NUMBER: Final = 3
_LONGEST_TEXT: Final = 500  # characters of an error or a cause
UNKNOWN_ID: Final = "the last event id is not in the log"
LOST_LOG: Final = "events were lost"
_UNKNOWN_CHANGES: Final = "what this version changes is not known"
_TOO_MANY: Final = "this version changes too much to be told"
_EXPIRED: Final = "what this version changes is no longer kept"


@dataclass(slots=True, eq=False)
class Told:
    """One entry of the log, or what is told beside it (`position` None). `data`: the JSON of its
    own event, of this `kind`; without a kind it is none of ours, and nothing is told.

    A document has a `name`, its `version`, and what the log says of its changes: whether there are
    `rows`, and `stale` markets. `is_chained`: they lead from the version told before.
    """

    position: Position | None
    kind: str
    data: bytes = b""
    name: str = ""  # of the document, or of the paused exchange
    version: int = 0
    as_of: int = 0
    rows: bool = False
    stale: bool = False
    is_chained: bool = True
    reason: str = ""  # of a reset
    after: int = 0  # the number of the event up to which a listener has it
    _own: bytes = field(default=b"", init=False)

    def resumed(self, number: int) -> "Told":
        """The same for a listener that has its events up to this number."""
        return Told(
            *(self.position, self.kind, self.data, self.name, self.version, self.as_of),
            *(self.rows, self.stale, self.is_chained, self.reason, number),
        )

    def needs_changes(self, wanted: EventFilter) -> bool:
        """Whether the changes of the version must be read to tell it."""
        if self.kind != DOCUMENT or not self.is_chained:
            return False
        return (self.rows and wanted.wants_candles(self.name)) or (
            self.stale and wanted.wants_stale(self.name)
        )

    def events(self, wanted: EventFilter, changes: ReadChanges | None) -> bytes:
        """The events of this entry that the filter lets through. `changes`: None if they are not
        needed, or no longer kept."""
        match self.kind:
            case "job":
                return self._own_event() if JOB in wanted.kinds else b""
            case "pause":
                return self._own_event() if wanted.wants_pause(self.name) else b""
            case "alert":
                return self._own_event() if ALERT in wanted.kinds else b""
            case "document":
                return self._publish(wanted, changes)
            case "reset":
                return self._reset(wanted)
            case _:
                return b""

    def _own_event(self, number: int = WHOLE) -> bytes:
        if not self._own:
            self._own = frame(self.kind, self.data, self._place(number))
        return self._own

    def _place(self, number: int) -> Place | None:
        return None if self.position is None else Place(self.position, number)

    def _reset(self, wanted: EventFilter) -> bytes:
        timeframes = wanted.timeframes
        names = [name for name in SERVED if timeframes is None or name in timeframes]
        return frame(RESET, _reset_data(self.reason, names), self._place(WHOLE))

    def _publish(self, wanted: EventFilter, changes: ReadChanges | None) -> bytes:
        found = b""
        if self.after < _DOCUMENT_NUMBER and wanted.wants_document(self.name):
            found += self._own_event(_DOCUMENT_NUMBER)
        candles = self.after < _CANDLES_NUMBER and wanted.wants_candles(self.name)
        stale = self.after < _STALE_NUMBER and wanted.wants_stale(self.name)
        if not (candles or stale):
            return found
        if why := self._why_unknown(changes, candles, stale):
            data = _reset_data(why, [self.name])
            return found + frame(RESET, data, self._place(_STALE_NUMBER))
        if candles and self.rows and changes is not None:
            found += self._candles(wanted, changes)
        if stale and self.stale and changes is not None:
            found += self._stale(wanted, changes)
        return found

    def _why_unknown(self, changes: ReadChanges | None, candles: bool, stale: bool) -> str:
        """Why the listener must read the document anew; empty if it need not."""
        if not self.is_chained:
            return _UNKNOWN_CHANGES
        if not ((candles and self.rows) or (stale and self.stale)):
            return ""
        if changes is None:
            return _EXPIRED
        return _TOO_MANY if candles and self.rows and changes.markets is None else ""

    def _candles(self, wanted: EventFilter, changes: ReadChanges) -> bytes:
        where = wanted.markets
        ours = [
            change
            for change in changes.markets or ()
            if where.matches(change.exchange, change.symbol)
        ]
        if not ours:
            return b""
        head = {"timeframe": self.name, "version": self.version, "as_of": self.as_of}
        widths = (len(row) for each in ours for row in (*each.closed[:1], *each.corrected[:1]))
        columns = columns_of(max(widths, default=0) > len(COLUMNS))
        markets = [_market(change) for change in ours]
        data = orjson.dumps({**head, "columns": columns, "markets": markets})
        return frame(CANDLES, data, self._place(_CANDLES_NUMBER))

    def _stale(self, wanted: EventFilter, changes: ReadChanges) -> bytes:
        where = wanted.markets
        absent = [each for each in changes.absent if where.matches(each.exchange, None)]
        stale = [each for each in changes.stale if where.matches(each.exchange, each.symbol)]
        recovered = [each for each in changes.recovered if where.matches(*each)]
        if not (absent or stale or recovered):
            return b""
        since: dict[str, list[int]] = {}
        for market in changes.stale:
            since.setdefault(market.exchange, []).append(market.stale_since)
        whole = {name for name, times in since.items() if len(times) == changes.counts.get(name)}
        reasons = {each.exchange: each.reason for each in absent}
        named = sorted(reasons.keys() | {each.exchange for each in stale if each.exchange in whole})
        exchanges = [
            {
                "exchange": name,
                "stale_since": min(since[name]) if name in whole else None,
                "reason": cut(reasons.get(name, ""), _LONGEST_TEXT) or None,
            }
            for name in named
        ]
        # The markets of a whole exchange are named to those who ask for symbols.
        markets = [
            each for each in stale if where.symbols is not None or each.exchange not in whole
        ]
        data = orjson.dumps(
            {
                "document": self.name,
                "version": self.version,
                "as_of": self.as_of,
                "exchanges": exchanges,
                "markets": [each._asdict() for each in markets],
                "recovered": [{"exchange": e, "symbol": s} for e, s in recovered],
            }
        )
        return frame(STALE, data, self._place(_STALE_NUMBER))


def lost(position: Position | None, reason: str) -> Told:
    """A reset: what happened before `position` is not known."""
    return Told(position, RESET, reason=reason)


def published(data: Mapping[str, Any], position: Position | None = None) -> Told | None:
    """The event of a document, without its changes; None if it is not one of ours."""
    name, version, as_of = data.get("name"), data.get("version"), data.get("as_of")
    if name not in SERVED or type(version) is not int or type(as_of) is not int:
        return None
    told = {
        **{key: data.get(key) for key in ("name", "version", "as_of", "updated_at")},
        "path": f"/cache/{name}",
    }
    return Told(position, DOCUMENT, orjson.dumps(told), name, version, as_of, is_chained=False)


def read_entry(entry: Entry, prefix: str, known: Mapping[str, int]) -> Told | None:
    """The entry as it is told; None for one of a later release, or of somebody else.

    `prefix`: of the store's keys. `known`: the version of each document that was told before.
    """
    fields = {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in entry.fields.items()
    }
    match fields.get("kind"):
        case "job":
            return _job(entry.at, fields, prefix)
        case "pause":
            return _pause(entry.at, fields)
        case "alert":
            return _alert(entry.at, fields)
        case "document":
            return _document(entry.at, fields, known)
        case _:
            return None


def _job(position: Position, fields: Mapping[str, str], prefix: str) -> Told | None:
    job_id = fields.get("job", "").removeprefix(f"{prefix}job:")
    job = JOBS.get(job_id)
    if job is None:
        return None
    error = told_error(fields.get("error") or None)
    data = {
        "id": job_id,
        "kind": job.kind.name,
        "timeframe": job.timeframe,
        "run": _number(fields.get("run")),
        "state": fields.get("state"),
        "at": position.at_ms,
        "as_of": _number(fields.get("as_of")),
        "error": None if error is None else cut(error, _LONGEST_TEXT),
    }
    return Told(position, JOB, orjson.dumps(data), job_id)


def _pause(position: Position, fields: Mapping[str, str]) -> Told:
    exchange = cut(fields.get("exchange", ""), _LONGEST_TEXT)
    data = {
        "exchange": exchange,
        "egress_id": cut(fields.get("egress_id", ""), _LONGEST_TEXT),
        "state": fields.get("state"),
        "at": position.at_ms,
        "until": _number(fields.get("until")),
        "cause": cut(without_addresses(fields.get("cause", "")), _LONGEST_TEXT) or None,
    }
    return Told(position, PAUSE, orjson.dumps(data), exchange)


def _alert(position: Position, fields: Mapping[str, str]) -> Told:
    chain = cut(fields.get("chain", ""), _LONGEST_TEXT)
    data = {
        "alert": cut(fields.get("alert", ""), _LONGEST_TEXT),
        "chain": chain,
        "resource": cut(fields.get("resource", ""), _LONGEST_TEXT) or None,
        "at": position.at_ms,
        "message": cut(without_ips(fields.get("message", "")), _LONGEST_TEXT),
    }
    return Told(position, ALERT, orjson.dumps(data), chain)


def _document(
    position: Position, fields: Mapping[str, str], known: Mapping[str, int]
) -> Told | None:
    try:
        data = orjson.loads(fields.get("document", ""))
    except ValueError:
        return None
    told = published(data, position) if isinstance(data, dict) else None
    if told is not None:
        base = _number(fields.get("base"))
        # Of a document of which nothing is known, only the first version of all is chained.
        told.is_chained = base == known.get(told.name, 0)
        told.rows = bool(_number(fields.get("rows")))
        told.stale = bool(_number(fields.get("stale")))
    return told


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 15 else None


def _market(change: MarketChange) -> dict[str, Any]:
    """A market of an event; what does not happen often is left out where it did not."""
    market: dict[str, Any] = {
        "exchange": change.exchange,
        "symbol": change.symbol,
        "rows": change.closed,
    }
    if change.corrected:
        market["corrected"] = change.corrected
    if change.removed:
        market["removed"] = change.removed
    if change.is_gone:
        market["gone"] = True
    return market


def _reset_data(reason: str, names: Sequence[str]) -> bytes:
    advice = "read these documents anew, and the jobs"
    return orjson.dumps({"reason": f"{reason}: {advice}", "documents": names})
