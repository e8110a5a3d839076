"""Mentions: an asset is found by its whole name or ticker, never by a word that looks like it."""

import pytest

from providers.assets import Asset, Assets
from providers.news.mentions import Mentions

MENTIONS = Mentions(
    Assets(
        [
            Asset("btc", "Bitcoin", "BTC"),
            Asset("bch", "Bitcoin Cash", "BCH"),
            Asset("eth", "Ethereum", "ETH"),
            Asset("near", "NEAR Protocol", "NEAR"),
            Asset("op", "Optimism", "OP"),
            Asset("dot", "Polkadot", "DOT"),
            Asset("1inch", "1inch", "1INCH"),
        ]
    )
)


@pytest.mark.parametrize(
    ("text", "assets"),
    [
        ("Bitcoin and ethereum fall", ("btc", "eth")),
        ("ETH falls behind BITCOIN's lead", ("eth", "btc")),
        ("Bitcoin Cash forks again", ("bch",)),
        ("Bitcoin Cash and Bitcoin", ("bch", "btc")),
        ("Analysts see optimism near the top", ()),
        ("NEAR and $OP rise, (DOT) too", ("near", "op", "dot")),
        ("DOT rules on OP-eds", ()),
        ("Bitcoiners, bitcoin-like tokens and WBTC", ()),
        ("THE BITCOIN ETH SHOUTS", ("btc",)),
        ("THE $ETH SHOUTS", ("eth",)),
        ("1inch adds a market", ("1inch",)),
    ],
)
def test_assets_of_a_text(text: str, assets: tuple[str, ...]) -> None:
    assert MENTIONS.of(text) == assets


def test_assets_of_codes() -> None:
    assert MENTIONS.of_codes(["eth", "NOPE", " BTC ", "ETH"]) == ("eth", "btc")


def test_no_assets_are_no_mentions() -> None:
    assert Mentions(Assets([])).of("Bitcoin $BTC") == ()
