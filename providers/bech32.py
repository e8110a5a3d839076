"""Segwit addresses: the checksum of BIP-173 and BIP-350, as those standards' reference code has it.

No package that is pinned here knows BIP-350, which addresses of version 1 and later (Taproot) need.
"""

from typing import Final

_DIGITS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32: Final = 1
_BECH32M: Final = 0x2BC830A3
_CHECKSUM: Final = 6  # digits


def segwit_program(network: str, address: str) -> tuple[int, bytes]:
    """The witness version and program of an address; ValueError says what is wrong with it.

    `network`: `bc` for Bitcoin's main network.
    """
    if len(address) > 90 or address not in (address.lower(), address.upper()):
        raise ValueError("it is too long, or has letters of both cases")
    prefix, separator, text = address.lower().rpartition("1")
    if not separator or prefix != network:
        raise ValueError(f"it does not begin with {network}1")
    digits = [_DIGITS.find(letter) for letter in text]
    if len(digits) < _CHECKSUM + 1 or -1 in digits:
        raise ValueError("it is too short, or has a letter that none has")
    expanded = [ord(each) >> 5 for each in prefix] + [0] + [ord(each) & 31 for each in prefix]
    version = digits[0]
    if _polymod(expanded + digits) != (_BECH32 if version == 0 else _BECH32M):
        raise ValueError("its checksum fails")
    program = _bytes_of(digits[1:-_CHECKSUM])
    sizes = (20, 32) if version == 0 else range(2, 41)
    if version > 16 or len(program) not in sizes:
        raise ValueError("its version or size is none that exists")
    return version, program


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def _bytes_of(digits: list[int]) -> bytes:
    """Digits of 5 bits as bytes; what is left over is less than a digit, and zero."""
    number = 0
    for digit in digits:
        number = number << 5 | digit
    spare = len(digits) * 5 % 8
    if spare >= 5 or number & ((1 << spare) - 1):
        raise ValueError("its last digits are not zero")
    return (number >> spare).to_bytes(len(digits) * 5 // 8, "big")
