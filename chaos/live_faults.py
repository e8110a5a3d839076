"""The injection of faults around live data: streams, the processes that feed them, the network.

Each is told to the look at freshness, with what it excuses.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from chaos.closes import Closes
from chaos.deployment import Deployment
from chaos.freshness import Disturbance
from chaos.listed_markets import ListedMarkets
from chaos.names import EXCHANGES, SILENT_UNCLOSED
from chaos.plan import Step
from chaos.stream_faults import UNTOLD

_M5_MS: Final = 300_000
# What simulators do without a fault; a setting that a fault changed is set so again.
_USUAL: Final[Mapping[str, Callable[[str], Any]]] = {
    "silent_closings": lambda exchange: exchange not in SILENT_UNCLOSED,
    "closing_delay_s": lambda exchange: None,
}

End = Callable[[int, str, signal.Signals], Awaitable[None]]
Pause = Callable[[list[int], float], Awaitable[None]]


class LiveFaults:
    """`end` ends a process with a signal, `pause` stops some for a time."""

    def __init__(
        self, deployment: Deployment, listed: ListedMarkets, closes: Closes, end: End, pause: Pause
    ) -> None:
        self._deployment = deployment
        self._listed = listed
        self._closes = closes
        self._end = end
        self._pause = pause

    @contextlib.asynccontextmanager
    async def disturbing(self, step: Step) -> AsyncIterator[None]:
        """Tells freshness of a fault as long as it lasts. What streams and those who feed them do
        is no excuse: REST has the candles."""
        stream = step.lane == "stream"
        harmless = stream or step.lane in ("live", "listing", "client", "clock")
        each = self._closes.freshness.began(
            Disturbance(
                time.monotonic(), untold=stream and step.kind in UNTOLD, blocks=not harmless
            )
        )
        try:
            yield
        finally:
            each.until_s = time.monotonic()

    async def stream(self, step: Step) -> None:
        exchange, symbol = step.details["exchange"], None
        if "market" in step.details:
            market = self._listed.pick(step.details["market"], exchange)
            symbol = self._listed.native(market)
        target = {"exchange": exchange} | ({} if symbol is None else {"symbol": symbol})
        rules = [{**rule, **target} for rule in step.details["rules"]]
        settings = step.details.get("settings")
        wrong = (exchange, symbol)
        try:
            if step.kind == "closings_wrong":
                self._closes.wrong.append(wrong)
                now_ms = self._deployment.clock.now_ms()
                self._closes.note_wrong(now_ms - now_ms % _M5_MS - _M5_MS)
            if settings:
                await self._deployment.ask_simulator("/sim/streams", settings)
            await self._while_rules(rules, step.lasts_s)
        finally:
            if step.kind == "closings_wrong":
                self._closes.wrong.remove(wrong)
            if settings:
                usual = {name: {exchange: _USUAL[name](exchange)} for name in settings}
                await self._deployment.ask_simulator("/sim/streams", usual)

    async def live(self, step: Step) -> None:
        """Ends or stops one of the processes that feed the streams' candles."""
        pids = self._deployment.pids("live")
        who = step.details["who"]
        if not pids:
            return  # they are being restarted
        pid = pids[-1] if who == "second" else pids[0]
        if who in EXCHANGES:
            holder = await self._deployment.holder(f"lock:live:{who}")
            pid = holder if holder in pids else pid
        if step.kind == "stopped":
            await self._pause([pid], step.lasts_s)
        else:
            number = signal.SIGKILL if step.kind == "killed" else signal.SIGTERM
            await self._end(pid, "a feeding process", number)

    async def network(self, step: Step) -> None:
        """Nothing of an exchange can be reached, by REST or by streams."""
        named = step.details["exchange"]
        rules = [
            {"kind": kind, "exchange": exchange}
            for exchange in (EXCHANGES if named == "all" else (named,))
            for kind in ("reset", "stream_refuse", "stream_cut")
        ]
        await self._while_rules(rules, step.lasts_s)

    async def _while_rules(self, rules: Sequence[Mapping[str, Any]], lasts_s: float) -> None:
        # They end by themselves too, should this run be interrupted.
        lasting = [{**rule, "duration_s": lasts_s + 5} for rule in rules]
        added = await self._deployment.ask_simulator("/sim/faults", lasting) if rules else []
        try:
            await asyncio.sleep(lasts_s)
        finally:
            for rule in added:
                await self._deployment.ask_simulator(
                    f"/sim/faults?number={rule['number']}", method="DELETE"
                )
