"""The last known markets, kept in the hot store for when the cold store is away. Asks nobody else.

`known:markets` is one plain JSON value: the selection that the settings made, and its markets. It
is written under a lease, only when it changed; markets of another selection are never handed out.
"""

from collections.abc import Sequence
from typing import Final, TypedDict

import orjson
import structlog

from market.markets import Exchange, Market
from stores.hot.leases import Lease, retry_under_lease
from stores.hot.store import HotStore, StoreUnavailable

KNOWN_MARKETS: Final = "known:markets"

log = structlog.get_logger(__name__)

# keep(lock, known; lease, markets): what the store holds is this.
# Returns 'ok', 'same' when it was so before, or 'lost'.
_KEEP: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
if redis.call('GET', KEYS[2]) == ARGV[2] then return 'same' end
redis.call('SET', KEYS[2], ARGV[2])
return 'ok'
"""


class Selection(TypedDict):
    """Which markets the settings ask for, as the cold store takes it."""

    exchanges: Sequence[Exchange]
    quote: str
    markets_limit: int


async def keep_markets(
    store: HotStore, lease: Lease, selection: Selection, markets: Sequence[Market]
) -> None:
    """Notes what the cold store just gave. Raises LeaseLost; a store that does not take it is
    logged, because the work at hand does not need it."""
    lease.check()
    try:
        answer = await store.script(_KEEP).run(
            [lease.key, KNOWN_MARKETS], [lease.value, _encode(selection, markets)]
        )
    except StoreUnavailable as error:
        log.warning("markets_not_kept", reason=str(error))
        return
    lease.raise_if_lost(answer)


async def known_markets(store: HotStore, lease: Lease, selection: Selection) -> list[Market]:
    """The markets of `selection` that were kept last, by (exchange, symbol); empty when there are
    none. Raises LeaseLost, StoreRefused."""
    text = await retry_under_lease(lease, lambda: store.execute("GET", KNOWN_MARKETS))
    return _decode(selection, text) if text is not None else []


def _encode(selection: Selection, markets: Sequence[Market]) -> bytes:
    rows = [(m.exchange, m.symbol, m.base, m.quote, m.launched_ms) for m in sorted(markets)]
    return orjson.dumps({"selection": _name(selection), "markets": rows})


def _decode(selection: Selection, text: bytes) -> list[Market]:
    try:
        kept = orjson.loads(text)
        if kept["selection"] != _name(selection):
            return []
        return [
            Market(Exchange(exchange), symbol, base, quote, int(launched_ms))
            for exchange, symbol, base, quote, launched_ms in kept["markets"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        # Not ours, or damaged: as good as none, and the next answer replaces it.
        log.warning("known_markets_unreadable", reason=repr(error))
        return []


def _name(selection: Selection) -> list[object]:
    exchanges = sorted(map(str, selection["exchanges"]))
    return [exchanges, selection["quote"], selection["markets_limit"]]
