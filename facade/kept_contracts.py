"""KeptContracts: how many coins are in one contract, as exchanges listed it last."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import orjson
import structlog

from market.markets import Exchange
from market.timeframes import DAY_MS
from stores.hot.store import HotStore

# Lists are read once a day. A size that was told longer ago may be another one by now.
_KEPT_MS: Final = 7 * DAY_MS

log = structlog.get_logger(__name__)


class KeptContracts:
    """All methods raise StoreUnavailable."""

    def __init__(self, store: HotStore) -> None:
        self._store = store

    async def keep(self, exchange: Exchange, sizes: Mapping[str, Decimal]) -> None:
        """Replaces what was known of the exchange; `sizes`: by its ids of markets."""
        text = orjson.dumps({native: str(size) for native, size in sizes.items()})
        await self._store.execute("SET", _key(exchange), text, "PX", _KEPT_MS)

    async def size(self, exchange: Exchange, native: str) -> Decimal | None:
        """The coins in one contract; None if no list of late has it."""
        # MGET answers nil for a value of another type.
        (text,) = await self._store.execute("MGET", _key(exchange))
        if text is None:
            return None
        try:
            found = orjson.loads(text).get(native)
            return None if found is None else Decimal(found)
        except (ValueError, AttributeError, TypeError, InvalidOperation) as error:
            log.warning("facade_contracts_unreadable", exchange=exchange, error=repr(error)[:200])
            return None


def _key(exchange: Exchange) -> str:
    return f"facade:contracts:{exchange}"
