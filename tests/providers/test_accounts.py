"""Addresses: every form of one account is one, and a letter that was mistyped is refused."""

import pytest

from providers.accounts import normalised, tron_evm, tron_hex
from providers.bech32 import segwit_program
from providers.errors import InvalidQuestion

# From EIP-55.
CHECKSUMMED = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)
# The contract of USDT on Tron, in its three forms.
USDT = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
USDT_HEX = "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"
USDT_EVM = "0xa614f803b6fd780986a42c78ec9c7f77e6ded13c"
# From BIP-173 and BIP-350, with their programs.
SEGWIT = {
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4": (0, "751e76e8199196d454941c45d1b3a323f1433bd6"),
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y": (
        1,
        "751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
    ),
    "BC1SW50QGDZ25J": (16, "751e"),
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs": (2, "751e76e8199196d454941c45d1b3a323"),
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0": (
        1,
        "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
}
# From BIP-350's list of invalid addresses.
NOT_SEGWIT = (
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "bc1gmk9yu",
    "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
)
P2PKH = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"
P2SH = "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"


@pytest.mark.parametrize("address", CHECKSUMMED)
@pytest.mark.parametrize("chain", ["ethereum", "bsc"])
def test_an_evm_address_is_written_with_its_checksum(chain: str, address: str) -> None:
    assert normalised(chain, address) == address
    assert normalised(chain, address.lower()) == address
    assert normalised(chain, "0x" + address[2:].upper()) == address


def test_an_evm_address_with_one_letter_of_another_case_is_refused() -> None:
    with pytest.raises(InvalidQuestion, match="wrong checksum"):
        normalised("ethereum", "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed")


@pytest.mark.parametrize(
    "address", ["", "0x", "0x12", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x" + "g" * 40, USDT]
)
def test_what_is_no_evm_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidQuestion, match="is not an EVM address"):
        normalised("ethereum", address)


@pytest.mark.parametrize("form", [USDT, USDT_HEX, USDT_HEX.upper(), "0x" + USDT_HEX, USDT_EVM])
def test_all_forms_of_a_tron_address_are_one(form: str) -> None:
    assert normalised("tron", form) == USDT


def test_a_tron_address_is_given_to_nodes_in_their_forms() -> None:
    assert (tron_hex(USDT), tron_evm(USDT)) == (USDT_HEX, USDT_EVM)


@pytest.mark.parametrize("address", [USDT.lower(), USDT[:-1] + "u", P2PKH, "T" * 91, "", "Té"])
def test_what_is_no_tron_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidQuestion, match="of Tron"):
        normalised("tron", address)


@pytest.mark.parametrize("address", SEGWIT)
def test_a_segwit_address_is_written_in_lower_case(address: str) -> None:
    version, program = SEGWIT[address]
    assert normalised("bitcoin", address) == address.lower()
    assert segwit_program("bc", address) == (version, bytes.fromhex(program))


@pytest.mark.parametrize("address", NOT_SEGWIT)
def test_what_is_no_segwit_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidQuestion, match="of Bitcoin"):
        normalised("bitcoin", address)


@pytest.mark.parametrize("address", [P2PKH, P2SH])
def test_a_base58_address_of_bitcoin_is_kept_as_it_is(address: str) -> None:
    assert normalised("bitcoin", address) == address
    with pytest.raises(InvalidQuestion, match="of Bitcoin"):
        normalised("bitcoin", address.swapcase())


def test_an_address_of_another_chain_is_refused() -> None:
    for chain, address in (("bitcoin", USDT), ("solana", P2PKH), ("ethereum", USDT)):
        with pytest.raises(InvalidQuestion):
            normalised(chain, address)


def test_a_solana_address_is_of_32_bytes() -> None:
    token = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
    assert normalised("solana", token) == token
    assert normalised("solana", "1" * 32) == "1" * 32
    for wrong in (token[:-2], token + "1", "0" * 44, "1" * 91):
        with pytest.raises(InvalidQuestion, match="of Solana"):
            normalised("solana", wrong)


def test_an_unknown_chain_is_named() -> None:
    with pytest.raises(InvalidQuestion, match="'dogecoin' is none of those"):
        normalised("dogecoin", P2PKH)
