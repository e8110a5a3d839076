"""The chains that providers are asked about: names, families, ids and coins, in networks.toml."""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).parent / "networks.toml"


class Family(StrEnum):
    """How a chain is asked, and what its addresses look like."""

    EVM = "evm"
    BITCOIN = "bitcoin"
    TRON = "tron"
    SOLANA = "solana"


class UnknownNetwork(LookupError):
    """No chain has this name."""


@dataclass(frozen=True, slots=True)
class Network:
    """`chain_id` is that of EIP-155, None where it is no EVM. `coin`: the asset that pays there, in
    smallest units of 10^-`decimals`."""

    id: str
    name: str
    family: Family
    coin: str
    decimals: int
    chain_id: int | None = None
    aliases: tuple[str, ...] = ()


@cache
def networks() -> dict[str, Network]:
    """All chains, by their ids."""
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"))["networks"]
    return {
        id_: Network(
            id_,
            table["name"],
            Family(table["family"]),
            table["coin"],
            table["decimals"],
            table.get("chain_id"),
            tuple(table.get("aliases", ())),
        )
        for id_, table in tables.items()
    }


@cache
def _by_name() -> dict[str, Network]:
    return {name: each for each in networks().values() for name in (each.id, *each.aliases)}


def network_of(name: str) -> Network:
    """By id or alias, whatever the case; raises UnknownNetwork, which names those there are."""
    found = _by_name().get(name.strip().lower())
    if found is None:
        known = ", ".join(networks())
        raise UnknownNetwork(f"{name[:80]!r} is no chain that is known; there are {known}")
    return found
