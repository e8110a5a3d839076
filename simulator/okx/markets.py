"""OKX's simulated instruments: how they are called, and those that must not be collected."""

from typing import Final

from simulator.candles import DAY_MS
from simulator.exchange import MakeMarket, MarketTraits
from simulator.market import Market
from simulator.okx.contracts import INVERSE, LINEAR

LIVE: Final = "live"
SUSPENDED: Final = "suspend"
PREOPEN: Final = "preopen"
TEST: Final = "test"

TRAITS: Final = MarketTraits(
    contract_type=LINEAR,
    trading=LIVE,
    delisted=SUSPENDED,
    symbol_type=lambda rank: "1",  # instCategory: crypto
    symbol=lambda base, quote: f"{base}-{quote}-SWAP",
    spot_symbol=lambda base, quote: f"{base}-{quote}",
    # Left out: coins so cheap that 8 decimals (the generator's most) do not tell their price, and
    # names that only other exchanges have.
    spellings={
        coin: None
        for coin in (
            "PEPE", "SHIB", "BONK", "XEC", "RATS", "SATS", "CHEEMS", "BABYDOGE", "MOG",
            "1000CAT", "1000X", "龙虾", "币安人生",
        )
    },
    leaves_out=7,
    lot=100,
)  # fmt: skip


def uncollected(make: MakeMarket, start_ms: int) -> list[Market]:
    """Inverse and USDC swaps, a stock, and contracts that do not trade."""
    found = []
    for base in ("BTC", "ETH"):
        market = make(base, 60, "USD", "trading")
        market.contract_type, market.margin = INVERSE, base
        found += [market, make(base, 60, "USDC", "trading")]
    stock = make("TSLA", 90, "USDT", "trading")
    stock.symbol_type = "3"  # choice: the documentation names no number
    found.append(stock)
    for base, status, life in (
        ("PREDICT", PREOPEN, "awaited"), ("WAVES", SUSPENDED, "settled"), ("CHECK", TEST, "settled")
    ):  # fmt: skip
        market = make(base, 400, "USDT", life)
        market.status = status
        if status == SUSPENDED:
            market.delivery_ms = start_ms - start_ms % DAY_MS + 2 * DAY_MS
        found.append(market)
    return found
