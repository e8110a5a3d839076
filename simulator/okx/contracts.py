"""OKX's units: contracts, coins and quote currency.

Swaps trade in contracts: a linear one is a number of coins (ctVal), an inverse one of US dollars.
Spot trades in coins. Integers are those of simulator.market: volumes in 10^-quantity_decimals.
"""

from collections.abc import Sequence
from typing import Final

from simulator.market import Market
from simulator.randomness import draw
from simulator.text import fixed_column, plain, plain_column

SPOT: Final = "SPOT"
LINEAR: Final = "linear"
INVERSE: Final = "inverse"
# Quantity steps in one contract, as a power of ten; of other coins 0 to 2 (choice).
_STEPS_A_CONTRACT: Final = {"BTC": 1, "ETH": 2}
_USD_A_CONTRACT: Final = {"BTC": 100}  # of inverse contracts; 10 of others


def _power(market: Market) -> int:
    """The quantity steps in one linear contract, as a power of ten."""
    known = _STEPS_A_CONTRACT.get(market.base)
    return draw(0, market.base, "contract", 0, 3) if known is None else known


def usd_a_contract(market: Market) -> int:
    return _USD_A_CONTRACT.get(market.base, 10)


def contract_value(market: Market) -> str:
    """`ctVal`: coins (linear) or US dollars (inverse) in one contract; empty for spot."""
    if market.contract_type == SPOT:
        return ""
    if market.contract_type == INVERSE:
        return str(usd_a_contract(market))
    return plain(market.step * 10 ** _power(market), market.quantity_decimals)


def lot(market: Market) -> str:
    """`lotSz`: the quantity step, in contracts or in coins of spot."""
    if market.contract_type == SPOT:
        return plain(market.step, market.quantity_decimals)
    return "1" if market.contract_type == INVERSE else plain(1, _power(market))


def size(market: Market, volume: int, turnover: int) -> str:
    """A quantity as the exchange tells it: contracts, or coins of spot."""
    return sizes(market, [volume], [turnover])[0]


def sizes(market: Market, volumes: Sequence[int], turnovers: Sequence[int]) -> list[str]:
    """`size` for many quantities."""
    if market.contract_type == SPOT:
        return plain_column(volumes, market.quantity_decimals)
    if market.contract_type == INVERSE:
        one = usd_a_contract(market) * 10 ** (market.price_decimals + market.quantity_decimals)
        return fixed_column([turnover // one for turnover in turnovers], 0)
    return plain_column([volume // market.step for volume in volumes], _power(market))


def second_amounts(market: Market, volumes: Sequence[int], turnovers: Sequence[int]) -> list[str]:
    """`volCcy`: coins, but the quote currency for spot."""
    if market.contract_type == SPOT:
        return quote_amounts(market, turnovers)
    return plain_column(volumes, market.quantity_decimals)


def quote_amounts(market: Market, turnovers: Sequence[int]) -> list[str]:
    """`volCcyQuote`."""
    return plain_column(turnovers, market.price_decimals + market.quantity_decimals)
