"""JournalEntry: what one publish has changed, for the history; its stored form and its decoding.

An entry lies in a list of the hot store as `<document> <version> <updated_at> <is_whole>
<stored_bytes> <json_bytes> <stored_hash> <text>`; the sizes and the hash are those of the published
document, the text is base64(zlib(JSON)). The JSON names every market of the document with its
forming rows, when it was checked and since when it is stale, and its rows that have closed, changed
or gone since `base`. If they are too many, or `base` is not known, `whole` is true, and a copy of
the document has the rows.

Of `global_fr` the rows are settlements, which never form.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from documents.changes import MarketChange
from documents.deflated import inflate_at_most
from documents.meta import LARGEST_TIME, DocumentMeta
from documents.names import DOCUMENTS
from market.markets import Missing

_LARGEST_JSON: Final = 64 * 2**20  # bytes
_HEAD: Final = re.compile(
    rb"(\w{1,40}) (\d{1,14}) (\d{1,14}) ([01]) (\d{1,10}) (\d{1,13}) ([0-9a-f]{1,64}) "
)

Row = Sequence[float | None]


class JournalMarket(NamedTuple):
    """One market of the published document. Times are UTC ms.

    `first_ms`: the time of its first row, None without rows. `is_new`: the version before did not
    have it, so `change` has all its closed rows. `forming`: rows whose close had not been seen.
    `change`: the rows that have closed, changed or gone; None in a whole entry, or if there are
    none.
    """

    exchange: str
    symbol: str
    base: str
    quote: str
    first_ms: int | None
    checked_at_ms: int
    stale_since_ms: int | None
    is_new: bool
    forming: Sequence[Row]
    change: MarketChange | None

    @property
    def key(self) -> str:
        """Market.key."""
        return f"{self.exchange}:{self.symbol}"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What the version of a document has changed since the version `base`.

    `base`: 0 if there was none, None if it is not known. `candles`: HISTORY_CANDLES, if known.
    `intervals`: of funding, in hours, of each of the markets; None in other documents, and in
    entries of earlier releases.
    `funding_updated_ms`: the `updated_at` of the funding from which the document has its rates,
    None if they are those of `base` or there was none. `markets`: all of the document, sorted.
    """

    document: str
    version: int
    base: int | None
    updated_at_ms: int
    as_of_ms: int
    candles: int | None
    funding_updated_ms: int | None
    is_whole: bool
    missing: Sequence[Missing]
    markets: Sequence[JournalMarket]
    intervals: Sequence[int] | None = None


class StoredEntry(NamedTuple):
    """What is told of an entry before its text: of which document it is, and whether its rows are
    in a copy of that, which has so many bytes and this hash."""

    document: str
    version: int
    updated_at_ms: int
    is_whole: bool
    stored_bytes: int
    json_bytes: int
    stored_hash: str
    head: bytes
    text: bytes

    @property
    def copy_meta(self) -> DocumentMeta:
        """The meta by which the copy of the document is read."""
        return DocumentMeta(
            name=self.document,
            version=self.version,
            content_hash=self.stored_hash,
            updated_at_ms=self.updated_at_ms,
            as_of_ms=0,
            stored_bytes=self.stored_bytes,
            json_bytes=self.json_bytes,
            stored_hash=self.stored_hash,
        )


_Time = Annotated[int, msgspec.Meta(ge=0, lt=LARGEST_TIME)]


class _Stored(msgspec.Struct):
    """The JSON of an entry."""

    document: str
    version: _Time
    base: int | None
    updated_at: _Time
    as_of: _Time
    candles: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | None
    funding_updated_at: _Time | None
    whole: bool
    missing: list[tuple[str, str | None, str, str]]
    markets: list[JournalMarket]
    # A key of its own, which earlier releases pass over: a market of one more field stops them.
    intervals: list[Annotated[int, msgspec.Meta(ge=1, le=24 * 366)]] | None = None


_decoder: Final = msgspec.json.Decoder(_Stored)


class EncodedEntry(NamedTuple):
    """An entry as the publish script gets it: the text, and whether the rows are in a copy."""

    text: bytes
    is_whole: bool

    def stored(self, meta: DocumentMeta) -> bytes:
        """The element of the list."""
        return b"%b %d %d %d %d %d %b %b" % (
            meta.name.encode(),
            meta.version,
            meta.updated_at_ms,
            self.is_whole,
            meta.stored_bytes,
            meta.json_bytes,
            meta.stored_hash.encode(),
            self.text,
        )


def read_stored_entry(element: bytes) -> StoredEntry:
    """The head of an element of the list. Raises ValueError for anything else."""
    found = _HEAD.match(element)
    if found is None or found[1].decode() not in DOCUMENTS:
        raise ValueError(f"not an entry of the journal: {element[:60]!r}")
    name, version, updated, whole, stored_bytes, json_bytes, stored_hash = found.groups()
    return StoredEntry(
        name.decode(),
        int(version),
        int(updated),
        whole == b"1",
        int(stored_bytes),
        int(json_bytes),
        stored_hash.decode(),
        found[0],
        element[found.end() :],
    )


def decode_entry(deflated: bytes) -> JournalEntry:
    """The entry of a zlib stream. CPU work: about 2 ms for 1000 markets. Raises ValueError."""
    try:
        found = _decoder.decode(inflate_at_most(deflated, _LARGEST_JSON))
    except msgspec.DecodeError as error:
        raise ValueError(f"not an entry of the journal: {error}") from None
    if found.intervals is not None and len(found.intervals) != len(found.markets):
        raise ValueError(f"{len(found.intervals)} intervals of {len(found.markets)} markets")
    return JournalEntry(
        document=found.document,
        version=found.version,
        base=found.base,
        updated_at_ms=found.updated_at,
        as_of_ms=found.as_of,
        candles=found.candles,
        funding_updated_ms=found.funding_updated_at,
        is_whole=found.whole,
        missing=[_missing(each) for each in found.missing],
        markets=found.markets,
        intervals=found.intervals,
    )


def deflated_entry(text: bytes) -> bytes:
    """The zlib stream of a stored text. Raises ValueError."""
    return base64.b64decode(text, validate=True)


def _missing(fields: tuple[Any, ...]) -> Missing:
    return Missing(*fields)
