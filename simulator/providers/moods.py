"""How afraid the simulated market is: one mood, and what each index makes of it."""

from simulator.providers.asked import View
from simulator.randomness import draw

_DAY_MS = 86_400_000
_ALTERNATIVE = ((25, "Extreme Fear"), (45, "Fear"), (55, "Neutral"), (75, "Greed"))
_CMC = ((20, "Extreme fear"), (40, "Fear"), (60, "Neutral"), (80, "Greed"))


def mood(view: View, index: str, at_ms: int, asset: str = "BTC") -> float:
    """0 to 100, by the price's change of a month; every index has a day's opinion of its own."""
    day = at_ms // _DAY_MS
    before = view.prices.usd(asset, (day - 30) * _DAY_MS)
    change = view.prices.usd(asset, day * _DAY_MS) / before - 1
    opinion = draw(view.seed, index, f"mood {asset}", day, 13) - 6
    return min(max(50 + 150 * change + opinion, 3.0), 97.0)


def alternative_label(value: float) -> str:
    return next((label for below, label in _ALTERNATIVE if value < below), "Extreme Greed")


def cmc_label(value: float) -> str:
    return next((label for below, label in _CMC if value < below), "Extreme greed")
