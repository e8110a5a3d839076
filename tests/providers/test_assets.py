"""Assets and chains: who is meant by a name, and that no two are called the same."""

from collections import Counter

import pytest

from providers.accounts import normalised
from providers.assets import Asset, Assets, UnknownAsset, load
from providers.naming import OF_REQUESTS, OF_SUBJECTS
from providers.networks import Family, UnknownNetwork, network_of, networks
from providers.paths import placeholders
from providers.questions import Kind
from providers.registry import FOLDER, build
from providers.resources import State


def test_the_greatest_assets_are_known() -> None:
    assets = load()
    assert len(assets) >= 60
    for asset in assets:
        assert {"coingecko", "defillama", "symbol"} <= asset.names.keys(), asset.id
        assert asset.id == asset.id.lower()
    for namespace in ("cmc", "coinpaprika"):
        assert sum(namespace in asset.names for asset in assets) >= 60


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("bitcoin", "btc"),
        ("btc", "btc"),
        (" BTC ", "btc"),
        ("XBT", "btc"),
        ("Binance-Coin", "bnb"),
        ("matic", "pol"),
        ("usd-coin", "usdc"),
    ],
)
def test_names(name: str, id_: str) -> None:
    assert load().find(name).id == id_


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(UnknownAsset, match="'nonsense' is no asset that is known"):
        load().find("nonsense")


def test_multiples_of_exchanges() -> None:
    pepe = load().find("pepe")
    assert pepe.names["binance_usdm"] == "1000PEPE"
    assert pepe.multipliers == {"binance_usdm": 1000, "bybit_linear": 1000, "hyperliquid": 1000}
    assert load().by("bybit_linear", "SHIB1000") is load().find("shib")
    assert load().by("bybit_spot", "SHIB") is load().find("shib")
    assert load().by("bybit_spot", "SHIB1000") is None


def test_stablecoins_have_their_peg() -> None:
    pegged = {asset.id for asset in load() if asset.peg == "USD"}
    assert pegged == {"usdt", "usdc", "dai", "usde", "fdusd", "pyusd", "xdai"}


def test_tether_has_other_decimals_on_bsc() -> None:
    tokens = load().find("usdt").tokens
    assert {chain: tokens[chain].decimals for chain in ("ethereum", "tron", "bsc")} == {
        "ethereum": 6,
        "tron": 6,
        "bsc": 18,
    }


def test_contracts_are_addresses_of_their_chains() -> None:
    """With EIP-55's and Tron's checksums: a letter that is wrong fails."""
    count = 0
    for asset in load():
        for chain, token in asset.tokens.items():
            assert normalised(chain, token.contract) == token.contract, asset.id
            count += 1
    assert count >= 60


def test_contracts_are_found_whatever_their_case() -> None:
    contract = load().find("usdt").tokens["ethereum"].contract
    for written in (contract, contract.lower()):
        found = load().by_token("ethereum", written)
        assert found is not None
        assert (found[0].id, found[1].decimals) == ("usdt", 6)
    assert load().by_token("bsc", contract) is None
    tron = load().find("usdt").tokens["tron"].contract
    assert load().by_token("tron", tron) is not None
    assert load().by_token("tron", tron.lower()) is None  # another address, if it were one


@pytest.mark.parametrize(
    "other",
    [
        {"id": "bt", "name": "Bitcoin", "symbol": "BT"},
        {"id": "bt", "name": "Bt", "symbol": "BT", "aliases": ("xbt",)},
        {"id": "bt", "name": "Bt", "symbol": "BT", "names": {"cmc": "1"}},
    ],
)
def test_two_assets_of_one_name_are_refused(other: dict[str, object]) -> None:
    btc = Asset("btc", "Bitcoin", "BTC", ("xbt",), {"cmc": "1"})
    with pytest.raises(ValueError, match="is btc and bt"):
        Assets([btc, Asset(**other)])  # type: ignore[arg-type]


def test_rows_name_subjects_by_names_that_assets_have() -> None:
    """A misspelt namespace would leave out every asset without a word."""
    known = Counter(name for asset in load() for name in asset.names)
    for resource in build(sorted(FOLDER.glob("*.toml")), None).resources:
        for name in placeholders(str(resource.read.get("id", ""))):
            if name not in OF_SUBJECTS | OF_REQUESTS:
                assert known[name], f"{resource.id}: no asset has a name for {name}"
        if resource.kind is Kind.PRICE and resource.state is not State.DEAD:
            assert "id" in resource.read, resource.id


def test_chains_and_their_coins() -> None:
    assert network_of("ETH").chain_id == 1
    assert network_of("matic").id == "polygon"
    assert {each.chain_id for each in networks().values() if each.family is Family.EVM} == {
        *(1, 56, 137, 42161, 10, 8453, 43114, 100, 59144, 999)
    }
    assert all(
        (each.chain_id is None) == (each.family is not Family.EVM) for each in networks().values()
    )
    others = {Family.BITCOIN: 8, Family.TRON: 6, Family.SOLANA: 9}
    for each in networks().values():
        load().find(each.coin)
        assert each.decimals == others.get(each.family, 18)
    names = [name for each in networks().values() for name in (each.id, *each.aliases)]
    assert len(set(names)) == len(names)
    with pytest.raises(UnknownNetwork, match="'terra' is no chain that is known; there are ether"):
        network_of("terra")
