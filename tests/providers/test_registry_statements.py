"""What providers state of themselves: levels of their rows, limits, keys, addresses, duties."""

from typing import Final

import pytest

from providers.registry import FOLDER, Registry, build
from providers.resources import KeyPlace, Level, State

# Of each chain its members by level, alive or off: who is asked before whom.
ORDER: Final = {
    "price.spot": "binance_spot bybit_spot / okx_spot kraken / coinbase / hyperliquid /",
    "price.perp": "binance_usdm bybit_linear / okx_swap / hyperliquid / /",
    "price.aggregate": "coingecko / coinpaprika cmc_keyless cmc cmc:2 / defillama coinlore / "
    "dia coincap coinstats / messari coindesk_data mempool moralis alchemy coingecko:markets",
    "sentiment.market": "fng / cmc_fng cfgi / cmc_fng:keyed / /",
    "sentiment.asset": "cfgi / coingecko / lunarcrush / cryptopanic santiment cfgi:legacy reddit "
    "messari /",
    "gas.ethereum": "rpc / etherscan blockscout / blockcypher infura / owlracle beaconcha /",
    "gas.evm": "rpc / blockscout / etherscan / /",
    "gas.bitcoin": "mempool / blockstream / blockcypher / blockchain_info /",
    "stats.bitcoin": "mempool / blockstream / blockchain_info blockcypher / blockchair /",
    "stats.evm": "rpc / defillama blockscout / blockcypher etherscan / blockchair /",
    "balance.ethereum": "etherscan / etherscan:2 blockscout / routescan ethplorer / "
    "blockchair ankr / rpc",
    "balance.bsc": "rpc / nodereal bsctrace ankr / etherscan / bitquery oneinch moralis "
    "blockchair /",
    "balance.tron": "trongrid / publicnode / tronscan drpc / tronstack pocket / "
    "getblock blockchair",
    "balance.bitcoin": "mempool / blockstream / blockchain_info blockcypher / blockchair /",
    "whales.evm": "own / etherscan / bitquery / whale_alert /",
    "whales.bitcoin": "mempool / blockstream / blockchain_info / whale_alert /",
    "whales.tron": "trongrid / tronscan / / whale_alert /",
}
DAY, MONTH = 86_400, 2_592_000
# At most so many in so many seconds: what is documented, or told by clients. Ours may be lower.
LIMITS: Final = {
    "binance": {60: 6000},
    "binance_usdm": {60: 2400},
    "bybit": {5: 600},
    "okx": {2: 20},
    "kraken": {1: 1},
    "hyperliquid": {60: 1200},
    "coingecko": {60: 30, MONTH: 10_000},
    "coinpaprika": {1: 10, MONTH: 20_000},
    "cmc": {60: 30, MONTH: 15_000},
    "defillama": {60: 500},
    "newsapi": {DAY: 100},
    "alternative_me": {60: 60},
    "cfgi": {1: 1},
    "etherscan": {1: 3, DAY: 100_000},
    "blockscout": {1: 5, DAY: 100_000},
    "routescan": {60: 120, DAY: 10_000},
    "ethplorer": {1: 2},
    "blockchair": {60: 30, DAY: 1440},
    "blockcypher": {3600: 99},
    "blockstream": {1: 4},
    "blockchain_info": {10: 1},
    "bnbchain": {300: 10_000},
    "solana": {10: 100},
    "cryptopanic": {60: 5},
}
KEYS: Final = {
    "coingecko": (KeyPlace.HEADER, "x-cg-demo-api-key", True),
    "cmc": (KeyPlace.HEADER, "X-CMC_PRO_API_KEY", False),
    "coincap": (KeyPlace.BEARER, None, False),
    "coinstats": (KeyPlace.HEADER, "X-API-KEY", False),
    "messari": (KeyPlace.HEADER, "x-messari-api-key", False),
    "coindesk_data": (KeyPlace.QUERY, "api_key", False),
    "cryptopanic": (KeyPlace.QUERY, "auth_token", False),
    "newsapi": (KeyPlace.HEADER, "X-Api-Key", False),
    "etherscan": (KeyPlace.QUERY, "apikey", False),
    "blockscout": (KeyPlace.QUERY, "apikey", False),
    "trongrid": (KeyPlace.HEADER, "TRON-PRO-API-KEY", True),
    "tronscan": (KeyPlace.HEADER, "TRON-PRO-API-KEY", False),
    "whale_alert": (KeyPlace.QUERY, "api_key", False),
    "bitquery": (KeyPlace.BEARER, None, False),
    "oneinch": (KeyPlace.BEARER, None, False),
    "lunarcrush": (KeyPlace.BEARER, None, False),
    "infura": (KeyPlace.PATH, None, False),
    "alchemy": (KeyPlace.PATH, None, False),
    "ankr": (KeyPlace.PATH, None, False),
    "getblock": (KeyPlace.PATH, None, False),
    "nodereal": (KeyPlace.PATH, None, False),
}
URLS: Final = {
    "price.spot/binance_spot": "https://data-api.binance.vision/api/v3/ticker/price",
    "price.spot/kraken": "https://api.kraken.com/0/public/Ticker assetVersion=1",
    "price.perp/okx_swap": "https://www.okx.com/api/v5/market/tickers instType=SWAP",
    "price.aggregate/cmc_keyless": "https://pro-api.coinmarketcap.com/public-api/v3/"
    "cryptocurrency/quotes/latest id={ids}",
    "price.aggregate/coinlore": "https://api.coinlore.net/api/ticker/ id={ids}",
    "price.aggregate/coincap": "https://rest.coincap.io/v3/assets/{id}",
    "sentiment.market/fng": "https://api.alternative.me/fng/ limit=30",
    "sentiment.market/cfgi": "https://cfgi.io/api/v3/scores/ symbols=MARKET timeframe=1d limit=1 "
    "fields=score",
    "gas.bitcoin/mempool": "https://mempool.space/api/v1/fees/recommended",
    "gas.bitcoin/blockstream": "https://blockstream.info/api/fee-estimates",
    "balance.ethereum/etherscan": "https://api.etherscan.io/v2/api chainid=1 module=account "
    "action=balance address={address} tag=latest",
    "balance.bitcoin/blockcypher": "https://api.blockcypher.com/v1/btc/main/addrs/{address}/balance",
    "stats.evm/defillama": "https://api.llama.fi/v2/chains",
}
# Chains that are on no free plan, or not hosted there.
LACKING: Final = {
    "etherscan": {"bsc", "base", "optimism", "avalanche", "gnosis"},
    "blockscout": {"bsc", "avalanche"},
}
# With a date that is known: when it ended.
DEAD: Final = {
    "price.aggregate/cryptocompare": "2026-05-21",
    "news/cryptopanic:v1": "2026-04",
    "balance.ethereum/blockscout_instance": "2026-07-01",
    "rpc.ethereum/ankr:keyless": "2025-03",
    "rpc.polygon/polygon-rpc.com": "2026-05",
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build(sorted(FOLDER.glob("*.toml")), None)


@pytest.mark.parametrize("chain", ORDER)
def test_who_is_asked_before_whom(registry: Registry, chain: str) -> None:
    due = [set(names.split()) for names in ORDER[chain].split("/")]
    found: list[set[str]] = [set() for _ in Level]
    for each in registry.chain(chain):
        found[each.level - 1].add(each.id.partition("/")[2])
    assert found == due


@pytest.mark.parametrize("provider", LIMITS)
def test_limits_are_within_what_is_known(registry: Registry, provider: str) -> None:
    ours = {each.window_s: each.quantity for each in registry.providers[provider].limits}
    for window_s, quantity in LIMITS[provider].items():
        assert 0 < ours[window_s] <= quantity


@pytest.mark.parametrize("provider", KEYS)
def test_where_keys_stand(registry: Registry, provider: str) -> None:
    key = registry.providers[provider].key
    assert key is not None
    assert (key.place, key.name, key.optional) == KEYS[provider]


@pytest.mark.parametrize("row", URLS)
def test_addresses_and_parameters(registry: Registry, row: str) -> None:
    url, *pairs = URLS[row].split()
    found = registry.resource(row)
    assert (found.url, [f"{name}={value}" for name, value in found.query.items()]) == (url, pairs)


def test_weights_of_requests(registry: Registry) -> None:
    """Of all prices of Binance 4; of one list of mids of Hyperliquid 2."""
    assert registry.resource("price.spot/binance_spot").weight == 4
    assert registry.resource("price.perp/hyperliquid").weight == 2


@pytest.mark.parametrize("provider", LACKING)
def test_chains_that_a_provider_lacks_are_not_asked_of_it(
    registry: Registry, provider: str
) -> None:
    for each in registry.resources:
        if each.provider.id == provider and each.chain in ("gas.evm", "stats.evm", "whales.evm"):
            assert not LACKING[provider] & set(each.read["chains"]), each.id


def test_feeds_are_asked_every_five_minutes_at_most(registry: Registry) -> None:
    assert min(each.ttl_s for each in registry.chain("news")) >= 300


def test_what_is_over_and_since_when(registry: Registry) -> None:
    for id_, since in DEAD.items():
        found = registry.resource(id_)
        assert (found.state, found.since) == (State.DEAD, since)
