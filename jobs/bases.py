"""Bases: the bases of the exchanges' markets in the hot store, and those that this worker knows.

What lies in memory is used only while the store's version and content hash are its own, so that a
publish that failed or another worker's is never overlooked.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

import structlog

from cache_manager import CacheManager, DocumentMeta, StoredDocument
from documents.base import BaseBuilder, decode_bases
from documents.chunks import KeptMarket
from documents.deflated import Deflated
from documents.kept import KeptDocuments
from documents.names import base_name
from jobs.stored_documents import read_stored
from market.base import Base
from market.markets import Exchange, Market
from stores.hot.leases import Lease, retry_under_lease

# Beside the arrays: what a Base computes of each slot when it is asked, objects, and of chunks too.
_SLOT_BYTES: Final = 40
_MARKET_BYTES: Final = 1500
_CHUNK_BYTES: Final = 400

log = structlog.get_logger(__name__)


class Context(Protocol):
    """What the bases need of a JobContext, which holds them."""

    @property
    def cache(self) -> CacheManager: ...
    @property
    def kept(self) -> KeptDocuments: ...
    @property
    def now_ms(self) -> Callable[[], int]: ...


class _Known(NamedTuple):
    """The bases of one stored document by Market.key, and by symbol the closed chunks of its JSON
    if they are known."""

    meta: DocumentMeta
    bases: Mapping[str, Base]
    kept: Mapping[str, KeptMarket]

    @property
    def memory_bytes(self) -> int:
        """About what it takes in memory."""
        bases, kept = self.bases.values(), self.kept.values()
        chunks = [chunk for market in kept for chunk in market.chunks]
        return (
            sum(_bytes_of(base) for base in bases)
            + sum(market.rows.times.nbytes + market.rows.values.nbytes for market in kept)
            + sum(len(chunk.part.deflated) + _CHUNK_BYTES for chunk in chunks)
        )


class Bases:
    """The stored bases of all exchanges; one for each worker process.

    Every method retries while the store is away, until the lease is lost: LeaseLost. CPU work runs
    in a thread. Their memory counts as that of kept documents, which make room for them.
    """

    def __init__(self) -> None:
        self._known: dict[Exchange, _Known] = {}

    async def newest_as_of_ms(
        self, context: Context, exchanges: Iterable[Exchange], lease: Lease
    ) -> dict[Exchange, int | None]:
        """The `as_of` of the stored bases of each exchange; None without any. One command."""
        names = {exchange: base_name(exchange) for exchange in exchanges}
        metas = await retry_under_lease(lease, lambda: context.cache.read_metas(names.values()))
        return {
            exchange: meta.as_of_ms if (meta := metas[name]) is not None else None
            for exchange, name in names.items()
        }

    async def load(self, context: Context, exchange: Exchange, lease: Lease) -> dict[str, Base]:
        """The stored bases by Market.key; none if the document is missing or damaged.

        Asks for its meta alone if they are in memory. Raises LeaseLost, StoreRefused.
        """
        name = base_name(exchange)
        meta = await retry_under_lease(lease, lambda: context.cache.read_meta(name))
        known = self._known.get(exchange)
        if meta is None or known is None or not _is_same(known.meta, meta):
            known = await self._read(context, exchange, lease) if meta is not None else None
            self._remember(context, exchange, known)
        return dict(known.bases) if known is not None else {}

    def known(self, exchange: Exchange) -> Mapping[str, Base]:
        """Those that this process loaded or published last, by Market.key. Asks nothing: who has
        loaded them under the lease knows the newest."""
        known = self._known.get(exchange)
        return known.bases if known is not None else {}

    async def publish(
        self,
        context: Context,
        exchange: Exchange,
        bases: Mapping[str, tuple[Market, Base]],
        as_of_ms: int,
        lease: Lease,
    ) -> None:
        """Replaces the stored bases of the exchange by these, in one step.

        A market whose base cannot be stored is left out. Raises LeaseLost, StaleVersion and
        StoreRefused; what is in memory stays as it was then.
        """
        name, known = base_name(exchange), self._known.get(exchange)
        # A copy: a thread goes on with it even if this call is cancelled.
        kept = dict(known.kept) if known is not None else {}
        version = await retry_under_lease(lease, lambda: context.cache.next_version(name, as_of_ms))
        updated_at_ms = context.now_ms()
        stored, document = await asyncio.to_thread(
            _encode, exchange, bases, kept, version, as_of_ms, updated_at_ms
        )
        meta = await context.cache.save_to_cache(
            name,
            document,
            version=version,
            as_of_ms=as_of_ms,
            updated_at_ms=updated_at_ms,
            lease=lease,
        )
        self._remember(context, exchange, _Known(meta, stored, kept))
        log.info("published", document=name, version=version, bytes=meta.stored_bytes)

    def _remember(self, context: Context, exchange: Exchange, known: _Known | None) -> None:
        """Keeps the bases in place of those before, and lets nobody change them."""
        if known is None:
            self._known.pop(exchange, None)
        else:
            self._known[exchange] = known
            for base in known.bases.values():
                for array in (base.values, base.read_ms, base.lost, base.streamed):
                    array.flags.writeable = False
        size = known.memory_bytes if known is not None else 0
        context.kept.reserve(base_name(exchange), size)

    async def _read(self, context: Context, exchange: Exchange, lease: Lease) -> _Known | None:
        def decode(document: StoredDocument) -> _Known:
            return _Known(document.meta, decode_bases(document.inflate(), exchange), {})

        return await read_stored(context.cache, base_name(exchange), decode, lease)


def _encode(
    exchange: Exchange,
    bases: Mapping[str, tuple[Market, Base]],
    kept: dict[str, KeptMarket],
    version: int,
    as_of_ms: int,
    updated_at_ms: int,
) -> tuple[dict[str, Base], Deflated]:
    """The bases that can be stored, and their document. `kept` becomes the chunks of these."""
    wide = any(base.is_wide for _, base in bases.values())
    builder = BaseBuilder(exchange, kept, trade_columns=wide)
    stored = {}
    for key, (market, base) in bases.items():
        try:
            builder.add(market, base)
        except ValueError as error:
            log.error("base_not_stored", market=key, error=str(error))
        else:
            stored[key] = base
    for symbol in kept.keys() - {bases[key][0].symbol for key in stored}:
        del kept[symbol]
    document = builder.finish_deflated(
        version=version, as_of_ms=as_of_ms, updated_at_ms=updated_at_ms
    )
    return stored, document


def _bytes_of(base: Base) -> int:
    arrays = base.values.nbytes + base.read_ms.nbytes + base.lost.nbytes + base.streamed.nbytes
    return arrays + _SLOT_BYTES * len(base.values) + _MARKET_BYTES


def _is_same(one: DocumentMeta, other: DocumentMeta) -> bool:
    return (one.version, one.content_hash) == (other.version, other.content_hash)
