"""The coins of the generated markets: their names, usual prices and volatility."""

from typing import Final

from simulator.randomness import draw, generator

# The price of one coin in US dollars. Majors and coins with exchange-specific spellings come first,
# so that a small number of markets includes them.
SPECIAL_USD: Final[dict[str, float]] = {
    "BTC": 64_000,
    "ETH": 2_900,
    "SOL": 145,
    "PEPE": 0.000_004_2,
    "龙虾": 0.031,
    "SHIB": 0.000_011,
    "XRP": 1.15,
    "1INCH": 0.21,
    "CHEEMS": 0.000_000_9,
    "SATS": 0.000_000_03,
    "BEAM": 0.0061,
    "TURBO": 0.0021,
    "BABYDOGE": 0.000_000_000_8,
    "MOG": 0.000_000_4,
    "1000CAT": 0.0042,
    "BONK": 0.000_012,
    "FLOKI": 0.000_05,
    "LUNC": 0.000_04,
    "XEC": 0.000_012,
    "RATS": 0.000_02,
    "1000X": 0.35,
    "币安人生": 0.12,
}
# Coins whose turnover is so large that its text has 17 and more digits at 4h: cheap ones, whose
# prices have so many decimals that this takes no more than the turnover of a great market.
BUSY: Final = frozenset({"PEPE"})

# Usual prices of well-known assets in US dollars: their magnitude, not the day's price.
_USUAL_USD: Final = """
DOGE 0.17 BNB 620 ADA 0.55 AVAX 24 LINK 15 DOT 5.5 TRX 0.25 LTC 85 BCH 420 ETC 20 UNI 8 NEAR 4
APT 7 SUI 2.8 ARB 0.55 OP 1.1 FIL 4.2 ATOM 5.5 INJ 18 TIA 4.5 SEI 0.35 WLD 1.6 AAVE 190 ENA 0.6
ONDO 0.9 JUP 0.7 PYTH 0.3 STX 1.3 IMX 1.1 RUNE 3.2 TAO 380 RENDER 5.5 FET 1.1 GALA 0.025 SAND 0.35
MANA 0.38 AXS 4.8 CHZ 0.07 ENJ 0.16 GRT 0.16 LDO 1.3 CRV 0.5 MKR 1700 SNX 1.6 COMP 55 DYDX 1.1
GMX 22 BLUR 0.18 APE 0.9 GMT 0.13 ALGO 0.2 VET 0.027 EOS 0.7 XLM 0.22 HBAR 0.15 ICP 8 THETA 1.3
FTM 0.6 EGLD 28 FLOW 0.6 KSM 25 XTZ 0.85 NEO 12 IOTA 0.2 ZEC 60 DASH 28 QTUM 2.6 ZIL 0.016 ONT 0.2
ICX 0.15 KAVA 0.4 BAT 0.2 ZRX 0.35 STRK 0.4 ZK 0.12 ZRO 3.2 ETHFI 1.5 PENDLE 4.2 EIGEN 2.2 ORDI 25
WIF 1.6 BOME 0.006 NOT 0.006 TON 4.8 POPCAT 0.6 KAIA 0.14 MOVE 0.4 VIRTUAL 1.2 FARTCOIN 0.8 TRUMP 11
BERA 4 KAITO 1.2 IP 5 TRB 45 MEME 0.01 JTO 2.4 AXL 0.6 PENGU 0.015 AERO 0.9 MORPHO 1.6 BAND 1.2
KNC 0.5 MASK 2.2 AR 9 LPT 8 ENS 20 PEOPLE 0.03 ROSE 0.05 JASMY 0.02 SPELL 0.0006 IOST 0.004
IOTX 0.03 API3 0.9 SUPER 0.7 SSV 12 TWT 0.9 MINA 0.4 CFX 0.1 CKB 0.007 HOT 0.0016 RSR 0.008 SXP 0.2
YFI 6500 SUSHI 0.9 MTL 0.9 ANKR 0.025 ONE 0.014 RVN 0.016 SKL 0.03 DENT 0.0009 CELO 0.5 VTHO 0.002
XMR 170 TSLA 320 NVDA 150 SAMSUNG 55 XAU 3300 XAUT 3300 EURUSD 1.1
"""
_USUAL: Final[dict[str, float]] = dict(
    zip(_USUAL_USD.split()[::2], map(float, _USUAL_USD.split()[1::2]), strict=True)
)
# The daily volatility of assets that move less than most coins.
_CALM: Final = {"BTC": 0.025, "ETH": 0.03, "XAU": 0.01, "XAUT": 0.01, "EURUSD": 0.005,
                "TSLA": 0.03, "NVDA": 0.03, "SAMSUNG": 0.02}  # fmt: skip

_PLAIN: Final = """
DOGE BNB ADA AVAX LINK DOT TRX LTC BCH ETC UNI NEAR APT SUI ARB OP FIL ATOM INJ TIA SEI WLD AAVE
ENA ONDO JUP PYTH STX IMX RUNE TAO RENDER FET GALA SAND MANA AXS CHZ ENJ GRT LDO CRV MKR SNX COMP
DYDX GMX BLUR APE GMT ALGO VET EOS XLM HBAR ICP THETA FTM EGLD FLOW KSM XTZ NEO IOTA ZEC DASH QTUM
ZIL ONT ICX KAVA BAT ZRX OMNI STRK ZK ZRO ETHFI PENDLE EIGEN W ALT MANTA DYM PIXEL PORTAL AEVO
ORDI WIF BOME NOT TON POPCAT NEIRO MEW BRETT GOAT MOODENG PNUT ACT HIPPO KAIA MOVE ME VIRTUAL
AIXBT FARTCOIN GRIFFAIN ZEREBRO SWARMS ARC COOKIE TRUMP MELANIA ANIME VINE LAYER BERA KAITO IP
SHELL RED MUBARAK TUT BROCCOLI PARTI NIL WAL BABY KERNEL INIT HYPER SIGN MILK SYRUP DOOD NXPC SOPH
HUMA SPK SAHARA NEWT H MAGIC HIGH HOOK HFT ID EDU RDNT ARKM MAV CYBER AGLD TRB BIGTIME BOND POLYX
GAS STORJ LOOM TOKEN MEME NTRN KAS JTO ACE NFP AI XAI RONIN METIS MYRO VANRY AXL TNSR SAGA REZ BB
IO LISTA MYX BANANA RARE SYN VOXEL G SCR GRASS DRIFT SWELL CETUS COW CHILLGUY THE MORPHO ORCA KOMA
SLERF SCRT AERO ACX VELODROME USUAL PENGU BIO HIVE DEXE PHA DF SONIC D PROMPT S XCN DEGO AVAAI
SOLV ARKHAM TAI KMNO PLUME LQTY COTI DODO LRC OGN RLC BEL CTSI ANKR CELR ONE RVN SKL SFP ALPHA
BAND KNC REEF STMX TLM BAKE C98 MASK ATA AR LPT ENS PEOPLE ROSE DUSK WOO JASMY SPELL API3 IOST
IOTX SUPER SSV PHB USTC GLM PERP TWT FXS STG LEVER JOE MINA ACH CFX CKB T HOT RSR SXP YFI SUSHI
EGL OXT MTL OM FIDA AUCTION ARPA CHR CELO DENT BAL BICO CVC VTHO
"""


def coins(count: int, seed: int) -> list[str]:
    """`count` coins: the special ones, known tickers, then made-up ones."""
    known = [*SPECIAL_USD, *_PLAIN.split()]
    seen = set(known)
    index = 0
    while len(known) < count:
        name = _invented(seed, index)
        if name not in seen:
            seen.add(name)
            known.append(name)
        index += 1
    return known[:count]


def usual_usd(asset: str, seed: int) -> float:
    """The price around which an asset moves: a known one, or one drawn by the seed."""
    if asset in SPECIAL_USD:
        return SPECIAL_USD[asset]
    if asset in _USUAL:
        return _USUAL[asset]
    return float(10 ** generator(seed, asset, "price").uniform(-2.3, 1.5))


def daily_volatility(asset: str) -> float:
    """The standard deviation of a day's logarithmic return."""
    return _CALM.get(asset, 0.055)


def _invented(seed: int, index: int) -> str:
    starts, vowels, ends = "BCDFGHKLMNPRSTVXZ", "AEIOU", ("", "X", "N", "FI", "R", "AI", "DAO", "Q")

    def pick(place: int, letters: str) -> str:
        return letters[draw(seed, "coin", f"letter {place}", index, len(letters))]

    body = pick(0, starts) + pick(1, vowels) + pick(2, starts) + pick(3, vowels)
    return body + ends[draw(seed, "coin", "end", index, len(ends))]
