"""Our own registry: how many resources it has, which, and that each seed's source is in it."""

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from config import load_settings
from providers.questions import Kind
from providers.registry import FOLDER, Registry, build, key_of, load
from providers.registry_files import RegistryError
from providers.resources import KeyPlace, Level, Resource, State

RPC: Final = (
    *("ethereum", "bsc", "polygon", "arbitrum", "optimism", "base", "avalanche", "gnosis"),
    *("linea", "solana"),
)
CHAINS: Final = {
    *("price.spot", "price.perp", "price.aggregate", "news", "sentiment.market"),
    *("sentiment.asset", "gas.ethereum", "gas.evm", "gas.bitcoin", "stats.bitcoin", "stats.evm"),
    *("balance.ethereum", "balance.bsc", "balance.tron", "balance.bitcoin"),
    *("whales.evm", "whales.bitcoin", "whales.tron"),
    *(f"rpc.{chain}" for chain in RPC),
}
# What seed 001 names, table by table, and the rows that stand for it.
SEED: Final = {
    "Binance Public": ("price.spot/binance_spot", "price.perp/binance_usdm"),
    "CoinGecko": ("price.aggregate/coingecko",),
    "CoinCap": ("price.aggregate/coincap", "price.aggregate/coincap:v2"),
    "CoinPaprika": ("price.aggregate/coinpaprika",),
    "CMC Key 1": ("price.aggregate/cmc", "price.aggregate/cmc_keyless"),
    "CMC Key 2": ("price.aggregate/cmc:2",),
    "CryptoCompare": ("price.aggregate/cryptocompare", "price.aggregate/coindesk_data"),
    "Messari": ("price.aggregate/messari",),
    "CoinLore": ("price.aggregate/coinlore",),
    "DefiLlama": ("price.aggregate/defillama",),
    "CoinStats": ("price.aggregate/coinstats",),
    "DIA Data": ("price.aggregate/dia",),
    "Nomics": ("price.aggregate/nomics",),
    "BraveNewCoin": ("price.aggregate/bravenewcoin",),
    "CoinDesk": ("price.aggregate/coindesk",),
    "CryptoPanic": ("news/cryptopanic", "news/cryptopanic:v1"),
    "CoinStats News": ("news/coinstats",),
    "NewsAPI.org 1": ("news/newsapi",),
    "NewsAPI.org 2": ("news/newsapi:2",),
    "CoinTelegraph RSS": ("news/rss_cointelegraph",),
    "CoinDesk RSS": ("news/rss_coindesk",),
    "Decrypt RSS": ("news/rss_decrypt",),
    "Bitcoin Mag RSS": ("news/rss_bitcoinmagazine",),
    "CryptoSlate": ("news/cryptoslate_rest", "news/rss_cryptoslate"),
    "CryptoControl": ("news/cryptocontrol",),
    "TheBlock": ("news/theblock_rest", "news/rss_theblock", "news/google_news:theblock"),
    "Alternative.me": ("sentiment.market/fng",),
    "CFGI API v1": ("sentiment.market/cfgi", "sentiment.asset/cfgi"),
    "CFGI Legacy": ("sentiment.asset/cfgi:legacy",),
    "CoinGecko Community": ("sentiment.asset/coingecko",),
    "Reddit Sentiment": ("sentiment.asset/reddit",),
    "Messari Social": ("sentiment.asset/messari",),
    "LunarCrush": ("sentiment.asset/lunarcrush",),
    "Santiment": ("sentiment.asset/santiment",),
    "TheTie.io": ("sentiment.asset/thetie",),
    "Etherscan Primary": ("balance.ethereum/etherscan", "gas.ethereum/etherscan"),
    "Etherscan Backup": ("balance.ethereum/etherscan:2",),
    "Blockchair": ("balance.ethereum/blockchair", "balance.bsc/blockchair"),
    "Blockchair Tron": ("balance.tron/blockchair",),
    "Blockscout": ("balance.ethereum/blockscout", "balance.ethereum/blockscout_instance"),
    "Ethplorer": ("balance.ethereum/ethplorer",),
    "Etherchain": ("balance.ethereum/etherchain", "gas.ethereum/etherchain"),
    "Chainlens": ("balance.ethereum/chainlens",),
    "RPC Direct": ("balance.ethereum/rpc",),
    "BscScan": ("balance.bsc/bscscan", "balance.bsc/etherscan"),
    "BitQuery": ("balance.bsc/bitquery",),
    "Nodereal": ("balance.bsc/nodereal",),
    "Ankr MultiChain": ("balance.bsc/ankr",),
    "BscTrace": ("balance.bsc/bsctrace",),
    "1inch BSC API": ("balance.bsc/oneinch",),
    "TronScan": ("balance.tron/tronscan",),
    "TronGrid": ("balance.tron/trongrid",),
    "TronStack": ("balance.tron/tronstack",),
    "GetBlock": ("balance.tron/getblock",),
    # Of other pages of the seed, and of lists that were usual then.
    "ClankApp": ("whales.evm/clankapp", "whales.bitcoin/clankapp"),
    "LlamaNodes": ("rpc.ethereum/llamarpc",),
    "Cloudflare": ("rpc.ethereum/cloudflare-eth",),
    "Ankr": ("rpc.ethereum/ankr:keyless", "rpc.ethereum/ankr"),
    "polygon-rpc.com": ("rpc.polygon/polygon-rpc.com",),
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build(sorted(FOLDER.glob("*.toml")), None)


def members(registry: Registry, state: State) -> list[Resource]:
    return [each for each in registry.resources if each.state is state]


def test_28_chains_and_hyperevm(registry: Registry) -> None:
    assert set(registry.chains()) == {*CHAINS, "rpc.hyperevm"}
    assert len(CHAINS) == 28
    for chain in registry.chains():
        found = registry.chain(chain)
        assert [each.level for each in found] == sorted(each.level for each in found)
        assert any(not each.needs_key for each in found if each.state is State.ALIVE), chain


def test_how_many_there_are(registry: Registry) -> None:
    """At least the 173 that the design counts, 110 of them without a key."""
    alive = members(registry, State.ALIVE)
    in_chains = sum(len(registry.chain(chain)) for chain in CHAINS)
    assert in_chains >= 173
    assert len(alive) >= 173
    keyless = [each for each in alive if not each.needs_key]
    assert len(keyless) >= 118
    nodes = [each for each in keyless if each.kind is Kind.RPC]
    assert len(nodes) == 59
    vendors = {each.provider.id for each in alive if each.kind is Kind.RPC and each.needs_key}
    assert vendors == {"infura", "alchemy", "ankr", "getblock", "nodereal"}


def test_every_source_of_the_seeds_has_its_row(registry: Registry) -> None:
    for name, ids in SEED.items():
        for id_ in ids:
            found = registry.resource(id_)
            assert found.state is State.ALIVE or found.reason, name


def test_what_is_not_asked_has_its_reason_and_date(registry: Registry) -> None:
    for each in (*members(registry, State.OFF), *members(registry, State.DEAD)):
        assert each.reason, each.id
        assert each.since, each.id


def test_the_dead_are_in_no_chain(registry: Registry) -> None:
    asked = {each.id for chain in registry.chains() for each in registry.chain(chain)}
    dead = {each.id for each in members(registry, State.DEAD)}
    assert dead
    assert not dead & asked
    assert asked | dead == {each.id for each in registry.resources}


def test_what_is_uncertain_is_off(registry: Registry) -> None:
    """Facts mark them with a question mark."""
    for id_ in (
        *("gas.ethereum/owlracle", "gas.ethereum/beaconcha", "gas.bitcoin/blockchain_info"),
        *("balance.ethereum/ethplorer", "balance.tron/tronstack", "gas.ethereum/infura"),
    ):
        assert registry.resource(id_).state is State.OFF


def test_keyless_rows_carry_no_key(registry: Registry) -> None:
    for each in registry.resources:
        told = f"{each.url}{each.query}{each.headers}{each.body}"
        assert ("{key}" in told) == (each.key is not None and each.key.place is KeyPlace.PATH), (
            each.id
        )


def test_variables_of_keys_are_named_after_their_providers(registry: Registry) -> None:
    for each in registry.resources:
        if each.key is not None:
            assert each.key.variable.startswith(each.provider.id.upper()), each.id
            assert "_API_KEY" in each.key.variable
    second = {each.key.variable for each in registry.resources if each.key is not None}
    assert {"CMC_API_KEY_2", "NEWSAPI_API_KEY_2", "ETHERSCAN_API_KEY_2"} <= second


def test_levels_are_those_of_the_seed(registry: Registry) -> None:
    assert {
        level: (times.connect_s, times.read_s, times.total_s)
        for level, times in registry.levels.items()
    } == {
        Level.CRITICAL: (2, 3, 5),
        Level.HIGH: (3, 5, 8),
        Level.MEDIUM: (5, 10, 15),
        Level.LOW: (10, 15, 25),
        Level.EMERGENCY: (15, 30, 45),
    }


def test_sources_that_ask_for_attribution_have_it(registry: Registry) -> None:
    asking = ("coingecko", "coinpaprika", "alternative_me", "mempool", "etherscan")
    for id_ in asking:
        provider = registry.providers[id_]
        assert provider.attribution
        assert provider.attribution_url
    for each in registry.chain("news"):
        if each.reader == "rss" and each.provider.id.startswith("rss_"):
            assert each.provider.attribution, each.id


def test_every_provider_is_somebodys_and_has_limits(registry: Registry) -> None:
    used = Counter(each.provider.id for each in registry.resources)
    assert not registry.providers.keys() - used.keys()
    # `rpc` are the nodes together, each of which has its own limits.
    without = {id_ for id_, provider in registry.providers.items() if not provider.limits}
    assert without == {"rpc", "dead"}


def test_keys_come_from_the_environment(registry: Registry) -> None:
    cmc, second = (registry.resource(f"price.aggregate/cmc{n}") for n in ("", ":2"))
    environ = {"CMC_API_KEY": " k-1 ", "CMC_API_KEY_2": "", "COINGECKO_API_KEY": "k-3"}
    found = key_of(cmc, environ)
    assert found is not None
    assert found.get_secret_value() == "k-1"
    assert "k-1" not in repr(found)
    assert key_of(second, environ) is None
    assert key_of(registry.resource("price.aggregate/cmc_keyless"), environ) is None
    coingecko = registry.resource("price.aggregate/coingecko")
    assert not coingecko.needs_key
    assert key_of(coingecko, environ) is not None


@pytest.mark.parametrize("providers", ["on", "off"])
def test_without_a_file_the_rows_are_ours(registry: Registry, providers: str) -> None:
    found = load(load_settings(providers=providers))
    assert {each.id for each in found.resources} == {each.id for each in registry.resources}


def test_providers_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="neither on nor off nor a file"):
        load(load_settings(providers=str(tmp_path / "of.toml")))
