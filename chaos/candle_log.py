"""The look at what feeds tell of closed candles: each that counts as proven equals the true one.

Documents may have their rows by REST; here is what streams alone have brought. The log is read as
it lies in the store, without the service's code.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

import orjson
import redis.asyncio as redis

from chaos.checks import M5_MS, Row
from chaos.deployment import Deployment
from chaos.listed_markets import ListedMarkets
from chaos.names import EXCHANGES
from chaos.truth import MarketTruth

_LOOK_S: Final = 1.0
_NEWEST: Final = 100  # batches read at once; there are some tens a close
_EARLY_MS: Final = 1_000  # how much earlier than its close a candle may be told, by our clock


class Told(NamedTuple):
    """A closed candle of a stream that counts as proven."""

    market: str
    open_ms: int
    values: tuple[float, ...]  # open, high, low, close, volume, turnover


def proven(exchange: str, batch: bytes, key_of: Callable[[str, str], str]) -> list[Told]:
    """The closed candles of a batch that a stream has closed and proven. `key_of`: of a market, by
    its exchange and the exchange's name for it."""
    return [
        Told(key_of(exchange, change[1]), change[2], tuple(map(float, change[3:9])))
        for change in orjson.loads(batch)
        if change[0] == "candle" and change[12] == "stream" and change[13] is None
    ]


def problem_of(
    told: Told, now_ms: int, rows: Mapping[int, Row], excused: Collection[int]
) -> str | None:
    """What is wrong with it; `rows` are the market's true ones, `excused` the candles of which
    wrong closing events come first."""
    if told.open_ms + M5_MS > now_ms + _EARLY_MS:
        return f"{told.market}: the candle of {told.open_ms} was told as closed at {now_ms}"
    true = rows.get(told.open_ms)
    if true is None:
        return f"{told.market}: there is no candle of {told.open_ms}"
    if told.open_ms not in excused and told.values != tuple(true[1:7]):
        return f"{told.market}: told {told.values} of {told.open_ms}, true is {true[1:7]}"
    return None


class CandleLogs:
    """Reads the logs of all exchanges again and again."""

    def __init__(self, deployment: Deployment, listed: ListedMarkets, truth: MarketTruth) -> None:
        self._deployment = deployment
        self._listed = listed
        self._truth = truth
        self._seen: set[tuple[str, bytes, bytes]] = set()

    async def run(self) -> None:
        while True:
            for exchange in EXCHANGES:
                await self._look(exchange)
            await asyncio.sleep(_LOOK_S)

    async def _look(self, exchange: str) -> None:
        deployment = self._deployment
        try:
            async with deployment.store() as store:
                key = deployment.key(f"live:{exchange}:log")
                batches = await store.xrevrange(key, count=_NEWEST)
        except (redis.RedisError, OSError):
            return
        now_ms = deployment.clock.now_ms()
        for number, fields in reversed(batches):
            name = (exchange, fields[b"writer"], number)
            if name in self._seen:
                continue
            self._seen.add(name)
            for told in proven(exchange, fields[b"changes"], self._listed.key_of):
                await self._check(told, now_ms)

    async def _check(self, told: Told, now_ms: int) -> None:
        report, close_ms = self._deployment.report, told.open_ms + M5_MS
        rows: Mapping[str, Mapping[int, Row]] = await self._truth.rows("5m", close_ms, close_ms, 4)
        excused: Any = self._truth.corrected.get(told.market, ())
        # A market that was delisted meanwhile has no truth any more.
        if told.market in rows and (
            problem := problem_of(told, now_ms, rows[told.market], excused)
        ):
            report.violate("a candle is closed by the exchange's word alone", problem)
        report.compared["candles told by streams"] += 1
