"""The content of the simulated Bitcoin chain: blocks, transactions, fees, balances."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import base58

from simulator.providers.asked import View
from simulator.providers.chains import REFERENCE_MS
from simulator.providers.evm import digest
from simulator.randomness import draw

SATS: Final = 100_000_000
NAME: Final = "bitcoin"
_HEIGHT: Final = 930_300  # at REFERENCE_MS
_BLOCK_MS: Final = 600_000
_LATE_MS: Final = 240_000  # a block comes so much late at most
_TRANSACTIONS: Final = 60  # in a block; the real ones have thousands
_POOL: Final = 4000
_ADDRESS: Final = re.compile(r"[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{11,71}")


@dataclass(frozen=True, slots=True)
class Output:
    address: str
    script: str
    value: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """`inputs`: what it spends, none of the one that pays the miner."""

    txid: str
    number: int
    index: int
    inputs: tuple[Output, ...]
    outputs: tuple[Output, ...]

    @property
    def fee(self) -> int:
        if not self.inputs:
            return 0
        return sum(o.value for o in self.inputs) - sum(o.value for o in self.outputs)


def time_ms(seed: int, number: int) -> int:
    """When a block was found."""
    late = draw(seed, NAME, "late", number, _LATE_MS)
    return REFERENCE_MS + (number - _HEIGHT) * _BLOCK_MS + late


def height(view: View) -> int:
    """The newest block, as this provider sees it."""
    number = _HEIGHT + (view.now_ms - REFERENCE_MS) // _BLOCK_MS
    if time_ms(view.seed, number) > view.now_ms:
        number -= 1
    return max(number - view.lies.blocks, 0)


def block_hash(seed: int, number: int) -> str:
    """It holds the number, so that a block is found by it."""
    return f"{'0' * 20}{digest(seed, NAME, 'block', number)[:28]}{number:016x}"


def number_of_hash(text: str) -> int:
    return int(text[-16:], 16)


def output(seed: int, kind: str, index: int, value: int) -> Output:
    """An output to one of many addresses."""
    pool = draw(seed, NAME, kind, index, _POOL)
    hashed = bytes.fromhex(digest(seed, "bitcoin account", pool)[:40])
    address = base58.b58encode_check(b"\x00" + hashed).decode()
    return Output(address, f"76a914{hashed.hex()}88ac", value)


def transactions(view: View, number: int) -> list[Transaction]:
    """All of a block; the first one pays the miner."""
    return [_transaction(view, number, index) for index in range(_TRANSACTIONS)]


def _transaction(view: View, number: int, index: int) -> Transaction:
    seed, key = view.seed, number * 64 + index
    txid = f"{digest(seed, NAME, number, index)[:44]}{index:04x}{number:016x}"
    if index == 0:
        miner = output(seed, "miner", key, 3 * SATS + SATS // 8 + 2_000_000)
        return Transaction(txid, number, index, (), (miner,))
    whale = draw(seed, NAME, "whale", key, 40) == 0
    usd = (
        1_200_000 + draw(seed, NAME, "size", key, 60_000_000)
        if whale
        else (20 + draw(seed, NAME, "size", key, 60_000))
    )
    price = view.prices.usd("BTC", time_ms(seed, number))
    paid, change = int(usd / price * SATS), draw(seed, NAME, "change", key, 5 * SATS)
    if whale:
        change += paid * 3  # a payment that leaves most of it where it was
    fee = 400 + draw(seed, NAME, "fee", key, 9000)
    spent = output(seed, "sender", key, paid + change + fee)
    receiver = output(seed, "receiver", key, paid)
    back = Output(spent.address, spent.script, change)
    pair = (receiver, back) if draw(seed, NAME, "order", key, 2) else (back, receiver)
    return Transaction(txid, number, index, (spent,), tuple(each for each in pair if each.value))


def find(view: View, txid: str) -> Transaction | None:
    """The transaction of this id, if it is in a block."""
    number, index = int(txid[-16:], 16), int(txid[-20:-16], 16)
    if number > height(view) or index >= _TRANSACTIONS:
        return None
    found = _transaction(view, number, index)
    return found if found.txid == txid else None


def waiting(view: View, count: int) -> list[Transaction]:
    """Transactions that are in no block yet: those of the next one."""
    return [_transaction(view, height(view) + 1, index) for index in range(1, count + 1)]


def fee_sat_per_vb(view: View, speed: float) -> float:
    """What gets a transaction into a block within about 10 minutes (`speed` 1) or later (less)."""
    tide = draw(view.seed, NAME, "fee tide", view.now_ms // _BLOCK_MS, 900) / 100
    return round(view.value((1.2 + tide) * speed), 3)


def is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def balance_sat(seed: int, address: str) -> int:
    """What an address holds; one in five holds nothing."""
    if draw(seed, address, "empty", 0, 5) == 0:
        return 0
    return int(hashlib.sha256(f"{seed}|{address}".encode()).hexdigest()[:9], 16)


def difficulty(seed: int, number: int) -> int:
    return 140_000_000_000_000 + draw(seed, NAME, "difficulty", number // 2016, 10**7) * 10**6
