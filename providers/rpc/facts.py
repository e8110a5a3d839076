"""What holds for each chain of nodes: how long a block takes, and after how many it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from providers.networks import Family, networks

MOST_BLOCKS_BEHIND: Final = 16  # as eRPC has it
MOST_S_BEHIND: Final = 30.0
STALE_BLOCKS: Final = 50  # what is not further behind is asked where nobody else lives


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """`block_s`: about how long a block takes. `confirmations`: how many blocks must stand on one
    before its transfers and balances are told, so that no reorganisation takes them back."""

    block_s: float
    confirmations: int

    @property
    def oldest_s(self) -> float:
        """How old the newest block of a node that keeps up is at most, by the clock."""
        return MOST_S_BEHIND + 2 * self.block_s

    @property
    def most_behind(self) -> int:
        """From how many blocks behind the others on a node is not asked."""
        return min(MOST_BLOCKS_BEHIND, max(2, int(MOST_S_BEHIND / self.block_s) + 1))


@dataclass(frozen=True, slots=True)
class HeadCall:
    method: str
    params: tuple[Any, ...]


_FACTS: Final = {
    "ethereum": ChainFacts(12.0, 12),
    "bsc": ChainFacts(0.75, 15),
    "polygon": ChainFacts(2.0, 64),
    "arbitrum": ChainFacts(0.25, 40),
    "optimism": ChainFacts(2.0, 15),
    "base": ChainFacts(2.0, 15),
    "avalanche": ChainFacts(1.5, 5),
    "gnosis": ChainFacts(5.0, 12),
    "linea": ChainFacts(2.0, 15),
    "hyperevm": ChainFacts(1.0, 15),
    "solana": ChainFacts(0.4, 32),
    "tron": ChainFacts(3.0, 19),
    "bitcoin": ChainFacts(600.0, 2),
}
_OTHERS: Final = ChainFacts(2.0, 30)
_HEADS: Final[Mapping[Family, HeadCall]] = {
    Family.EVM: HeadCall("eth_getBlockByNumber", ("latest", False)),
    Family.SOLANA: HeadCall("getSlot", ()),
}


def facts_of(chain: str) -> ChainFacts:
    """For chains that an operator's file adds, too."""
    return _FACTS.get(chain, _OTHERS)


def head_call(chain: str) -> HeadCall | None:
    """What asks a node how far it is; None where nothing does."""
    network = networks().get(chain)
    return None if network is None else _HEADS.get(network.family)
