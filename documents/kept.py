"""KeptDocuments: the documents that a worker published last, as rows and compressed chunks.

One copy of the rows serves two ends: chunks whose rows are still the same are used again, and the
next run takes its earlier series from here in place of the stored text.

Memory is limited: over the limit the rows of the coarsest timeframe go first. Such a document is
held as it is stored, a third of that, as long as these take no more than a quarter of the limit
beside it; what a run needs of a market is then inflated again.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Lock
from typing import Final

import numpy as np

from documents.chunk_index import ChunkedDocument
from documents.chunked_series import ChunkedSeries
from documents.chunked_text import ChunkedText
from documents.chunks import KeptMarket
from documents.missing import Lacks, lacks_by_market
from market.markets import Exchange, Market, MarketSeries, Meta, Missing
from market.previous_series import SAMPLED_SERIES, PreviousSeries
from market.rows import Rows, Times
from market.timeframes import Timeframe

_MARKET_BYTES: Final = 1500  # of a market's objects, beside its chunks and its rows
_CHUNK_BYTES: Final = 400  # of a chunk's objects, beside its compressed text
_NOTHING: Final = KeptMarket()
_STORED_PART: Final = 4  # of the limit: what documents without rows may take beside it

MarketKey = tuple[str, str]  # exchange and symbol


@dataclass(frozen=True, slots=True)
class _Entry:
    """One market: its series with the rows of `chunks`, its metadata, and the memory they take."""

    chunks: KeptMarket
    series: MarketSeries
    meta: Meta
    size: int


@dataclass(slots=True)
class _Document:
    """`entries`: the newest of each market. `whole`: they are all that a finished document has,
    and nothing else. `published`: its version and content hash.
    `series`: those handed out for a run, without the ones that were replaced since.
    """

    entries: dict[MarketKey, _Entry] = field(default_factory=dict)
    series: dict[str, MarketSeries] = field(default_factory=dict)
    whole: bool = False
    published: tuple[int, str] | None = None

    def changed(self) -> None:
        self.whole, self.published = False, None


class _Stored:
    """A document as it was published, under this version and content hash.

    `whole_bytes`: the memory that it takes. While its rows are kept, too, they share its chunks
    with it, and it takes `ends_bytes`: the first and last chunk of each market.
    """

    def __init__(self, published: tuple[int, str], document: ChunkedDocument) -> None:
        index = document.index
        ends = (index.deflated[each.first] + index.deflated[each.end - 1] for each in index.markets)
        self.published = published
        self.whole_bytes = index.size.deflated + index.memory_bytes
        self.ends_bytes = sum(ends) + index.memory_bytes
        self._pieces = document.pieces
        self._index = index
        self._text: ChunkedText | None = None

    def series(self) -> ChunkedSeries:
        if self._text is None:
            self._text, self._pieces = ChunkedText(b"".join(self._pieces), self._index), ()
        return ChunkedSeries(self._text, is_ours=True)


class KeptSeries(PreviousSeries):
    """The series of a document in memory; a market's is gone once its new one is kept."""

    def __init__(
        self, version: int, series: Mapping[str, MarketSeries], metas: Mapping[str, Meta]
    ) -> None:
        self._version = version
        self._series = series
        self._metas = metas
        self._sample = {
            each.market.key: replace(each, rows=_ends(each.rows))
            for exchange in Exchange
            for each in islice(_of(exchange, series.values()), SAMPLED_SERIES)
        }

    @property
    def version(self) -> int | None:
        return self._version

    @property
    def is_ours(self) -> bool:
        return True

    def __getitem__(self, key: str) -> MarketSeries:
        return self._series[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def metas(self) -> dict[str, Meta]:
        return dict(self._metas)

    def sample(self) -> Mapping[str, MarketSeries]:
        return self._sample


class KeptDocuments:
    """The documents by timeframe, within `limit_mb`; threads may share it."""

    def __init__(self, limit_mb: float) -> None:
        self._limit_bytes = round(limit_mb * 2**20)
        self._lock = Lock()
        self._documents: dict[Timeframe, _Document] = {}
        self._stored: dict[Timeframe, _Stored] = {}
        self._last_times: dict[Timeframe, Times] = {}
        self._reserved: dict[str, int] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """The memory that everything takes, what is reserved included."""
        return self._bytes + self._stored_bytes()

    def reserve(self, name: str, size: int) -> None:
        """Counts `size` bytes that another part holds under this name, in place of those before.

        They are granted in any case; documents go to make room for them.
        """
        with self._lock:
            self._bytes += size - self._reserved.pop(name, 0)
            if size:
                self._reserved[name] = size
            while self._bytes > self._limit_bytes and self._documents:
                self._forget_document(max(self._documents, key=_interval_ms))

    def get(self, timeframe: Timeframe, key: MarketKey) -> KeptMarket:
        """The chunks and rows of the market; a KeptMarket without any if nothing is kept."""
        with self._lock:
            document = self._documents.get(timeframe)
            entry = document.entries.get(key) if document is not None else None
        return entry.chunks if entry is not None else _NOTHING

    def put(
        self,
        timeframe: Timeframe,
        key: MarketKey,
        chunks: KeptMarket,
        series: MarketSeries,
        meta: Meta,
    ) -> None:
        """Keeps a market in place of the one before; nothing if there is no room for it and no
        coarser timeframe that could go. `chunks` has the rows of `series`."""
        with self._lock:
            kept = self._documents.get(timeframe)
            before = kept.entries.get(key) if kept is not None else None
            entry = _entry(*self._with_shared_times(timeframe, chunks), series, meta, before)
            self._forget(timeframe, key)
            while self._bytes + entry.size > self._limit_bytes:
                coarsest = max(self._documents, key=_interval_ms, default=timeframe)
                if coarsest.interval_ms <= timeframe.interval_ms:
                    return
                self._forget_document(coarsest)
            document = self._documents.setdefault(timeframe, _Document())
            document.changed()
            document.entries[key] = entry
            self._bytes += entry.size

    def finish(
        self, timeframe: Timeframe, keys: Collection[MarketKey], missing: Iterable[Missing]
    ) -> None:
        """Tells which markets the finished document has, and what it says is missing, in its order.

        Markets of before that it lacks are forgotten.
        """
        lacks = lacks_by_market(missing)
        with self._lock:
            document = self._documents.get(timeframe)
            if document is None:
                return
            for key in document.entries.keys() - set(keys):
                self._forget(timeframe, key)
            document.changed()
            document.series = {}
            document.entries = {
                key: _lacking(entry, lacks) for key, entry in sorted(document.entries.items())
            }
            document.whole = len(document.entries) == len(keys)

    def publish(
        self,
        timeframe: Timeframe,
        version: int,
        content_hash: str,
        document: ChunkedDocument | None = None,
    ) -> None:
        """Tells under which version the document that was finished last is stored. `document` is
        held, if there is room, for the time when its rows are not here."""
        with self._lock:
            self._stored.pop(timeframe, None)
            kept = self._documents.get(timeframe)
            if kept is not None and kept.whole:
                kept.published = version, content_hash
            if document is not None:
                self._stored[timeframe] = _Stored((version, content_hash), document)
                self._trim_stored()
            if kept is not None and not kept.whole and timeframe in self._stored:
                self._forget_document(timeframe)

    def is_published(self, timeframe: Timeframe) -> bool:
        """Whether the document is here as this process published it last."""
        document = self._documents.get(timeframe)
        is_whole = document is not None and document.published is not None
        return is_whole or timeframe in self._stored

    def series(
        self, timeframe: Timeframe, version: int, content_hash: str
    ) -> KeptSeries | ChunkedSeries | None:
        """The series of the document, if all that was published under this version is here. CPU
        work, about 50 ms for 1000 markets, where the rows are not."""
        with self._lock:
            stored = self._stored.get(timeframe)
            document = self._documents.get(timeframe)
            if document is not None and document.published == (version, content_hash):
                entries = document.entries.values()
                document.series = {entry.series.market.key: entry.series for entry in entries}
                metas = {entry.series.market.key: entry.meta for entry in entries}
                return KeptSeries(version, document.series, metas)
        if stored is None or stored.published != (version, content_hash):
            return None
        return stored.series()

    def _trim_stored(self) -> None:
        """Lets go of documents that are held as they are stored and find no room, the coarsest
        first."""
        while self._stored and self._stored_bytes() > self._limit_bytes // _STORED_PART:
            del self._stored[max(self._stored, key=_interval_ms)]

    def _stored_bytes(self) -> int:
        taken = 0
        for timeframe, stored in list(self._stored.items()):
            kept = self._documents.get(timeframe)
            is_shared = kept is not None and kept.published == stored.published
            taken += stored.ends_bytes if is_shared else stored.whole_bytes
        return taken

    def _with_shared_times(
        self, timeframe: Timeframe, chunks: KeptMarket
    ) -> tuple[KeptMarket, int]:
        """The chunks, and the memory that their rows take: most markets have the same times."""
        rows, last = chunks.rows, self._last_times.get(timeframe)
        if last is not None and np.array_equal(last, rows.times):
            return chunks._replace(rows=Rows(last, rows.values)), rows.values.nbytes
        self._last_times[timeframe] = rows.times
        return chunks, rows.values.nbytes + rows.times.nbytes

    def _forget(self, timeframe: Timeframe, key: MarketKey) -> None:
        document = self._documents.get(timeframe)
        entry = document.entries.pop(key, None) if document is not None else None
        if document is None or entry is None:
            return
        document.changed()
        document.series.pop(entry.series.market.key, None)
        self._bytes -= entry.size
        if not document.entries:
            del self._documents[timeframe]

    def _forget_document(self, timeframe: Timeframe) -> None:
        """A run that uses its series keeps them until it has replaced them."""
        document = self._documents.pop(timeframe)
        self._bytes -= sum(entry.size for entry in document.entries.values())
        self._trim_stored()


def _entry(
    chunks: KeptMarket, rows_bytes: int, series: MarketSeries, meta: Meta, before: _Entry | None
) -> _Entry:
    # What a stored document tells, and no more; `finish` adds what it says is missing.
    market = series.market
    if before is not None and before.series.market == market:
        market = before.series.market
    else:
        market = Market(market.exchange, market.symbol, market.base, market.quote)
    told = MarketSeries(
        market,
        chunks.rows,
        series.checked_at_ms,
        series.stale_since_ms,
    )
    size = _MARKET_BYTES + rows_bytes
    size += sum(len(chunk.part.deflated) + _CHUNK_BYTES for chunk in chunks.chunks)
    return _Entry(chunks, told, dict(meta), size)


def _lacking(entry: _Entry, by_market: Mapping[str, Lacks]) -> _Entry:
    lacks = by_market.get(entry.series.market.key)
    if lacks is None:
        return entry
    series = replace(
        entry.series,
        lacks_open_interest=lacks.open_interest,
        left_out=lacks.left_out,
        awaits_open_interest=lacks.awaits_open_interest,
    )
    return replace(entry, series=series)


def _of(exchange: Exchange, series: Iterable[MarketSeries]) -> Iterator[MarketSeries]:
    return (each for each in series if each.market.exchange == exchange)


def _ends(rows: object) -> Rows:
    assert isinstance(rows, Rows)  # noqa: S101 - as `put` keeps them
    return rows if len(rows) < 3 else rows.select(np.array((0, len(rows) - 1)))


def _interval_ms(timeframe: Timeframe) -> int:
    return timeframe.interval_ms
