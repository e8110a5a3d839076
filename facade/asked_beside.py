"""AskedBeside: what answers from here need of an exchange, and nobody has asked it for lately.

Its time, without which a process that is never asked what only an exchange knows would go by the
host's clock for ever; and the list of contracts, without which no sizes in contracts are told. Both
are asked for beside the answers, which do not wait.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from facade.exchanges import FACADES
from facade.passing import Failed, Passing
from facade.question import Question, question_of
from market.markets import Exchange
from timing.clock import boot_s
from venues import VENUES
from venues.venue import Endpoint

_AGAIN_S: Final = 600.0  # of the time also where it did not answer
_LIST_AGAIN_S: Final = 60.0  # of the list, where it did not answer
_CLIENT: Final = ""  # no address: its turn is one of its own


class AskedBeside:
    """Asks for each once in ten minutes at most. No method waits."""

    def __init__(self, passing: Passing, passed_s: Callable[[], float] = boot_s) -> None:
        self._passing = passing
        self._passed_s = passed_s
        self._not_before_s: dict[str, float] = {}  # by question
        self._asking: set[asyncio.Task[None]] = set()

    def need_time(self, exchange: Exchange) -> None:
        """An answer from here depended on the exchange's time, which is not known."""
        facade = FACADES[exchange]
        for path in facade.paths.values():
            if path.answerer == "time":
                self._need(question_of(facade, path, {}), _AGAIN_S)

    def need_contracts(self, exchange: Exchange) -> None:
        """A question was left to the exchange as it is not known how large its contract is."""
        facade, table = FACADES[exchange], VENUES[exchange].table(Endpoint.INSTRUMENTS)
        self._need(question_of(facade, facade.paths[table.path], dict(table.fixed)), _LIST_AGAIN_S)

    async def aclose(self) -> None:
        tasks = list(self._asking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _need(self, question: Question, after_failure_s: float) -> None:
        passed_s = self._passed_s()
        if passed_s >= self._not_before_s.get(question.name, passed_s):
            self._not_before_s[question.name] = passed_s + _AGAIN_S
            task = asyncio.create_task(self._ask(question, after_failure_s))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, question: Question, after_failure_s: float) -> None:
        try:
            passed = await self._passing.ask(question, _CLIENT)
            answered = passed.given.status == 200
        except Failed:  # which is logged
            answered = False
        if not answered:
            self._not_before_s[question.name] = self._passed_s() + after_failure_s
