"""AskedTimes: an exchange's time is asked for beside the answers, where it has told none lately.

A process that is never asked what only an exchange knows would go by the host's clock for ever.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from facade.exchanges import FACADES
from facade.passing import Failed, Passing
from facade.question import question_of
from market.markets import Exchange
from timing.clock import boot_s

_AGAIN_S: Final = 600.0  # also where it did not answer
_CLIENT: Final = ""  # no address: its turn is one of its own


class AskedTimes:
    """Asks once in ten minutes at most."""

    def __init__(self, passing: Passing, passed_s: Callable[[], float] = boot_s) -> None:
        self._passing = passing
        self._passed_s = passed_s
        self._asked_s: dict[Exchange, float] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def needed(self, exchange: Exchange) -> None:
        """An answer from here depended on the exchange's time, which is not known. Never waits."""
        passed_s, asked_s = self._passed_s(), self._asked_s.get(exchange)
        if asked_s is None or passed_s - asked_s >= _AGAIN_S:
            self._asked_s[exchange] = passed_s
            task = asyncio.create_task(self._ask(exchange))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def aclose(self) -> None:
        tasks = list(self._asking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, exchange: Exchange) -> None:
        facade = FACADES[exchange]
        for path in facade.paths.values():
            if path.answerer == "time":
                with contextlib.suppress(Failed):  # which is logged
                    await self._passing.ask(question_of(facade, path, {}), _CLIENT)
