"""Accounts: addresses of each chain, checked by their own checksums and written in one way.

EVM chains: EIP-55. Tron: base58 (`T…`), which `41…` and `0x…` are other forms of. Bitcoin: base58
(P2PKH, P2SH) and segwit (BIP-173, BIP-350) of the main network. Solana: base58 of 32 bytes.
"""

import re
from collections.abc import Callable
from typing import Final

import base58
from Crypto.Hash import keccak

from providers.bech32 import segwit_program
from providers.errors import InvalidQuestion
from providers.networks import Family, networks

_LONGEST: Final = 90  # of a segwit address; of the others at most 44
_EVM: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_TRON_HEX: Final = re.compile(r"(?:0x)?41([0-9a-fA-F]{40})")
_TRON_VERSION: Final = b"\x41"
_BITCOIN_VERSIONS: Final = (b"\x00", b"\x05")  # P2PKH, P2SH


def normalised(chain: str, address: str) -> str:
    """The one form in which we keep this address, or InvalidQuestion with what is wrong with it.
    `chain`: by its id."""
    network = networks().get(chain)
    if network is None:
        known = ", ".join(networks())
        raise InvalidQuestion(f"chain {chain[:80]!r} is none of those that are known: {known}")
    return _READERS[network.family](address)


def evm_address(address: str) -> str:
    """With EIP-55's checksum. All in lower or all in upper case it carries none and is taken."""
    if not _EVM.fullmatch(address):
        raise _wrong(address, "is not an EVM address: 0x and 40 hexadecimal digits")
    digits = address[2:]
    checked = _checksummed(digits.lower())
    if digits not in (digits.lower(), digits.upper(), checked):
        raise _wrong(address, "has a wrong checksum (EIP-55): a letter is not as it was")
    return f"0x{checked}"


def tron_address(address: str) -> str:
    """In base58, from `T…`, `41…`, `0x41…` or the EVM form `0x…`."""
    if _EVM.fullmatch(address):
        return _tron_of(bytes.fromhex(evm_address(address)[2:]))
    if in_hex := _TRON_HEX.fullmatch(address):
        return _tron_of(bytes.fromhex(in_hex[1]))
    tron_bytes(address)
    return address


def tron_bytes(address: str) -> bytes:
    """The 20 bytes of a base58 address of Tron."""
    payload = _base58_checked(address, "Tron")
    if payload[:1] != _TRON_VERSION or len(payload) != 21:
        raise _wrong(address, "is not an address of Tron: those begin with T")
    return payload[1:]


def tron_hex(address: str) -> str:
    """A base58 address of Tron as its nodes' hexadecimal `41…`."""
    return f"41{tron_bytes(address).hex()}"


def tron_evm(address: str) -> str:
    """A base58 address of Tron as JSON-RPC takes it, `0x…`."""
    return f"0x{tron_bytes(address).hex()}"


def bitcoin_address(address: str) -> str:
    """A segwit address in lower case, any other as it is."""
    if address[:3].lower() == "bc1":
        try:
            segwit_program("bc", address)
        except ValueError as error:
            raise _wrong(address, f"is not a segwit address of Bitcoin: {error}") from None
        return address.lower()
    payload = _base58_checked(address, "Bitcoin")
    if payload[:1] not in _BITCOIN_VERSIONS or len(payload) != 21:
        raise _wrong(address, "is not an address of Bitcoin's main network")
    return address


def solana_address(address: str) -> str:
    if len(address) > _LONGEST:
        raise _wrong(address, "is not an address of Solana: it is too long")
    try:
        size = len(base58.b58decode(address.encode("ascii")))
    except ValueError:
        size = 0
    if size != 32:
        raise _wrong(address, "is not an address of Solana: 32 bytes in base58")
    return address


def _base58_checked(address: str, chain: str) -> bytes:
    if len(address) > _LONGEST:
        raise _wrong(address, f"is not an address of {chain}: it is too long")
    try:
        return base58.b58decode_check(address.encode("ascii"))
    except ValueError:
        raise _wrong(address, f"is not an address of {chain}: its base58 checksum fails") from None


def _tron_of(account: bytes) -> str:
    return base58.b58encode_check(_TRON_VERSION + account).decode("ascii")


def _checksummed(digits: str) -> str:
    """EIP-55: a letter is upper case where the hash of the address has a digit of 8 or more."""
    hashed = keccak.new(digest_bits=256, data=digits.encode("ascii")).hexdigest()
    return "".join(
        digit.upper() if int(mark, 16) >= 8 else digit
        for digit, mark in zip(digits, hashed, strict=False)
    )


def _wrong(address: str, what: str) -> InvalidQuestion:
    return InvalidQuestion(f"address {address[: _LONGEST + 1]!r} {what}")


_READERS: Final[dict[Family, Callable[[str], str]]] = {
    Family.EVM: evm_address,
    Family.TRON: tron_address,
    Family.BITCOIN: bitcoin_address,
    Family.SOLANA: solana_address,
}
