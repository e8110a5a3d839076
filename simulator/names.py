"""The coins of the generated universe: names, price levels and how the two exchanges spell them."""

from typing import Final

from simulator.randomness import draw

# Majors and special spellings first, so that a small universe has them too:
# coin -> (USD a coin, Binance base, Bybit base). None: not listed there.
SPECIAL: Final[dict[str, tuple[float, str | None, str | None]]] = {
    "BTC": (64_000, "BTC", "BTC"),
    "ETH": (2_900, "ETH", "ETH"),
    "SOL": (145, "SOL", "SOL"),
    "PEPE": (0.000_004_2, "1000PEPE", "1000PEPE"),
    "龙虾": (0.031, "龙虾", None),
    "SHIB": (0.000_011, "1000SHIB", "SHIB1000"),
    "XRP": (1.15, "XRP", "XRP"),
    "1INCH": (0.21, "1INCH", "1INCH"),
    "CHEEMS": (0.000_000_9, "1000CHEEMS", "1000000CHEEMS"),
    "SATS": (0.000_000_03, "1000SATS", "10000SATS"),
    "BEAM": (0.0061, "BEAMX", "BEAM"),
    "TURBO": (0.0021, "TURBO", "1000TURBO"),
    "BABYDOGE": (0.000_000_000_8, "1MBABYDOGE", "1000000BABYDOGE"),
    "MOG": (0.000_000_4, "1000000MOG", "1000000MOG"),
    "1000CAT": (0.0042, "1000CAT", None),
    "BONK": (0.000_012, "1000BONK", "1000BONK"),
    "FLOKI": (0.000_05, "1000FLOKI", "1000FLOKI"),
    "LUNC": (0.000_04, "1000LUNC", "1000LUNC"),
    "XEC": (0.000_012, "1000XEC", "1000XEC"),
    "RATS": (0.000_02, "1000RATS", "1000RATS"),
    "1000X": (0.35, None, "1000X"),
    "币安人生": (0.12, "币安人生", None),
}
# How many coins one unit of a contract holds where its name says so.
UNITS: Final = {
    "1000PEPE": 1_000, "1000SHIB": 1_000, "SHIB1000": 1_000, "1000CHEEMS": 1_000,
    "1000000CHEEMS": 1_000_000, "1000SATS": 1_000, "10000SATS": 10_000, "1000TURBO": 1_000,
    "1MBABYDOGE": 1_000_000, "1000000BABYDOGE": 1_000_000, "1000000MOG": 1_000_000,
    "1000BONK": 1_000, "1000FLOKI": 1_000, "1000LUNC": 1_000, "1000XEC": 1_000, "1000RATS": 1_000,
}  # fmt: skip
# Coins whose turnover is so large that its text has 17 and more digits at 4h.
BUSY: Final = frozenset({"PEPE", "SHIB", "BONK"})

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
    known = [*SPECIAL, *_PLAIN.split()]
    seen = set(known)
    index = 0
    while len(known) < count:
        name = _invented(seed, index)
        if name not in seen:
            seen.add(name)
            known.append(name)
        index += 1
    return known[:count]


def _invented(seed: int, index: int) -> str:
    starts, vowels, ends = "BCDFGHKLMNPRSTVXZ", "AEIOU", ("", "X", "N", "FI", "R", "AI", "DAO", "Q")

    def pick(place: int, letters: str) -> str:
        return letters[draw(seed, "coin", f"letter {place}", index, len(letters))]

    body = pick(0, starts) + pick(1, vowels) + pick(2, starts) + pick(3, vowels)
    return body + ends[draw(seed, "coin", "end", index, len(ends))]
