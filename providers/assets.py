"""Assets: which coin a name means, and what each provider calls it; set by hand in assets.toml."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

ALL: Final = "*"  # of AGENT_ASSETS: every asset of which a market is collected
MARKET: Final = "MARKET"  # the asset of readings that are about all of them
_FILE: Final = Path(__file__).parent / "assets.toml"


class UnknownAsset(LookupError):
    """No asset has this name."""


@dataclass(frozen=True, slots=True)
class Token:
    """An asset's contract on a chain, in smallest units of 10^-`decimals`."""

    contract: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Asset:
    """`names`: what it is called in each namespace (`coingecko`, `binance_spot`, ...), but
    for those that lack it. `multipliers`: how many coins one unit there is, where that is not one
    (`1000PEPE`). `peg`: the currency that it is meant to be worth one of. `tokens`: by chain."""

    id: str
    name: str
    symbol: str
    aliases: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    multipliers: Mapping[str, int] = field(default_factory=dict)
    peg: str | None = None
    tokens: Mapping[str, Token] = field(default_factory=dict)


class Assets:
    """All assets, found by id, name, symbol or alias."""

    def __init__(self, assets: Iterator[Asset] | list[Asset]) -> None:
        self._by_id: dict[str, Asset] = {}
        self._by_name: dict[str, Asset] = {}
        self._by_namespace: dict[tuple[str, str], Asset] = {}
        self._by_token: dict[tuple[str, str], tuple[Asset, Token]] = {}
        for asset in assets:
            self._add(asset)

    def _add(self, asset: Asset) -> None:
        self._by_id[asset.id] = asset
        for name in {asset.id, asset.name.lower(), asset.symbol.lower(), *asset.aliases}:
            other = self._by_name.setdefault(name, asset)
            if other is not asset:
                raise ValueError(f"{name} is {other.id} and {asset.id}")
        for namespace, called in asset.names.items():
            other = self._by_namespace.setdefault((namespace, called), asset)
            if other is not asset and namespace != "symbol":
                raise ValueError(f"{namespace} {called} is {other.id} and {asset.id}")
        for chain, token in asset.tokens.items():
            key = (chain, token.contract.lower())
            if key in self._by_token:
                raise ValueError(f"{token.contract} on {chain} is two assets")
            self._by_token[key] = (asset, token)

    def __iter__(self) -> Iterator[Asset]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, name: str) -> Asset:
        """By id, name, symbol or alias, whatever the case. Raises UnknownAsset."""
        found = self._by_name.get(name.strip().lower())
        if found is None:
            raise UnknownAsset(f"{name[:80]!r} is no asset that is known")
        return found

    def by(self, namespace: str, called: str) -> Asset | None:
        """The asset that is called so in a namespace."""
        return self._by_namespace.get((namespace, called))

    def by_token(self, chain: str, contract: str) -> tuple[Asset, Token] | None:
        """The asset behind a contract of a chain, whatever the case of an EVM address."""
        found = self._by_token.get((chain, contract.lower()))
        # Tron's addresses differ by case.
        if found and chain == "tron" and found[1].contract != contract:
            return None
        return found


@cache
def load() -> Assets:
    """The assets of assets.toml."""
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"))["assets"]
    return Assets(_asset(id_, table) for id_, table in tables.items())


def _asset(id_: str, table: Mapping[str, Any]) -> Asset:
    """`on` names the exchanges that call it by its symbol; DefiLlama takes CoinGecko's names, DIA
    and sellers of prices by contract take tokens of Ethereum."""
    symbol = id_.upper()
    names = {"symbol": symbol, **dict.fromkeys(table.get("on", ()), symbol)}
    multipliers = {}
    for namespace, called in table["names"].items():
        if isinstance(called, dict):
            names[namespace] = called["name"]
            multipliers[namespace] = called["multiplier"]
        else:
            names[namespace] = str(called)
    tokens = {chain: Token(*token) for chain, token in table.get("tokens", {}).items()}
    names["defillama"] = f"coingecko:{names['coingecko']}"
    if "ethereum" in tokens:
        names["erc20"] = tokens["ethereum"].contract
        names.setdefault("dia", f"Ethereum/{names['erc20']}")
    return Asset(
        id=id_,
        name=table["name"],
        symbol=symbol,
        aliases=tuple(table.get("aliases", ())),
        names=names,
        multipliers=multipliers,
        peg=table.get("peg"),
        tokens=tokens,
    )
