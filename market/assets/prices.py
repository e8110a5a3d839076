"""Which markets of one name are of one coin: prices decide, as a name alone may lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Exchanges' prices of one coin differ by some percent even while transfers are halted, as somebody
# always trades the difference. Other coins, and multiples that were read wrongly, differ by any
# factor, the latter by ten at least. 1.5 lies far from both.
LARGEST_FACTOR: Final = 1.5


@dataclass(frozen=True, slots=True)
class Agreement:
    """`median`: the weighted median of all prices; `agrees`: whose price is within LARGEST_FACTOR
    of it. `decided`: those are more than half of the markets and hold more than half of the weight.

    Undecided, nobody can tell which coin the name means: then none of the markets is summed. That
    is never wrong, as each market's own numbers stand.
    """

    median: float
    agrees: tuple[bool, ...]
    decided: bool


def weighted_median(prices: Sequence[float], weights: Sequence[float]) -> float:
    """The lowest price up to which at least half of the weight lies; at least one price."""
    if not any(weight > 0 for weight in weights):
        weights = [1.0] * len(prices)
    half, so_far = sum(weights) / 2, 0.0
    ordered = sorted(zip(prices, weights, strict=True))
    for price, weight in ordered:
        so_far += weight
        if so_far >= half:
            return price
    return ordered[-1][0]  # sums of floats may end a little below


def agreement(prices: Sequence[float], weights: Sequence[float]) -> Agreement:
    """How far the prices for one coin, all above 0, agree; weights of 0 alone count as equal."""
    median = weighted_median(prices, weights)
    agrees = tuple(median / LARGEST_FACTOR <= price <= median * LARGEST_FACTOR for price in prices)
    if all(agrees):
        return Agreement(median, agrees, True)
    if not any(weight > 0 for weight in weights):
        weights = [1.0] * len(prices)
    inside = sum(weight for weight, is_in in zip(weights, agrees, strict=True) if is_in)
    decided = 2 * sum(agrees) > len(agrees) and 2 * inside > sum(weights)
    return Agreement(median, agrees, decided)
