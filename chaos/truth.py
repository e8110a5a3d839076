"""The true data, read from the simulator (`/sim/truth`, `/sim/funding`) and cached."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from chaos.checks import INTERVALS_MS, Row, Truth
from chaos.names import market_key

_REMEMBERED: Final = 160
_ALL_OUT_MS: Final = 600_000  # every snapshot is published this long after its time

Ask = Callable[[str], Awaitable[Any]]
Rows = Mapping[str, Mapping[int, Row]]


class MarketTruth:
    """`ask` gets the JSON at a path of the simulator; `symbols`: what exchanges call the markets
    to ask for. What is told of them is by `exchange:symbol`, as documents name them."""

    def __init__(self, ask: Ask, *, candles: int, settlements: int) -> None:
        self._ask = ask
        self.candles = candles
        self.settlements = settlements
        self.symbols: set[str] = set()
        self.asked = 0
        # By market, the open times of 5m candles that were corrected soon after their close.
        self.corrected: dict[str, set[int]] = {}
        self._changes = 0
        self._known: OrderedDict[tuple[Any, ...], asyncio.Task[Any]] = OrderedDict()

    def excuse(self, key: str, slot_ms: int) -> None:
        """The exchange says something else of the candle at first, and soon what is true."""
        self.corrected.setdefault(key, set()).add(slot_ms)

    def correct(self, key: str, slot_ms: int) -> None:
        """The candle is being corrected, or was: what is known of the truth is asked for anew."""
        self.corrected.setdefault(key, set()).add(slot_ms)
        self._changes += 1

    async def aclose(self) -> None:
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)

    async def candles_at(self, name: str, as_of_ms: int, instants: Sequence[int] = ()) -> Truth:
        """The true data for a collection at `as_of_ms`; `instants` are the times that the
        exchanges' clock showed until publication, and may begin with `as_of_ms` itself."""
        rows, visible = await self._rows_at(name, as_of_ms)
        forming: dict[str, list[Row]] = {}
        for instant_ms in instants:
            if instant_ms != as_of_ms:
                for key, row in (await self._state(name, as_of_ms, instant_ms)).items():
                    forming.setdefault(key, []).append(row)
        return Truth(rows, visible, forming)

    async def flowing_at(self, name: str, as_of_ms: int, until_ms: int) -> Truth:
        """The same where time flows: the newest row has at least what its closed 5m candles have,
        and at most what the exchanges showed at `until_ms`."""
        rows, visible = await self._rows_at(name, as_of_ms)
        open_ms = as_of_ms - as_of_ms % INTERVALS_MS[name]
        m5_ms = as_of_ms - as_of_ms % INTERVALS_MS["5m"]
        least = await self._state(name, as_of_ms, m5_ms) if m5_ms > open_ms else {}
        most = await self._state(name, as_of_ms, max(until_ms, as_of_ms))
        return Truth(rows, visible, {key: [row] for key, row in most.items()}, least)

    async def _rows_at(self, name: str, as_of_ms: int) -> tuple[Rows, Mapping[str, frozenset[int]]]:
        """The rows with all open interest, and the times of which it was published."""
        rows = await self.rows(name, as_of_ms, as_of_ms + _ALL_OUT_MS, self.candles)
        seen = await self.rows(name, as_of_ms, as_of_ms, self.candles)
        visible = {
            key: frozenset(time for time, row in market.items() if row[7] is not None)
            for key, market in seen.items()
        }
        return rows, visible

    async def settlements_at(self, checked_at_ms: int) -> Mapping[str, Sequence[Row]]:
        """The newest settlements up to a time, ascending, as many as a document keeps."""

        async def ask() -> Mapping[str, Sequence[Row]]:
            query = f"as_of={checked_at_ms}&funding_history={self.settlements}"
            answer = await self._get(f"/sim/funding?{query}&symbol={self._symbols()}")
            return {market_key(market): market["rows"] for market in answer["markets"]}

        found: Mapping[str, Sequence[Row]] = await self._once(("funding", checked_at_ms), ask)
        return found

    async def _state(self, name: str, as_of_ms: int, instant_ms: int) -> dict[str, Row]:
        """The newest row of a collection at `as_of_ms` in its state at a later time."""
        made_of = "4h" if name == "8h" else name
        interval_ms = INTERVALS_MS[made_of]
        end_ms = as_of_ms - as_of_ms % interval_ms + interval_ms
        open_ms = as_of_ms - as_of_ms % INTERVALS_MS[name]
        if instant_ms >= end_ms:
            # Final: nothing that opened after `as_of_ms` counts, so of 8h the first half alone.
            instant_ms = end_ms
            name = made_of if end_ms % INTERVALS_MS[name] else name
        rows = await self.rows(name, instant_ms, instant_ms, 4)
        return {key: market[open_ms] for key, market in rows.items() if open_ms in market}

    async def rows(self, name: str, as_of_ms: int, oi_ms: int, candles: int) -> Rows:
        """The newest rows at `as_of_ms`, with the open interest that was published by `oi_ms`."""

        async def ask() -> Rows:
            answer = await self._get(
                f"/sim/truth?timeframe={name}&as_of={as_of_ms}&oi_as_of={oi_ms}&candles={candles}"
                f"&symbol={self._symbols()}"
            )
            return {
                market_key(market): {row[0]: row for row in market["rows"]}
                for market in answer["markets"]
            }

        found: Rows = await self._once((name, as_of_ms, oi_ms, candles), ask)
        return found

    def _symbols(self) -> str:
        return quote(",".join(sorted(self.symbols)))

    async def _get(self, path: str) -> Any:
        self.asked += 1
        return await self._ask(path)

    async def _once(self, question: tuple[Any, ...], ask: Callable[[], Awaitable[Any]]) -> Any:
        key = (*question, len(self.symbols), self._changes)
        task = self._known.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._known[key] = asyncio.create_task(_plain(ask))
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return await asyncio.shield(task)


async def _plain(ask: Callable[[], Awaitable[Any]]) -> Any:
    return await ask()
