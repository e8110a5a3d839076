"""Every recorded or documented answer is read right by a row, or refused for a reason stated here.

The files are those of RECORDED_DATA/providers; none is in the repository.
"""

import csv
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from providers import assets
from providers.classify import classify
from providers.errors import ErrorClass, ProviderError
from providers.questions import Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.records import PriceKind, Record
from providers.registry import FOLDER, Registry, build
from providers.resources import Resource
from tests.providers.making import NOW_MS, resource

BITCOIN = "bc1qdlt2jrplkf0v7ucvhhjhs0qf7cqr0j27k7j7p0"
ETHEREUM = "0x84e8EE8911c147755bD70084b6b4D1a5A8351476"
TRON = "TWAFRfZFmhVQZjxM3De7Mp5UZ9sLqWqpHp"
BLOCKS = {"method": "eth_blockNumber", "params": "[]"}


@dataclass(frozen=True)
class Reads:
    """The row that reads it, what it is asked for, and fields of the records in their order."""

    row: str | Resource
    subjects: tuple[str, ...]
    records: tuple[dict[str, Any], ...]
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """The row that it would be an answer to, the class and what the message says."""

    row: str | Resource
    subjects: tuple[str, ...]
    error_class: ErrorClass
    message: str
    options: dict[str, str] = field(default_factory=dict)


def usdt(*prices: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return tuple({"quote": "USDT", **price} for price in prices)


def of_block(*records: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return records


D = Decimal
BAD, UNKNOWN = ErrorClass.BAD_PAYLOAD, ErrorClass.UNKNOWN
BTC, ETH, BOTH = ("btc",), ("eth",), ("btc", "eth")
HISTORICAL = resource(
    "price.aggregate",
    id="price.aggregate/mine",
    read={"value": "Data[-1].CLOSE", "as_of": "Data[-1].LAST_MESSAGE_TIMESTAMP | s"},
)
RETIRED = resource("price.aggregate", id="price.aggregate/mine", read={"value": "bpi.USD.rate"})
TOKEN = resource(
    "price.aggregate",
    id="price.aggregate/mine",
    read={"value": 'coins."optimism:0xc55E93C62874D8100dBd2DfE307EDc1036ad5434".price'},
)
SCORES = resource(
    "sentiment.asset",
    id="sentiment.asset/mine",
    read={
        "metric": "fear_greed_cfgi",
        "scale": [0, 100],
        "value": "data[symbol={id}].score",
        "label": "data[symbol={id}].classification",
        "as_of": "data[symbol={id}].timestamp | iso",
        "id": "{symbol}",
    },
)
HEALTH = resource(
    "stats.bitcoin",
    id="stats.bitcoin/mine",
    read={"height": "blocks.blocks", "metrics": {"peers": "peers.count | 1"}},
)
GLOBAL = resource(
    "stats.bitcoin",
    id="stats.bitcoin/mine",
    read={"metrics": {"total_market_cap": "data.total_market_cap.usd | usd"}},
)
SUBSCAN = resource("stats.bitcoin", id="stats.bitcoin/mine", read={"height": "data.blockNum"})
USDT_CONTRACT = "0xdac17f958d2ee523a2206206994597c13d831ec7"

# fmt: off
FILES: dict[str, Reads | Refused] = {
    "alchemy_prices_token-not-found_200.json":
        Refused("price.aggregate/alchemy", ("dai",), UNKNOWN, "nothing of dai"),
    "alternativeme_fng_limit2.json": Reads("sentiment.market/fng", ("MARKET",), (
        {"metric": "fear_greed_altme", "value": D(69), "label": "Greed", "asset": "MARKET",
         "as_of_ms": 1788825600000, "scale": (D(0), D(100)), "period_ms": 86_400_000},)),
    "binance_spot_ticker-24hr.json":
        Refused("price.spot/binance_spot", ("bnb",), BAD, "is not an item", {"quote": "usdt"}),
    "binance_spot_ticker-price.json":
        Refused("price.spot/binance_spot", ("ltc",), BAD, "is not an item", {"quote": "usdt"}),
    "binance_usdm_premiumIndex.json": Reads(
        resource("price.perp", read={"quotes": ["USDT"], "kind": "mark", "value": "markPrice",
                                     "as_of": "time | ms"}),
        BTC, usdt({"value": D("11793.63104562"), "kind": PriceKind.MARK,
                   "as_of_ms": 1597370495002}), {"quote": "usdt"}),
    "binance_usdm_ticker-24hr.json": Reads(
        resource("price.perp", read={"quotes": ["USDT"], "value": "lastPrice",
                                     "volume_24h_quote": "quoteVolume",
                                     "change_24h": "priceChangePercent | percent"}),
        BTC, usdt({"value": D("4.00000200"), "kind": PriceKind.PERP_LAST,
                   "change_24h": D("-0.9596"), "volume_24h_quote": D("15.3")}),
        {"quote": "usdt"}),
    "blockchaininfo_haskoin_health.json": Reads(HEALTH, ("bitcoin",), ({"height": 909427},)),
    "blockchaininfo_multiaddr.json": Reads("balance.bitcoin/blockchain_info", (BITCOIN,), (
        {"raw": 0, "decimals": 8, "asset": "btc", "confirmed_only": False},)),
    # Read by providers.whales (tests/providers/whales); it is no balance.
    "blockchaininfo_rawtx.json": Refused("balance.bitcoin/blockchain_info", (BITCOIN,), UNKNOWN,
                                         "nothing of"),
    "blockchair_bitcoin_stats.json": Reads("stats.bitcoin/blockchair", ("bitcoin",), (
        {"height": 690164, "head_time_ms": 1625755020000},)),
    "blockchair_ethereum_address.json": Reads("balance.ethereum/blockchair", (
        "0x3282791d6fd713f1e94f4bfd565eaa78b3a0599d",), (
        {"raw": 1337000000000000001337, "decimals": 18, "asset": "eth"},)),
    "blockcypher_btc-tx.json": Refused("balance.bitcoin/blockcypher", (BITCOIN,), UNKNOWN,
                                       "nothing of"),
    "blockcypher_eth-main.json": Reads("gas.ethereum/blockcypher", ("ethereum",), (
        {"chain_id": 1, "block": 20693385, "base_fee_wei": 6319933854,
         "priority_fast_wei": 2849905342, "max_fee_slow_wei": 9169058781,
         "as_of_ms": 1725647835412},)),
    "blockscout_pro_balance.json": Reads("balance.ethereum/blockscout", (ETHEREUM,), (
        {"raw": 0, "address": ETHEREUM},)),
    "blockscout_pro_json-rpc_error-as-string.json": Refused(
        "rpc.optimism/optimism.drpc.org", ("optimism",), BAD, "Missed `to` address", BLOCKS),
    "blockscout_pro_json-rpc_eth_blockNumber.json": Reads(
        "rpc.ethereum/eth.drpc.org", ("ethereum",), ({"result": "0x16f45b9"},), BLOCKS),
    "blockscout_pro_txlist_base.json": Refused("balance.ethereum/blockscout", (ETHEREUM,), BAD,
                                               "is not a whole number"),
    "blockscout_pro_v2_transaction_base.json": Refused(
        "gas.ethereum/blockscout", ("ethereum",), UNKNOWN, "nothing of ethereum"),
    "bybit_spot_tickers.json": Reads("price.spot/bybit_spot", BOTH, usdt(
        {"asset": "btc", "value": D("20533.13"), "change_24h": D("0.0068"),
         "volume_24h_quote": D("243765620.65899866"), "as_of_ms": 1673859087947}),
        {"quote": "usdt"}),
    "cfgi_v3_scores_btc.json": Reads(SCORES, BTC, (
        {"value": D("50.5"), "label": "Neutral", "as_of_ms": 1784573317000, "asset": "btc"},)),
    "coindesk_bpi_v1_retired_comma-number.json": Refused(RETIRED, BTC, BAD, "'18,974.5602'"),
    "coindesk_index-cc_historical-days.json": Reads(HISTORICAL, ETH, (
        {"value": D("387.920015862958"), "as_of_ms": 1604447940000},)),
    "coingecko_coins-bitcoin.json": Reads("sentiment.asset/coingecko", BTC, (
        {"metric": "votes_up", "value": D("82.65"), "as_of_ms": None},)),
    "coingecko_coins-list_documented-2026.json": Refused(
        "price.aggregate/coingecko:markets", BTC, UNKNOWN, "nothing of btc"),
    "coingecko_coins-markets.json": Reads("price.aggregate/coingecko:markets", BTC, (
        {"value": D(70187), "market_cap": D(1381651251183), "volume_24h_quote": D(20154184933),
         "change_24h": D("0.0312502"), "as_of_ms": 1712508571736},)),
    "coingecko_global.json": Reads(GLOBAL, ("bitcoin",), ({"height": None},)),
    "coingecko_simple-price_bitcoin.json": Reads("price.aggregate/coingecko", BOTH, (
        {"asset": "btc", "value": D(60997), "quote": "USD", "as_of_ms": None},)),
    "coingecko_simple-price_documented-2026.json": Reads("price.aggregate/coingecko", BOTH, (
        {"value": D(76975), "market_cap": D("1542226908349.8406"),
         "change_24h": D("-0.014093297098441402"), "as_of_ms": 1779092258000},)),
    "coingecko_simple-price_multi_eth.json": Refused(
        "price.aggregate/coingecko", BTC, UNKNOWN, "nothing of btc"),
    "coinlore_tickers_btc.json": Refused("price.aggregate/coinlore", BTC, UNKNOWN, "nothing"),
    "coinpaprika_tickers_btc.json":
        Refused("price.aggregate/coinpaprika", BTC, BAD, "not the form"),
    "cryptocompare_price.json": Reads("price.aggregate/coindesk_data", ("btc", "dai"), (
        {"asset": "btc", "value": D("118434.5")}, {"asset": "dai", "value": D("0.9998")})),
    "cryptocompare_pricemulti_usd.json": Reads("price.aggregate/coindesk_data", BOTH, (
        {"asset": "btc", "value": D("118380.4")}, {"asset": "eth", "value": D("3778.84")})),
    "cryptopanic_posts.json": Reads("news/cryptopanic", ("news",), (
        {"title": "Bitcoin Surges Past $100K", "url": "https://coindesk.com/bitcoin-surges",
         "source": "CoinDesk", "assets": ("BTC",), "published_at_ms": 1736937000000},)),
    "defillama_prices-current_coingecko-ids.json": Reads("price.aggregate/defillama", BOTH, (
        {"value": D("60580.28121336298"), "confidence": D("0.99"), "as_of_ms": 1782315604000},
        {"value": D("1631.5124365600311")})),
    "defillama_prices-current_token.json": Reads(TOKEN, ("op",), (
        {"value": D("56.45871866002604")},)),
    "defillama_prices-current_unknown_empty.json": Refused(
        "price.aggregate/defillama", BTC, UNKNOWN, "nothing of btc"),
    "dia_assetQuotation_ethereum.json": Reads("price.aggregate/dia", ETH, (
        {"value": D("3027.98578732332"), "as_of_ms": 1764230999000},)),
    "etherscan_v2_balance_zero.json": Reads("balance.ethereum/etherscan", (ETHEREUM,), (
        {"raw": 0},)),
    "etherscan_v2_error_chain-not-on-free-tier.json": Refused(
        "balance.bsc/etherscan", (ETHEREUM,), ErrorClass.PLAN_FORBIDS, "not supported"),
    "etherscan_v2_error_free-tier-unavailable.json": Refused(
        "balance.ethereum/etherscan", (ETHEREUM,), ErrorClass.RATE_LIMITED,
        "temporarily unavailable"),
    "etherscan_v2_error_rate-limit.json": Refused(
        "balance.ethereum/etherscan", (ETHEREUM,), ErrorClass.RATE_LIMITED, "Max rate limit"),
    "etherscan_v2_error_reverted.json": Reads(
        "rpc.ethereum/eth.drpc.org", ("ethereum",), ({"result": None, "error": {
            "code": 3, "message": "execution reverted", "data": "0x77209fe8" + "0" * 62 + "20"
            + "0" * 62 + "1d" + "176973686f756c646e6f746578697374666f727265616c7a0365746800000000",
        }},), {"method": "eth_call", "params": "[]"}),
    "etherscan_v2_getblockreward.json": Refused("balance.ethereum/etherscan", (ETHEREUM,), BAD,
                                                "is not a whole number"),
    "etherscan_v2_proxy_eth_getBlockByNumber.json": Reads("stats.evm/rpc", ("arbitrum",), (
        {"chain": "arbitrum", "height": 305740587},)),
    "etherscan_v2_tokentx.json": Reads("whales.evm/etherscan", ("ethereum",), (
        {"asset": "usdt", "amount_raw": 1166000000, "decimals": 6, "contract": USDT_CONTRACT,
         "block": 14051455, "time_ms": 1642802286000, "confirmed": True, "value_usd": None},
        {"asset": "usdt", "index": 0,
         "senders": ("0x6e15887e2cec81434c16d587709f64603b39b545",)})),
    "etherscan_v2_txlist.json": Refused("balance.ethereum/etherscan", (ETHEREUM,), BAD,
                                        "is not a whole number"),
    "etherscan_v2_txlist_none-found.json": Reads("whales.evm/etherscan", ("ethereum",), ()),
    "ethplorer_getAddressInfo.json": Reads("balance.ethereum/ethplorer", (
        "0x76270D9d9aFC0CF4ebFfBaFe6401e01Cb0f021Ce",), (
        {"raw": 123000000000000000},)),
    # Of another chain, and so of another address than was asked for.
    "mempool-software_address_bch.json": Refused("balance.bitcoin/mempool", (BITCOIN,), BAD,
                                                 "address is 'bitcoincash:"),
    "mempool_address.json": Reads("balance.bitcoin/blockstream", (
        "1wiz18xYmhRX6xStj2b9t1rwWX4GKUgpv",), ({"raw": 0},)),
    "mempool_fees-recommended.json": Reads("gas.bitcoin/mempool", ("bitcoin",), (
        {"chain_id": None, "fee_slow_sat_per_kvb": 1000, "fee_fast_sat_per_kvb": 1000,
         "base_fee_wei": None},)),
    "mempool_prices.json": Reads("price.aggregate/mempool", BTC, (
        {"value": D(43753), "quote": "USD", "as_of_ms": 1703252411000},)),
    "moralis_erc20-price_dai.json": Reads("price.aggregate/moralis", ("dai",), (
        {"value": D(1), "as_of_ms": 1782040535000},)),
    "okx_tickers_swap.json": Reads("price.perp/okx_swap", BOTH, (
        {"asset": "btc", "quote": "USD", "value": D("9999.99"), "as_of_ms": 1597026383085},)),
    "routescan_balance.json": Reads("balance.ethereum/routescan", (ETHEREUM,), ({"raw": 0},)),
    "routescan_error_500_rpc-failed.json": Refused(
        "balance.ethereum/routescan", (ETHEREUM,), BAD, "RPC Request failed."),
    "rpc_1rpc_bnb_eth_getBlockByNumber.json": Reads("stats.evm/rpc", ("bsc",), (
        {"height": 63113366, "chain": "bsc"},)),
    "rpc_1rpc_error_getlogs-range.json": Refused(
        "rpc.gnosis/gnosis.drpc.org", ("gnosis",), UNKNOWN, "1000 blocks range",
        {"method": "eth_getLogs", "params": "[]"}),
    "rpc_ankr_error_unauthorized.json": Refused(
        "rpc.avalanche/avalanche.drpc.org", ("avalanche",), ErrorClass.KEY_REJECTED,
        "Unauthorized", BLOCKS),
    "rpc_avalanche_eth_getBalance_zero.json": Reads("balance.ethereum/rpc", (ETHEREUM,), (
        {"raw": 0},)),
    "rpc_base-official_eth_blockNumber.json": Reads(
        "rpc.base/mainnet.base.org", ("base",), ({"result": "0x2f06ceb", "chain": "base"},),
        BLOCKS),
    "rpc_base-official_web3_clientVersion.json": Reads(
        "rpc.base/mainnet.base.org", ("base",),
        ({"result": "reth/v2.3.0-9384bc5/x86_64-unknown-linux-gnu/base/v1.1.1"},),
        {"method": "web3_clientVersion", "params": "[]"}),
    "rpc_drpc_polygon_eth_getBalance.json": Reads("balance.ethereum/rpc", (ETHEREUM,), (
        {"raw": 21, "block": 447},), {"block": "0x1bf"}),
    "rpc_hyperliquid_eth_blockNumber.json": Reads(
        "rpc.hyperevm/rpc.hyperliquid.xyz", ("hyperevm",), ({"result": "0x283b044"},), BLOCKS),
    "rpc_nodereal_optimism_error_pre-bedrock.json": Refused(
        "rpc.optimism/optimism.drpc.org", ("optimism",), UNKNOWN, "pre-bedrock",
        {"method": "eth_getBalance", "params": "[]"}),
    "rpc_optimism-official_eth_blockNumber.json": Reads(
        "rpc.optimism/mainnet.optimism.io", ("optimism",), ({"result": "0x8db4920"},), BLOCKS),
    "rpc_publicnode_eth_error_missing-trie-node.json": Refused(
        "balance.ethereum/rpc", (ETHEREUM,), UNKNOWN, "missing trie node"),
    "rss_cointelegraph_3items.xml": Reads("news/rss_cointelegraph", ("news",), (
        {"url": "https://cointelegraph.com/news/brazils-petrobras-uses-cardano-to-track-"
                "sustainable-aviation-fuel-renewable-diesel",
         "published_at_ms": 1790788674000, "updated_at_ms": 1790788889000,
         "source": "Cointelegraph", "authors": ("Cointelegraph by Nate Kostar",)},
        {"title": "Could THORChain face prosecution over stolen Bitget funds?",
         "published_at_ms": 1790775000000, "updated_at_ms": 1790737848000},
        {"url": "https://cointelegraph.com/news/what-happened-in-crypto-today"})),
    "solana_getAccountInfo.json": Reads(
        "rpc.solana/api.mainnet-beta.solana.com", ("solana",), ({"chain": "solana"},),
        {"method": "getAccountInfo", "params": "[]"}),
    "solana_getHealth.json": Reads(
        "rpc.solana/api.mainnet-beta.solana.com", ("solana",), ({"result": "ok"},),
        {"method": "getHealth", "params": "[]"}),
    "solana_getSignaturesForAddress.json": Reads(
        "rpc.solana/api.mainnet-beta.solana.com", ("solana",), ({"error": None},),
        {"method": "getSignaturesForAddress", "params": "[]"}),
    "solana_getTransaction.json": Reads(
        "rpc.solana/api.mainnet-beta.solana.com", ("solana",), ({"error": None},),
        {"method": "getTransaction", "params": "[]"}),
    "subscan_error_key-required.json": Refused(SUBSCAN, ("bitcoin",), ErrorClass.KEY_REJECTED,
                                               "requires an API key"),
    "tron_wallet-getaccount.json": Reads("balance.tron/trongrid", (TRON,), (
        {"raw": 1793227200, "decimals": 6, "asset": "trx"},)),
    "trongrid_error_frequency-limit.json": Refused(
        "balance.tron/trongrid", (TRON,), ErrorClass.RATE_LIMITED, "suspended for 30s"),
    "whalealert_transaction.json": Reads("whales.evm/whale_alert", ("ethereum",), (
        # It is of HyperEVM, whose USDC none of our assets is: read as one of Ethereum.
        {"type": "mint", "asset": "usdc", "amount_raw": 499999800000, "decimals": 6, "index": 0,
         "value_usd": D("499999.7375000250"), "price_source": "whale_alert", "senders": (),
         "receivers": ("0xb21d281dedb17ae5b501f6aa8256fe38c4e45757",), "block": 44204309,
         "time_ms": 1787735817000},
        {"type": "transfer", "index": 1, "receiver_owner": "usdc treasury",
         "sender_owner": None})),
}
# fmt: on


@cache
def registry() -> Registry:
    return build(sorted(FOLDER.glob("*.toml")), None)


def answered(row: str | Resource, body: bytes, status: int, case: Reads | Refused) -> list[Any]:
    found = registry().resource(row) if isinstance(row, str) else row
    refusal = classify(found, status, {}, body, NOW_MS)
    if refusal is not None:
        raise refusal
    asked = Asked(
        resource=found,
        question=Question(found.chain, case.subjects, tuple(sorted(case.options.items()))),
        subjects=case.subjects,
        fetched_at_ms=NOW_MS,
        assets=assets.load(),
    )
    records: list[Record] = READERS[found.reader](body, asked)
    return records


@pytest.fixture(scope="module")
def statuses(recorded_data: Path) -> dict[str, str]:
    with (recorded_data / "providers" / "manifest.csv").open(newline="") as file:
        return {row["file"]: row["status"] for row in csv.DictReader(file)}


def test_every_file_has_its_case(statuses: dict[str, str], recorded_data: Path) -> None:
    there = {path.name for path in (recorded_data / "providers").iterdir()} - {"manifest.csv"}
    assert there == statuses.keys() == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_it_is_read_right_or_refused(
    name: str, statuses: dict[str, str], recorded_data: Path
) -> None:
    case = FILES[name]
    body = (recorded_data / "providers" / name).read_bytes()
    status = 200 if statuses[name] == "?" else int(statuses[name])
    if isinstance(case, Refused):
        with pytest.raises(ProviderError) as raised:
            answered(case.row, body, status, case)
        assert raised.value.error_class is case.error_class
        assert case.message in str(raised.value)
        return
    records = answered(case.row, body, status, case)
    assert len(records) == len(case.records)
    for record, fields in zip(records, case.records, strict=True):
        assert {name: getattr(record, name) for name in fields} == fields
        assert record.fetched_at_ms == NOW_MS
