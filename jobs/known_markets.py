"""The last known markets: a copy in the hot store for runs while the database is away.

`known:markets` is one JSON value: the settings' selection and its markets. It is written under a
lease, and only if it changed; a copy for another selection is ignored. What the release before
does not know stands beside the rows that it reads.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypedDict

import orjson
import structlog

from market.markets import Exchange, Market
from stores.hot.leases import Lease, retry_under_lease
from stores.hot.replies import one_of
from stores.hot.store import HotStore, StoreUnavailable

KNOWN_MARKETS: Final = "known:markets"

log = structlog.get_logger(__name__)

# save(lock, known; lease, markets): stores the value.
# Returns 'ok', 'same' if it is stored already, or 'lost'.
_SAVE: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 'lost' end
if redis.pcall('GET', KEYS[2]) == ARGV[2] then return 'same' end
redis.call('SET', KEYS[2], ARGV[2])
return 'ok'
"""


class Selection(TypedDict):
    """The settings' selection of markets, as arguments for Database methods."""

    exchanges: Sequence[Exchange]
    quote: str
    markets_limit: int


async def save_known_markets(
    store: HotStore, lease: Lease, selection: Selection, markets: Sequence[Market]
) -> None:
    """Stores the markets that the database just returned. Raises LeaseLost; if the store is away
    this is only logged, because the run does not need the copy."""
    lease.check()
    try:
        answer = await store.script("save_known_markets", _SAVE).run(
            [lease.key, KNOWN_MARKETS],
            [lease.value, _encode(selection, markets)],
            reply=one_of(b"ok", b"same", b"lost"),
        )
    except StoreUnavailable as error:
        log.warning("known_markets_not_saved", error=str(error))
        return
    lease.raise_if_lost(answer)


async def load_known_markets(store: HotStore, lease: Lease, selection: Selection) -> list[Market]:
    """The stored markets of `selection`, by (exchange, symbol); empty if there are none. Raises
    LeaseLost, StoreRefused."""
    return await retry_under_lease(lease, lambda: read_known_markets(store, selection))


async def read_known_markets(store: HotStore, selection: Selection) -> list[Market]:
    """As `load_known_markets`, asked once. Raises StoreUnavailable."""
    # MGET answers nil for a value of another type.
    (text,) = await store.execute("MGET", KNOWN_MARKETS)
    return _decode(selection, text) if text is not None else []


def _encode(selection: Selection, markets: Sequence[Market]) -> bytes:
    rows = [(m.exchange, m.symbol, m.base, m.quote, m.launched_ms) for m in sorted(markets)]
    since = {m.key: m.since_ms for m in sorted(markets) if m.since_ms}
    native = {m.key: [m.native, m.contract_size] for m in sorted(markets) if m.is_native}
    selected = _selection_key(selection)
    return orjson.dumps({"selection": selected, "markets": rows, "since": since, "native": native})


def _decode(selection: Selection, text: bytes) -> list[Market]:
    try:
        stored = orjson.loads(text)
        if stored["selection"] != _selection_key(selection):
            return []
        since = stored.get("since") or {}
        native = stored.get("native") or {}
        return [
            replace(
                market,
                since_ms=int(since.get(market.key, 0)),
                **_native(*native.get(market.key, (market.symbol, 1.0))),
            )
            for market in (_market(*row) for row in stored["markets"])
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # The next run that reaches the database replaces it.
        log.warning("known_markets_unreadable", error=repr(error))
        return []


def _market(exchange: str, symbol: object, base: object, quote: object, launched: int) -> Market:
    if not (isinstance(symbol, str) and isinstance(base, str) and isinstance(quote, str)):
        raise TypeError("a market's names must be texts")
    return Market(Exchange(exchange), symbol, base, quote, int(launched))


def _native(native: object, contract_size: float) -> dict[str, Any]:
    if not isinstance(native, str):
        raise TypeError("a market's names must be texts")
    return {"native": native, "contract_size": float(contract_size)}


def _selection_key(selection: Selection) -> list[object]:
    exchanges = sorted(map(str, selection["exchanges"]))
    return [exchanges, selection["quote"], selection["markets_limit"]]
