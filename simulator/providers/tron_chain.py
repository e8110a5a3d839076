"""The content of the simulated Tron chain: what each block moved, and what accounts hold."""

import re
from typing import Any, Final

import base58

from simulator.providers import evm
from simulator.providers.asked import View
from simulator.providers.chains import REFERENCE_MS, TRON_USDT
from simulator.randomness import draw

BLOCK_MS: Final = 3000
HEIGHT: Final = 78_800_000  # at REFERENCE_MS
SUN: Final = 1_000_000
NATIVE_INDEX: Final = 9  # of the transfer of TRX among a block's transactions
HEX_ADDRESS: Final = re.compile(r"(0x|41)[0-9a-fA-F]{40}")
_SOLID: Final = 19  # blocks from the head to one that stays
_USDT_DECIMALS: Final = 6
_POOL: Final = 3000


def height(view: View, solid: bool = False) -> int:
    number = HEIGHT + (view.now_ms - REFERENCE_MS) // BLOCK_MS
    return max(number - view.lies.blocks - (_SOLID if solid else 0), 1)


def time_ms(number: int) -> int:
    return REFERENCE_MS + (number - HEIGHT) * BLOCK_MS


def block_id(seed: int, number: int) -> str:
    return f"{number:016x}{evm.digest(seed, 'tron', number)[:48]}"


def txid(seed: int, number: int, index: int) -> str:
    return f"{evm.digest(seed, 'tron', number, index)[:44]}{index:04x}{number:016x}"


def _hashed(seed: int, kind: str, key: int) -> str:
    """The 20 bytes, as hex, of one of many accounts."""
    pool = draw(seed, "tron", kind, key, _POOL)
    return evm.digest(seed, "tron account", pool)[:40]


def as_base58(hashed: str) -> str:
    return base58.b58encode_check(bytes.fromhex(f"41{hashed}")).decode()


def moved(view: View, number: int) -> list[dict[str, Any]]:
    """What a block moved, in USDT and in its own coin."""
    rows = []
    for index, sender, receiver, amount in transfers(view, number):
        rows.append(_told(view, number, index, "USDT", TRON_USDT, sender, receiver, amount))
    own = native(view, number)
    if own is not None:
        sender, receiver, sun = own
        rows.append(_told(view, number, NATIVE_INDEX, "TRX", None, sender, receiver, sun))
    return rows


def _told(
    view: View, number: int, index: int, asset: str, contract: str | None, sender: str,
    receiver: str, amount: int,
) -> dict[str, Any]:  # fmt: skip
    usd = amount / SUN * (view.prices.usd("TRX", time_ms(number)) if contract is None else 1)
    return {
        "tx_hash": txid(view.seed, number, index), "index": 0, "asset": asset,
        "contract": contract, "amount_raw": str(amount), "decimals": 6, "usd": usd,
        "block": number, "time_ms": time_ms(number), "from": as_base58(sender),
        "to": as_base58(receiver),
    }  # fmt: skip


def native(view: View, number: int) -> tuple[str, str, int] | None:
    """Sender, receiver and sun of the block's transfer of TRX, if it has one."""
    if draw(view.seed, "tron", "native", number, 9):
        return None
    sun = (5 + draw(view.seed, "tron", "native size", number, 20_000_000)) * SUN
    sender, receiver = (_hashed(view.seed, kind, number) for kind in ("sender", "receiver"))
    return sender, receiver, sun


def transfers(view: View, number: int) -> list[tuple[int, str, str, int]]:
    """The USDT that a block moved: index, sender and receiver (20 bytes as hex), amount."""
    seed = view.seed
    found = []
    for index in range(2):
        key = number * 4 + index
        whale = draw(seed, "tron", "whale", key, 80) == 0
        usd = (
            1_000_000 + draw(seed, "tron", "size", key, 30_000_000)
            if whale
            else (10 + draw(seed, "tron", "size", key, 90_000))
        )
        sender, receiver = _hashed(seed, "sender", key), _hashed(seed, "receiver", key)
        found.append((index, sender, receiver, usd * 10**_USDT_DECIMALS))
    return found


def balance_sun(seed: int, hashed: str) -> int:
    """What an account holds; one in five has never been used."""
    if draw(seed, f"tron {hashed}", "empty", 0, 5) == 0:
        return 0
    return int(evm.digest(seed, "tron", hashed)[:10], 16)


def hashed_of(address: str) -> str | None:
    """The 20 bytes, as hex, of an address in any of its forms; None if it is none."""
    if HEX_ADDRESS.fullmatch(address):
        return address[2:].lower()
    try:
        raw: bytes = base58.b58decode_check(address)
    except ValueError:
        return None
    return raw.hex()[2:] if len(raw) == 21 and raw[0] == 0x41 else None
