"""The assets that the simulated providers know, by the names that each provider has for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# symbol, CoinGecko, CoinPaprika (without the symbol, or with another), CoinMarketCap, CoinLore
# ("-": not known), coins in circulation
_TABLE: Final = """
BTC bitcoin bitcoin 1 90 19900000
ETH ethereum ethereum 1027 80 120700000
USDT tether tether 825 518 150000000000
BNB binancecoin binance-coin 1839 2710 139000000
SOL solana solana 5426 48543 540000000
XRP ripple xrp 52 58 59000000000
USDC usd-coin usd-coin 3408 33285 61000000000
ADA cardano cardano 2010 257 35500000000
DOGE dogecoin dogecoin 74 2 150000000000
TRX tron tron 1958 2713 94000000000
AVAX avalanche-2 avalanche 5805 44883 420000000
LINK chainlink chainlink 1975 2751 640000000
DOT polkadot polkadot 6636 45219 1520000000
LTC litecoin litecoin 2 1 76000000
BCH bitcoin-cash bitcoin-cash 1831 2321 19900000
SHIB shiba-inu shiba-inu 5994 45088 589000000000000
TON the-open-network toncoin 11419 54683 2500000000
XLM stellar stellar 512 89 31000000000
UNI uniswap uniswap 7083 47305 600000000
NEAR near near-protocol 6535 48563 1200000000
APT aptos aptos 21794 111341 640000000
SUI sui sui 20947 93845 3400000000
ARB arbitrum arbitrum 11841 93847 4900000000
OP optimism optimism 11840 - 1700000000
FIL filecoin filecoin 2280 32372 660000000
ATOM cosmos cosmos 3794 33830 430000000
INJ injective-protocol injective-protocol 7226 - 100000000
TIA celestia celestia 22861 - 640000000
SEI sei-network sei 23149 - 5300000000
WLD worldcoin-wld worldcoin 13502 - 1600000000
AAVE aave new 7278 46018 15000000
ENA ethena ethena 30171 - 5800000000
ONDO ondo-finance ondo-finance 21159 - 3100000000
JUP jupiter-exchange-solana jupiter 29210 - 2900000000
PYTH pyth-network pyth-network 28177 - 5700000000
STX blockstack stacks 4847 - 1500000000
IMX immutable-x immutable-x 10603 - 1800000000
RUNE thorchain thorchain 4157 - 350000000
TAO bittensor bittensor 22974 - 9000000
RENDER render-token rndr-render-token 5690 - 518000000
FET fetch-ai fetch-ai 3773 - 2500000000
GALA gala gala 7080 - 43000000000
SAND the-sandbox the-sandbox 6210 45161 2400000000
MANA decentraland decentraland 1966 - 1900000000
AXS axie-infinity axie-infinity 6783 - 160000000
CHZ chiliz chiliz 4066 - 9400000000
GRT the-graph the-graph 6719 - 9900000000
LDO lido-dao lido-dao 8000 - 890000000
CRV curve-dao-token curve-dao-token 6538 - 1300000000
MKR maker maker 1518 - 850000
ALGO algorand algorand 4030 - 8600000000
VET vechain vechain 3077 - 86000000000
ETC ethereum-classic ethereum-classic 1321 118 150000000
HBAR hedera-hashgraph hedera-hashgraph 4642 48555 42000000000
ICP internet-computer internet-computer 8916 47311 530000000
THETA theta-token theta-token 2416 - 1000000000
EGLD elrond-erd-2 elrond-egld 6892 - 28000000
XTZ tezos tezos 2011 - 1040000000
NEO neo neo 1376 - 71000000
IOTA iota miota-iota 1720 - 3800000000
ZEC zcash zcash 1437 - 16000000
DASH dash dash 131 - 12300000
XMR monero monero 328 28 18400000
PEPE pepe pepe 24478 - 420690000000000
BONK bonk bonk 23095 - 77000000000000
FLOKI floki floki-inu 10804 - 9500000000000
WIF dogwifcoin dogwifcoin 28752 - 998000000
POL polygon-ecosystem-token polygon-ecosystem-token 28321 - 10400000000
HYPE hyperliquid hyperliquid 32196 - 334000000
KAS kaspa kaspa 20396 - 26000000000
STRK starknet starknet 22691 - 3500000000
TRUMP official-trump official-trump 35336 - 200000000
PENDLE pendle pendle 9481 - 165000000
DYDX dydx-chain dydx 28324 - 780000000
COMP compound-governance-token compoundd 5692 - 9400000
LUNC terra-luna terra-luna 4172 - 5500000000000
MNT mantle mantle 27075 - 3200000000
FLOW flow flow 4558 - 1600000000
CAKE pancakeswap-token pancakeswap 7186 - 340000000
OKB okb okb 3897 33531 21000000
LEO leo-token leo-token 3957 - 920000000
CRO crypto-com-chain cryptocom-chain 3635 - 36000000000
QNT quant-network quant 3155 - 14500000
KSM kusama kusama 5034 - 17000000
XAUT tether-gold tether-gold 5176 - 246000
DAI dai dai 4943 - 5300000000
FDUSD first-digital-usd first-digital-usd 26081 - 1500000000
TUSD true-usd trueusd 2563 - 494000000
USDE ethena-usde ethena-usde 29470 - 5900000000
PYUSD paypal-usd paypal-usd 27772 - 900000000
WBTC wrapped-bitcoin wrapped-bitcoin 3717 - 127000
WETH weth weth 2396 - 2800000
STETH staked-ether lido-staked-ether 8085 - 8600000
PAXG pax-gold pax-gold 4705 - 380000
XDAI xdai xdai 8635 47739 60000000
"""
STABLE: Final = frozenset({"USDT", "USDC", "DAI", "FDUSD", "TUSD", "USDE", "PYUSD", "XDAI"})
WRAPPED: Final = {"WBTC": "BTC", "WETH": "ETH", "STETH": "ETH", "PAXG": "XAUT"}
# CoinPaprika still has these by symbols of former times.
_RENAMED: Final = ("rndr-", "miota-")
_NOT_ON_EXCHANGES: Final = frozenset({"USDT", "XDAI", "WBTC", "WETH", "STETH"})


@dataclass(frozen=True, slots=True)
class Asset:
    """`rank` is by its place in the table, 1 is the greatest."""

    symbol: str
    coingecko: str
    coinpaprika: str
    cmc: int
    coinlore: str
    supply: int
    rank: int

    @property
    def name(self) -> str:
        return self.coingecko.replace("-", " ").title()

    @property
    def is_stable(self) -> bool:
        return self.symbol in STABLE

    @property
    def on_exchanges(self) -> bool:
        return self.symbol not in _NOT_ON_EXCHANGES


def _read() -> list[Asset]:
    found = []
    for rank, line in enumerate(_TABLE.strip().splitlines(), 1):
        symbol, coingecko, paprika, cmc, coinlore, supply = line.split()
        renamed = paprika.startswith(_RENAMED)
        paprika_id = paprika if renamed else f"{symbol.lower()}-{paprika}"
        found.append(Asset(symbol, coingecko, paprika_id, int(cmc), coinlore, int(supply), rank))
    return found


ASSETS: Final[Mapping[str, Asset]] = {asset.symbol: asset for asset in _read()}
BY_COINGECKO: Final = {asset.coingecko: asset for asset in ASSETS.values()}
BY_COINPAPRIKA: Final = {asset.coinpaprika: asset for asset in ASSETS.values()}
BY_CMC: Final = {str(asset.cmc): asset for asset in ASSETS.values()}
BY_COINLORE: Final = {asset.coinlore: asset for asset in ASSETS.values() if asset.coinlore != "-"}
