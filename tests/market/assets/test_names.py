"""Which asset a base names, on the names that exchanges have listed."""

import re
from pathlib import Path

import orjson
import pytest

from market.assets.names import Asset, asset_of

# Every recorded base with a digit, and others that the exchanges list.
_KNOWN = {
    "1000000BABYDOGE": ("BABYDOGE", 10**6),
    "1000000BOB": ("BOB", 10**6),
    "1000000MOG": ("MOG", 10**6),
    "1000000PEIPEI": ("PEIPEI", 10**6),
    "1MBABYDOGE": ("BABYDOGE", 10**6),
    "10000LADYS": ("LADYS", 10**4),
    "10000NFT": ("NFT", 10**4),
    "10000SATS": ("SATS", 10**4),
    "1000BONK": ("BONK", 1000),
    "1000BTT": ("BTT", 1000),
    "1000CAT": ("CAT", 1000),
    "1000CHEEMS": ("CHEEMS", 1000),
    "1000FLOKI": ("FLOKI", 1000),
    "1000LUNC": ("LUNC", 1000),
    "1000PEPE": ("PEPE", 1000),
    "1000RATS": ("RATS", 1000),
    "1000SATS": ("SATS", 1000),
    "1000SHIB": ("SHIB", 1000),
    "1000WHY": ("WHY", 1000),
    "1000XEC": ("XEC", 1000),
    "SHIB1000": ("SHIB", 1000),
}
_PLAIN = (
    *("0G", "1000X", "1INCH", "2Z", "4", "42", "A2Z", "AI16Z", "API3", "B2", "B3", "BANANAS31"),
    *("BROCCOLI714", "BROCCOLIF3B", "C98", "LUNA2", "PORT3", "RSS3"),
)


@pytest.mark.parametrize(("base", "asset"), _KNOWN.items())
def test_multiples_of_coins(base: str, asset: tuple[str, int]) -> None:
    assert asset_of(base) == Asset(*asset)


@pytest.mark.parametrize("base", _PLAIN)
def test_names_with_digits_of_their_own(base: str) -> None:
    assert asset_of(base) == Asset(base, 1)


@pytest.mark.parametrize(
    "base",
    ["BTC", "1000", "1000000", "1M", "1MT", "1MIL", "100PEPE", "10SET", "X1000", "龙虾", "1000龙"],
)
def test_where_nothing_readable_is_left_the_name_stays(base: str) -> None:
    assert asset_of(base) == Asset(base, 1)


def test_letters_of_any_alphabet_are_readable() -> None:
    assert asset_of("1000龙虾") == Asset("龙虾", 1000)


def test_case_makes_no_other_asset() -> None:
    assert asset_of("1000pepe") == asset_of("1000PEPE")


def test_every_recorded_name_is_known_here(recorded_data: Path) -> None:
    """A name with digits that is not in the tables above has not been thought about."""
    recorded = orjson.loads(
        (recorded_data / "binance/exchangeInfo_2026-07-03T1708Z.json").read_bytes()
    )
    bases = {each["baseAsset"] for each in recorded["symbols"]}
    for path in sorted((recorded_data / "bybit").glob("instruments-info_linear_*.json")):
        bases |= {each["baseCoin"] for each in orjson.loads(path.read_bytes())["result"]["list"]}
    assert len(bases) > 600
    digits = {base for base in bases if re.search(r"\d", base)}
    assert digits <= {*_KNOWN, *_PLAIN}
    assert all(asset_of(base) == (base.upper(), 1) for base in bases - digits)
