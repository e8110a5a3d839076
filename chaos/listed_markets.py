"""The markets that the simulated exchanges list, and the run's changes to them."""

from typing import Final

from chaos.deployment import Deployment, DeploymentFailed
from chaos.names import market_key
from chaos.truth import MarketTruth

_NO_CANDLE: Final = "has no 5-minute candle"
_FEWEST: Final = 6  # markets of an exchange that are never delisted


class ListedMarkets:
    """`steady`: markets listed during the whole run; `collected`: markets listed now."""

    def __init__(self, deployment: Deployment, truth: MarketTruth) -> None:
        self._deployment = deployment
        self._truth = truth
        self._first: list[str] = []
        self._native: dict[str, str] = {}
        self._gone: set[str] = set()
        self._new: set[str] = set()

    async def look(self) -> None:
        """Reads the listed markets, before anything changes."""
        listed = await self._deployment.ask_simulator("/sim/markets")
        self._native = {
            market_key(market): market["symbol"]
            for market in listed["markets"]
            if market["collected"]
        }
        self._first = sorted(self._native)
        self._truth.symbols |= set(self._native.values())

    @property
    def steady(self) -> set[str]:
        return set(self._first) - self._gone

    @property
    def collected(self) -> set[str]:
        return self.steady | self._new

    def native(self, key: str) -> str:
        """What the exchange calls the market."""
        return self._native[key]

    def key_of(self, exchange: str, native: str) -> str:
        """The key of the market that the exchange calls so."""
        names = {(key.partition(":")[0], name): key for key, name in self._native.items()}
        return names.get((exchange, native), f"{exchange}:{native}")

    def pick(self, place: float, exchange: str | None) -> str:
        """The market at `place` (0..1) among those listed at the beginning."""
        markets = [key for key in self._first if exchange is None or key.startswith(exchange)]
        return markets[min(int(place * len(markets)), len(markets) - 1)]

    async def correct(self, place: float, slot_ms: int) -> None:
        """Changes the 5m candle of one market that has just closed."""
        steady = sorted(self.steady)
        key = steady[int(place * len(steady))]
        rule = {"kind": "correction", "exchange": key.partition(":")[0],
                "symbol": self._native[key], "time": slot_ms}  # fmt: skip
        self._truth.correct(key, slot_ms)
        try:
            await self._deployment.ask_simulator("/sim/faults", rule)
        except DeploymentFailed as error:
            if _NO_CANDLE not in str(error):
                raise
        self._truth.correct(key, slot_ms)

    async def list_new(self, exchange: str, age_ms: int, number: int) -> None:
        rule = {"kind": "list_new", "exchange": exchange, "symbol": f"NEW{number}",
                "age_ms": age_ms}  # fmt: skip
        (done,) = await self._deployment.ask_simulator("/sim/faults", rule)
        native = done["market"].partition(":")[2]
        listed = await self._deployment.ask_simulator(f"/sim/markets?exchange={exchange}")
        (key,) = (market_key(each) for each in listed["markets"] if each["symbol"] == native)
        self._native[key] = native
        self._truth.symbols.add(native)
        self._new.add(key)

    async def delist(self, exchange: str, place: float) -> str | None:
        """Delists a market and returns it; None if that is not to be done."""
        key = self.pick(place, exchange)
        left = [other for other in self.steady if other.startswith(exchange)]
        if key in self._gone or len(left) <= _FEWEST:
            return None
        self._gone.add(key)
        rule = {"kind": "delist", "exchange": exchange, "symbol": self._native[key]}
        await self._deployment.ask_simulator("/sim/faults", rule)
        return key
