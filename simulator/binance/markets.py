"""Binance's simulated markets: generated, recorded, and those that must not be collected."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from simulator.binance.limits import NAME
from simulator.binance.lists import FUNDING_LIST
from simulator.candles import DAY_MS
from simulator.exchange import ListedContract, MakeMarket, MarketTraits, Spelling
from simulator.market import Market
from simulator.recorded_files import read_json

OPEN_INTEREST_KEPT_MS: Final = 30 * DAY_MS
_QUARTER_MS: Final = 91 * DAY_MS

TRAITS: Final = MarketTraits(
    contract_type="PERPETUAL",
    trading="TRADING",
    delisted="SETTLING",
    delivery_ms=4_133_404_800_000,
    symbol_type=lambda rank: "COIN",
    spellings={
        "PEPE": Spelling("1000PEPE", 1_000),
        "SHIB": Spelling("1000SHIB", 1_000),
        "CHEEMS": Spelling("1000CHEEMS", 1_000),
        "SATS": Spelling("1000SATS", 1_000),
        "BEAM": Spelling("BEAMX"),
        "BABYDOGE": Spelling("1MBABYDOGE", 1_000_000),
        "MOG": Spelling("1000000MOG", 1_000_000),
        "BONK": Spelling("1000BONK", 1_000),
        "FLOKI": Spelling("1000FLOKI", 1_000),
        "LUNC": Spelling("1000LUNC", 1_000),
        "XEC": Spelling("1000XEC", 1_000),
        "RATS": Spelling("1000RATS", 1_000),
        "1000X": None,
    },
    leaves_out=7,
    padded_prices=True,
    opens_with_gaps=True,
    late_funding=True,
    special_funding=True,
    open_interest_kept_ms=OPEN_INTEREST_KEPT_MS,
)


def uncollected(make: MakeMarket, start_ms: int) -> list[Market]:
    """Stocks and metals, other quotes, unlisted and delisted contracts, dated futures."""
    quarter_ends = [start_ms - start_ms % _QUARTER_MS + k * _QUARTER_MS for k in (1, 2)]
    found = []
    for base, kind in (("TSLA", "EQUITY"), ("XAU", "COMMODITY"), ("SAMSUNG", "KR_EQUITY")):
        market = make(base, 90, "USDT", "trading")
        market.contract_type, market.symbol_type = "TRADIFI_PERPETUAL", kind
        found.append(market)
    for base, quote in (
        ("BTC", "USDC"), ("ETH", "USDC"), ("SOL", "USDC"), ("BTC", "USD1"), ("BTC", "U"),
        ("ETH", "BTC"),
    ):  # fmt: skip
        found.append(make(base, 60, quote, "trading"))
    for base in ("BTCST", "QUACK"):
        market = make(base, 400, "USDT", "awaited")
        market.status = "PENDING_TRADING"
        found.append(market)
    found[-1].contract_type = ""  # seen on a pending symbol
    for base, status in (("FTT", "SETTLING"), ("WAVES", "SETTLING"), ("OMG", "CLOSE")):
        market = make(base, 300, "USDT", "settled")
        market.status, market.delivery_ms = status, quarter_ends[0] - 300 * DAY_MS
        found.append(market)
    for end_ms, kind in zip(quarter_ends, ("CURRENT_QUARTER", "NEXT_QUARTER"), strict=True):
        for base in ("BTC", "ETH"):
            market = make(base, 40, "USDT", "trading")
            market.symbol += datetime.fromtimestamp(end_ms / 1000, UTC).strftime("_%y%m%d")
            market.contract_type, market.delivery_ms = kind, end_ms
            found.append(market)
    return found


def recorded_lists(folder: Path) -> dict[str, dict[str, Any]]:
    """exchangeInfo and fundingInfo by symbol."""
    contracts = read_json(folder / NAME, "exchangeInfo_*.json")["symbols"]
    funding = read_json(folder / NAME, "fundingInfo_*.json")
    return {
        NAME: {entry["symbol"]: entry for entry in contracts},
        FUNDING_LIST: {entry["symbol"]: entry for entry in funding},
    }


def listed_contract(entry: Mapping[str, Any]) -> ListedContract:
    return ListedContract(
        base=entry["baseAsset"],
        quote=entry["quoteAsset"],
        margin=entry["marginAsset"],
        contract_type=entry["contractType"],
        status=entry["status"],
        symbol_type=entry["underlyingType"],
        listed_ms=entry["onboardDate"],
        delivery_ms=entry["deliveryDate"],
        wanted=entry["contractType"] == "PERPETUAL"
        and entry["status"] == "TRADING"
        and entry["quoteAsset"] == entry["marginAsset"] == "USDT",
    )
