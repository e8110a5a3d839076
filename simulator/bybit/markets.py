"""Bybit's simulated markets: generated, recorded, and those that must not be collected."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from simulator.bybit.limits import NAME
from simulator.candles import DAY_MS, HOUR_MS, MINUTE_MS
from simulator.exchange import ListedContract, MakeMarket, MarketTraits, Spelling
from simulator.market import Market
from simulator.recorded_files import RecordedSeries, read_json

_QUARTER_MS: Final = 91 * DAY_MS
_BODY: Final = re.compile(r"kline_(?P<symbol>[^_]+)_(?P<period>\d+|D)_limit1000_.*\.json")
_PERIODS_MS: Final = {"5": 5 * MINUTE_MS, "60": HOUR_MS, "240": 4 * HOUR_MS}

TRAITS: Final = MarketTraits(
    contract_type="LinearPerpetual",
    trading="Trading",
    delisted="Closed",
    delivery_ms=0,
    symbol_type=lambda rank: "innovation" if rank % 7 == 6 else "",
    spellings={
        "PEPE": Spelling("1000PEPE", 1_000),
        "龙虾": None,
        "SHIB": Spelling("SHIB1000", 1_000),
        "CHEEMS": Spelling("1000000CHEEMS", 1_000_000),
        "SATS": Spelling("10000SATS", 10_000),
        "TURBO": Spelling("1000TURBO", 1_000),
        "BABYDOGE": Spelling("1000000BABYDOGE", 1_000_000),
        "MOG": Spelling("1000000MOG", 1_000_000),
        "1000CAT": None,
        "BONK": Spelling("1000BONK", 1_000),
        "FLOKI": Spelling("1000FLOKI", 1_000),
        "LUNC": Spelling("1000LUNC", 1_000),
        "XEC": Spelling("1000XEC", 1_000),
        "RATS": Spelling("1000RATS", 1_000),
        "币安人生": None,
    },
    leaves_out=4,
    lot=100,
)


def uncollected(make: MakeMarket, start_ms: int) -> list[Market]:
    """Stocks and metals, other quotes, dated futures, unlisted and delisted contracts."""
    quarter_ends = [start_ms - start_ms % _QUARTER_MS + k * _QUARTER_MS for k in (1, 2)]
    found = []
    for base, kind in (
        ("TSLA", "stock"), ("NVDA", "stock"), ("XAUT", "commodity"), ("EURUSD", "forex"),
    ):  # fmt: skip
        market = make(base, 90, "USDT", "trading")
        market.symbol_type = kind
        found.append(market)
    for base in ("BTC", "ETH", "SOL"):
        market = make(base, 60, "USDC", "trading")
        market.symbol, market.quote = f"{base}PERP", "USDC"
        found.append(market)
    for end_ms in quarter_ends:
        day = datetime.fromtimestamp(end_ms / 1000, UTC).strftime("%d%b%y").upper()
        for base, quote, symbol in (
            ("BTC", "USDT", f"BTCUSDT-{day}"),
            ("BTC", "USDC", f"BTC-{day}"),
        ):
            market = make(base, 50, quote, "trading")
            market.symbol, market.contract_type = symbol, "LinearFutures"
            market.delivery_ms = end_ms
            found.append(market)
    for base, status, life in (
        ("PREDICT", "PreLaunch", "awaited"), ("WAVES", "Closed", "settled"),
        ("OMG", "Delivering", "settled"),
    ):  # fmt: skip
        market = make(base, 400, "USDT", life)
        market.status = status
        if status != "PreLaunch":
            market.delivery_ms = quarter_ends[0] - 200 * DAY_MS
        found.append(market)
    return found


def recorded_lists(folder: Path) -> dict[str, dict[str, Any]]:
    """instruments-info by symbol."""
    found: dict[str, dict[str, Any]] = {}
    # The older complete list, with the documented entries of the newer shape over it.
    for pattern in ("*_testnet.json", "*_BTCUSDT_*.json", "*_PreLaunch_*.json"):
        body = read_json(folder / NAME, f"instruments-info_linear{pattern}")
        for entry in body["result"]["list"]:
            found[entry["symbol"]] = entry
    return {NAME: found}


def recorded_bodies(folder: Path) -> list[RecordedSeries]:
    """The recorded answers of 1000 candles."""
    found = []
    for path in sorted((folder / NAME).iterdir()):
        match = _BODY.fullmatch(path.name)
        if match is not None:
            found.append(_body(path, match["symbol"], _PERIODS_MS[match["period"]]))
    return found


def _body(path: Path, symbol: str, period_ms: int) -> RecordedSeries:
    series = RecordedSeries(NAME, symbol, "kline", period_ms, path.name)
    for row in reversed(json.loads(path.read_bytes())["result"]["list"]):
        names = ("open", "high", "low", "close", "volume", "turnover")
        series.add(int(row[0]), dict(zip(names, row[1:], strict=True)))
    return series


def listed_contract(entry: Mapping[str, Any]) -> ListedContract:
    return ListedContract(
        base=entry["baseCoin"],
        quote=entry["quoteCoin"],
        margin=entry.get("settleCoin", ""),
        contract_type=entry["contractType"],
        status=entry["status"],
        symbol_type=entry.get("symbolType", ""),
        listed_ms=int(entry["launchTime"]),
        delivery_ms=int(entry["deliveryTime"]),
        wanted=entry["contractType"] == "LinearPerpetual"
        and entry["status"] == "Trading"
        and entry["quoteCoin"] == entry.get("settleCoin") == "USDT",
    )
