"""The simulated chains: their heights by time, their coins, tokens and nodes. All of it is data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

REFERENCE_MS: Final = 1_767_225_600_000  # 2026-01-01


@dataclass(frozen=True, slots=True)
class EvmChain:
    """`height`: of the block at REFERENCE_MS; `base_fee_wei`: what is usual there (0: none);
    `safe`: how many blocks the tags safe and finalized lie behind the head."""

    id: int
    name: str
    coin: str
    block_ms: int
    height: int
    base_fee_wei: int
    priority_wei: int
    safe: tuple[int, int] = (32, 64)

    def height_at(self, now_ms: int) -> int:
        return max(self.height + (now_ms - REFERENCE_MS) // self.block_ms, 1000)

    def time_ms(self, number: int) -> int:
        """When a block was made."""
        return REFERENCE_MS + (number - self.height) * self.block_ms


class Token(NamedTuple):
    symbol: str
    decimals: int


_GWEI: Final = 10**9
CHAINS: Final[Mapping[int, EvmChain]] = {
    chain.id: chain
    for chain in (
        EvmChain(1, "ethereum", "ETH", 12_000, 24_136_052, 2 * _GWEI, _GWEI // 2),
        EvmChain(56, "bsc", "BNB", 750, 73_700_000, 0, _GWEI // 10, (2, 3)),
        EvmChain(137, "polygon", "POL", 2_000, 81_000_000, 40 * _GWEI, 30 * _GWEI, (16, 16)),
        EvmChain(42161, "arbitrum", "ETH", 250, 417_000_000, _GWEI // 100, 0, (400, 4000)),
        EvmChain(10, "optimism", "ETH", 2_000, 145_700_000, 1_000_000, 100_000, (60, 400)),
        EvmChain(8453, "base", "ETH", 2_000, 40_150_000, 3_000_000, 1_000_000, (60, 400)),
        EvmChain(43114, "avalanche", "AVAX", 1_500, 75_000_000, _GWEI, _GWEI // 10, (1, 1)),
        EvmChain(100, "gnosis", "XDAI", 5_000, 44_000_000, _GWEI, _GWEI // 10),
        EvmChain(59144, "linea", "ETH", 2_000, 27_000_000, 7, 40_000_000, (60, 400)),
        EvmChain(999, "hyperevm", "HYPE", 1_000, 23_000_000, _GWEI // 10, 0, (1, 1)),
    )
}
TOKENS: Final[Mapping[int, Mapping[str, Token]]] = {
    1: {
        "0xdac17f958d2ee523a2206206994597c13d831ec7": Token("USDT", 6),
        "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48": Token("USDC", 6),
        "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2": Token("WETH", 18),
        "0x2260fac5e5542a773aa44fbcfedf7c193bc2c599": Token("WBTC", 8),
        "0x6b175474e89094c44da98b954eedeac495271d0f": Token("DAI", 18),
    },
    56: {
        "0x55d398326f99059ff775485246999027b3197955": Token("USDT", 18),
        "0x8ac76a51cc950d9822d68b83fe1ad97b32cd580d": Token("USDC", 18),
    },
    137: {
        "0xc2132d05d31c914a87c6611c10748aeb04b58e8f": Token("USDT", 6),
        "0x3c499c542cef5e3811e1192ce70d8cc03d5c3359": Token("USDC", 6),
    },
    42161: {
        "0xfd086bc7cd5c481dcc9c85ebe478a1c0b69fcbb9": Token("USDT", 6),
        "0xaf88d065e77c8cc2239327c5edb3a432268e5831": Token("USDC", 6),
    },
    10: {
        "0x94b008aa00579c1307b0ef2c499ad98a8ce58e58": Token("USDT", 6),
        "0x0b2c639c533813f4aa9d7837caf62653d097ff85": Token("USDC", 6),
    },
    8453: {
        "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913": Token("USDC", 6),
        "0x4200000000000000000000000000000000000006": Token("WETH", 18),
    },
    43114: {
        "0x9702230a8ea53601f5cd2dc00fdbc13d4df4a8c7": Token("USDT", 6),
        "0xb97ef9ef8734c71904d8002f8b6bc66dd9c48a6e": Token("USDC", 6),
    },
    100: {"0xddafbb505ad214d7b80b1f830fccc89b60fb7a83": Token("USDC", 6)},
    59144: {
        "0xa219439258ca9da29e9cc4ce5596924745e12b93": Token("USDT", 6),
        "0x176211869ca2b568f2a7d4ee941e073a821ee1ff": Token("USDC", 6),
    },
    999: {},
}
TRON_USDT: Final = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"

# Nodes that need no key: chain -> host and path.
NODES: Final[Mapping[int, str]] = {
    1: "ethereum-rpc.publicnode.com eth.drpc.org public.1rpc.io/eth rpc.flashbots.net "
    "rpc.mevblocker.io eth.merkle.io gateway.tenderly.co/public/mainnet eth.api.pocket.network "
    "ethereum-public.nodies.app eth.api.onfinality.io/public 0xrpc.io/eth eth.meowrpc.com "
    "1rpc.io/eth cloudflare-eth.com ethereum.publicnode.com",
    56: "bsc-dataseed.bnbchain.org bsc-dataseed1.defibit.io bsc-dataseed1.ninicoin.io "
    "bsc-rpc.publicnode.com bsc.drpc.org rpc-bsc.48.club public.1rpc.io/bnb bsc.meowrpc.com "
    "bsc.api.pocket.network 1rpc.io/bnb",
    137: "polygon-bor-rpc.publicnode.com polygon.drpc.org gateway.tenderly.co/public/polygon "
    "public.1rpc.io/matic polygon-public.nodies.app poly.api.pocket.network",
    42161: "arb1.arbitrum.io/rpc arbitrum-one-rpc.publicnode.com arbitrum.drpc.org "
    "public.1rpc.io/arb arbitrum.meowrpc.com arb-one.api.pocket.network",
    10: "mainnet.optimism.io optimism-rpc.publicnode.com optimism.drpc.org public.1rpc.io/op "
    "gateway.tenderly.co/public/optimism",
    8453: "mainnet.base.org base-rpc.publicnode.com base.drpc.org public.1rpc.io/base "
    "gateway.tenderly.co/public/base base.meowrpc.com",
    43114: "api.avax.network/ext/bc/C/rpc avalanche-c-chain-rpc.publicnode.com "
    "avalanche.drpc.org public.1rpc.io/avax/c",
    100: "rpc.gnosischain.com gnosis-rpc.publicnode.com gnosis.drpc.org 1rpc.io/gnosis",
    59144: "rpc.linea.build linea-rpc.publicnode.com linea.drpc.org",
    999: "rpc.hyperliquid.xyz/evm hyperliquid.drpc.org",
}
# Vendors' names of networks, in hosts and paths that carry a key.
INFURA: Final[Mapping[str, int]] = {
    "mainnet": 1, "bsc-mainnet": 56, "polygon-mainnet": 137, "arbitrum-mainnet": 42161,
    "optimism-mainnet": 10, "base-mainnet": 8453, "avalanche-mainnet": 43114,
    "linea-mainnet": 59144,
}  # fmt: skip
ALCHEMY: Final[Mapping[str, int]] = {
    "eth-mainnet": 1, "bnb-mainnet": 56, "polygon-mainnet": 137, "arb-mainnet": 42161,
    "opt-mainnet": 10, "base-mainnet": 8453, "avax-mainnet": 43114, "gnosis-mainnet": 100,
    "linea-mainnet": 59144,
}  # fmt: skip
ANKR: Final[Mapping[str, int]] = {
    "eth": 1, "bsc": 56, "polygon": 137, "arbitrum": 42161, "optimism": 10, "base": 8453,
    "avalanche": 43114, "gnosis": 100, "linea": 59144,
}  # fmt: skip
NODEREAL: Final[Mapping[str, int]] = {
    "bsc-mainnet": 56, "eth-mainnet": 1, "opt-mainnet": 10, "polygon-mainnet": 137,
    "arbitrum-nitro": 42161, "base-mainnet": 8453,
}  # fmt: skip
