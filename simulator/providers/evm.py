"""The content of the simulated EVM chains: what each block moved, its fees, and balances."""

import hashlib
from dataclasses import dataclass
from typing import Final

from simulator.providers.asked import View
from simulator.providers.chains import TOKENS, EvmChain, Token
from simulator.randomness import draw

ZERO: Final = "0x" + "0" * 40
TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_WHALE_EACH_MS: Final = 120_000  # about so often a transfer of millions
_LARGEST_WHALE_USD: Final = 40_000_000
_POOLS: Final = 4000  # addresses that move money
GAS_LIMIT: Final = 36_000_000
# The coin of Gnosis is a dollar.
_COINS: Final = {"XDAI": "DAI"}


@dataclass(frozen=True, slots=True)
class Moved:
    """One transaction that moved a coin (`token` None) or a token. `usd` is its value then."""

    chain: EvmChain
    number: int
    index: int
    hash: str
    contract: str | None
    token: Token | None
    sender: str
    receiver: str
    amount: int
    usd: float

    @property
    def symbol(self) -> str:
        return self.token.symbol if self.token else self.chain.coin


def digest(*parts: object) -> str:
    """64 hex digits that depend on all parts."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def block_hash(seed: int, chain: EvmChain, number: int) -> str:
    """It holds the number, so that a block is found by it."""
    return f"0x{digest(seed, chain.name, 'block', number)[:48]}{number:016x}"


def number_of_hash(text: str) -> int:
    return int(text[-16:], 16)


def transaction_hash(seed: int, chain: EvmChain, number: int, index: int) -> str:
    return f"0x{digest(seed, chain.name, number, index)[:44]}{index:04x}{number:016x}"


def place_of(text: str) -> tuple[int, int]:
    """Block and index of a transaction, by its hash."""
    return int(text[-16:], 16), int(text[-20:-16], 16)


def account(seed: int, chain: EvmChain, kind: str, index: int) -> str:
    """The address of one of many accounts."""
    pool = draw(seed, chain.name, kind, index, _POOLS)
    return f"0x{digest(seed, 'account', pool)[:40]}"


def moved(view: View, chain: EvmChain, number: int) -> list[Moved]:
    """What a block moved, in the order of its transactions."""
    seed, name = view.seed, chain.name
    count = 1 + draw(seed, name, "count", number, 3)
    whale = draw(seed, name, "whale", number, _WHALE_EACH_MS) < chain.block_ms
    return [_moved(view, chain, number, i, whale and i == 0) for i in range(count)]


def _moved(view: View, chain: EvmChain, number: int, index: int, whale: bool) -> Moved:
    seed, name, key = view.seed, chain.name, number * 8 + index
    tokens = list(TOKENS[chain.id].items())
    pick = draw(seed, name, "token", key, len(tokens) + 1)
    contract, token = tokens[pick] if pick < len(tokens) else (None, None)
    cents = (
        1_000_000_00 + draw(seed, name, "size", key, (_LARGEST_WHALE_USD - 1_000_000) * 100)
        if whale
        else 1 + draw(seed, name, "size", key, 90_000_00)
    )
    symbol = token.symbol if token else chain.coin
    price = view.prices.usd(_COINS.get(symbol, symbol), chain.time_ms(number))
    amount = int(cents / 100 / price * 10**12) * 10 ** (token.decimals if token else 18) // 10**12
    sender = account(seed, chain, "sender", key)
    receiver = account(seed, chain, "receiver", key)
    if whale and token and draw(seed, name, "mint", key, 10) == 0:
        sender = ZERO
    return Moved(
        chain, number, index, transaction_hash(seed, chain, number, index), contract, token,
        sender, receiver, amount, cents / 100,
    )  # fmt: skip


def base_fee_wei(seed: int, chain: EvmChain, number: int) -> int:
    """It wanders around the chain's usual fee, by up to a quarter."""
    if not chain.base_fee_wei:
        return 0
    tide = draw(seed, chain.name, "fee tide", number // 50, 401) - 200
    ripple = draw(seed, chain.name, "fee", number, 101) - 50
    return max(chain.base_fee_wei * (1000 + tide + ripple) // 1000, 1)


def priority_wei(seed: int, chain: EvmChain, number: int, percentile: float) -> int:
    """What was paid on top, at a percentile of a block's transactions."""
    wave = 800 + draw(seed, chain.name, "priority", number, 400)
    return int(chain.priority_wei * wave * (0.5 + percentile / 100) / 1000)


def gas_used_ratio(seed: int, chain: EvmChain, number: int) -> float:
    return (300 + draw(seed, chain.name, "used", number, 500)) / 1000


def balance_wei(seed: int, chain: EvmChain, address: str) -> int:
    """What an account holds of the chain's coin; one in five holds nothing."""
    return _holding(seed, chain.name, address.lower(), 18)


def token_balance(seed: int, chain: EvmChain, contract: str, address: str) -> int:
    token = TOKENS[chain.id][contract]
    return _holding(seed, f"{chain.name} {contract}", address.lower(), token.decimals)


def _holding(seed: int, name: str, address: str, decimals: int) -> int:
    if draw(seed, f"{name} {address}", "empty", 0, 5) == 0:
        return 0
    held: int = int(digest(seed, name, address)[:14], 16) * 10**decimals // 10**13
    return held
