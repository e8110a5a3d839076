"""The list of simulated exchanges, one line for each."""

from collections.abc import Mapping
from typing import Final

from simulator.binance.wire import Binance
from simulator.bybit.wire import Bybit
from simulator.exchange import Exchange
from simulator.okx.wire import Okx

EXCHANGES: Final[tuple[type[Exchange], ...]] = (
    Binance,
    Bybit,
    Okx,
)
# What the archive in simulator/archive/ is, as settings of the service name it.
ARCHIVE: Final = "Binance's archive of files (data.binance.vision)"
BY_NAME: Final[Mapping[str, type[Exchange]]] = {exchange.name: exchange for exchange in EXCHANGES}
